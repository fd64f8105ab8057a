//! Instance refreshes: the calls that start, list, cancel and roll them back, and their execution.

use std::sync::Arc;
use std::time::Duration;

use super::actions::no_group;
use super::instance::Instance;
use super::rolling::{Member, MemberState, Move, Rolling};
use super::setup::Transition;
use super::states::LifecycleState;
use super::{AutoScaling, InstanceEvent};
use crate::api_error::ApiError;
use crate::load_balancers::LoadBalancers;
use decamp_core::ids::InstanceId;
use decamp_core::refresh::{Preferences, Status};
use decamp_core::time::Time;

/// How long a refresh is pending.
const BEGINS_AFTER: Duration = Duration::from_millis(500);
/// A refresh fails after this long without progress (facts/aws.md 2.6).
const PATIENCE: Duration = Duration::from_hours(1);

/// A refresh, in progress or over.
#[derive(Debug, Clone)]
pub struct InstanceRefresh {
    /// Its id.
    pub id: Arc<str>,
    /// The group's name.
    pub asg: Arc<str>,
    /// Its status.
    pub status: Status,
    /// `StatusReason`.
    pub reason: Option<Arc<str>>,
    /// `StartTime`.
    pub began: Time,
    /// `EndTime`.
    pub ended: Option<Time>,
    /// The preferences that it was started with.
    pub preferences: Preferences,
    /// The launch template's version that it was started with. A refresh without one cannot be rolled back.
    pub version: Option<u32>,
    /// `PercentageComplete`.
    pub percentage: u32,
    /// `InstancesToUpdate`.
    pub to_update: u32,
    /// The version that replacements are launched with.
    launches: u32,
    /// The percentage at which a rollback began.
    rolled_from: u32,
    rolling: Rolling,
    /// When it last made progress.
    progressed: Time,
    /// When it continues although no instance changes.
    pub(super) continues_at: Time,
}

impl InstanceRefresh {
    fn can_be_stopped(&self) -> bool {
        matches!(self.status, Status::Pending | Status::InProgress | Status::Baking | Status::RollbackInProgress)
    }
}

impl AutoScaling {
    /// `StartInstanceRefresh` for all present instances, with the group's launch template or another version of it.
    ///
    /// # Errors
    /// Throttled, contended, no such group, invalid preferences, or a refresh in progress.
    pub fn start_refresh(&mut self, asg: &str, preferences: Preferences, version: Option<u32>) -> Result<Arc<str>, ApiError> {
        self.write()?;
        let place = self.group_place(asg).ok_or_else(|| no_group(asg))?;
        preferences.check().map_err(|why| ApiError::Validation(why.into()))?;
        if self.refreshes.iter().any(|refresh| *refresh.asg == *asg && !refresh.status.is_over()) {
            return Err(ApiError::RefreshInProgress);
        }
        let setup = &self.groups[place].setup;
        let launches = version.unwrap_or(setup.version);
        let staying = |i: &&Instance| i.group == place && i.listed && member_state(i).is_some_and(|s| s != MemberState::Leaving);
        let staying: Vec<&Instance> = self.instances.iter().filter(staying).collect();
        let fits = |i: &&&Instance| preferences.skip_matching && i.version == launches;
        let old: Vec<InstanceId> = staying.iter().filter(|i| !fits(i)).map(|i| i.id).collect();
        let desired = u32::try_from(staying.len()).unwrap_or(u32::MAX);
        let rolling = Rolling::begin(preferences.clone(), old, desired);
        let refresh = InstanceRefresh {
            asg: Arc::clone(&setup.name),
            id: self.rng.uuid().into(),
            status: Status::Pending,
            reason: None,
            began: self.now,
            ended: None,
            preferences,
            version,
            percentage: 0,
            to_update: rolling.total(),
            launches,
            rolled_from: 0,
            rolling,
            progressed: self.now,
            continues_at: self.now + BEGINS_AFTER,
        };
        let id = Arc::clone(&refresh.id);
        self.refreshes.push(refresh);
        self.next = self.earliest();
        Ok(id)
    }

