//! Log lines on standard error, as text or as JSON: what the libraries and the adapters have to say beside the command's own words.

mod plain;
mod unhurried;

use decamp_config::{LogFormat, LogLevel, Logging, may_be_logged};
use tracing::level_filters::LevelFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::writer::MakeWriterExt as _;

use self::plain::Plain;
pub(crate) use self::plain::{escaped, escaped_json};
use self::unhurried::Unhurried;

/// Begins to log: as much as was set, else as much as is usual for this command.
pub(crate) fn begin(logging: &Logging, usual: LogLevel) {
    begin_on(logging, usual, std::io::stderr);
}

/// The same for a service, which waits for nobody who reads its log.
pub(crate) fn begin_unhurried(logging: &Logging, usual: LogLevel) -> LastLines {
    let writer = Unhurried::new(std::io::stderr());
    begin_on(logging, usual, writer.clone());
    LastLines(writer)
}

/// When this is dropped, what was said is written, if that can be.
#[must_use = "lines would be lost at the end"]
pub(crate) struct LastLines(Unhurried);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.finish();
    }
}

fn begin_on(logging: &Logging, usual: LogLevel, writer: impl for<'a> MakeWriter<'a> + Send + Sync + 'static) {
    let level = match logging.level.unwrap_or(usual) {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    let writer = writer.with_filter(|line| may_be_logged(line.target()));
    let subscriber = tracing_subscriber::fmt().with_target(false).with_max_level(level);
    // A second call would be a second process: nothing comes of it.
    let _ = match logging.format {
        LogFormat::Text => subscriber.with_ansi(false).with_writer(Plain(writer)).try_init(),
        LogFormat::Json => subscriber.with_writer(writer).json().flatten_event(true).with_span_list(false).try_init(),
    };
}
