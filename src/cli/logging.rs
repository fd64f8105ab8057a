//! Log lines on standard error, as text or as JSON: what the libraries and the adapters have to say beside the command's own words.

use decamp::settings::{LogFormat, LogLevel, Logging};
use tracing::level_filters::LevelFilter;

/// Begins to log: as much as was set, else as much as is usual for this command.
pub(crate) fn begin(logging: &Logging, usual: LogLevel) {
    let level = match logging.level.unwrap_or(usual) {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let subscriber = tracing_subscriber::fmt().with_writer(std::io::stderr).with_target(false).with_max_level(level);
    // A second call would be a second process: nothing comes of it.
    let _ = match logging.format {
        LogFormat::Text => subscriber.with_ansi(false).try_init(),
        LogFormat::Json => subscriber.json().flatten_event(true).with_span_list(false).try_init(),
    };
}
