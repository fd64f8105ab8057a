//! Log lines on standard error, as text or as JSON.

mod escape;
mod non_blocking;

use decamp_config::{LogFormat, LogLevel, Logging, may_be_logged};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

use self::escape::Escaping;
pub(crate) use self::escape::{escaped, escaped_json};
use self::non_blocking::NonBlocking;

/// Starts the log. `default` is the command's level if the settings have none.
pub(crate) fn begin(logging: &Logging, default: LogLevel) {
    begin_on(logging, default, std::io::stderr);
}

/// The same for a service, which never waits for a slow reader of its log.
pub(crate) fn begin_non_blocking(logging: &Logging, default: LogLevel) -> Flush {
    let writer = NonBlocking::new(std::io::stderr());
    begin_on(logging, default, writer.clone());
    Flush(writer)
}

/// Dropping this writes the lines that are still queued, if the reader takes them in time.
#[must_use = "lines would be lost at the end"]
pub(crate) struct Flush(NonBlocking);

impl Drop for Flush {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn begin_on(logging: &Logging, default: LogLevel, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let level = match logging.level.unwrap_or(default) {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let writer = writer.with_filter(|line| may_be_logged(line.target()));
    let subscriber = tracing_subscriber::fmt().with_target(false).with_max_level(level);
    // Fails only if the log has been started already, which is no error.
    let _ = match logging.format {
        LogFormat::Text => subscriber.with_ansi(false).with_writer(Escaping(writer)).try_init(),
        LogFormat::Json => subscriber.with_writer(writer).json().flatten_event(true).with_span_list(false).try_init(),
    };
}
