//! The writes of Nomad's HTTP API: what each does, and how Nomad refuses it.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::acl::{NodeRule, Token};
use super::drainer::FORCED;
use super::state::{DrainState, GroupNumber, LastDrainState, NodeNumber, Note};
use super::{Due, Nomad};
use decamp_core::decide::snapshot::DrainStatus;
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::ids::NodeId;

/// The `DrainSpec` of a drain request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DrainSpec {
    /// Nanoseconds: positive is a deadline, zero is no deadline, negative is force.
    pub deadline_ns: i64,
    /// Whether system jobs stay.
    pub ignore_system_jobs: bool,
}

/// The answer to an accepted write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// The raft index; 0 if nothing had to be written.
    pub index: u64,
}

/// A refusal in Nomad's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiError {
    /// A read of a node that does not exist: 404.
    NoSuchNode,
    /// A write to a node that does not exist: 500.
    NoSuchNodeToWrite,
    /// An allocation that does not exist in that namespace: 404.
    NoSuchAllocation,
    /// A job or group that does not exist: 404.
    NoSuchJob,
    /// The token is not allowed to do this, or is not valid.
    PermissionDenied,
    /// The token is not valid, in the words of old versions.
    TokenNotFound,
    /// `token/self` with an expired token.
    TokenExpired,
    /// `token/self` with a text that is no token.
    TokenMalformed,
    /// A node cannot be made eligible while it drains.
    EligibleWhileDraining,
    /// There is no leader. Nomad words this in several ways.
    LeaderAway(&'static str),
    /// This version has no such endpoint: 404.
    NoSuchRoute,
    /// A call to the agent of a node that no server knows: 500.
    UnknownNode,
    /// A call to an agent that no server is connected to: 404.
    NoPathToNode,
    /// A read of a follower while there is none: a time-out.
    TimedOut,
}

impl ApiError {
    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoSuchNode | Self::NoSuchAllocation | Self::NoSuchJob | Self::NoSuchRoute | Self::NoPathToNode => 404,
            Self::PermissionDenied | Self::TokenNotFound => 403,
            Self::TimedOut => 504,
            Self::NoSuchNodeToWrite
            | Self::UnknownNode
            | Self::TokenExpired
            | Self::TokenMalformed
            | Self::EligibleWhileDraining
            | Self::LeaderAway(_) => 500,
        }
    }

    /// The body, in plain text.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self {
            Self::NoSuchNode | Self::NoSuchNodeToWrite => "node not found",
            Self::NoSuchAllocation => "allocation not found",
            Self::NoSuchJob => "job not found",
            Self::PermissionDenied => "Permission denied",
            Self::TokenNotFound => "ACL token not found",
            Self::TokenExpired => "ACL token expired",
            Self::TokenMalformed => "failed to parse signed token: go-jose/go-jose: compact JWS format must have three parts",
            Self::EligibleWhileDraining => "can not set node's scheduling eligibility to eligible while it is draining",
            Self::LeaderAway(text) => text,
            Self::NoSuchRoute => "",
            Self::UnknownNode => "Unknown node",
            Self::NoPathToNode => "No path to node",
            Self::TimedOut => "timed out",
        }
    }

    fn status_and_text(&self) -> Arc<str> {
        let text: Cow<'_, str> = format!("{} {}", self.status(), self.text()).into();
        text.into()
    }

    /// How an adapter reports this refusal of a look.
    #[must_use]
    pub fn unseen(&self) -> Unseen {
        match self {
            Self::PermissionDenied | Self::TokenNotFound | Self::TokenExpired | Self::TokenMalformed => {
                Unseen::Denied(self.status_and_text())
            }
            Self::NoSuchNode
            | Self::NoSuchNodeToWrite
            | Self::NoSuchAllocation
            | Self::NoSuchJob
            | Self::NoSuchRoute
            | Self::UnknownNode
            | Self::NoPathToNode
            | Self::EligibleWhileDraining
            | Self::LeaderAway(_)
            | Self::TimedOut => Unseen::Away(self.status_and_text()),
        }
    }

    /// How an adapter reports this refusal of a write.
    #[must_use]
    pub fn refusal(&self) -> Refusal {
        match self {
            Self::NoSuchNode
            | Self::NoSuchNodeToWrite
            | Self::NoSuchAllocation
            | Self::NoSuchJob
            | Self::NoSuchRoute
            | Self::NoPathToNode => Refusal::Missing,
            Self::PermissionDenied | Self::TokenNotFound | Self::TokenExpired | Self::TokenMalformed => {
                Refusal::Denied(self.status_and_text())
            }
            Self::EligibleWhileDraining | Self::UnknownNode => Refusal::Rejected(self.status_and_text()),
            Self::LeaderAway(_) | Self::TimedOut => Refusal::Away(self.status_and_text()),
        }
    }
}

