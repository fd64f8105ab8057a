//! Log lines as JSON on standard output, each readable alone and searchable by field.

use decamp_config::LogLevel;
use tracing::level_filters::LevelFilter;

/// Begins to log.
pub(crate) fn begin(level: LogLevel) {
    let level = match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_span_list(false).with_max_level(level).init();
}
