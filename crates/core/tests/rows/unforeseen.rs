//! What a departure saw and nobody had foreseen, and who may say so (ADR 0048).

use decamp_core::decide::{EffectKind, JobKind, Loss, Match, Observation, Outcome, Part};
use decamp_core::describe::ComparisonCounts;
use decamp_core::ids::AllocationId;

use crate::comparison::{Ended, abrupt, deaf, ended, in_order, with_little_time};
use crate::facts::{API, SHOP, allocation, registration, secs, task_group};
use crate::scene::{Scene, released};

#[test]
fn a_cut_that_no_setting_shows_is_no_defect_of_decamp() {
    // The job says 10 s, and the client allowed 3 s.
    let mut departure = ended(|scene| scene.task_group(API, |group| group.shutdown_delay = secs(5)));
    assert_eq!(departure.reported, []);
    departure.stops(API, deaf());
    let seen = departure.only();
    assert_eq!((seen.result, seen.loss, &*seen.object), (Match::SeenShownByNoSetting, Some(Loss::DeafTask), "api/group/server"));
    let mut departure = ended(|scene| scene.task_group(API, |group| group.shutdown_delay = secs(5)));
    departure.stops(API, abrupt());
    assert_eq!((departure.only().result, departure.only().loss), (Match::SeenShownByNoSetting, Some(Loss::AbruptTask)));
}

#[test]
fn a_cut_that_a_setting_shows_and_no_finding_named_is_seen_and_not_foreseen() {
    let mut departure = ended(with_little_time);
    departure.reported.clear();
    departure.stops(API, deaf());
    let seen = departure.only();
    assert_eq!((seen.result, seen.loss, &*seen.object), (Match::SeenNotForeseen, Some(Loss::KilledWithRequests), "api/group"));
}

#[test]
fn a_cut_that_cost_nothing_is_no_loss() {
    let mut departure = ended(|_| ());
    departure.stops(API, deaf());
    departure.stops(SHOP, abrupt());
    assert_eq!(departure.compared(), [], "nothing could be in progress 20 s after they left discovery");
}

#[test]
fn a_registration_that_outlived_its_service_is_seen_and_not_foreseen() {
    let mut departure = ended(|_| ());
    departure.scene.pass(4);
    departure.scene.consul.services = vec![registration(SHOP, "shop")].into();
    departure.scene.look(&Part::Consul);
    let seen = departure.only();
    assert_eq!(
        (seen.result, seen.loss, &*seen.object),
        (Match::SeenNotForeseen, Some(Loss::LeavesBeforeForgotten), "shop/group")
    );
}

#[test]
fn copies_that_were_all_stopped_at_once_are_seen_and_not_foreseen() {
    const SECOND: AllocationId = AllocationId(9);
    let mut departure = ended(|scene| {
        let second = allocation(SECOND, task_group("api", JobKind::Service), 21_009);
        scene.add_allocation(second);
        let both = scene.consul.services.iter().cloned().chain([registration(SECOND, "api")]);
        scene.consul.services = both.collect();
    });
    assert_eq!(departure.reported, [], "one after the other, says the job");
    departure.stops(SECOND, in_order());
    let seen = departure.only();
    assert_eq!((seen.result, seen.loss, &*seen.object), (Match::SeenNotForeseen, Some(Loss::NoCopyLeft), "api/group"));
}

#[test]
fn a_lack_of_time_that_was_reported_explains_what_a_deadline_cut() {
    let cut = |max_departure: u64| {
        let mut scene = released(|scene| scene.policy.max_departure = secs(max_departure));
        let decision = scene.until_it_writes(EffectKind::Drain);
        let reported = scene.foreseen();
        scene.obey(&decision);
        scene.allocation(API, |a| a.wanted = true);
        scene.news_from_nomad();
        let deadline = scene.node().drain.as_ref().and_then(|drain| drain.force_deadline).expect("it has a deadline");
        scene.now = deadline + secs(1);
        scene.allocation(API, |a| a.wanted = false);
        scene.news_from_nomad();
        Ended { scene, reported }.compared_at(&Outcome::Forced)
    };
    let unforeseen = cut(7_200);
    assert!(
        matches!(&*unforeseen, [one] if one.result == Match::SeenNotForeseen && one.loss == Some(Loss::CutAtDeadline)),
        "{unforeseen:#?}"
    );
    let foreseen = cut(100);
    assert!(
        matches!(&*foreseen, [one] if one.result == Match::ForeseenAndSeen && one.loss == Some(Loss::DoesNotFit)),
        "{foreseen:#?}"
    );
}

#[test]
fn a_later_worker_knows_what_the_settings_foretold() {
    let mut departure = ended(with_little_time);
    departure.stops(API, deaf());
    let seen = departure.seen_later().only();
    assert_eq!((seen.result, seen.loss, &*seen.object), (Match::ForeseenAndSeen, Some(Loss::KilledWithRequests), "api/group"));
}

#[test]
fn a_later_worker_does_not_know_what_the_earlier_one_saw_of_the_other_copies() {
    let departure = ended(|scene| scene.task_group(API, |group| group.count = 1));
    assert_eq!(departure.seen_later().compared(), []);
}

#[test]
fn a_departure_that_another_party_ended_is_not_compared() {
    let mut departure = ended(with_little_time);
    departure.stops(API, deaf());
    for outcome in [Outcome::Gone, Outcome::Overtaken, Outcome::Expired, Outcome::AlreadyPast, Outcome::NotOurs] {
        assert_eq!(departure.compared_at(&outcome), [], "{outcome}");
    }
}

#[test]
fn only_the_worker_that_completed_the_action_counts() {
    let mut departure = ended(|scene| {
        with_little_time(scene);
        scene.task_group(SHOP, |group| group.shutdown_delay = secs(5));
    });
    departure.stops(API, deaf());
    departure.stops(SHOP, abrupt());
    let compared = departure.compared();
    let counts = |scene: &Scene| ComparisonCounts::of(&scene.departure, &scene.seen, &compared);
    assert_eq!(counts(&departure.scene), ComparisonCounts::default(), "it has not completed it yet");
    let decision = departure.scene.until_it_writes(EffectKind::Complete);
    departure.scene.obey(&decision);
    let counted = counts(&departure.scene);
    assert_eq!(counted.results, [(Match::ForeseenAndSeen, 1), (Match::SeenShownByNoSetting, 1)]);
    assert_eq!(counted.not_foreseen, [], "no departure could foresee it");
    departure.reported.clear();
    let compared = departure.compared();
    let counted = ComparisonCounts::of(&departure.scene.departure, &departure.scene.seen, &compared);
    assert_eq!(counted.not_foreseen, [("killed-with-requests", 1)]);
}

#[test]
fn a_look_that_failed_leaves_what_was_seen_before() {
    let mut departure = ended(with_little_time);
    departure.stops(API, deaf());
    let why = decamp_core::decide::Unseen::Away("timeout".into());
    departure.scene.seen.take(departure.scene.now, Observation::Nomad(Err(why)));
    assert_eq!(departure.only().result, Match::ForeseenAndSeen);
}