impl Nomad {
    /// `PUT /v1/node/:id/drain` with a `DrainSpec`.
    ///
    /// # Errors
    /// Without a leader, without `node:write`, or where there is no such node.
    pub fn set_drain(&mut self, token: &Token, node: NodeId, spec: DrainSpec, note: Note) -> Result<Written, ApiError> {
        let node = self.node_to_write(token, node)?;
        let (now, index) = (self.now, self.write());
        let state = &mut self.nodes[node.index()];
        let deadline = Duration::from_nanos(spec.deadline_ns.unsigned_abs());
        let force_deadline = match spec.deadline_ns {
            ..0 => Some(FORCED),
            0 => None,
            1.. => Some(now + deadline),
        };
        let before = state.drain;
        state.drain = Some(DrainState {
            deadline_ns: spec.deadline_ns,
            force_deadline,
            started: before.map_or(now, |drain| drain.started),
            ignore_system_jobs: spec.ignore_system_jobs,
        });
        state.eligible = false;
        state.status_since = now;
        state.index = index;
        match &mut state.last_drain {
            Some(last) if before.is_some() => {
                last.updated = now;
                if note != Note::None {
                    last.note = note;
                }
            }
            last => *last = Some(LastDrainState { status: DrainStatus::Draining, started: now, updated: now, note }),
        }
        self.notify_drainer(node);
        Ok(Written { index })
    }

    /// `PUT /v1/node/:id/drain` without a `DrainSpec`: the drain is cancelled. Allocations that already have to stop still stop.
    ///
    /// # Errors
    /// As for [`Nomad::set_drain`].
    pub fn cancel_drain(&mut self, token: &Token, node: NodeId, mark_eligible: bool) -> Result<Written, ApiError> {
        let node = self.node_to_write(token, node)?;
        let (now, index) = (self.now, self.write());
        let state = &mut self.nodes[node.index()];
        let drained = state.drain.take().is_some();
        state.index = index;
        state.status_since = now;
        state.eligible |= mark_eligible;
        if let Some(last) = state.last_drain.as_mut().filter(|_| drained) {
            last.status = DrainStatus::Canceled;
            last.updated = now;
        }
        self.notify_drainer(node);
        self.node_takes_work(node);
        Ok(Written { index })
    }

    /// `PUT /v1/node/:id/eligibility`.
    ///
    /// # Errors
    /// As for [`Nomad::set_drain`], and if the node would become eligible while it drains.
    pub fn set_eligibility(&mut self, token: &Token, node: NodeId, eligible: bool) -> Result<Written, ApiError> {
        let node = self.node_to_write(token, node)?;
        let state = &self.nodes[node.index()];
        if eligible && state.drain.is_some() {
            return Err(ApiError::EligibleWhileDraining);
        }
        if state.eligible == eligible {
            return Ok(Written { index: 0 });
        }
        let (now, index) = (self.now, self.write());
        let state = &mut self.nodes[node.index()];
        state.eligible = eligible;
        state.status_since = now;
        state.index = index;
        self.node_takes_work(node);
        Ok(Written { index })
    }

    /// `PUT /v1/node/:id/purge`: removes the node's row and its drain. A live agent registers again, and its node is eligible.
    ///
    /// # Errors
    /// As for [`Nomad::set_drain`].
    pub fn purge_node(&mut self, token: &Token, node: NodeId) -> Result<Written, ApiError> {
        let node = self.node_to_write(token, node)?;
        let index = self.write();
        self.drop_row(node);
        let at = self.soon(5_000, 20_000);
        if self.nodes[node.index()].agent_alive {
            self.queue.put(at, Due::Rejoin { node });
        }
        Ok(Written { index })
    }

