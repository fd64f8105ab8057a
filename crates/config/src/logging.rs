//! The logging of the command line: level and format.

use super::reader::Reader;
use super::{LogLevel, Refused};

/// The logging of the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// The level; `None`: the command's own default. `DECAMP_LOG`.
    pub level: Option<LogLevel>,
    /// The format. `DECAMP_LOG_FORMAT`.
    pub format: LogFormat,
}

/// The format of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether lines of this target may be logged. AWS's SDK and the HTTP libraries log answers with their headers and bodies, even at
/// `error`. decamp logs failed calls itself.
#[must_use]
pub fn may_be_logged(target: &str) -> bool {
    const SILENT: [&str; 6] = ["aws_", "hyper", "h2", "reqwest", "tower", "lambda_runtime_api_client"];
    !SILENT.iter().any(|library| target.starts_with(library))
}

pub(super) fn read(from: &Reader<'_>) -> Result<Logging, Refused> {
    let levels = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    let formats = [("text", LogFormat::Text), ("json", LogFormat::Json)];
    Ok(Logging {
        level: from.choice("DECAMP_LOG", &levels)?,
        format: from.choice("DECAMP_LOG_FORMAT", &formats)?.unwrap_or(LogFormat::Text),
    })
}

#[cfg(test)]
mod tests {
    use super::may_be_logged;

    #[test]
    fn libraries_that_dump_answers_are_silent() {
        for target in
            ["aws_config::imds::region", "aws_smithy_runtime::client::orchestrator", "hyper_util::client", "reqwest::connect"]
        {
            assert!(!may_be_logged(target), "{target}");
        }
        for target in ["decamp", "decamp_aws::signed", "decamp_service::sweep", "bootstrap::pass", "rustls::conn"] {
            assert!(may_be_logged(target), "{target}");
        }
    }
}
