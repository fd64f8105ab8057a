//! Whether this replica can take work, and what it last could not see.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use utoipa::ToSchema;

use super::Service;
use super::departures::lock;
use decamp_core::decide;
use decamp_core::time::Time;

/// What was seen of the systems, by name, at the last sweep or by a departure.
#[derive(Debug, Default)]
pub(super) struct Health {
    seen: Mutex<BTreeMap<System, Seen>>,
    /// When the last sweep ended that saw what waits.
    swept: Mutex<Option<Time>>,
}

/// A system's name, and which one of those is meant where there are several.
type System = (&'static str, Option<Arc<str>>);

#[derive(Debug)]
struct Seen {
    /// Whether it was ever seen.
    ever: bool,
    now: Result<(), String>,
}

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Ill {
    /// Which part.
    pub(super) what: &'static str,
    /// Why.
    pub(super) why: String,
}

impl Health {
    /// Notes how a system was seen.
    pub(super) fn saw(&self, system: &'static str, how: Result<(), String>) {
        self.note((system, None), how);
    }

    /// Notes how one of several was seen: that one is well hides no other that is not. `None`: there is only one.
    pub(super) fn saw_one_of(&self, system: &'static str, which: Option<&Arc<str>>, how: Result<(), String>) {
        self.note((system, which.cloned()), how);
    }

    /// Notes how a departure of a cluster saw a system that no sweep looks at.
    pub(super) fn saw_for_a_departure(&self, system: decide::System, cluster: Option<&Arc<str>>, how: Result<(), String>) {
        match system {
            decide::System::LoadBalancers => self.saw("Elastic Load Balancing", how),
            decide::System::Consul => self.saw_one_of("Consul", cluster, how),
            decide::System::AutoScaling | decide::System::Nomad => {}
        }
    }

    /// Notes that a departure saw a system that no sweep looks at. That one sees it hides no other that does not.
    pub(super) fn saw_once(&self, system: decide::System) {
        let name = match system {
            decide::System::LoadBalancers => "Elastic Load Balancing",
            decide::System::Consul => "Consul",
            decide::System::AutoScaling | decide::System::Nomad => return,
        };
        lock(&self.seen).entry((name, None)).or_insert(Seen { ever: true, now: Ok(()) });
    }

    /// A sweep is over that saw what waits.
    pub(super) fn swept(&self, now: Time) {
        *lock(&self.swept) = Some(now);
    }

    /// When the last one was.
    pub(super) fn last_sweep(&self) -> Option<Time> {
        *lock(&self.swept)
    }

    /// How a system was seen last; nothing if nobody looked at it yet. Where there are several of it, the first that could not be seen.
    pub(super) fn reached(&self, system: &'static str) -> Option<Result<(), String>> {
        let seen = lock(&self.seen);
        let mut all = seen.iter().filter(|((what, _), _)| *what == system).map(|(_, seen)| &seen.now);
        let first = all.next()?;
        Some(all.fold(first, |one, other| if one.is_err() { one } else { other }).clone())
    }

    fn note(&self, system: System, how: Result<(), String>) {
        let mut seen = lock(&self.seen);
        let ever = how.is_ok() || seen.get(&system).is_some_and(|seen| seen.ever);
        seen.insert(system, Seen { ever, now: how });
    }

    /// Why no work can be taken: nothing else takes a replica out of service. An outage elsewhere does not, because an event that
    /// comes meanwhile is kept alive here as well as anywhere.
    pub(super) fn not_ready(service: &Service) -> Vec<Ill> {
        let mut ills = Vec::new();
        if *service.stopping.borrow() {
            ills.push(Ill { what: "this replica", why: "it was told to stop".to_owned() });
        }
        if service.departures.is_full() {
            ills.push(Ill { what: "departures", why: "as many are in hand as may be".to_owned() });
        }
        let system = "Auto Scaling";
        match lock(&service.health.seen).get(&(system, None)) {
            Some(Seen { ever: true, .. }) => {}
            Some(Seen { now: Err(why), .. }) => ills.push(Ill { what: system, why: why.clone() }),
            Some(_) | None => ills.push(Ill { what: system, why: "it has not been seen yet".to_owned() }),
        }
        ills
    }

    /// What could not be seen at last.
    pub(super) fn unseen(&self) -> Vec<Ill> {
        let seen = lock(&self.seen);
        let ill = |((what, which), seen): (&System, &Seen)| {
            let why = seen.now.as_ref().err()?;
            let why = which.as_ref().map_or_else(|| why.clone(), |which| format!("{which}: {why}"));
            Some(Ill { what, why })
        };
        seen.iter().filter_map(ill).collect()
    }
}
