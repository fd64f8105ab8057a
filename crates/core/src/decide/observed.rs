//! Parts of the world, observed or not. A part is known only by a successful look after our last write to it.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use strum::{IntoStaticStr, VariantNames};

use crate::time::Time;

/// The systems that decamp reads, and that can be away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, IntoStaticStr, VariantNames)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum System {
    /// EC2 Auto Scaling.
    AutoScaling,
    /// Elastic Load Balancing v2.
    LoadBalancers,
    /// Nomad's API.
    Nomad,
    /// Consul's API.
    Consul,
}

impl System {
    /// The name for metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl fmt::Display for System {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AutoScaling => "Auto Scaling",
            Self::LoadBalancers => "Elastic Load Balancing",
            Self::Nomad => "Nomad",
            Self::Consul => "Consul",
        })
    }
}

/// Why a part could not be read. None of these is an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case", tag = "kind", content = "detail")]
pub enum Unseen {
    /// No answer, a time-out, a 5xx, or an answer that is not the API's.
    Away(Arc<str>),
    /// Too many requests.
    Throttled,
    /// Access denied (403, expired token).
    Denied(Arc<str>),
    /// A server answered that lags behind our own last write.
    Stale,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(why) => f.write_str(why),
            Self::Throttled => f.write_str("throttled"),
            Self::Denied(why) => write!(f, "denied: {why}"),
            Self::Stale => f.write_str("an answer older than our own last write"),
        }
    }
}

/// One part of the world, as this run observed it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Observed<T> {
    /// The last successful observation, and when it was made. It may be outdated: see `fresh`.
    last: Option<(Time, T)>,
    /// Whether this run has not changed the part since then, and no later look failed.
    fresh: bool,
    /// The failed looks since then.
    blind: Option<Blind>,
}

/// A series of failed looks at one part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Blind {
    /// Why the last of them failed.
    pub why: Unseen,
    /// When the first of them failed.
    pub since: Time,
    /// When the last of them failed.
    pub tried: Time,
    /// How many there were.
    pub tries: u32,
}

impl<T> Default for Observed<T> {
    fn default() -> Self {
        Self { last: None, fresh: false, blind: None }
    }
}

impl<T> Observed<T> {
    /// A part that was read once, just now.
    pub fn seen(at: Time, what: T) -> Self {
        Self { last: Some((at, what)), fresh: true, blind: None }
    }

    /// The current state: read after our last write to it, and by the latest look.
    pub fn now(&self) -> Option<&T> {
        self.last.as_ref().filter(|_| self.fresh).map(|(_, what)| what)
    }

    /// The last observation, however old. Good for names, budgets and reports, but no proof that something is over.
    pub fn last(&self) -> Option<&T> {
        self.last.as_ref().map(|(_, what)| what)
    }

    /// When the last successful look was asked for. `None` before the first.
    pub fn at(&self) -> Option<Time> {
        self.last.as_ref().map(|(at, _)| *at)
    }

    /// The same, if it still shows the current state.
    pub fn fresh_at(&self) -> Option<Time> {
        self.at().filter(|_| self.fresh)
    }

    /// The failed looks since the last successful one.
    pub fn blind(&self) -> Option<&Blind> {
        self.blind.as_ref()
    }

    /// Our own write changed this part, so what was read before proves nothing any more.
    pub fn expire(&mut self) {
        self.fresh = false;
    }

    /// Changes the last observation, for wrong drivers that see what is not there.
    #[cfg(any(test, feature = "mutants"))]
    pub fn edit(&mut self, change: impl FnOnce(&mut T)) {
        if let Some((_, what)) = &mut self.last {
            change(what);
        }
    }

    /// Takes in one look.
    pub fn take(&mut self, at: Time, look: Result<T, Unseen>) {
        match look {
            Ok(what) => *self = Self::seen(at, what),
            Err(why) => {
                self.fresh = false;
                let (since, tries) = self.blind.as_ref().map_or((at, 0), |b| (b.since, b.tries));
                self.blind = Some(Blind { why, since, tried: at, tries: tries.saturating_add(1) });
            }
        }
    }
}
