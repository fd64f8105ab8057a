//! One target group in the snapshot: what was read of it, and what this run did about it.

use serde::Serialize;

use super::answer_times::AnswerTimes;
use super::load_balancers::{Target, TargetGroup, TargetHealth};
use crate::decide::observed::Observed;
use crate::ids::{InstanceId, TargetGroupArn, TargetId};
use crate::time::Time;

/// One target group, and what this run did about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Balancer {
    /// The group.
    pub arn: TargetGroupArn,
    /// What was read of it.
    pub sight: Observed<TargetGroup>,
    /// When a deregistration of ours was last accepted, by the latest certain time, which is its answer.
    pub deregistered: Option<Time>,
    /// When the first look in this run was answered.
    pub first_look: Option<Time>,
    /// How many looks at it succeeded.
    pub looks: u32,
    /// Whether a look of this run showed the instance among its targets, in any state.
    pub listed_it: bool,
    /// How often our targets had to be deregistered.
    pub deregistrations: u32,
    /// The targets of a deregistration that was not answered. It may have worked.
    pub unanswered: Option<Vec<(TargetId, u16)>>,
    /// Targets that are no longer registered, for whatever reason, and may still receive requests. Other instances' targets are left out.
    pub draining: Vec<Draining>,
    /// The targets that this run deregistered. A target leaves the list some time, and its allocation may run on.
    pub taken_out: Vec<(TargetId, u16)>,
    /// Targets by address, each with the first look of the series in which it was registered.
    pub registered: Vec<(TargetId, u16, Time)>,
    /// The first look that showed no healthy target in the group.
    pub emptied: Option<Time>,
}

/// A deregistered target: an earlier look showed it registered and a later one did not, or it reads `draining`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Draining {
    /// The instance or the address.
    pub id: TargetId,
    /// Its port.
    pub port: u16,
    /// The look that last showed it registered, and the first that did not. `None`: this run never saw it registered.
    pub deregistered: Option<Between>,
    /// The first look of the series in which it read `draining`, until it was last listed. `None`: it left the list at once, as far as this
    /// run saw.
    pub reads_draining: Option<Time>,
}

/// The looks between which something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Between {
    /// When the last look before it was asked for.
    pub after: Time,
    /// When the first look after it was answered.
    pub by: Time,
}

impl Balancer {
    /// Takes in a look that succeeded.
    pub(super) fn see(&mut self, of: Option<InstanceId>, when: AnswerTimes, group: &TargetGroup) {
        // A wait that begins with a look begins with its answer, because a process may have been stopped between the question and the
        // answer.
        let answered = when.answered;
        self.first_look.get_or_insert(answered);
        self.looks = self.looks.saturating_add(1);
        self.listed_it |= group.listed().any(|target| of.is_some_and(|of| target.id == TargetId::Instance(of)));
        self.see_registered(answered, group);
        self.see_draining(of, answered, group);
        self.see_unanswered(answered, group);
        if group.targets.is_some() && group.healthy().next().is_none() {
            self.emptied.get_or_insert(when.asked);
        }
    }

    /// An unanswered deregistration has worked if none of its targets is registered any more, or another worker's has. It counts from the
    /// latest certain time, which is the look that shows it (fault 29).
    fn see_unanswered(&mut self, at: Time, group: &TargetGroup) {
        let Some(named) = self.unanswered.take() else { return };
        let mut registered = group.listed().filter(|t| t.health.is_registered());
        let is_named = |t: &Target| named.iter().any(|(id, port)| *id == t.id && *port == t.port);
        if !registered.any(is_named) {
            self.deregistered = self.deregistered.max(Some(at));
            self.taken_out.extend(named);
        }
    }

    /// Records since which look each target by address has been registered without a break.
    fn see_registered(&mut self, at: Time, group: &TargetGroup) {
        let by_address = group.listed().filter(|t| matches!(t.id, TargetId::Ip(_)) && t.health.is_registered());
        let before = std::mem::take(&mut self.registered);
        self.registered = by_address
            .map(|target| {
                let since = before.iter().find(|(id, port, _)| *id == target.id && *port == target.port);
                (target.id.clone(), target.port, since.map_or(at, |(_, _, since)| *since))
            })
            .collect();
    }

    /// Records deregistered targets: when each was last seen registered and first seen not to be, and since when it reads `draining`. A
    /// target that left the list is kept, because it may still receive requests. A target that is registered again is removed.
    fn see_draining(&mut self, of: Option<InstanceId>, at: Time, group: &TargetGroup) {
        let find = |group: &TargetGroup, id: &TargetId, port: u16| {
            maybe_of(of, group).find(|t| t.id == *id && t.port == port).map(|t| t.health)
        };
        let mut rows = std::mem::take(&mut self.draining);
        let last = self.sight.last();
        let before = last.into_iter().flat_map(|last| maybe_of(of, last)).filter(|t| t.health.is_registered());
        let gone = before.filter(|t| !find(group, &t.id, t.port).is_some_and(TargetHealth::is_registered));
        for target in gone.chain(maybe_of(of, group).filter(|t| t.health == TargetHealth::Draining)) {
            if !rows.iter().any(|row| row.id == target.id && row.port == target.port) {
                let (id, port) = (target.id.clone(), target.port);
                rows.push(Draining { id, port, deregistered: None, reads_draining: None });
            }
        }
        for row in &mut rows {
            let was = last.and_then(|last| find(last, &row.id, row.port));
            let is = find(group, &row.id, row.port);
            if is.is_some_and(TargetHealth::is_registered) {
                (row.deregistered, row.reads_draining) = (None, None);
                continue;
            }
            if let (Some(after), true) = (self.sight.at(), was.is_some_and(TargetHealth::is_registered)) {
                row.deregistered = Some(Between { after, by: at });
            }
            row.reads_draining = match is {
                Some(TargetHealth::Draining) => row.reads_draining.filter(|_| was.is_some()).or(Some(at)),
                Some(_) => None,
                None => row.reads_draining,
            };
        }
        rows.retain(|row| row.deregistered.is_some() || row.reads_draining.is_some());
        self.draining = rows;
    }
}

/// The targets that may be this instance's. Other instances' targets are not kept: if a thousand leave at once, each departure would keep a
/// thousand.
fn maybe_of(of: Option<InstanceId>, group: &TargetGroup) -> impl Iterator<Item = &Target> {
    group.listed().filter(move |target| match &target.id {
        TargetId::Instance(id) => of.is_none_or(|of| *id == of),
        TargetId::Ip(_) => true,
        TargetId::Other(_) => false,
    })
}
