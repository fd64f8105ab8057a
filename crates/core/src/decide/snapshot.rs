//! What this run has seen and written. A crash loses it, and the next look shows the current state.

mod answer_times;
pub mod auto_scaling;
mod balancer;
mod consul_outage;
pub mod discovery;
mod history;
pub mod jobs;
mod leftovers;
pub mod load_balancers;
pub mod nomad;
pub mod notes;
mod stops;
pub mod volumes;
mod writes;

use std::time::Duration;

use serde::Serialize;

pub use self::answer_times::*;
pub use self::auto_scaling::*;
pub use self::balancer::*;
pub use self::discovery::*;
pub use self::history::*;
pub use self::jobs::*;
pub use self::load_balancers::*;
pub use self::nomad::*;
pub use self::notes::*;
pub use self::stops::*;
pub use self::volumes::*;
pub use self::writes::*;
use super::action::{Effect, Part, Refusal};
use super::observed::{Observed, Unseen};
use crate::ids::{InstanceId, TargetGroupArn, TargetId};
use crate::time::Time;

/// An ingress may hear of a change this much later without harm, because its own margin allows for it. One lost answer means no more than
/// that either. An outage of Consul has to last this long.
pub const BRIEF: Duration = Duration::from_secs(3);

/// What a look at one part showed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Observation {
    /// Of `Part::Lifecycle`.
    Lifecycle(Result<Lifecycle, Unseen>),
    /// Of `Part::Group`.
    Group(Result<Group, Unseen>),
    /// Of `Part::TargetGroups`, one for each group asked for.
    TargetGroup(TargetGroupArn, Result<TargetGroup, Unseen>),
    /// Of `Part::Scan`.
    Scan(Result<Vec<TargetGroupArn>, Unseen>),
    /// Of `Part::Nomad`.
    Nomad(Result<Nomad, Unseen>),
    /// Of `Part::NomadToken`.
    NomadToken(Result<TokenAccess, Unseen>),
    /// Of `Part::Consul`.
    Consul(Result<Registrations, Unseen>),
    /// Of `Part::NomadServices`.
    NomadServices(Result<Registrations, Unseen>),
    /// Of `Part::Addresses`.
    Addresses(Result<Elsewhere, Unseen>),
}

impl Observation {
    /// Whether the look succeeded.
    #[must_use]
    pub fn is_seen(&self) -> bool {
        match self {
            Self::Lifecycle(look) => look.is_ok(),
            Self::Group(look) => look.is_ok(),
            Self::TargetGroup(_, look) => look.is_ok(),
            Self::Scan(look) => look.is_ok(),
            Self::Nomad(look) => look.is_ok(),
            Self::NomadToken(look) => look.is_ok(),
            Self::Consul(look) | Self::NomadServices(look) => look.is_ok(),
            Self::Addresses(look) => look.is_ok(),
        }
    }
}

/// What this run knows of the world.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Snapshot {
    /// The instance that leaves.
    #[serde(skip)]
    instance: Option<InstanceId>,
    /// Its lifecycle state.
    pub lifecycle: Observed<Lifecycle>,
    /// Its group's settings.
    pub group: Observed<Group>,
    /// The target groups that matter, in the order in which they were first read.
    pub balancers: Vec<Balancer>,
    /// Target groups that a scan found.
    pub scan: Observed<Vec<TargetGroupArn>>,
    /// Its nodes.
    pub nomad: Observed<Nomad>,
    /// What our Nomad token may read and write. The JSON of `decamp plan` keeps its first name.
    #[serde(rename = "nomad_sight")]
    pub nomad_token: Observed<TokenAccess>,
    /// Its registrations in Consul.
    pub consul: Observed<Registrations>,
    /// Its registrations in Nomad's own discovery.
    pub nomad_services: Observed<Registrations>,
    /// Who has the listed addresses that the instance is not known to have.
    pub elsewhere: Observed<Elsewhere>,
    /// What this run did, and what it remembers.
    pub history: History,
    /// Looks that are in progress and late. They are not made again before they are answered.
    #[serde(skip)]
    pub late: Vec<Part>,
}

impl Snapshot {
    /// A run that begins now, in a process that remembers the notes of earlier runs of the same departure.
    #[must_use]
    pub fn begin_again(instance: InstanceId, at: Time, remembered: &[Noted]) -> Self {
        let mut seen = Self::begin(instance, at);
        seen.history.noted = remembered.to_vec();
        seen
    }

    /// A run for this instance that begins now and has seen nothing.
    #[must_use]
    pub fn begin(instance: InstanceId, at: Time) -> Self {
        Self { instance: Some(instance), history: History::begin(at), ..Self::default() }
    }

    /// Whether this run has seen and done nothing yet.
    #[must_use]
    pub fn is_blank(&self) -> bool {
        // The fast path: most often something was seen.
        self.lifecycle.at().is_none() && self.nomad.at().is_none() && {
            let noted = self.history.noted.clone();
            let history = History { noted, sweep: self.history.sweep, ..History::begin(self.history.began) };
            *self == Self { instance: self.instance, history, late: self.late.clone(), ..Self::default() }
        }
    }

    /// Takes in the answer to a look that was asked for at `asked`. The answer counts as of that time, because it may not show anything
    /// later.
    pub fn take(&mut self, asked: Time, observation: Observation) {
        self.take_late(AnswerTimes::at_once(asked), observation);
    }

