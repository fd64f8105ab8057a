//! How the command line logs: how much, and in which form.

use super::Refused;
use super::reader::Reader;

/// How the command line logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logging {
    /// How much. `DECAMP_LOG`.
    pub level: LogLevel,
    /// In which form. `DECAMP_LOG_FORMAT`.
    pub format: LogFormat,
}

/// How much is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Where a person should act.
    Error,
    /// Also where it went on degraded.
    Warn,
    /// Also decisions and outcomes.
    Info,
    /// Also what helps to find a bug.
    Debug,
    /// Everything.
    Trace,
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
        level: from.choice("DECAMP_LOG", &levels)?.unwrap_or(LogLevel::Warn),
        format: from.choice("DECAMP_LOG_FORMAT", &formats)?.unwrap_or(LogFormat::Text),
    })
}
