//! Whose a target is, and what serves it (ADR 0009). It is the instance's by its id, by an address of its node, or by the address and port
//! of an allocation that is not over.

use std::net::IpAddr;

use super::case::Case;
use super::proposal::{Proposal, look_again, must_be_read};
use super::snapshot::{Allocation, Balancer, Draining, Snapshot, Target, TargetGroup};
use super::{Departure, Part, Policy};
use crate::ids::TargetId;
use crate::time::Time;

/// The targets of a group that are certainly the instance's, by what was seen.
#[must_use]
pub fn targets_of<'g>(departure: &Departure, seen: &Snapshot, group: &'g TargetGroup) -> Vec<&'g Target> {
    let policy = Policy::default();
    let case = Case::new(departure, seen, &policy, Time::NEVER);
    case.ours_in(group).collect()
}

/// The part to look at, so that it is known whose the addresses in named target groups are.
#[must_use]
pub fn addresses_to_ask(departure: &Departure, seen: &Snapshot) -> Option<Part> {
    let policy = Policy::default();
    match Case::new(departure, seen, &policy, Time::NEVER).ask_owners() {
        Proposal::Look(parts, _) => parts.into_iter().next(),
        Proposal::Write(..) | Proposal::Wait { .. } | Proposal::Done | Proposal::NotYet | Proposal::DoesNotApply => None,
    }
}

/// Whose a target is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ownership {
    /// Certainly the instance's. It may be deregistered.
    Ours,
    /// Certainly another's.
    Others,
    /// The address's owner is unknown, or there are two. It may be the instance's, so decamp leaves it alone and waits for it.
    Unknown,
}

