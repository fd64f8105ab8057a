//! All stories, in the order for a reader.

mod sending;

use std::time::Duration;

use decamp_core::decide::Match;
use decamp_sim::faults::Fault;
use decamp_sim::run::{CrashPoint, Passes, WorkMode};

use super::Story;

const fn story(name: &'static str, about: &'static str, faults: &'static [Fault], outcome: &'static str) -> Story {
    Story { name, about, faults, crash: None, work_mode: WorkMode::Continuous, outcome, shows: &[], never: &[], compares: &[] }
}

/// Passes of this many seconds in processes without memory.
const fn passes(seconds: u64, sweeps_alone: bool) -> WorkMode {
    WorkMode::Passes(Passes {
        length: Duration::from_secs(seconds),
        warm: false,
        heartbeat_timeout: Duration::from_secs(900),
        sweeps_alone,
        late: false,
    })
}

const BESIDE: &str = "drain services";
const FORCE: &str = "force";

/// All stories.
pub(crate) fn all_stories() -> impl Iterator<Item = &'static Story> {
    sending::STORIES.iter().chain(FAILURES)
}

/// What was foreseen and what was seen, of which each result is in the story.
const EACH_RESULT: &[Match] = &[Match::ForeseenAndSeen, Match::ForeseenNotSeen, Match::ForeseenCannotBeSeen];

