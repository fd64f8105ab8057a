//! What was foreseen, compared with what was seen: each finding with its evidence, and what nobody had foreseen (ADR 0048).

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{
    ClientStatus, Compared, Disk, EffectKind, Finding, HandRegistration, JobKind, Loss, Match, Outcome, Part, Sign, Snapshot,
    Stop, TaskEnd, Volume, VolumeKind, compare,
};
use decamp_core::ids::AllocationId;

use crate::facts::{API, BATCH, ENTRY, SHOP, allocation, attached, registration, secs, task_group};
use crate::scene::{Scene, released};

pub(crate) const DEPARTED: Outcome = Outcome::Departed { waiting_for: None };

/// A departure at its end, and the findings that were reported before its drain.
pub(crate) struct Ended {
    pub(crate) scene: Scene,
    pub(crate) reported: Vec<Finding>,
}

/// Everything stopped in order 40 s after the instance entered its hook, after the change.
pub(crate) fn ended(change: impl FnOnce(&mut Scene)) -> Ended {
    let mut scene = released(change);
    let decision = scene.until_it_writes(EffectKind::Drain);
    let reported = scene.foreseen();
    scene.obey(&decision);
    scene.next();
    scene.pass(20);
    scene.everything_stops();
    let mut ended = Ended { scene, reported };
    for id in [API, SHOP] {
        ended.stops(id, in_order());
    }
    ended
}

impl Ended {
    /// Nomad shows that an allocation stopped like this.
    pub(crate) fn stops(&mut self, id: AllocationId, stop: Stop) {
        self.scene.allocation(id, |a| a.ends = [TaskEnd::Stopped(stop.clone())].into());
        self.scene.news_from_nomad();
    }

    pub(crate) fn compared(&self) -> Vec<Compared> {
        self.compared_at(&DEPARTED)
    }

    pub(crate) fn compared_at(&self, outcome: &Outcome) -> Vec<Compared> {
        compare(&self.scene.departure, &self.scene.seen, &self.scene.policy, &self.reported, outcome)
    }

    /// The only comparison.
    #[track_caller]
    pub(crate) fn only(&self) -> Compared {
        match self.compared().as_slice() {
            [one] => one.clone(),
            all => panic!("{all:#?}"),
        }
    }

    /// The comparison of this finding.
    #[track_caller]
    fn of(&self, loss: Loss, outcome: &Outcome) -> Compared {
        let all = self.compared_at(outcome);
        all.iter().find(|one| one.loss == Some(loss)).unwrap_or_else(|| panic!("{loss:?}: {all:#?}")).clone()
    }

    /// The same departure, as a worker sees it that comes when everything is over. It reports nothing before that.
    pub(crate) fn seen_later(mut self) -> Self {
        self.scene.seen = Snapshot::begin(self.scene.departure.instance, self.scene.now);
        self.scene.until_it_writes(EffectKind::Complete);
        self.reported = Vec::new();
        self
    }
}

fn stop(took: Duration, kill_timeout: u64, exit_code: i64) -> Stop {
    let signalled = ENTRY + secs(40);
    Stop { task: "server".into(), signalled, took, kill_timeout: secs(kill_timeout), exit_code, signal: 0, out_of_memory: false }
}

pub(crate) fn in_order() -> Stop {
    stop(secs(1), 10, 0)
}

pub(crate) fn deaf() -> Stop {
    stop(Duration::from_millis(3_080), 3, 137)
}

pub(crate) fn abrupt() -> Stop {
    stop(Duration::from_millis(60), 10, 143)
}

/// A request may be in progress when the task is killed: it has 3 s, and requests take up to 5 s.
pub(crate) fn with_little_time(scene: &mut Scene) {
    scene.task_group(API, |group| {
        group.shutdown_delay = secs(5);
        group.tasks[0].kill_timeout = secs(3);
    });
}

/// The ingress sends to it for 5 s, and it serves for 1 s.
fn leaving_early(scene: &mut Scene) {
    scene.task_group(API, |group| group.shutdown_delay = secs(1));
}

#[test]
fn a_departure_that_foresaw_nothing_and_saw_nothing_compares_nothing() {
    assert_eq!(ended(|_| ()).compared(), []);
}

