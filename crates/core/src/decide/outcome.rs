//! How a departure ended.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use strum::{IntoStaticStr, VariantNames};

use super::Reason;
use crate::time::Time;

/// How a departure ended. All but `Departed` name an exception, so that nobody takes it for success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "kebab-case", tag = "outcome")]
#[strum(serialize_all = "kebab-case")]
pub enum Outcome {
    /// Everything was seen to be gone, and the action was completed.
    Departed {
        /// Another terminating hook that the instance waits in now.
        waiting_for: Option<Arc<str>>,
    },
    /// As departed, but a deadline or a forced drain cut allocations short.
    Forced,
    /// As departed, but service discovery could not be seen, or not wholly, or still lists something of it as routable, or a target that
    /// may be its own is still registered.
    Unconfirmed {
        /// What stopped while Consul could not be read, if anything did.
        #[serde(skip_serializing_if = "Option::is_none")]
        unseen: Option<StoppedUnseen>,
        /// Whether a deadline or a forced drain cut allocations short as well.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
        /// CSI volumes that it may still claim, because decamp's token may not read them.
        #[serde(skip_serializing_if = "is_empty")]
        unread: Arc<[Arc<str>]>,
    },
    /// Its allocations are over, and data was left on it: disks that no replacement has, volumes that it claims, or data in host volumes
    /// that nobody let go; the action was completed by `on_timeout`.
    DataLeft {
        /// Job and group of the disks, each once.
        titles: Arc<[Arc<str>]>,
        /// CSI volumes that it still claims, each once.
        #[serde(skip_serializing_if = "is_empty")]
        claims: Arc<[Arc<str>]>,
        /// Host volumes that went with it although the settings hold them, each once.
        #[serde(skip_serializing_if = "is_empty")]
        local: Arc<[Arc<str>]>,
        /// Whether a deadline or a forced drain cut allocations short as well.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        cut: bool,
    },
    /// The end came before everything was gone; the action was completed by `on_timeout`.
    TimedOut,
    /// Abandoned under a retention policy: the instance is kept, and billed, until somebody terminates it.
    Retained,
    /// Nomad's agent on the node is dead; completed by `on_timeout` after the bound.
    AgentDead,
    /// No Nomad node is this instance; its load balancers were left, then the action was completed.
    NoNode,
    /// Auto Scaling no longer lists the instance.
    Gone,
    /// The hook ran out before we completed it, as far as anybody can tell.
    Expired,
    /// Another worker, or somebody else, completed it while we worked: it ended before the hook could have run out by itself.
    Overtaken,
    /// It was past its hook, or the time of EC2's notice, before we first looked.
    AlreadyPast,
    /// It is not leaving, says the live look. What was written before that look stays.
    NotLeaving,
    /// It waits, but in no hook of ours. What was written before that was seen stays.
    NotOurs,
    /// A spot instance: out of its load balancers and drained as far as the time allowed. There is no action to complete.
    Interrupted,
    /// Our Nomad token cannot see enough, and the caller wanted to be told before anything is written.
    Refused {
        /// What it lacks.
        why: Arc<str>,
    },
}

fn is_empty(all: &Arc<[Arc<str>]>) -> bool {
    all.is_empty()
}

/// What stopped while Consul could not be read. An ingress may have gone on sending to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoppedUnseen {
    /// The outage began after this time.
    pub after: Time,
    /// It was over by this time. `None` if it was not.
    pub before: Option<Time>,
    /// Job and group of what stopped in that time, each once.
    pub titles: Arc<[Arc<str>]>,
}

impl fmt::Display for StoppedUnseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { after, before, titles } = self;
        match before {
            Some(before) => write!(f, "Consul could not be seen for a time between {after} and {before}, in which ")?,
            None => write!(f, "Consul could not be seen from some time after {after} on, and since then ")?,
        }
        f.write_str(&listed(titles))?;
        f.write_str(" stopped: an ingress may have gone on sending to what was gone")
    }
}

/// Names for an outcome, each once.
pub(super) fn each_once(names: impl Iterator<Item = Arc<str>>) -> Arc<[Arc<str>]> {
    let mut all: Vec<Arc<str>> = Vec::new();
    for name in names {
        if !all.contains(&name) {
            all.push(name);
        }
    }
    all.into()
}

/// The most task groups that a sentence names.
const MOST_TITLES: usize = 5;

/// The titles as part of a sentence.
fn listed(titles: &[Arc<str>]) -> String {
    let named: Vec<&str> = titles.iter().take(MOST_TITLES).map(|title| &**title).collect();
    let more = titles.len().saturating_sub(MOST_TITLES);
    if more == 0 { named.join(", ") } else { format!("{} and {more} more", named.join(", ")) }
}