    /// `DescribeInstanceRefreshes`: the refreshes of a group, the newest first. One call.
    ///
    /// # Errors
    /// Throttled, or no such group.
    pub fn describe_refreshes(&mut self, asg: &str) -> Result<Vec<&InstanceRefresh>, ApiError> {
        self.describe_group(asg)?;
        Ok(self.refreshes(asg))
    }

    /// The refreshes of a group, the newest first, without a call.
    #[must_use]
    pub fn refreshes(&self, asg: &str) -> Vec<&InstanceRefresh> {
        self.refreshes.iter().rev().filter(|refresh| *refresh.asg == *asg).collect()
    }

    /// `CancelInstanceRefresh`. With `waits`, the default, it waits for launches and terminations in progress, and so for hooks.
    ///
    /// # Errors
    /// Throttled, contended, no such group, or no refresh in progress.
    pub fn cancel_refresh(&mut self, asg: &str, waits: bool) -> Result<Arc<str>, ApiError> {
        let place = self.stoppable(asg)?;
        let refresh = &mut self.refreshes[place];
        refresh.reason = Some("Cancelled due to user request.".into());
        if waits {
            refresh.status = Status::Cancelling;
        } else {
            self.end_refresh(place, Status::Cancelled);
        }
        self.reschedule();
        Ok(Arc::clone(&self.refreshes[place].id))
    }

    /// `RollbackInstanceRefresh`: replaces the new instances by instances of the group's own version.
    ///
    /// # Errors
    /// Throttled, contended, no such group, no refresh in progress, or a refresh without a version.
    pub fn roll_back_refresh(&mut self, asg: &str) -> Result<Arc<str>, ApiError> {
        let place = self.stoppable(asg)?;
        if self.refreshes[place].version.is_none() {
            return Err(ApiError::IrreversibleRefresh);
        }
        self.begin_rollback(place);
        self.reschedule();
        Ok(Arc::clone(&self.refreshes[place].id))
    }

    /// AWS fails a refresh because of a failed launch or an alarm.
    pub fn fail_refresh(&mut self, asg: &str, why: &str) {
        if let Some(place) = self.active(asg) {
            self.fail(place, why);
            self.reschedule();
        }
    }

    fn active(&self, asg: &str) -> Option<usize> {
        self.refreshes.iter().position(|refresh| *refresh.asg == *asg && !refresh.status.is_over())
    }

    fn stoppable(&mut self, asg: &str) -> Result<usize, ApiError> {
        self.write()?;
        self.group_place(asg).ok_or_else(|| no_group(asg))?;
        self.active(asg).filter(|&place| self.refreshes[place].can_be_stopped()).ok_or_else(|| ApiError::NoRefresh(asg.into()))
    }

    /// Makes every refresh continue after a change.
    pub(super) fn wake_refreshes(&mut self) {
        for refresh in self.refreshes.iter_mut().filter(|refresh| !refresh.status.is_over()) {
            if refresh.status != Status::Pending {
                refresh.continues_at = self.now;
            }
        }
    }

    /// Continues every refresh that is due now.
    pub(super) fn continue_refreshes(&mut self, balancers: &mut LoadBalancers) {
        for place in 0..self.refreshes.len() {
            if self.refreshes[place].continues_at <= self.now {
                self.refreshes[place].continues_at = Time::NEVER;
                self.continue_refresh(place, balancers);
            }
        }
    }

    fn continue_refresh(&mut self, place: usize, balancers: &mut LoadBalancers) {
        let members = self.members(place);
        let now = self.now;
        let refresh = &mut self.refreshes[place];
        match refresh.status {
            Status::Pending | Status::InProgress | Status::RollbackInProgress => {
                if refresh.status == Status::Pending {
                    refresh.status = Status::InProgress;
                }
                let moves = refresh.rolling.next(now, &members);
                let settled = moves.is_empty();
                self.apply(place, moves, balancers);
                self.note_progress(place);
                if settled && self.refreshes[place].rolling.is_over(now, &members) {
                    self.complete_refresh(place);
                } else if settled && self.refreshes[place].progressed + PATIENCE <= now {
                    self.fail(place, "Nothing was replaced for an hour.");
                }
            }
            Status::Cancelling => {
                let moves = refresh.rolling.restore_size(now, &members);
                let quiet = moves.is_empty() && members.iter().all(|m| matches!(m.state, MemberState::InService(_)));
                self.apply(place, moves, balancers);
                if quiet {
                    self.end_refresh(place, Status::Cancelled);
                }
            }
            // The bake time is over.
            Status::Baking if refresh.progressed + refresh.preferences.bake.unwrap_or_default() <= now => {
                self.end_refresh(place, Status::Successful);
            }
            Status::Baking => refresh.continues_at = refresh.progressed + refresh.preferences.bake.unwrap_or_default(),
            Status::Successful
            | Status::Failed
            | Status::Cancelled
            | Status::RollbackFailed
            | Status::RollbackSuccessful
            | Status::Unknown => {}
        }
    }

