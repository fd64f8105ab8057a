//! An instance refresh: its preferences and its status.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::decide::Refusal;
use crate::time::Time;

/// The longest pause that AWS allows at a checkpoint, and the longest bake time.
const LONGEST_PAUSE: Duration = Duration::from_hours(48);

/// The preferences of a refresh. AWS, or the group's maintenance policy, decides those that are `None`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preferences {
    /// `MinHealthyPercentage`: the least share of the desired capacity that stays healthy.
    pub min_healthy: Option<u32>,
    /// `MaxHealthyPercentage`: the largest share of the desired capacity that runs.
    pub max_healthy: Option<u32>,
    /// `InstanceWarmup`: how long a new instance serves before it counts.
    pub warm_up: Option<Duration>,
    /// `CheckpointPercentages`, ascending: the refresh pauses when this share is replaced.
    pub checkpoints: Vec<u32>,
    /// `CheckpointDelay`: how long it pauses at a checkpoint.
    pub checkpoint_delay: Option<Duration>,
    /// `BakeTime`: how long it waits at the end.
    pub bake: Option<Duration>,
    /// `SkipMatching`: keep instances that already match.
    pub skip_matching: bool,
    /// `AutoRollback`: roll a failed refresh back.
    pub auto_rollback: bool,
}

impl Default for Preferences {
    fn default() -> Self {
        Self {
            min_healthy: None,
            max_healthy: None,
            warm_up: None,
            checkpoints: Vec::new(),
            checkpoint_delay: None,
            bake: None,
            // A second event about the same change must not replace new instances again.
            skip_matching: true,
            auto_rollback: false,
        }
    }
}

impl Preferences {
    /// Checks whether AWS accepts these preferences.
    ///
    /// # Errors
    ///
    /// A sentence that says what to change.
    pub fn check(&self) -> Result<(), String> {
        let (least, most) = (self.min_healthy.unwrap_or(90), self.max_healthy.unwrap_or(100));
        if 100 < least {
            return Err(format!("a minimum of {least} % is not possible; write 0 to 100"));
        }
        if !(100..=200).contains(&most) {
            return Err(format!("a maximum of {most} % is not possible; write 100 to 200"));
        }
        if self.max_healthy.is_some() && self.min_healthy.is_none() {
            return Err("a maximum needs a minimum; write both".to_owned());
        }
        if 100 < most.saturating_sub(least) {
            return Err(format!("from {least} to {most} % is too wide; let them differ by 100 at most"));
        }
        if !self.checkpoints.is_sorted_by(|one, next| one < next) || self.checkpoints.iter().any(|c| !(1..=100).contains(c)) {
            return Err("checkpoints ascend, from 1 to 100".to_owned());
        }
        if self.checkpoints.is_empty() && self.checkpoint_delay.is_some() {
            return Err("a delay at checkpoints needs checkpoints".to_owned());
        }
        for (what, span) in [("a checkpoint", self.checkpoint_delay), ("baking", self.bake)] {
            if span.is_some_and(|span| LONGEST_PAUSE < span) {
                return Err(format!("{what} takes 48h at most"));
            }
        }
        Ok(())
    }
}

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// The status of a refresh, as AWS names it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
        pub enum Status {
            $($(#[$doc])* $name,)*
        }

        impl Status {
            /// Every status.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// AWS's name for it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

statuses! {
    /// It has not begun.
    Pending,
    /// It replaces instances.
    InProgress,
    /// All instances are replaced, and it waits for its bake time.
    Baking,
    /// It has ended, and every instance is new.
    Successful,
    /// It failed.
    Failed,
    /// It was cancelled, and waits for replacements that have begun.
    Cancelling,
    /// It was cancelled. Replaced instances stay.
    Cancelled,
    /// It rolls back.
    RollbackInProgress,
    /// The rollback failed.
    RollbackFailed,
    /// It rolled back.
    RollbackSuccessful,
    /// A status that this version does not know.
    Unknown,
}

impl Status {
    /// Finds a status by its name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self::ALL.iter().copied().find(|status| status.name() == name).unwrap_or(Self::Unknown)
    }

    /// Whether it has ended. An unknown status may not have.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Successful | Self::Failed | Self::Cancelled | Self::RollbackFailed | Self::RollbackSuccessful => true,
            Self::Pending | Self::InProgress | Self::Baking | Self::Cancelling | Self::RollbackInProgress | Self::Unknown => {
                false
            }
        }
    }

    /// Whether it will still replace outdated instances. An unknown status does not count as such.
    #[must_use]
    pub fn goes_forward(self) -> bool {
        match self {
            Self::Pending | Self::InProgress | Self::Baking => true,
            Self::Successful
            | Self::Failed
            | Self::Cancelling
            | Self::Cancelled
            | Self::RollbackInProgress
            | Self::RollbackFailed
            | Self::RollbackSuccessful
            | Self::Unknown => false,
        }
    }

    /// A description.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Pending => "it has not begun",
            Self::InProgress => "it replaces instances",
            Self::Baking => "all instances are replaced, and it waits for its bake time",
            Self::Successful => "every instance is as it should be",
            Self::Failed => "it gave up",
            Self::Cancelling => "it is being cancelled, and waits for replacements that have begun",
            Self::Cancelled => "it was stopped, and what was replaced stays so",
            Self::RollbackInProgress => "it rolls back",
            Self::RollbackFailed => "its rollback failed",
            Self::RollbackSuccessful => "it rolled back",
            Self::Unknown => "it is in a status that this version does not know",
        }
    }
}

