//! `decamp settings`: lists every variable that decamp reads.

use std::process::ExitCode;

use clap::Args;
use decamp_config::TABLE;
use serde_json::json;

use super::out::{say, say_json};

/// List every environment variable that decamp reads.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Print one JSON array
    #[arg(long)]
    json: bool,
}

pub(crate) fn settings(arguments: &Arguments) -> ExitCode {
    if arguments.json {
        let rows: Vec<_> = TABLE
            .iter()
            .map(|row| json!({ "name": row.name, "unit": row.unit, "default": row.default, "meaning": row.meaning }))
            .collect();
        say_json(&rows);
        return ExitCode::SUCCESS;
    }
    for row in TABLE {
        let default = if row.default.is_empty() { String::new() } else { format!(", default {}", row.default) };
        say(row.name);
        say(format!("    {}{default}", row.unit));
        say(format!("    {}", row.meaning));
    }
    say("");
    say("Write times as 90s, 15m or 2h. decamp finds AWS credentials as the AWS CLI does.");
    ExitCode::SUCCESS
}