#[test]
fn each_finding_has_its_evidence_or_none() {
    let table = [
        (Loss::LeavesBeforeForgotten, Sign::Requests),
        (Loss::KilledWithRequests, Sign::Kills),
        (Loss::DeafTask, Sign::Stops),
        (Loss::AbruptTask, Sign::Stops),
        (Loss::SlowStop, Sign::Stops),
        (Loss::NoCopyLeft, Sign::Copies),
        (
            Loss::DelayTooShort,
            Sign::Nothing("the load balancer's list does not show which requests were in progress at the end of the delay"),
        ),
        (Loss::KeptConnections, Sign::Nothing("no system that decamp reads counts the connections that were cut")),
        (Loss::LastHealthyTarget, Sign::Targets),
        (Loss::CutAtDeadline, Sign::ToldToStop),
        (Loss::NeverMigrates, Sign::Deadline),
        (Loss::DiskCut, Sign::Disks),
        (Loss::LocalData, Sign::LocalData),
        (Loss::NoTargetGroup, Sign::Nothing("what sends to the instance is not known, so it cannot be read")),
        (Loss::UnhandledSource, Sign::Nothing("what sends to the instance is not known, so it cannot be read")),
        (Loss::UnknownTarget, Sign::Nothing("nobody knows whose address it is")),
        (Loss::NotATarget, Sign::Nothing("the group does not list the instance, and nobody knows whether it should")),
        (Loss::NotInConsul, Sign::Nothing("Consul does not list it")),
        (Loss::RegisteredByHand, Sign::Registered),
        (Loss::DoesNotFit, Sign::Outcome),
        (Loss::Interrupted, Sign::Outcome),
    ];
    assert_eq!(table.len(), Loss::WORDS.len());
    for (loss, sign) in table {
        assert_eq!(loss.sign(), sign, "{loss:?}");
    }
}

#[test]
fn a_task_that_was_killed_confirms_that_it_had_too_little_time() {
    let mut departure = ended(with_little_time);
    departure.stops(API, deaf());
    let seen = departure.only();
    assert_eq!((seen.result, seen.loss, &*seen.object), (Match::ForeseenAndSeen, Some(Loss::KilledWithRequests), "api/group"));
    assert_eq!(seen.seen, "server: it did not stop on its kill signal within 3s and was killed");
    assert_eq!(seen.at, Some(ENTRY + secs(40) + Duration::from_millis(3_080)));
    assert_eq!(
        seen.to_string(),
        "foreseen and seen: killed-with-requests: api/group: server: it did not stop on its kill signal within 3s and was killed"
    );
}

#[test]
fn a_task_that_ended_by_itself_is_foreseen_and_not_seen() {
    let seen = ended(with_little_time).only();
    assert_eq!((seen.result, seen.loss), (Match::ForeseenNotSeen, Some(Loss::KilledWithRequests)));
    assert_eq!((seen.seen.as_str(), seen.at), ("each of its tasks ended by itself before its kill_timeout", None));
}

#[test]
fn an_end_that_nomad_does_not_show_is_unknown_and_not_fine() {
    let mut unreadable = ended(with_little_time);
    let why: Arc<str> = "a form that is not known".into();
    unreadable.scene.allocation(API, |a| a.ends = [TaskEnd::Unreadable { task: "server".into(), why: Arc::clone(&why) }].into());
    unreadable.scene.news_from_nomad();
    assert_eq!(unreadable.only().result, Match::ForeseenCannotBeSeen);
    let mut vanished = released(with_little_time);
    let decision = vanished.until_it_writes(EffectKind::Drain);
    let reported = vanished.foreseen();
    vanished.obey(&decision);
    vanished.next();
    vanished.purge(API);
    vanished.news_from_nomad();
    assert_eq!(Ended { scene: vanished, reported }.only().result, Match::ForeseenCannotBeSeen);
}

#[test]
fn nothing_shows_to_what_the_ingress_sends_until_a_copy_is_cut_or_stays_listed() {
    let early = || ended(leaving_early);
    assert_eq!(early().only().result, Match::ForeseenCannotBeSeen);
    let mut killed = early();
    killed.stops(API, deaf());
    assert_eq!((killed.only().result, killed.only().loss), (Match::ForeseenAndSeen, Some(Loss::LeavesBeforeForgotten)));
    let mut listed = early();
    listed.scene.pass(4);
    listed.scene.consul.services = vec![registration(API, "api")].into();
    listed.scene.look(&Part::Consul);
    let seen = listed.only();
    assert_eq!((seen.result, seen.at), (Match::ForeseenAndSeen, Some(listed.scene.now)));
}