/// A refresh and its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Refresh {
    /// Its id.
    pub id: Arc<str>,
    /// Its Auto Scaling group.
    pub group: Arc<str>,
    /// Its status.
    pub status: Status,
    /// Why, in AWS's words.
    pub why: Option<Arc<str>>,
    /// When it began.
    pub began: Option<Time>,
    /// When it ended.
    pub ended: Option<Time>,
    /// How much of it is complete.
    pub percentage: Option<u32>,
    /// Instances that are still to be replaced.
    pub to_update: Option<u32>,
}

/// The refresh that is in progress, else the one that began last. AWS lists the newest first, and reports the beginning in whole seconds.
#[must_use]
pub fn newest(all: Vec<Refresh>) -> Option<Refresh> {
    // Of two that began in the same second, the first in the list is the newer one.
    all.into_iter().rev().max_by_key(|refresh| (!refresh.status.is_over(), refresh.began))
}

/// Why a refresh was not started, cancelled or rolled back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotDone {
    /// `InstanceRefreshInProgress`: a group has one refresh at a time.
    #[error("a refresh of the group is under way")]
    UnderWay,
    /// A refresh is in progress, and is being cancelled or rolled back. It replaces no more instances, and no other refresh can start yet.
    #[error("a refresh of the group is under way and {name}: {meaning}", name = .0.name(), meaning = .0.meaning())]
    BeingUndone(
        /// Its status.
        Status,
    ),
    /// `ActiveInstanceRefreshNotFound`.
    #[error("no refresh of the group is under way")]
    NoneUnderWay,
    /// `IrreversibleInstanceRefresh`: it was started without a version to roll back to.
    #[error("the refresh cannot be rolled back")]
    Irreversible,
    /// Anything else.
    #[error("{0}")]
    Refused(Refusal),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_found_by_its_name_and_what_is_unknown_is_not_over() {
        for &status in Status::ALL {
            assert_eq!(Status::named(status.name()), status);
        }
        assert_eq!(Status::named("Dreaming"), Status::Unknown);
        assert!(!Status::Unknown.is_over());
        assert_eq!(Status::ALL.iter().filter(|status| status.is_over()).count(), 5);
        let forward: Vec<&str> = Status::ALL.iter().filter(|status| status.goes_forward()).map(|status| status.name()).collect();
        assert_eq!(forward, ["Pending", "InProgress", "Baking"]);
    }

    #[test]
    fn the_newest_is_the_one_under_way_and_else_the_one_that_began_last() {
        let of = |id: &str, status, began: u64| Refresh {
            id: id.into(),
            group: "web".into(),
            status,
            why: None,
            began: Some(Time(began)),
            ended: None,
            percentage: None,
            to_update: None,
        };
        let over = [of("a", Status::Failed, 3), of("b", Status::Successful, 9), of("c", Status::Cancelled, 5)];
        let id = |all: &[Refresh]| newest(all.to_vec()).map(|refresh| refresh.id.to_string());
        assert_eq!(id(&over).as_deref(), Some("b"));
        assert_eq!(id(&[&over[..], &[of("d", Status::Baking, 1)]].concat()).as_deref(), Some("d"));
        assert_eq!(id(&[of("later", Status::Failed, 9), of("before", Status::Cancelled, 9)]).as_deref(), Some("later"));
        assert_eq!(id(&[]), None);
    }

    #[test]
    fn preferences_that_aws_would_refuse_are_refused_with_what_to_change() {
        let usual = Preferences::default();
        let cases = [
            (Preferences { min_healthy: Some(101), ..usual.clone() }, "0 to 100"),
            (Preferences { min_healthy: Some(90), max_healthy: Some(99), ..usual.clone() }, "100 to 200"),
            (Preferences { min_healthy: Some(100), max_healthy: Some(201), ..usual.clone() }, "100 to 200"),
            (Preferences { max_healthy: Some(110), ..usual.clone() }, "write both"),
            (Preferences { min_healthy: Some(50), max_healthy: Some(151), ..usual.clone() }, "100 at most"),
            (Preferences { checkpoints: vec![50, 50], ..usual.clone() }, "ascend"),
            (Preferences { checkpoints: vec![0], ..usual.clone() }, "ascend"),
            (Preferences { checkpoints: vec![50, 101], ..usual.clone() }, "ascend"),
            (Preferences { checkpoint_delay: Some(Duration::from_secs(1)), ..usual.clone() }, "needs checkpoints"),
            (Preferences { bake: Some(LONGEST_PAUSE * 2), ..usual.clone() }, "48h"),
        ];
        for (preferences, sentence) in cases {
            let why = preferences.check().expect_err(sentence);
            assert!(why.contains(sentence), "{preferences:?}: {why}");
        }
        assert_eq!(usual.check(), Ok(()));
        let wide = Preferences { min_healthy: Some(100), max_healthy: Some(200), checkpoints: vec![1, 50, 100], ..usual };
        assert_eq!(wide.check(), Ok(()));
    }
}
