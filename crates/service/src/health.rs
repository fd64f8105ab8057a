//! Whether this replica can take work, and which systems it could not read last.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde::Serialize;
use utoipa::ToSchema;

use super::Service;
use super::departures::lock;
use decamp_core::decide;
use decamp_core::time::Time;

/// How each system answered last, by name, to a sweep or a departure.
#[derive(Debug, Default)]
pub(super) struct Health {
    seen: Mutex<BTreeMap<System, Seen>>,
    /// When the last successful sweep ended.
    swept: Mutex<Option<Time>>,
}

/// A system's name, and which one if there are several.
type System = (&'static str, Option<Arc<str>>);

#[derive(Debug)]
struct Seen {
    /// Whether it ever answered.
    ever: bool,
    now: Result<(), String>,
}

/// A part of the service that has a problem.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Ill {
    /// Which part.
    pub(super) what: &'static str,
    /// Why.
    pub(super) why: String,
}

impl Health {
    /// Records how a system answered.
    pub(super) fn saw(&self, system: &'static str, how: Result<(), String>) {
        self.note((system, None), how);
    }

    /// Records how one of several systems of a kind answered. A good answer of one does not hide a bad one of another. `None`:
    /// there is only one.
    pub(super) fn saw_one_of(&self, system: &'static str, which: Option<&Arc<str>>, how: Result<(), String>) {
        self.note((system, which.cloned()), how);
    }

    /// Records how a system that sweeps do not read answered to a departure of a cluster.
    pub(super) fn saw_for_a_departure(&self, system: decide::System, cluster: Option<&Arc<str>>, how: Result<(), String>) {
        match system {
            decide::System::LoadBalancers => self.saw("Elastic Load Balancing", how),
            decide::System::Consul => self.saw_one_of("Consul", cluster, how),
            decide::System::AutoScaling | decide::System::Nomad => {}
        }
    }

    /// Records that a system that sweeps do not read answered to a departure. It does not replace what another departure recorded.
    pub(super) fn saw_once(&self, system: decide::System) {
        let name = match system {
            decide::System::LoadBalancers => "Elastic Load Balancing",
            decide::System::Consul => "Consul",
            decide::System::AutoScaling | decide::System::Nomad => return,
        };
        lock(&self.seen).entry((name, None)).or_insert(Seen { ever: true, now: Ok(()) });
    }

    /// Records the end of a successful sweep.
    pub(super) fn swept(&self, now: Time) {
        *lock(&self.swept) = Some(now);
    }

    /// When the last successful sweep ended.
    pub(super) fn last_sweep(&self) -> Option<Time> {
        *lock(&self.swept)
    }

    /// How a system answered last; `None` if nobody has read it yet. Of several, the first that could not be read.
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

    /// Why this replica cannot take work. An outage of another system is no reason, because every replica can keep a departure
    /// alive meanwhile.
    pub(super) fn not_ready(service: &Service) -> Vec<Ill> {
        let mut ills = Vec::new();
        if *service.stopping.borrow() {
            ills.push(Ill { what: "this replica", why: "it was told to stop".to_owned() });
        }
        if service.departures.is_full() {
            ills.push(Ill { what: "departures", why: "this replica is at its limit".to_owned() });
        }
        let system = "Auto Scaling";
        match lock(&service.health.seen).get(&(system, None)) {
            Some(Seen { ever: true, .. }) => {}
            Some(Seen { now: Err(why), .. }) => ills.push(Ill { what: system, why: why.clone() }),
            Some(_) | None => ills.push(Ill { what: system, why: "it has not been seen yet".to_owned() }),
        }
        ills
    }

    /// The systems that could not be read at the last try.
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