    /// `DELETE /v1/job/:id`: the job's allocations have to stop. With `purge` they also vanish from every list at once, while their
    /// processes are still stopping.
    ///
    /// # Errors
    /// Without a leader, without rights in the namespace, or if there is no such job.
    pub fn stop_job(&mut self, token: &Token, namespace: &str, job: &str, purge: bool) -> Result<Written, ApiError> {
        self.leader_answers(token)?;
        if !token.scales_jobs(namespace) {
            return Err(ApiError::PermissionDenied);
        }
        let groups = self.groups_of(namespace, job)?;
        let index = self.write();
        for group in groups {
            self.groups[group.index()].stopped = true;
            self.groups[group.index()].missing.clear();
            for &allocation in &self.groups[group.index()].allocations {
                // No disk waits for a replacement any more.
                self.nodes[self.allocations[allocation.index()].node.index()].cached = None;
            }
            if purge {
                self.unlist_group(group);
            } else {
                let at = self.soon(2, 9);
                for &allocation in &self.groups[group.index()].allocations {
                    self.queue.put(at, Due::Plan { allocation, replace: false });
                }
            }
        }
        Ok(Written { index })
    }

    /// `POST /v1/job/:id/scale`.
    ///
    /// # Errors
    /// Without a leader, without `scale-job` in the namespace, or if there is no such job or group.
    pub fn scale(&mut self, token: &Token, namespace: &str, job: &str, group: &str, count: u32) -> Result<Written, ApiError> {
        self.leader_answers(token)?;
        if !token.scales_jobs(namespace) {
            return Err(ApiError::PermissionDenied);
        }
        let groups = self.groups_of(namespace, job)?;
        let named = groups.into_iter().find(|g| *self.groups[g.index()].spec.group.name == *group);
        let number = named.ok_or(ApiError::NoSuchJob)?;
        let index = self.write();
        self.set_count(number, count);
        Ok(Written { index })
    }

    fn set_count(&mut self, group: GroupNumber, count: u32) {
        let state = &mut self.groups[group.index()];
        Arc::make_mut(&mut state.spec.group).count = count;
        let healthy = self.now + state.spec.behaviour.healthy_in;
        let mut live: Vec<_> = state.allocations.iter().copied().filter(|n| !self.allocations[n.index()].is_terminal()).collect();
        let plan = self.soon(2, 9);
        live.sort_by_key(|n| self.allocations[n.index()].index);
        for (place, &allocation) in live.iter().enumerate() {
            if count as usize <= place {
                self.queue.put(plan, Due::Plan { allocation, replace: false });
                continue;
            }
            // A new version of the job is a new deployment, so that the health of running allocations is determined again.
            let state = &mut self.allocations[allocation.index()];
            state.healthy = None;
            self.queue.put(healthy, Due::Healthy { allocation, epoch: state.epoch });
            self.allocation_changed(allocation);
        }
        let missing = (count as usize).saturating_sub(live.len() + self.groups[group.index()].missing.len());
        self.place_more(group, missing);
    }

    fn groups_of(&self, namespace: &str, job: &str) -> Result<Vec<GroupNumber>, ApiError> {
        let of = |group: &decamp_core::decide::snapshot::TaskGroup| *group.namespace == *namespace && *group.job == *job;
        let found: Vec<_> = (0_u32..).zip(&self.groups).filter(|(_, g)| of(&g.spec.group)).map(|(n, _)| GroupNumber(n)).collect();
        if found.is_empty() { Err(ApiError::NoSuchJob) } else { Ok(found) }
    }

    /// Whether a request that needs the leader is answered with this token.
    pub(super) fn leader_answers(&mut self, token: &Token) -> Result<(), ApiError> {
        const WORDINGS: [&str; 4] = [
            "No cluster leader",
            "rpc error: EOF",
            "rpc error: failed to get conn: dial tcp 127.0.0.50:4647: connect: connection refused",
            "rpc error: failed to get conn: rpc error: lead thread didn't get connection",
        ];
        if self.leader_back.is_some() {
            let wording = usize::try_from(self.rng.below(4)).unwrap_or(0);
            return Err(ApiError::LeaderAway(WORDINGS[wording]));
        }
        self.token_is_valid(token)
    }

    /// Whether the token is valid.
    pub(super) fn token_is_valid(&self, token: &Token) -> Result<(), ApiError> {
        match token.is_valid() {
            true => Ok(()),
            false if self.version.reports_unknown_tokens() => Err(ApiError::TokenNotFound),
            false => Err(ApiError::PermissionDenied),
        }
    }

    fn node_to_write(&mut self, token: &Token, node: NodeId) -> Result<NodeNumber, ApiError> {
        self.leader_answers(token)?;
        if token.node() < NodeRule::Write {
            return Err(ApiError::PermissionDenied);
        }
        self.node_number(node).ok_or(ApiError::NoSuchNodeToWrite)
    }
}
