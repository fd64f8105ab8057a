//! Log lines as JSON on standard output, each readable alone and searchable by field.

use tracing::level_filters::LevelFilter;

/// Begins to log. `level` is Lambda's own setting (`AWS_LAMBDA_LOG_LEVEL`); what it does not name is `info`.
pub(crate) fn begin(level: Option<&str>) {
    let level = match level.unwrap_or_default().to_ascii_lowercase().as_str() {
        "trace" => LevelFilter::TRACE,
        "debug" => LevelFilter::DEBUG,
        "warn" | "warning" => LevelFilter::WARN,
        "error" | "fatal" | "critical" => LevelFilter::ERROR,
        _ => LevelFilter::INFO,
    };
    tracing_subscriber::fmt().json().flatten_event(true).with_target(false).with_span_list(false).with_max_level(level).init();
}
