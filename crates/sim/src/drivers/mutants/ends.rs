//! Wrong about the end: when it hurries, what it takes for lost, and what it says when others have been there.

use std::time::Duration;

use super::How::Sees;
use super::Wrong;
use crate::faults::Fault;

pub(super) const WRONG: &[Wrong] = &[Wrong {
    name: "believes-every-claim",
    mistake: "It leaves every stop the time that its job claims, and cuts everybody's deadline by it.",
    faults: &[Fault::ClaimsHours],
    how: Sees(|view| view.policy.max_kill_timeout = Duration::MAX),
}];