#[test]
fn a_registration_that_is_critical_or_only_just_over_is_no_evidence() {
    let mut critical = ended(leaving_early);
    critical.scene.pass(4);
    let mut left = registration(API, "api");
    left.critical = true;
    critical.scene.consul.services = vec![left].into();
    critical.scene.look(&Part::Consul);
    assert_eq!(critical.only().result, Match::ForeseenCannotBeSeen);
    let mut at_once = ended(leaving_early);
    at_once.scene.consul.services = vec![registration(API, "api")].into();
    at_once.scene.look(&Part::Consul);
    assert_eq!(at_once.only().result, Match::ForeseenCannotBeSeen, "the catalog may lag for a moment");
}

#[test]
fn a_registration_in_nomads_own_discovery_counts_as_one_in_consul() {
    let mut listed = ended(leaving_early);
    listed.scene.pass(4);
    listed.scene.native.services = vec![registration(API, "api")].into();
    listed.scene.look(&Part::NomadServices);
    assert_eq!(listed.only().result, Match::ForeseenAndSeen);
}

#[test]
fn the_only_copy_is_gone_from_its_signal_until_it_is_over() {
    let seen = ended(|scene| scene.task_group(API, |group| group.count = 1)).only();
    assert_eq!((seen.result, seen.loss, seen.at), (Match::ForeseenAndSeen, Some(Loss::NoCopyLeft), Some(ENTRY + secs(40))));
    assert!(seen.seen.starts_with("the only copy that the job wants had been told to stop at"), "{seen}");
    assert!(seen.seen.ends_with("before one of them is over, 1s later"), "{seen}");
}

#[test]
fn two_copies_that_stop_one_after_the_other_may_have_had_a_replacement() {
    const SECOND: AllocationId = AllocationId(9);
    let both = |scene: &mut Scene| {
        scene.task_group(API, |group| group.max_parallel = Some(2));
        let mut second = allocation(SECOND, task_group("api", JobKind::Service), 21_009);
        Arc::make_mut(&mut second.group).max_parallel = Some(2);
        scene.add_allocation(second);
    };
    let mut together = ended(both);
    together.stops(SECOND, in_order());
    let seen = together.of(Loss::NoCopyLeft, &DEPARTED);
    assert_eq!(seen.result, Match::ForeseenAndSeen);
    assert!(seen.seen.starts_with("all 2 copies"), "{seen}");
    let mut apart = ended(both);
    apart.stops(SECOND, Stop { signalled: ENTRY + secs(50), ..in_order() });
    assert_eq!(apart.of(Loss::NoCopyLeft, &DEPARTED).result, Match::ForeseenCannotBeSeen);
}

#[test]
fn batch_work_was_cut_if_it_was_told_to_stop() {
    let with_batch = |scene: &mut Scene| {
        let mut batch = allocation(BATCH, task_group("etl", JobKind::Batch), 0);
        Arc::make_mut(&mut batch.group).services.clear();
        scene.add_allocation(batch);
    };
    let end = |wanted: bool, client: ClientStatus| {
        let mut departure = ended(with_batch);
        departure.scene.allocation(BATCH, |a| (a.wanted, a.client) = (wanted, client));
        departure.scene.news_from_nomad();
        departure.of(Loss::CutAtDeadline, &Outcome::Forced).result
    };
    assert_eq!(end(false, ClientStatus::Complete), Match::ForeseenAndSeen);
    assert_eq!(end(true, ClientStatus::Complete), Match::ForeseenNotSeen);
    assert_eq!(end(true, ClientStatus::Running), Match::ForeseenCannotBeSeen);
    assert_eq!(end(true, ClientStatus::Lost), Match::ForeseenCannotBeSeen);
}

#[test]
fn what_a_deadline_stopped_confirms_that_it_never_migrates() {
    let pinned = |scene: &mut Scene| scene.task_group(API, |group| group.max_parallel = Some(0));
    assert_eq!(ended(pinned).of(Loss::NeverMigrates, &DEPARTED).result, Match::ForeseenCannotBeSeen);
    let mut scene = released(pinned);
    let decision = scene.until_it_writes(EffectKind::Drain);
    let reported = scene.foreseen();
    scene.obey(&decision);
    scene.allocation(API, |a| a.wanted = true);
    scene.news_from_nomad();
    let deadline = scene.node().drain.as_ref().and_then(|drain| drain.force_deadline).expect("it has a deadline");
    scene.now = deadline + secs(1);
    scene.allocation(API, |a| a.wanted = false);
    scene.news_from_nomad();
    let seen = Ended { scene, reported }.of(Loss::NeverMigrates, &Outcome::Forced);
    assert_eq!((seen.result, seen.seen.as_str()), (Match::ForeseenAndSeen, "a deadline stopped 1 of 1 allocations"));
}