impl Outcome {
    /// All names.
    pub const WORDS: &'static [&'static str] = Self::VARIANTS;

    /// The name for logs, metrics and exit codes.
    #[must_use]
    pub fn word(&self) -> &'static str {
        self.into()
    }

    /// Whether a departure that ended like this stopped anything that could be compared with what was foreseen. Nothing is compared of one
    /// that another party ended, because nobody knows what happened after the last look.
    #[must_use]
    pub fn is_compared(&self) -> bool {
        match self {
            Self::Departed { .. }
            | Self::Forced
            | Self::Unconfirmed { .. }
            | Self::DataLeft { .. }
            | Self::TimedOut
            | Self::Retained
            | Self::AgentDead
            | Self::NoNode
            | Self::Interrupted => true,
            Self::Gone
            | Self::Expired
            | Self::Overtaken
            | Self::AlreadyPast
            | Self::NotLeaving
            | Self::NotOurs
            | Self::Refused { .. } => false,
        }
    }

    /// Whether a reason says more than the outcome itself. The others would print "it was past its hook, because it is past its hook".
    #[must_use]
    pub fn is_explained_by(&self, reason: &Reason) -> bool {
        let late = matches!(self, Self::TimedOut | Self::AlreadyPast | Self::Expired);
        let repeats = matches!(
            reason,
            Reason::PastItsHook | Reason::ActionCompleted | Reason::NotListed | Reason::NoHookOfOurs | Reason::NoSight(_)
        );
        !(repeats || late && *reason == Reason::TimeIsUp)
    }

    /// A description.
    #[must_use]
    pub fn meaning(&self) -> Cow<'static, str> {
        if let Self::Unconfirmed { unseen, cut, unread } = self
            && (unseen.is_some() || !unread.is_empty())
        {
            let cut = if *cut { "; some were cut short by a deadline" } else { "" };
            let unread = (!unread.is_empty()).then(|| {
                format!("Nomad did not show decamp's token (csi-read-volume) whether it has released {}", listed(unread))
            });
            let why: Vec<String> = unseen.as_ref().map(ToString::to_string).into_iter().chain(unread).collect();
            return Cow::Owned(format!("its allocations are over, but {}{cut}", why.join(", and ")));
        }
        if let Self::DataLeft { titles, claims, local, cut } = self {
            let cut = if *cut { "; some were cut short by a deadline" } else { "" };
            let kinds = [
                ("no replacement has the disk of", titles),
                ("Nomad has not released its claim on", claims),
                ("the machine took along the data in", local),
            ];
            let left = kinds.iter().filter(|(_, all)| !all.is_empty()).map(|(what, all)| format!("{what} {}", listed(all)));
            return Cow::Owned(format!("its allocations are over, but {}{cut}", left.collect::<Vec<_>>().join(", and ")));
        }
        Cow::Borrowed(match self {
            Self::Departed { waiting_for: None } => "nothing was left on the instance, and its lifecycle action was completed",
            Self::Departed { waiting_for: Some(_) } => "nothing was left on the instance; another hook still holds it",
            Self::Forced => "nothing was left on the instance, but some allocations were cut short by a deadline",
            Self::Unconfirmed { cut: true, .. } => {
                "its allocations are over, some of them cut short by a deadline, and discovery or a load balancer may still send to some"
            }
            Self::Unconfirmed { cut: false, .. } => {
                "its allocations are over, but discovery or a load balancer may still send to some of them"
            }
            Self::DataLeft { .. } => "its allocations are over, but data was left on it",
            Self::TimedOut => "the time was up before everything was gone",
            Self::Retained => "the time was up; the instance is kept until somebody terminates it",
            Self::AgentDead => "Nomad's agent on it is dead, so nobody can stop or watch its processes",
            Self::NoNode => "no Nomad node is this instance; it left its load balancers",
            Self::Gone => "Auto Scaling no longer lists the instance",
            Self::Expired => "its hook ended without us",
            Self::Overtaken => "somebody else completed its action while we worked",
            Self::AlreadyPast => "it was past its hook, or the time of EC2's notice, before we looked",
            Self::NotLeaving => "it is not leaving, so decamp writes nothing more",
            Self::NotOurs => "it waits in no hook of ours, so decamp writes nothing more",
            Self::Interrupted => "EC2 takes it back; what could be done in time was done",
            Self::Refused { .. } => "refused before anything was written",
        })
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}
