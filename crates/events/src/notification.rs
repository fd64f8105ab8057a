//! Reads Auto Scaling's own notifications: those of a hook to SNS, SQS or a function, those of a group to SNS, and the tests of
//! both.

use std::borrow::Cow;

use super::json::Fields;
use super::lifecycle::{self, Transition};
use super::rejection::{Ours, Rejection};
use super::{EventContent, Informational};

/// Reads a notification, as JSON or as lines.
pub(super) fn read(fields: &impl Fields, ours: Ours<'_>) -> Result<EventContent, Rejection> {
    if fields.text("Service")?.is_some_and(|service| service != "AWS Auto Scaling") {
        return Err(Rejection::Contradiction("a notification of Auto Scaling from another service"));
    }
    let event = fields.text("Event")?;
    let transition = fields.text("LifecycleTransition")?;
    let is_test =
        |text: &Option<Cow<'_, str>>| matches!(text.as_deref(), Some("autoscaling:TEST_NOTIFICATION" | "TEST_NOTIFICATION"));
    match fields.text("AccountId")? {
        Some(account) => ours.account(&account)?,
        // If accounts are listed, a notification without one is not allowed. A test does nothing, so it may have none.
        None if !ours.allowed.accounts.is_empty() && !is_test(&event) && !is_test(&transition) => {
            return Err(Rejection::Unnamed("AWS account"));
        }
        None => {}
    }
    match (&event, &transition) {
        (None, Some(_)) if is_test(&transition) => Ok(EventContent::Test),
        (Some(_), None) if is_test(&event) => Ok(EventContent::Test),
        (Some(_), Some(_)) => Err(Rejection::Contradiction("a notification of a group and of a hook at once")),
        (Some(_), None) => Ok(EventContent::Informational(Informational::GroupActivity)),
        (None, None) => Err(Rejection::Missing { field: "LifecycleTransition" }),
        (None, Some(_)) => {
            let transition = Transition::read(fields)?.ok_or(Rejection::Missing { field: "LifecycleTransition" })?;
            lifecycle::read(fields, transition, lifecycle::time(fields, "Time")?, ours)
        }
    }
}

/// A notification as SNS writes it for people: one line for each field.
pub(super) struct Lines<'a>(Vec<(&'a str, &'a str)>);

/// The most lines that are read. A notification has a dozen.
const MOST_LINES: usize = 64;

impl<'a> Lines<'a> {
    /// Reads the lines, if they are those of a notification.
    pub(super) fn read(text: &'a str) -> Option<Self> {
        let lines: Vec<_> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(key, value)| (key.trim(), value.trim()))
            .take(MOST_LINES)
            .collect();
        lines.iter().any(|(key, _)| matches!(*key, "LifecycleTransition" | "Event")).then_some(Self(lines))
    }
}

impl Fields for Lines<'_> {
    fn text(&self, field: &'static str) -> Result<Option<Cow<'_, str>>, Rejection> {
        let mut found = self.0.iter().filter(|(key, _)| *key == field);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Rejection::Twice { field }),
            (Some((_, value)), None) => Ok(Some(Cow::Borrowed(*value)).filter(|value| !value.is_empty())),
            (None, None) => Ok(None),
        }
    }
}