    fn apply(&mut self, place: usize, moves: Vec<Move>, balancers: &mut LoadBalancers) {
        let (asg, version) = (Arc::clone(&self.refreshes[place].asg), self.refreshes[place].launches);
        for step in moves {
            // A refusal changes nothing: the next round finds what is still to do.
            match step {
                Move::Launch => drop(self.launch_another(&asg, Some(version))),
                Move::Terminate(id) => {
                    if let Some(place) = self.instance_place(id) {
                        self.instances[place].refreshed = true;
                    }
                    drop(self.terminate(id, balancers));
                }
            }
        }
    }

    /// Updates the progress, and when the refresh continues.
    fn note_progress(&mut self, place: usize) {
        let members = self.members(place);
        let now = self.now;
        let refresh = &mut self.refreshes[place];
        let (total, left) = (refresh.rolling.total(), refresh.rolling.to_update(now, &members));
        let share = ((total - left) * 100).checked_div(total).unwrap_or(100);
        let percentage = if refresh.status == Status::RollbackInProgress {
            // The percentage goes down again. A rollback does not count the instances that it replaces.
            refresh.rolled_from * (100 - share) / 100
        } else {
            refresh.to_update = left;
            share
        };
        // A slow hook counts as progress.
        if percentage != refresh.percentage || members.iter().any(|m| m.state == MemberState::Leaving) {
            refresh.progressed = now;
        }
        refresh.percentage = percentage;
        let continues_at = refresh.rolling.continues_at(now, &members).min(refresh.progressed + PATIENCE);
        refresh.continues_at = refresh.continues_at.min(continues_at);
    }

    /// All instances are replaced.
    fn complete_refresh(&mut self, place: usize) {
        let refresh = &mut self.refreshes[place];
        if refresh.status == Status::RollbackInProgress {
            self.end_refresh(place, Status::RollbackSuccessful);
        } else if refresh.preferences.bake.is_some_and(|bake| !bake.is_zero()) {
            refresh.status = Status::Baking;
            refresh.progressed = self.now;
            refresh.continues_at = self.now;
        } else {
            self.end_refresh(place, Status::Successful);
        }
    }

    fn fail(&mut self, place: usize, why: &str) {
        let refresh = &mut self.refreshes[place];
        refresh.reason = Some(why.into());
        if refresh.status == Status::RollbackInProgress {
            self.end_refresh(place, Status::RollbackFailed);
        } else if refresh.preferences.auto_rollback && refresh.version.is_some() {
            self.begin_rollback(place);
        } else {
            self.end_refresh(place, Status::Failed);
        }
    }

    fn begin_rollback(&mut self, place: usize) {
        let refresh = &self.refreshes[place];
        let (asg, preferences, left) = (Arc::clone(&refresh.asg), refresh.preferences.clone(), refresh.launches);
        let group = self.group_place(&asg);
        let version = group.map_or(left, |group| self.groups[group].setup.version);
        let replaced = |i: &&Instance| Some(i.group) == group && i.listed && i.version == left && left != version;
        let staying = |i: &&Instance| member_state(i).is_some_and(|s| s != MemberState::Leaving);
        let old: Vec<InstanceId> = self.instances.iter().filter(replaced).filter(staying).map(|i| i.id).collect();
        let desired = self.refreshes[place].rolling.desired();
        let refresh = &mut self.refreshes[place];
        refresh.status = Status::RollbackInProgress;
        refresh.rolled_from = refresh.percentage;
        refresh.launches = version;
        refresh.rolling = Rolling::begin(Preferences { checkpoints: Vec::new(), ..preferences }, old, desired);
        refresh.progressed = self.now;
    }

