//! What each fault does to the world: whose hands are lent, and what weather it brings.

use std::time::Duration;

use super::cast::{moment, secs};
use crate::faults::Fault;
use crate::luck::Luck;
use crate::nomad::GroupNumber;
use crate::setting::BEGIN;
use crate::stage::{Hand, Stage};
use decamp_core::decide::{EffectKind, System};
use decamp_core::time::Time;

/// What a fault does to the world.
pub(super) fn lend_a_hand(
    stage: &mut Stage,
    fault: Fault,
    service: Option<GroupNumber>,
    heartbeat_timeout: Duration,
    luck: &mut Luck,
    hands: &mut Vec<(Time, Hand)>,
) {
    let at = moment(luck);
    let for_a_while = |luck: &mut Luck| at + secs(2 + luck.below(90));
    let groups = stage.cast.fronts.len() as u64;
    let front = usize::try_from(luck.below(groups.max(1))).unwrap_or(0);
    let mut lend = |hand: Hand| hands.push((at, hand));
    match fault {
        Fault::ActivitiesDenied => stage.auto_scaling.deny_activities(),
        Fault::MetadataRefused => stage.nomad.refuse_metadata(),
        Fault::CredentialsExpire => {
            let to = for_a_while(luck);
            stage.weather.denied(System::AutoScaling, at, to);
            stage.weather.denied(System::LoadBalancers, at, to);
        }
        Fault::ActionCompletedBySomebody => lend(Hand::Complete("decamp".into())),
        Fault::HeartbeatThrottled => stage.weather.heartbeats_refused(at, at + heartbeat_timeout / 3 + secs(luck.below(60))),
        Fault::HeartbeatTimesOut => stage.weather.away(System::AutoScaling, at, at + heartbeat_timeout + secs(30)),
        Fault::CompletionAnswerLost => stage.weather.lose_answers.push(EffectKind::Complete),
        Fault::DeregistrationAnswerLost => stage.weather.lose_answers.push(EffectKind::Deregister),
        Fault::DrainAnswerLost => stage.weather.lose_answers.push(EffectKind::Drain),
        Fault::MachineDies => lend(Hand::MachineDies),
        Fault::HookDeleted => lend(Hand::DeleteHook("decamp".into())),
        Fault::InstanceDetached => lend(Hand::Detach),
        Fault::BalancersThrottled => stage.weather.throttled(System::LoadBalancers, at, at + secs(60)),
        Fault::RegionOutage => {
            stage.weather.away(System::AutoScaling, at, at + secs(300));
            stage.weather.away(System::LoadBalancers, at, at + secs(300));
        }
        Fault::SlowAnswers => {
            let systems = [System::AutoScaling, System::LoadBalancers, System::Nomad, System::Consul];
            let slow = systems[usize::try_from(luck.below(4)).unwrap_or(0)];
            let by = Duration::from_millis(500 + luck.below(2500));
            stage.oracle.slowness = by;
            stage.weather.slow(slow, by);
        }
        Fault::NonsenseAnswers => stage.weather.nonsense_one_in = 4 + luck.below(30),
        Fault::NomadDenied => stage.weather.denied(System::Nomad, at, for_a_while(luck)),
        Fault::NomadThrottled => stage.weather.throttled(System::Nomad, at, for_a_while(luck)),
        Fault::ConsulAway => {
            let to = for_a_while(luck);
            stage.weather.away(System::Consul, at, to);
            hands.push((at, Hand::DeafIngress(true)));
            hands.push((to, Hand::DeafIngress(false)));
        }
        Fault::ConsulVanishes => {
            let within = [3_000, 12_000, 40_000][usize::try_from(luck.below(3)).unwrap_or(0)];
            let after = Duration::from_millis(luck.below(within));
            let stays_away = if luck.one_in(8) { secs(7_200) } else { secs(1 + luck.below(90)) };
            stage.weather.consul_vanishes = Some((after, stays_away));
        }
        Fault::NomadHangs => stage.weather.away(System::Nomad, BEGIN, BEGIN + secs(20 + luck.below(90))),
        Fault::LeaderLost => lend(Hand::LoseLeader(secs(3 + luck.below(27)))),
        Fault::StaleReads => {
            hands.push((at, Hand::Lag(true)));
            hands.push((at + secs(luck.below(20)), Hand::Lag(false)));
        }
        Fault::IndexGoesBack => lend(Hand::RestoreIndex),
        Fault::DrainCancelled => lend(Hand::CancelDrain),
        Fault::DrainedByOperator => {
            let deadline = i64::try_from(secs(30 + luck.below(3600)).as_nanos()).unwrap_or(0);
            lend(Hand::Drain(deadline, luck.one_in(3)));
        }
        Fault::OthersLeave => lend(Hand::DrainAnother),
        Fault::NeedsForce => lend(Hand::Drain(0, false)),
        Fault::NodeCollected => lend(Hand::PurgeNode),
        Fault::AgentDead => lend(Hand::KillAgent),
        Fault::AgentAway => {
            hands.push((at, Hand::KillAgent));
            hands.push((at + secs(5 + luck.below(120)), Hand::ReviveAgent));
        }
        Fault::DeniedForGood if 0 < groups && !luck.one_in(4) => {
            let (reads, writes) = (luck.one_in(2), luck.one_in(2));
            hands.push((BEGIN, Hand::Deny(front, reads, writes || !reads)));
        }
        // It comes in time for one that is held, or too late.
        Fault::LastOfItsZone if luck.one_in(2) => {
            if let Some(another) = stage.cast.joins {
                hands.push((at + secs(luck.below(300)), Hand::JoinInZone(0, another)));
            }
        }
        Fault::DeniedForGood => {
            let system = if luck.one_in(2) { System::Consul } else { System::Nomad };
            stage.weather.denied(system, at, Time::NEVER);
        }
        Fault::AgentBackLate => {
            hands.push((at, Hand::KillAgent));
            hands.push((at + secs(240 + luck.below(180)), Hand::ReviveAgent));
        }
        Fault::JobPurged => lend(Hand::PurgeJob),
        Fault::DrainHangs if luck.one_in(2) => lend(Hand::StopJob),
        Fault::ConsulAgentDead => lend(Hand::KillConsulAgent),
        Fault::BlindToken if luck.one_in(2) => lend(Hand::FullToken),
        Fault::UnknownAddress if luck.one_in(2) => {
            if let Some(address) = stage.cast.untold {
                // Whoever registered it takes it out again.
                lend(Hand::TakeOut(0, address));
            }
        }
        Fault::StaleCatalog => {
            hands.push((at, Hand::FreezeCatalog(true)));
            hands.push((at + secs(luck.below(20)), Hand::FreezeCatalog(false)));
        }
        Fault::LeftoverRegistration => stage.consul.block(stage.cast.consul_node, true),
        Fault::Held => {
            hands.push((BEGIN, Hand::Hold(true)));
            hands.push((at, Hand::Hold(false)));
        }
        Fault::HeldForHours => {
            hands.push((BEGIN, Hand::Hold(true)));
            // To the end only where that is near enough to be played. Where it is not said which hook is meant, another's end may count.
            let far = secs(12_000) < heartbeat_timeout * 100 || stage.oracle.bounds.hooks_not_named;
            if far || luck.one_in(2) {
                hands.push((BEGIN + secs(1_900 + luck.below(3_600)), Hand::Hold(false)));
            }
        }
        Fault::ByHand => {
            // Every other one that is waited for is taken out by whoever registered it.
            if luck.one_in(2) {
                hands.push((at + secs(60), Hand::TakeOutByHand));
            }
        }
        Fault::LandsLate => {
            if let Some(group) = service {
                lend(Hand::LandOn(group));
            }
        }
        Fault::TargetGroupDeleted if 0 < groups => lend(Hand::DeleteGroup(front)),
        Fault::TargetGroupDenied if 0 < groups => {
            let (reads, writes) = (luck.one_in(2), luck.one_in(2));
            hands.push((BEGIN, Hand::Deny(front, reads, writes || !reads)));
            hands.push((at + secs(5), Hand::Deny(front, false, false)));
        }
        Fault::TargetRegisteredAgain if 0 < groups => lend(Hand::Register(front)),
        Fault::DelayRaised if 0 < groups => lend(Hand::RaiseDelay(front, secs(60 + luck.below(300)))),
        Fault::DelayUnreadable if 0 < groups => {
            let arn = stage.cast.fronts[front].clone();
            stage.balancers.set_attributes_unreadable(&arn, true);
        }
        Fault::AlreadyDraining if 0 < groups => {
            let arn = stage.cast.fronts[front].clone();
            stage.balancers.deregister_instance(&arn, stage.cast.instance);
        }
        Fault::DrainingSticks if 0 < groups => lend(Hand::RaiseDelay(front, secs(300 + luck.below(600)))),
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
        | Fault::MessageLate => {}
    }
}
