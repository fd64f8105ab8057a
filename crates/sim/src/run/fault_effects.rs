//! What each fault does to the world: the interventions that it schedules and the API faults that it causes.

use std::time::Duration;

use super::script::{moment, secs};
use crate::faults::Fault;
use crate::nomad::GroupNumber;
use crate::rng::Rng;
use crate::scenario::BEGIN;
use crate::world::{Intervention, SimWorld};
use decamp_core::decide::{EffectKind, System};
use decamp_core::time::Time;

/// Applies a fault to the world, and adds the interventions that it schedules.
pub(super) fn apply_fault(
    world: &mut SimWorld,
    fault: Fault,
    service: Option<GroupNumber>,
    heartbeat_timeout: Duration,
    rng: &mut Rng,
    interventions: &mut Vec<(Time, Intervention)>,
) {
    let at = moment(rng);
    let for_a_while = |rng: &mut Rng| at + secs(2 + rng.below(90));
    let groups = world.subject.fronts.len() as u64;
    let front = usize::try_from(rng.below(groups.max(1))).unwrap_or(0);
    let mut intervene = |intervention: Intervention| interventions.push((at, intervention));
    match fault {
        Fault::ActivitiesDenied => world.auto_scaling.deny_activities(),
        Fault::MetadataRefused => world.nomad.refuse_metadata(),
        Fault::CredentialsExpire => {
            let to = for_a_while(rng);
            world.api_faults.deny(System::AutoScaling, at, to);
            world.api_faults.deny(System::LoadBalancers, at, to);
        }
        Fault::ActionCompletedBySomebody => intervene(Intervention::Complete("decamp".into())),
        Fault::HeartbeatThrottled => world.api_faults.throttle_heartbeats(at, at + heartbeat_timeout / 3 + secs(rng.below(60))),
        Fault::HeartbeatTimesOut => world.api_faults.add_outage(System::AutoScaling, at, at + heartbeat_timeout + secs(30)),
        Fault::CompletionAnswerLost => world.api_faults.lose_answers.push(EffectKind::Complete),
        Fault::DeregistrationAnswerLost => world.api_faults.lose_answers.push(EffectKind::Deregister),
        Fault::DrainAnswerLost => world.api_faults.lose_answers.push(EffectKind::Drain),
        Fault::MachineDies => intervene(Intervention::MachineDies),
        Fault::HookDeleted => intervene(Intervention::DeleteHook("decamp".into())),
        Fault::InstanceDetached => intervene(Intervention::Detach),
        Fault::BalancersThrottled => world.api_faults.throttle(System::LoadBalancers, at, at + secs(60)),
        Fault::RegionOutage => {
            world.api_faults.add_outage(System::AutoScaling, at, at + secs(300));
            world.api_faults.add_outage(System::LoadBalancers, at, at + secs(300));
        }
        Fault::SlowAnswers => {
            let systems = [System::AutoScaling, System::LoadBalancers, System::Nomad, System::Consul];
            let slow = systems[usize::try_from(rng.below(4)).unwrap_or(0)];
            let by = Duration::from_millis(500 + rng.below(2500));
            world.oracle.slowness = by;
            world.api_faults.slow_down(slow, by);
        }
        Fault::NonsenseAnswers => world.api_faults.nonsense_one_in = 4 + rng.below(30),
        Fault::NomadDenied => world.api_faults.deny(System::Nomad, at, for_a_while(rng)),
        Fault::NomadThrottled => world.api_faults.throttle(System::Nomad, at, for_a_while(rng)),
        Fault::ConsulAway => {
            let to = for_a_while(rng);
            world.api_faults.add_outage(System::Consul, at, to);
            interventions.push((at, Intervention::IngressLosesConsul(true)));
            interventions.push((to, Intervention::IngressLosesConsul(false)));
        }
        Fault::ConsulVanishes => {
            let within = [3_000, 12_000, 40_000][usize::try_from(rng.below(3)).unwrap_or(0)];
            let after = Duration::from_millis(rng.below(within));
            let stays_away = if rng.one_in(8) { secs(7_200) } else { secs(1 + rng.below(90)) };
            world.api_faults.consul_vanishes = Some((after, stays_away));
        }
        Fault::NomadHangs => world.api_faults.add_outage(System::Nomad, BEGIN, BEGIN + secs(20 + rng.below(90))),
        Fault::LeaderLost => intervene(Intervention::LoseLeader(secs(3 + rng.below(27)))),
        Fault::StaleReads => {
            interventions.push((at, Intervention::Lag(true)));
            interventions.push((at + secs(rng.below(20)), Intervention::Lag(false)));
        }
        Fault::IndexGoesBack => intervene(Intervention::RestoreIndex),
        Fault::DrainCancelled => intervene(Intervention::CancelDrain),
        Fault::DrainedByOperator => {
            let deadline = i64::try_from(secs(30 + rng.below(3600)).as_nanos()).unwrap_or(0);
            intervene(Intervention::Drain(deadline, rng.one_in(3)));
        }
        Fault::OthersLeave => intervene(Intervention::DrainAnother),
        Fault::NeedsForce => intervene(Intervention::Drain(0, false)),
        Fault::NodeCollected => intervene(Intervention::PurgeNode),
        Fault::AgentDead => intervene(Intervention::KillAgent),
        Fault::AgentAway => {
            interventions.push((at, Intervention::KillAgent));
            interventions.push((at + secs(5 + rng.below(120)), Intervention::ReviveAgent));
        }
        Fault::DeniedForGood if 0 < groups && !rng.one_in(4) => {
            let (reads, writes) = (rng.one_in(2), rng.one_in(2));
            interventions.push((BEGIN, Intervention::Deny(front, reads, writes || !reads)));
        }
        // The other instance comes in time for a held one, or too late.
        Fault::LastOfItsZone if rng.one_in(2) => {
            if let Some(another) = world.subject.joining {
                interventions.push((at + secs(rng.below(300)), Intervention::JoinInZone(0, another)));
            }
        }
        Fault::DeniedForGood if rng.one_in(2) => {
            let system = if rng.one_in(2) { System::Nomad } else { System::Consul };
            world.api_faults.deny(system, at, Time::NEVER);
        }
        // A policy that lacks one permission.
        Fault::DeniedForGood => {
            let kinds = [EffectKind::Drain, EffectKind::Deregister, EffectKind::Heartbeat, EffectKind::Complete];
            let place = usize::try_from(rng.below(5)).unwrap_or(0);
            match kinds.get(place) {
                Some(kind) => world.api_faults.denied_writes.push(*kind),
                None => world.api_faults.instances_denied_from = Some(if rng.one_in(2) { BEGIN } else { at }),
            }
        }
        Fault::AgentBackLate => {
            interventions.push((at, Intervention::KillAgent));
            interventions.push((at + secs(240 + rng.below(180)), Intervention::ReviveAgent));
        }
        Fault::JobPurged => intervene(Intervention::PurgeJob),
        Fault::DrainHangs if rng.one_in(2) => intervene(Intervention::StopJob),
        Fault::ConsulAgentDead => intervene(Intervention::KillConsulAgent),
        Fault::BlindToken if rng.one_in(2) => intervene(Intervention::FullToken),
        Fault::UnknownAddress if rng.one_in(2) => {
            if let Some(address) = world.subject.unreported {
                // The owner of the target deregisters it.
                intervene(Intervention::TakeOut(0, address));
            }
        }
        Fault::StaleCatalog => {
            interventions.push((at, Intervention::FreezeCatalog(true)));
            interventions.push((at + secs(rng.below(20)), Intervention::FreezeCatalog(false)));
        }
        Fault::LeftoverRegistration => world.consul.block(world.subject.consul_node, true),
        Fault::Held => {
            interventions.push((BEGIN, Intervention::Hold(true)));
            interventions.push((at, Intervention::Hold(false)));
            world.oracle.bounds.hold = world.oracle.bounds.hold.max(at.since(BEGIN));
        }
        Fault::HeldForHours => {
            interventions.push((BEGIN, Intervention::Hold(true)));
            // A hold lasts to the hook's end only if that is near enough to simulate. If no hook is named, the end of another hook may
            // count.
            let far = secs(12_000) < heartbeat_timeout * 100 || world.oracle.bounds.hooks_not_named;
            if far || rng.one_in(2) {
                let ends = BEGIN + secs(1_900 + rng.below(3_600));
                interventions.push((ends, Intervention::Hold(false)));
                // Nobody sees the end of the hold until longer after it than most departures may take.
                if rng.one_in(6) {
                    world.api_faults.throttle_reads(ends.before(secs(60)), ends + secs(1_850 + rng.below(600)));
                }
            }
        }
        Fault::VolumesDenied => world.nomad.deny_volumes(),
        Fault::HostVolumes => {
            // Without leave, a hold lasts to the hook's end, which has to be near enough to simulate.
            let far = secs(12_000) < heartbeat_timeout * 100 || world.oracle.bounds.hooks_not_named;
            if far || !rng.one_in(3) {
                interventions.push((BEGIN + secs(rng.below(3_000)), Intervention::LetLocalDataGo));
            }
        }
        Fault::ByHand => {
            // In half of the cases the owner of the service deregisters it.
            if rng.one_in(2) {
                interventions.push((at + secs(60), Intervention::TakeOutByHand));
            }
        }
        Fault::LandsLate => {
            if let Some(group) = service {
                intervene(Intervention::LandOn(group));
            }
        }
        Fault::TargetGroupDeleted if 0 < groups => intervene(Intervention::DeleteGroup(front)),
        Fault::TargetGroupDenied if 0 < groups => {
            let (reads, writes) = (rng.one_in(2), rng.one_in(2));
            interventions.push((BEGIN, Intervention::Deny(front, reads, writes || !reads)));
            interventions.push((at + secs(5), Intervention::Deny(front, false, false)));
        }
        Fault::TargetRegisteredAgain if 0 < groups => intervene(Intervention::Register(front)),
        Fault::DelayRaised if 0 < groups => intervene(Intervention::RaiseDelay(front, secs(60 + rng.below(300)))),
        Fault::DelayUnreadable if 0 < groups => {
            let arn = world.subject.fronts[front].clone();
            world.balancers.set_attributes_unreadable(&arn, true);
        }
        Fault::AlreadyDraining if 0 < groups => {
            let arn = world.subject.fronts[front].clone();
            world.balancers.deregister_instance(&arn, world.subject.instance);
        }
        Fault::DrainingSticks if 0 < groups => intervene(Intervention::RaiseDelay(front, secs(300 + rng.below(600)))),
        Fault::WarmPool
        | Fault::RootVolume
        | Fault::DuplicateEvent
        | Fault::TwoWorkers
        | Fault::LateEvent
        | Fault::StaleToken
        | Fault::LostEvent
        | Fault::Crash
        | Fault::FrozenWorker
        | Fault::ClockSkew
        | Fault::HookIsShort
        | Fault::AbandonRetains
        | Fault::SecondHook
        | Fault::SeveralPorts
        | Fault::RequestsOutliveTheDelay
        | Fault::LastHealthyTarget
        | Fault::LastOfItsZone
        | Fault::TwoNodes
        | Fault::NoNode
        | Fault::StuckStop
        | Fault::NoRoomElsewhere
        | Fault::SystemAndCsi
        | Fault::LongBatch
        | Fault::DrainHangs
        | Fault::BlindToken
        | Fault::KeptConnections
        | Fault::ClassicBalancer
        | Fault::LatticeSource
        | Fault::IngressPolls
        | Fault::IngressUnderLoad
        | Fault::ConsulNamespaces
        | Fault::ConsulElsewhere
        | Fault::NotListed
        | Fault::OtherSettingsNextTime
        | Fault::UnknownAddress
        | Fault::StrangersAddress
        | Fault::OwnAddresses
        | Fault::FoundByScan
        | Fault::FingerprintMissing
        | Fault::HooksNotNamed
        | Fault::ConsulWithoutAcls
        | Fault::ClaimsHours
        | Fault::SpotInterruption
        | Fault::TargetGroupDeleted
        | Fault::TargetGroupDenied
        | Fault::TargetRegisteredAgain
        | Fault::DelayRaised
        | Fault::DelayUnreadable
        | Fault::AlreadyDraining
        | Fault::DrainingSticks
        | Fault::SweepsAlone
        | Fault::CsiVolumes
        | Fault::MessageLate => {}
    }
}
