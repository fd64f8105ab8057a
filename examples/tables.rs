//! Prints decamp's tables as JSON, for tests in other languages: the calls of AWS with their callers, the metrics and the settings.

use decamp_aws::{Caller, OPERATIONS};
use decamp_core::metrics;
use serde_json::json;

fn word(caller: &Caller) -> &'static str {
    match caller {
        Caller::Lambda => "lambda",
        Caller::Run => "run",
        Caller::Check => "check",
        Caller::Serve => "serve",
        Caller::Refresh => "refresh",
    }
}

fn main() {
    let calls: Vec<_> = OPERATIONS
        .iter()
        .map(|call| {
            let callers: Vec<_> = call.callers.iter().map(word).collect();
            json!({"action": format!("{}:{}", call.service, call.name), "callers": callers})
        })
        .collect();
    let metrics: Vec<_> = metrics::ALL.iter().map(|metric| metric.name).collect();
    let settings: Vec<_> = decamp_config::TABLE.iter().map(|setting| setting.name).collect();
    println!("{}", json!({"calls": calls, "namespace": metrics::NAMESPACE, "metrics": metrics, "settings": settings}));
}