/// The stories in which something is missing or fails, or another party intervenes.
const FAILURES: &[Story] = &[
    Story {
        shows: &["drain all"],
        compares: EACH_RESULT,
        ..story(
            "foreseen-and-seen",
            "The ingress polls, and a task ignores its signal: at the end each finding is compared with what was seen.",
            &[Fault::IngressPolls, Fault::StuckStop],
            "departed",
        )
    },
    Story {
        shows: &["which has had time to join"],
        ..story(
            "fingerprint-missing",
            "The Nomad node does not tell which instance it is: the instance is kept to the end, and not let go with all that runs on it.",
            &[Fault::FingerprintMissing],
            "no-node",
        )
    },
    Story {
        shows: &["several terminating hooks"],
        never: &["complete", "drain"],
        ..story(
            "hooks-not-named",
            "The group has another tool's hook, and nobody has said which is decamp's: nothing is touched.",
            &[Fault::HooksNotNamed],
            "not-ours",
        )
    },
    Story {
        shows: &["Nomad cannot be seen"],
        ..story(
            "nomad-denied",
            "Nomad denies everything for a while: it is waited for, and nothing is concluded.",
            &[Fault::NomadDenied],
            "departed",
        )
    },
    Story {
        shows: &["Consul cannot be seen"],
        ..story(
            "consul-away",
            "Consul is away for a while: nothing is stopped before discovery is in sight again.",
            &[Fault::ConsulAway],
            "departed",
        )
    },
    Story {
        shows: &["Consul cannot be seen while", "note decamp.unseen", "unconfirmed"],
        ..story(
            "consul-vanishes",
            "Consul goes away after the drain began: it is watched, and what stopped unseen is written down and named.",
            &[Fault::ConsulVanishes],
            "unconfirmed",
        )
    },
    Story {
        shows: &["deregister", "Nomad cannot be seen"],
        ..story(
            "nomad-hangs",
            "Nomad takes calls and answers none: the load balancers are left meanwhile.",
            &[Fault::NomadHangs],
            "departed",
        )
    },
    Story {
        shows: &["[0]", "[1]", "drain all"],
        crash: Some(CrashPoint { effect: 3, after: true }),
        ..story("crash", "A worker is killed right after a write; the next one goes on where the world stands.", &[], "departed")
    },
    Story {
        shows: &["somebody cancelled the drain"],
        ..story(
            "drain-cancelled",
            "An operator cancels the drain: it stays cancelled until what is left must stop to be over before the end.",
            &[Fault::DrainCancelled],
            "forced",
        )
    },
    Story {
        shows: &["the drain hangs although all is over"],
        ..story(
            "drain-hangs",
            "Nomad's drain hangs: it is sent again with the time that is left.",
            &[Fault::DrainHangs],
            "departed",
        )
    },
    Story {
        shows: &["(1s)"],
        ..story(
            "forced",
            "A batch allocation would run for hours: it is cut in time to be over before the end, and the outcome says so.",
            &[Fault::LongBatch, Fault::HookIsShort],
            "forced",
        )
    },
    Story {
        shows: &["deregister", "drain all"],
        never: &[FORCE, "(1s)"],
        ..story(
            "claims-hours",
            "A job claims hours for its stop: nothing is hurried, and nobody's deadline is cut by it.",
            &[Fault::ClaimsHours],
            "departed",
        )
    },
    Story {
        shows: &["Nomad's agent on it is dead"],
        ..story(
            "agent-dead",
            "Nomad's agent dies for good: nobody can stop its processes, and the outcome says so.",
            &[Fault::AgentDead],
            "agent-dead",
        )
    },
    Story {
        shows: &["Nomad has lost its agent", "the time is up"],
        ..story(
            "agent-lost",
            "Nomad loses the agent, and Consul shows its services passing: it is waited for to the end.",
            &[Fault::AgentDead],
            "agent-dead",
        )
    },
    Story {
        shows: &["vanished from the list"],
        ..story(
            "job-purged",
            "A job is purged while its allocations stop: they count as running for their longest stop.",
            &[Fault::JobPurged],
            "departed",
        )
    },
    Story {
        shows: &["complete: Abandon"],
        ..story(
            "retained",
            "Nomad cannot be seen at all; the time is up, the policy abandons and the group retains: the instance is kept.",
            &[Fault::AbandonRetains, Fault::BlindToken],
            "retained",
        )
    },
    Story {
        shows: &["deregister"],
        never: &["heartbeat", "complete"],
        ..story(
            "spot-interruption",
            "EC2 takes the instance back in two minutes: there is no hook, and no time for everything.",
            &[Fault::SpotInterruption],
            "interrupted",
        )
    },
    Story {
        shows: &["its group is held", "drain all"],
        ..story(
            "held",
            "The group is held by its tag: heartbeats and nothing else, until it is let go.",
            &[Fault::Held],
            "departed",
        )
    },
    Story {
        shows: &["its root volume is to be replaced", "heartbeat"],
        ..story(
            "root-volume",
            "The instance waits for another root volume and comes back: it is kept alive for a person to empty it.",
            &[Fault::RootVolume],
            "timed-out",
        )
    },
    Story {
        shows: &["denied", "the time is up"],
        ..story(
            "denied-for-good",
            "A deregistration is denied for good: the ingress serves on to the very end, and is not forced while it is sent to.",
            &[Fault::DeniedForGood],
            "timed-out",
        )
    },
    Story {
        shows: &["its group is held", "drain all"],
        never: &[FORCE],
        ..story(
            "held-for-hours",
            "The group is held for longer than a departure may take: afterwards it is walked out in order all the same.",
            &[Fault::HeldForHours],
            "departed",
        )
    },
    Story {
        shows: &["drain all"],
        ..story("warm-pool", "The instance goes to a warm pool, and may come back.", &[Fault::WarmPool], "departed")
    },
    Story {
        shows: &["[0]", "[1]"],
        ..story(
            "two-workers",
            "The event comes to two workers: they do not stand in each other's way.",
            &[Fault::TwoWorkers],
            "departed",
        )
    },
    Story {
        shows: &["the Nomad token cannot see enough"],
        ..story(
            "blind-token",
            "The Nomad token sees less than everything: nothing is drained before it is given the rest.",
            &[Fault::BlindToken],
            "departed",
        )
    },
    Story {
        shows: &["somebody registered it again"],
        ..story(
            "registered-again",
            "Somebody registers the instance again: it is deregistered again before anything is stopped.",
            &[Fault::TargetRegisteredAgain],
            "departed",
        )
    },
    Story {
        shows: &["no Nomad node is this instance"],
        never: &["drain"],
        ..story("no-node", "No Nomad node is the instance: it leaves its load balancers and goes.", &[Fault::NoNode], "no-node")
    },
    Story {
        shows: &["[3]", "note decamp.began, decamp.deregistered", "the next worker has to know", "drain all"],
        work_mode: passes(10, false),
        ..story(
            "passes",
            "The Lambda's passes are shorter than a load balancer's delay: each goes on from what an earlier one noted on the node.",
            &[],
            "departed",
        )
    },
    Story {
        shows: &["[3]", "drain all"],
        work_mode: passes(55, true),
        ..story(
            "sweeps-alone",
            "The event is lost: the sweep of each minute takes one step after the other, and remembers nothing.",
            &[Fault::SweepsAlone],
            "departed",
        )
    },
    Story {
        shows: &["Nomad's agent on it is dead", "[9]"],
        work_mode: passes(25, false),
        ..story(
            "agent-dead-in-passes",
            "Nomad's agent dies for good: each pass counts from when Nomad says that it did.",
            &[Fault::AgentDead],
            "agent-dead",
        )
    },
    Story {
        shows: &["an allocation landed after the drain"],
        ..story(
            "lands-late",
            "An allocation lands after the drain: the node is drained once more.",
            &[Fault::LandsLate],
            "departed",
        )
    },
    Story {
        shows: &["Nomad's agent on it is dead", "drain all"],
        never: &[FORCE],
        ..story(
            "agent-back-late",
            "Nomad's agent comes back when decamp has almost given it up. decamp sees what has stopped, and completes in order.",
            &[Fault::AgentBackLate],
            "departed",
        )
    },
    Story {
        work_mode: passes(55, true),
        shows: &["may still send to it until", "drain all"],
        never: &[FORCE],
        ..story(
            "activities-denied",
            "Scaling activities may not be read, and only sweeps come. Each wait is still timed from a recorded start.",
            &[Fault::ActivitiesDenied],
            "departed",
        )
    },
    Story {
        shows: &["drain all"],
        never: &[FORCE],
        ..story(
            "slow-answers",
            "Each answer of one system takes seconds. The departure is slower and otherwise the same.",
            &[Fault::SlowAnswers],
            "departed",
        )
    },
    Story {
        shows: &["does not have its disk yet"],
        never: &[FORCE],
        ..story(
            "disk-copying",
            "A disk migrates: everything has stopped, and the instance stays until the replacement has copied the disk from it.",
            &[],
            "departed",
        )
    },
    Story {
        shows: &["so nothing copies its disk from here"],
        ..story(
            "disk-unplaced",
            "A disk migrates, and its job fits nowhere else: the instance is kept to the end, and the outcome names the disk.",
            &[Fault::NoRoomElsewhere],
            "data-left",
        )
    },
    Story {
        shows: &["drain services", "has not released the claim"],
        never: &[FORCE],
        ..story(
            "volume-claimed",
            "A service uses a CSI volume: the instance, and the plugin on it, stay until Nomad has released the claim.",
            &[Fault::CsiVolumes],
            "departed",
        )
    },
    Story {
        shows: &["has data in the host volume", "it leaves at", "deregister"],
        ..story(
            "local-data",
            "A service has data in a host volume, and the settings hold it: nothing is written before an operator lets it go.",
            &[Fault::HostVolumes],
            "departed",
        )
    },
];