    /// The same for an answer that took some time.
    pub fn take_late(&mut self, when: AnswerTimes, observation: Observation) {
        let asked = when.asked;
        match observation {
            Observation::Lifecycle(look) => self.lifecycle.take(asked, look),
            Observation::Group(mut look) => {
                if let Ok(group) = &mut look {
                    // A later look need not ask for it again.
                    group.activity_began = group.activity_began.or(self.group.last().and_then(|before| before.activity_began));
                    self.history.see_hold(asked, self.group.last(), group.held);
                }
                self.group.take(asked, look);
            }
            Observation::Scan(look) => self.scan.take(asked, look),
            Observation::NomadToken(look) => {
                let saw_all = matches!(self.nomad_token.last(), Some(TokenAccess::Full));
                if !saw_all && matches!(look, Ok(TokenAccess::Full)) && self.nomad.at() != Some(asked) {
                    // What the token saw before, or meanwhile, proves nothing. The first look is still to come (ADR 0011).
                    self.nomad.expire();
                    self.history.first_nomad = None;
                }
                self.nomad_token.take(asked, look);
            }
            Observation::NomadServices(look) => {
                if let Ok(registrations) = &look {
                    self.history.see_leftovers(asked, registrations);
                }
                self.nomad_services.take(asked, look);
            }
            Observation::Addresses(look) => {
                let before = self.elsewhere.last().map(|elsewhere| elsewhere.held.clone()).unwrap_or_default();
                let together = |mut now: Elsewhere| {
                    // An address whose allocation elsewhere has stopped meanwhile does not become ours.
                    let gone: Vec<_> = before.into_iter().filter(|address| !now.held.contains(address)).collect();
                    now.held.extend(gone);
                    now
                };
                self.elsewhere.take(asked, look.map(together));
            }
            Observation::TargetGroup(arn, look) => {
                let of = self.instance;
                let healthy =
                    |t: &Target| t.health == TargetHealth::Healthy && of.is_some_and(|of| t.id == TargetId::Instance(of));
                self.history.was_healthy |= look.as_ref().is_ok_and(|group| group.listed().any(healthy));
                let balancer = self.balancer_mut(&arn);
                if let Ok(group) = &look {
                    balancer.see(of, when, group);
                }
                balancer.sight.take(asked, look);
            }
            Observation::Nomad(look) => {
                // Also before the look: what it shows to be over stopped until then.
                self.history.unseen_stops = self.unseen_stops(asked);
                let uses_local_data = self.local_data().next().is_some();
                if let Ok(nomad) = &look {
                    self.history.see_allocations(when, nomad);
                }
                self.nomad.take(asked, look);
                self.see_local_data(asked, uses_local_data);
                self.history.unseen_stops = self.unseen_stops(asked);
            }
            Observation::Consul(look) => {
                // A server that hung answers only once it is well again.
                let over = Some(when.answered).filter(|_| look.is_ok());
                let stretch = self.unseen_stops(asked).or_else(|| self.between_answers(asked, over?));
                self.history.unseen_stops = stretch.map(|s| Interval { before: s.before.or(over), ..s });
                if let Ok(registrations) = &look {
                    self.history.see_registrations(when, registrations);
                }
                self.consul.take(asked, look);
            }
        }
    }

    /// Takes in the result of a write that was sent at `sent` and answered at `answered`.
    pub fn did(&mut self, sent: Time, answered: Time, effect: &Effect, answer: &Result<(), Refusal>) {
        match effect {
            // A heartbeat shows after some seconds, and changes nothing else.
            Effect::Heartbeat(_) => {}
            Effect::Note { notes, .. } => {
                if notes.iter().any(|note| note.what == Beginning::Unseen) && self.history.found_unseen.is_none() {
                    let found = self.nomad.last().into_iter().flat_map(|nomad| &nomad.nodes).flat_map(|node| &node.notes);
                    self.history.found_unseen = Some(found.filter(|note| note.what == Beginning::Unseen).cloned().collect());
                }
            }
            Effect::MakeIneligible(_) | Effect::Drain { .. } => self.nomad.expire(),
            Effect::Complete { .. } => self.lifecycle.expire(),
            Effect::Deregister { group, targets } => {
                let balancer = self.balancer_mut(group);
                balancer.sight.expire();
                if answer.is_ok() {
                    balancer.taken_out.extend(targets.iter().map(|t| (t.id.clone(), t.port)));
                    balancer.deregistered = Some(answered);
                    balancer.deregistrations += 1;
                } else {
                    balancer.unanswered = Some(targets.iter().map(|t| (t.id.clone(), t.port)).collect());
                }
            }
        }
        self.history.did(sent, answered, effect, answer);
    }

    /// The entry of one target group. It is made when the group is first read.
    fn balancer_mut(&mut self, arn: &TargetGroupArn) -> &mut Balancer {
        let place = match self.balancers.iter().position(|b| b.arn == *arn) {
            Some(place) => place,
            None => {
                self.balancers.push(Balancer {
                    arn: arn.clone(),
                    sight: Observed::default(),
                    deregistered: None,
                    first_look: None,
                    looks: 0,
                    listed_it: false,
                    deregistrations: 0,
                    taken_out: Vec::new(),
                    registered: Vec::new(),
                    draining: Vec::new(),
                    unanswered: None,
                    emptied: None,
                });
                self.balancers.len() - 1
            }
        };
        &mut self.balancers[place]
    }
}
