//! Why an event is rejected: described by its shape, never by its content.

use std::sync::Arc;

use strum::{IntoStaticStr, VariantNames};

use decamp_config::Allowed;
use decamp_core::ids::BadName;

/// Why a record cannot be acted on. Neither `Display` nor `Debug` repeats any text of the record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum Rejection {
    /// Larger than any event of AWS.
    #[error("{bytes} bytes, and an event has at most {most}")]
    TooLarge {
        /// How large it is.
        bytes: usize,
        /// How large it may be.
        most: usize,
    },
    /// Nested deeper than any event.
    #[error("nested deeper than {most} levels")]
    TooDeep {
        /// How deep it may be.
        most: usize,
    },
    /// More of something than any event has.
    #[error("more than {most} {what}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many there may be.
        most: usize,
    },
    /// Bytes that are not UTF-8.
    #[error("not UTF-8 text")]
    NotText,
    /// Not JSON, or cut off.
    #[error("not valid JSON")]
    NotJson,
    /// Valid JSON, but not an event that decamp knows.
    #[error("not an event that decamp knows: {shape}")]
    Unknown {
        /// Its kind of value, and AWS's own names in it.
        shape: String,
    },
    /// A required field is missing.
    #[error("`{field}` is missing")]
    Missing {
        /// Which.
        field: &'static str,
    },
    /// A field is given twice, so its value is unclear.
    #[error("`{field}` is given twice")]
    Twice {
        /// Which.
        field: &'static str,
    },
    /// A field has the wrong type.
    #[error("`{field}` is not {expected}")]
    WrongType {
        /// Which.
        field: &'static str,
        /// What it should be, with an article.
        expected: &'static str,
    },
    /// A field has a text that does not fit its grammar.
    #[error("`{field}` is not {expected}")]
    #[strum(serialize = "bad-name")]
    Bad {
        /// Which.
        field: &'static str,
        /// What it should be, with an article.
        expected: &'static str,
    },
    /// Two parts of it contradict each other.
    #[error("it contradicts itself: {0}")]
    Contradiction(&'static str),
    /// It does not name an account or Region although the settings list the allowed ones.
    #[error("it names no {0}, and only those of a list are allowed")]
    Unnamed(&'static str),
    /// It is about something that is not ours.
    #[error("not ours: {0}")]
    Foreign(Foreign),
}

/// The allow-list that an event is not in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, IntoStaticStr, VariantNames)]
#[strum(prefix = "foreign-", serialize_all = "kebab-case")]
pub enum Foreign {
    /// Of another AWS account.
    #[error("of another account")]
    Account,
    /// Of another Region.
    #[error("of another Region")]
    Region,
    /// Of an Auto Scaling group that is not in the list.
    #[error("of an Auto Scaling group that is not in the list")]
    Group,
    /// Of another lifecycle hook of one of our groups. Common if a group has several.
    #[error("of a lifecycle hook that is not in the list")]
    Hook,
}

impl Rejection {
    /// Rejects a field whose text does not fit its grammar.
    pub(super) fn bad(field: &'static str) -> impl FnOnce(BadName) -> Self {
        move |BadName { expected }| Self::Bad { field, expected }
    }

    /// The word for metrics and logs.
    #[must_use]
    pub fn word(&self) -> &'static str {
        if let Self::Foreign(of) = self { of.into() } else { self.into() }
    }

    /// All words.
    pub fn words() -> impl Iterator<Item = &'static str> {
        Self::VARIANTS.iter().filter(|word| **word != "foreign").chain(Foreign::VARIANTS).copied()
    }

    /// Whether it is expected and needs no attention: the same EventBridge rule also sends the events of other tools' hooks on our
    /// groups.
    #[must_use]
    pub fn is_everyday(&self) -> bool {
        matches!(self, Self::Foreign(Foreign::Hook))
    }
}

/// The allow-lists for events.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours<'a> {
    pub(super) allowed: &'a Allowed,
    /// Our terminating hooks; empty: all.
    pub(super) hooks: &'a [Arc<str>],
}

impl Ours<'_> {
    pub(super) fn account(self, account: &str) -> Result<(), Rejection> {
        refuse_unless(self.allowed.account(account), Foreign::Account)
    }

    pub(super) fn region(self, region: &str) -> Result<(), Rejection> {
        refuse_unless(self.allowed.region(region), Foreign::Region)
    }

    pub(super) fn group(self, group: &str) -> Result<(), Rejection> {
        refuse_unless(self.allowed.group(group), Foreign::Group)
    }

    pub(super) fn hook(self, hook: &str) -> Result<(), Rejection> {
        refuse_unless(self.hooks.is_empty() || self.hooks.iter().any(|ours| **ours == *hook), Foreign::Hook)
    }
}

fn refuse_unless(is_ours: bool, foreign: Foreign) -> Result<(), Rejection> {
    if is_ours { Ok(()) } else { Err(Rejection::Foreign(foreign)) }
}