impl Case<'_> {
    /// Whose a target of this group is.
    pub(super) fn ownership_of(&self, group: &TargetGroup, id: &TargetId, port: u16) -> Ownership {
        let address = match id {
            TargetId::Instance(id) if *id == self.departure.instance => return Ownership::Ours,
            TargetId::Instance(_) | TargetId::Other(_) => return Ownership::Others,
            // Auto Scaling attaches groups by instance id. Another actor registered this address.
            TargetId::Ip(_) if group.attached => return Ownership::Others,
            TargetId::Ip(address) => *address,
        };
        if self.is_of_the_node(address) {
            return Ownership::Ours;
        }
        // An allocation that this run saw running, and that vanished, may still be running.
        let running = self.seen.history.known.iter().filter(|known| !known.over);
        let of_ours = running.filter_map(|known| known.own.as_ref()).any(|own| own.answers_at(address, port));
        let elsewhere = self.seen.elsewhere.last();
        let held = elsewhere.is_some_and(|elsewhere| elsewhere.held.contains(&address));
        let asked = elsewhere.is_some_and(|elsewhere| elsewhere.asked.contains(&address));
        match (of_ours, held) {
            (true, false) if asked => Ownership::Ours,
            (false, true) => Ownership::Others,
            // Some networks use the same addresses on every node. Such an address shows nothing.
            (true, true | false) | (false, false) => Ownership::Unknown,
        }
    }

    /// The targets of this group that are certainly the instance's.
    pub(super) fn ours_in<'g>(&self, group: &'g TargetGroup) -> impl Iterator<Item = &'g Target> {
        group.listed().filter(|target| self.ownership_of(group, &target.id, target.port) == Ownership::Ours)
    }

    /// Whether a target may be this instance's.
    pub(super) fn may_be_ours(&self, group: &TargetGroup, id: &TargetId, port: u16) -> bool {
        self.ownership_of(group, id, port) != Ownership::Others
    }

    /// The targets of this group that leave it, or have left it during this run, and that may be this instance's.
    pub(super) fn leaving<'b>(&self, balancer: &'b Balancer, group: &TargetGroup) -> impl Iterator<Item = &'b Draining> {
        balancer.draining.iter().filter(|row| self.may_be_ours(group, &row.id, row.port))
    }

    /// Our targets in all groups, as they were last seen.
    pub(super) fn our_targets(&self) -> impl Iterator<Item = (&TargetGroup, &Target)> {
        self.targets_that(|ownership| ownership == Ownership::Ours)
    }

    /// Registered targets that may be ours, as they were last seen.
    pub(super) fn unknown_targets(&self) -> impl Iterator<Item = (&TargetGroup, &Target)> {
        self.targets_that(|ownership| ownership == Ownership::Unknown).filter(|(_, target)| target.health.is_registered())
    }

    fn targets_that(&self, wanted: impl Fn(Ownership) -> bool + Copy) -> impl Iterator<Item = (&TargetGroup, &Target)> {
        let groups = self.seen.balancers.iter().filter_map(|b| b.sight.last());
        groups.flat_map(move |group| {
            group.listed().filter(move |t| wanted(self.ownership_of(group, &t.id, t.port))).map(move |target| (group, target))
        })
    }

    /// Every target to which a load balancer may still send: ours, and those that this run deregistered.
    pub(super) fn sent_to(&self) -> impl Iterator<Item = (&TargetId, u16)> {
        let taken_out = self.seen.balancers.iter().flat_map(|b| b.taken_out.iter().map(|(id, port)| (id, *port)));
        self.our_targets().map(|(_, target)| (&target.id, target.port)).chain(taken_out)
    }

    /// The allocations that serve this target of ours, running or not. A target at an allocation's own address is served by that
    /// allocation, any other target by the allocation with the host port.
    pub(super) fn answering<'s>(&'s self, id: &'s TargetId, port: u16) -> impl Iterator<Item = &'s Allocation> {
        let own = match id {
            TargetId::Ip(address) if !self.is_of_the_node(*address) => Some(*address),
            TargetId::Ip(_) | TargetId::Instance(_) | TargetId::Other(_) => None,
        };
        let all = self.allocations();
        all.filter(move |allocation| match own {
            Some(address) => allocation.own.as_ref().is_some_and(|own| own.answers_at(address, port)),
            None => allocation.ports.contains(&port),
        })
    }

    /// Whether an allocation that serves one of our targets is stopping.
    pub(super) fn serving_is_stopping(&self) -> bool {
        self.our_targets().any(|(_, target)| self.answering(&target.id, target.port).any(|a| !a.wanted && !a.client.is_over()))
    }

    /// Whether decamp has asked whose the listed addresses are, with or without an answer.
    pub(super) fn has_asked_owners(&self) -> bool {
        self.seen.elsewhere.at().is_some() || self.seen.elsewhere.blind().is_some()
    }

    /// Asks again whose the unknown addresses are, together with a look at their groups.
    pub(super) fn ask_again(&self) -> Option<Part> {
        let known = self.seen.elsewhere.last().filter(|_| self.unknown_targets().next().is_some());
        known.map(|elsewhere| Part::Addresses(elsewhere.asked.clone()))
    }

    /// Asks who else has the addresses that named groups list and the node does not have, once for each look at a group.
    pub(super) fn ask_owners(&self) -> Proposal {
        let named = self.seen.balancers.iter().filter(|b| b.sight.last().is_some_and(|group| !group.attached));
        let mut asked: Vec<IpAddr> = Vec::new();
        let mut is_new = false;
        for balancer in named {
            let Some(group) = balancer.sight.last() else { continue };
            for target in group.listed().filter(|t| t.health.is_registered()) {
                let TargetId::Ip(address) = target.id else { continue };
                if self.is_of_the_node(address) || asked.contains(&address) {
                    continue;
                }
                asked.push(address);
                let known = self.seen.elsewhere.last().is_some_and(|elsewhere| elsewhere.asked.contains(&address));
                let unknown = self.ownership_of(group, &target.id, target.port) == Ownership::Unknown;
                // A new node or allocation may be registered before Nomad was asked about it.
                is_new |= !known || unknown && self.seen.elsewhere.at() < balancer.sight.at();
            }
        }
        if !is_new {
            return Proposal::Done;
        }
        look_again(self, &self.seen.elsewhere, Part::Addresses(asked), must_be_read(&self.seen.elsewhere))
    }

    fn is_of_the_node(&self, address: IpAddr) -> bool {
        self.seen.history.addresses.contains(&address)
    }
}
