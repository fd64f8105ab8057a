//! Log lines as JSON on standard output, each readable alone and searchable by field.

use decamp_config::{LogLevel, may_be_logged};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

/// Starts the log.
pub(crate) fn begin(level: LogLevel) {
    let level = match level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let writer = std::io::stdout.with_filter(|line| may_be_logged(line.target()));
    tracing_subscriber::fmt()
        .with_writer(writer)
        .json()
        .flatten_event(true)
        .with_target(false)
        .with_span_list(false)
        .with_max_level(level)
        .init();
}