    fn end_refresh(&mut self, place: usize, status: Status) {
        let refresh = &mut self.refreshes[place];
        refresh.status = status;
        refresh.ended = Some(self.now);
        refresh.continues_at = Time::NEVER;
        let (asg, version) = (Arc::clone(&refresh.asg), refresh.launches);
        // The group takes over the version of the refresh.
        if status == Status::Successful
            && let Some(group) = self.group_place(&asg)
        {
            self.groups[group].setup.version = version;
        }
    }

    fn members(&self, place: usize) -> Vec<Member> {
        let group = self.group_place(&self.refreshes[place].asg);
        let ours = self.instances.iter().filter(|i| Some(i.group) == group && i.listed);
        ours.filter_map(|i| Some(Member { id: i.id, state: member_state(i)? })).collect()
    }

    /// Auto Scaling launches an instance in the zone with the fewest, with the group's launch template or another version of it.
    ///
    /// # Errors
    /// No such group.
    pub fn launch_another(&mut self, asg: &str, version: Option<u32>) -> Result<InstanceId, ApiError> {
        let place = self.group_place(asg).ok_or_else(|| no_group(asg))?;
        let here = || self.instances.iter().filter(|i| i.group == place && i.runs);
        let zones: Vec<Arc<str>> = self.instances.iter().filter(|i| i.group == place).map(|i| Arc::clone(&i.zone)).collect();
        let zone = zones.iter().min_by_key(|zone| (here().filter(|i| i.zone == **zone).count(), Arc::clone(zone)));
        let zone = zone.cloned().unwrap_or_else(|| "a".into());
        let setup = &mut self.groups[place].setup;
        let id = InstanceId::from_number(setup.next_instance);
        setup.next_instance += 1;
        let version = version.unwrap_or(setup.version);
        self.launch(asg, id, zone)?;
        if let Some(place) = self.instance_place(id) {
            self.instances[place].version = version;
        }
        self.record(InstanceEvent::Launched(id));
        Ok(id)
    }
}

#[cfg(test)]
mod tests;

/// The state of an instance for a refresh. `None`: it no longer counts, or it rests in the warm pool.
fn member_state(instance: &Instance) -> Option<MemberState> {
    match instance.state {
        LifecycleState::InService => {
            let launched = instance.activity.filter(|activity| activity.transition == Transition::Launching);
            Some(MemberState::InService(launched.and_then(|activity| activity.ended).unwrap_or(Time(0))))
        }
        LifecycleState::Pending | LifecycleState::PendingWait | LifecycleState::PendingProceed => Some(MemberState::Pending),
        // An instance whose machine is off is still listed for a while.
        LifecycleState::Terminating | LifecycleState::TerminatingWait | LifecycleState::TerminatingProceed => {
            instance.runs.then_some(MemberState::Leaving)
        }
        LifecycleState::Quarantined
        | LifecycleState::TerminatingRetained
        | LifecycleState::Terminated
        | LifecycleState::Detaching
        | LifecycleState::Detached
        | LifecycleState::EnteringStandby
        | LifecycleState::Standby
        | LifecycleState::ReplacingRootVolume
        | LifecycleState::ReplacingRootVolumeWait
        | LifecycleState::ReplacingRootVolumeProceed
        | LifecycleState::RootVolumeReplaced
        | LifecycleState::WarmedPending
        | LifecycleState::WarmedPendingWait
        | LifecycleState::WarmedPendingProceed
        | LifecycleState::WarmedPendingRetained
        | LifecycleState::WarmedTerminating
        | LifecycleState::WarmedTerminatingWait
        | LifecycleState::WarmedTerminatingProceed
        | LifecycleState::WarmedTerminatingRetained
        | LifecycleState::WarmedTerminated
        | LifecycleState::WarmedStopped
        | LifecycleState::WarmedRunning
        | LifecycleState::WarmedHibernated => None,
    }
}
