//! How the command line logs: how much, and in which form.

use super::reader::Reader;
use super::{LogLevel, Refused};

/// How the command line logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// How much, where it was said; else a command's own default. `DECAMP_LOG`.
    pub level: Option<LogLevel>,
    /// In which form. `DECAMP_LOG_FORMAT`.
    pub format: LogFormat,
}

/// The form of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
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