#[test]
fn a_disk_was_cut_if_no_replacement_had_it_at_the_end() {
    let mut departure = ended(|scene| scene.task_group(API, |group| group.migrates_disk = true));
    assert_eq!(departure.only().result, Match::ForeseenCannotBeSeen, "Nomad shows no disk");
    let mut shows = |disk: Disk| {
        departure.scene.allocation(API, |a| a.disk = disk);
        departure.scene.news_from_nomad();
        departure.only()
    };
    assert_eq!(shows(Disk::Copying(AllocationId(77))).result, Match::ForeseenAndSeen);
    assert_eq!(shows(Disk::Moved).result, Match::ForeseenCannotBeSeen, "the machine may have gone before the copy ended");
    let decision = departure.scene.until_it_writes(EffectKind::Complete);
    departure.scene.obey(&decision);
    assert_eq!(departure.only().result, Match::ForeseenNotSeen, "its action was open until then");
}

#[test]
fn a_target_group_without_a_healthy_target_confirms_that_ours_was_the_last() {
    let alone = |scene: &mut Scene| {
        scene.front(&attached()).targets = scene.fronts[0].targets.as_ref().map(|t| vec![t[0].clone()].into())
    };
    let departure = ended(alone);
    let seen = departure.of(Loss::LastHealthyTarget, &DEPARTED);
    assert_eq!((seen.result, &*seen.object), (Match::ForeseenAndSeen, "attached"));
    assert!(seen.seen.starts_with("it had no healthy target at "), "{seen}");
}

#[test]
fn a_service_registered_by_hand_is_seen_while_consul_lists_it_as_routable() {
    let by_hand = |critical: bool| -> Arc<[HandRegistration]> { [HandRegistration { service: "cron".into(), critical }].into() };
    let mut departure = ended(|scene| scene.consul.by_hand = by_hand(false));
    let seen = departure.of(Loss::RegisteredByHand, &DEPARTED);
    assert_eq!((seen.result, &*seen.object), (Match::ForeseenAndSeen, "cron"));
    departure.scene.consul.by_hand = by_hand(true);
    departure.scene.look(&Part::Consul);
    assert_eq!(departure.of(Loss::RegisteredByHand, &DEPARTED).result, Match::ForeseenCannotBeSeen);
    departure.scene.look_in_vain(&Part::Consul);
    assert_eq!(departure.of(Loss::RegisteredByHand, &DEPARTED).result, Match::ForeseenCannotBeSeen);
}

#[test]
fn the_outcome_shows_whether_the_time_was_too_short() {
    let departure = ended(|scene| scene.policy.max_departure = secs(100));
    let of = |outcome: &Outcome| departure.of(Loss::DoesNotFit, outcome).result;
    assert_eq!(of(&Outcome::Forced), Match::ForeseenAndSeen);
    assert_eq!(of(&Outcome::TimedOut), Match::ForeseenAndSeen);
    assert_eq!(of(&Outcome::Unconfirmed { unseen: None, cut: true, unread: [].into() }), Match::ForeseenAndSeen);
    assert_eq!(of(&Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() }), Match::ForeseenNotSeen);
    assert_eq!(of(&DEPARTED), Match::ForeseenNotSeen);
    assert_eq!(of(&Outcome::AgentDead), Match::ForeseenCannotBeSeen);
}

#[test]
fn local_data_is_seen_lost_only_where_the_outcome_names_it() {
    let departure = ended(|scene| {
        scene.task_group(API, |group| {
            let kind = VolumeKind::Host { sticky: false };
            group.volumes = vec![Volume { name: "data".into(), source: "mysql".into(), read_only: false, kind }];
        });
    });
    let left = |of: &str| Outcome::DataLeft { titles: [].into(), claims: [].into(), local: [of.into()].into(), cut: false };
    let of = |outcome: &Outcome| departure.of(Loss::LocalData, outcome).result;
    assert_eq!(of(&left("mysql of api/group")), Match::ForeseenAndSeen);
    assert_eq!(of(&left("mysql of other-api/group")), Match::ForeseenCannotBeSeen);
    assert_eq!(of(&DEPARTED), Match::ForeseenCannotBeSeen, "nobody knows whether the data was needed");
}

#[test]
fn what_nothing_shows_is_never_guessed() {
    let departure = ended(|scene| scene.front(&attached()).delay = Some(secs(2)));
    let seen = departure.only();
    assert_eq!((seen.result, seen.loss), (Match::ForeseenCannotBeSeen, Some(Loss::DelayTooShort)));
}
