//! Reads the notifications of HCP Terraform and Terraform Enterprise (payloads of any version). Pure.
//!
//! The caller has verified the signature. A notification that is not about an applied run is valid and needs nothing: Terraform
//! shows an answer other than 200 as a failed delivery, and turns a notification off whose test fails.

use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use strum::VariantNames as _;

use decamp_core::time::Time;

/// The age up to which an applied run is acted on (ADR 0028).
pub const OLDEST: Duration = Duration::from_hours(1);
/// How far Terraform's clock may be ahead of ours.
const AHEAD: Duration = Duration::from_mins(5);

/// The content of a notification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunNotification {
    /// The test of a new notification.
    Verification,
    /// A run was applied.
    Applied(Run),
    /// Another event, which needs nothing.
    Other(Other),
}

/// Events other than applied runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::IntoStaticStr, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Other {
    /// A run that is in progress, has failed or has applied nothing.
    OtherRun,
    /// An applied run of a workspace in our organization that has no groups in the settings.
    OtherWorkspace,
    /// Drift, a failed check or a failed assessment of a workspace's health.
    Assessment,
    /// A reminder of an automatic destruction, or its result.
    AutoDestroy,
    /// A change request of a team.
    ChangeRequest,
    /// A kind or a form of payload that this version does not know.
    Unknown,
}

impl Other {
    /// All words.
    pub const WORDS: &'static [&'static str] = Self::VARIANTS;

    /// The word for metrics and answers.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The kind of a trigger that is not an applied run.
    fn of(trigger: &str) -> Self {
        match trigger.split_once(':') {
            Some(("run", _)) => Self::OtherRun,
            Some(("assessment", _)) => Self::Assessment,
            Some(("workspace", kind)) if kind.starts_with("auto_destro") => Self::AutoDestroy,
            Some(("change_request", _) | ("team", "change_request")) => Self::ChangeRequest,
            Some(_) | None => Self::Unknown,
        }
    }
}

/// A run that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its id.
    pub id: Arc<str>,
    /// `ORGANIZATION/WORKSPACE`.
    pub workspace: Arc<str>,
}

/// Why a notification cannot be acted on. No message repeats its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not a JSON object.
    #[error("the notification is not a JSON object; Terraform sends one with `notifications`")]
    NotAnObject,
    /// A required field of an applied run is missing or invalid.
    #[error("the notification tells of an applied run, but its `{0}` is missing or cannot be read")]
    Field(&'static str),
    /// The run was applied too long ago or in the future.
    #[error(
        "the notification tells of a run that was not applied within the last hour; a notification starts a refresh for an hour"
    )]
    OutOfTime,
}

/// The fields that matter. All others may be anything.
#[derive(Deserialize)]
struct Payload {
    #[serde(default)]
    payload_version: Value,
    #[serde(default)]
    run_id: Value,
    #[serde(default)]
    workspace_name: Value,
    #[serde(default)]
    organization_name: Value,
    /// Payloads of the second version report one event and have its trigger here.
    #[serde(default)]
    trigger: Value,
    #[serde(default)]
    notifications: Value,
}

/// Reads a notification.
///
/// # Errors
///
/// Why it cannot be acted on.
pub fn read(body: &[u8], now: Time) -> Result<RunNotification, Invalid> {
    // The fields that are skipped must be text too.
    let text = std::str::from_utf8(body).map_err(|_| Invalid::NotAnObject)?;
    if !text.trim_start().starts_with('{') {
        return Err(Invalid::NotAnObject);
    }
    let payload: Payload = serde_json::from_str(text).map_err(|_| Invalid::NotAnObject)?;
    let all = payload.notifications.as_array().map(Vec::as_slice).unwrap_or_default();
    let part = |of: &Value, name: &str| of.get(name).and_then(Value::as_str).map(str::to_owned);
    let triggers: Vec<String> = all.iter().filter_map(|one| part(one, "trigger")).collect();
    if triggers.iter().any(|trigger| trigger == "verification") {
        return Ok(RunNotification::Verification);
    }
    // A run without changes is completed too.
    let applied = |one: &&Value| {
        part(one, "trigger").as_deref() == Some("run:completed") && part(one, "run_status").as_deref() == Some("applied")
    };
    // A later version, which is written as a text, may use the same words with another meaning.
    let is_known = payload.payload_version == 1;
    let Some(applied) = all.iter().find(applied).filter(|_| is_known) else {
        let trigger = triggers.first().map(String::as_str).or(payload.trigger.as_str());
        let other = trigger.map_or(Other::Unknown, Other::of);
        return Ok(RunNotification::Other(if !is_known && other == Other::OtherRun { Other::Unknown } else { other }));
    };
    let id = word(&payload.run_id, "run_id")?;
    let organization = word(&payload.organization_name, "organization_name")?;
    let workspace = word(&payload.workspace_name, "workspace_name")?;
    let at = part(applied, "run_updated_at").as_deref().and_then(Time::read).ok_or(Invalid::Field("run_updated_at"))?;
    if OLDEST < now.since(at) || AHEAD < at.since(now) {
        return Err(Invalid::OutOfTime);
    }
    Ok(RunNotification::Applied(Run { id: id.into(), workspace: format!("{organization}/{workspace}").into() }))
}

fn word<'a>(value: &'a Value, part: &'static str) -> Result<&'a str, Invalid> {
    let plain =
        |text: &&str| (1..=128).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
    value.as_str().filter(plain).ok_or(Invalid::Field(part))
}

#[cfg(test)]
mod tests;
