//! What HCP Terraform and Terraform Enterprise tell of their runs (notification payloads of version 1). Pure.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;

use decamp_core::time::Time;

/// The oldest run that is acted on (D24).
pub const OLDEST: Duration = Duration::from_hours(1);
/// How far its clock may be before ours.
const AHEAD: Duration = Duration::from_mins(5);

/// What a notification says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// That the notification is set up.
    Verification,
    /// That a run was applied.
    Applied(Run),
    /// Something else about a run.
    Other,
}

/// A run that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: Arc<str>,
    /// `ORGANIZATION/WORKSPACE`.
    pub workspace: Arc<str>,
}

/// Why a notification cannot be acted on. Nothing of it is repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Bad {
    /// It is not a notification of a version that is known.
    #[error("it is no notification payload of version 1")]
    NotOne,
    /// A part of it that is needed is missing or not in its grammar.
    #[error("`{0}` is missing or cannot be read")]
    Part(&'static str),
    /// The run was applied too long ago, or lies in the future.
    #[error("the run was not applied within the last hour")]
    OutOfTime,
}

#[derive(Deserialize)]
struct Payload {
    payload_version: u32,
    run_id: Option<String>,
    workspace_name: Option<String>,
    organization_name: Option<String>,
    notifications: Vec<Notification>,
}

#[derive(Deserialize)]
struct Notification {
    trigger: String,
    run_status: Option<String>,
    run_updated_at: Option<String>,
}

/// Reads a notification.
///
/// # Errors
///
/// Why it cannot be acted on.
pub fn read(body: &[u8], now: Time) -> Result<Told, Bad> {
    // What is read past has to be text as well.
    let text = std::str::from_utf8(body).map_err(|_| Bad::NotOne)?;
    let payload: Payload = serde_json::from_str(text).map_err(|_| Bad::NotOne)?;
    if payload.payload_version != 1 || payload.notifications.is_empty() {
        return Err(Bad::NotOne);
    }
    if payload.notifications.iter().any(|one| one.trigger == "verification") {
        return Ok(Told::Verification);
    }
    // A run that planned nothing is completed too, and changed nothing.
    let applied = |one: &&Notification| one.trigger == "run:completed" && one.run_status.as_deref() == Some("applied");
    let Some(applied) = payload.notifications.iter().find(applied) else { return Ok(Told::Other) };
    let id = word(payload.run_id.as_deref(), "run_id")?;
    let organization = word(payload.organization_name.as_deref(), "organization_name")?;
    let workspace = word(payload.workspace_name.as_deref(), "workspace_name")?;
    let at = applied.run_updated_at.as_deref().and_then(Time::read).ok_or(Bad::Part("run_updated_at"))?;
    if OLDEST < now.since(at) || AHEAD < at.since(now) {
        return Err(Bad::OutOfTime);
    }
    Ok(Told::Applied(Run { id: id.into(), workspace: format!("{organization}/{workspace}").into() }))
}

fn word<'a>(text: Option<&'a str>, part: &'static str) -> Result<&'a str, Bad> {
    let plain =
        |text: &&str| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    text.filter(plain).ok_or(Bad::Part(part))
}

#[cfg(test)]
mod tests;
