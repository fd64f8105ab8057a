//! What load balancers counted around a departure: what it confirms, what it refutes, and what nobody had foreseen (ADR 0048).

use decamp_core::decide::{
    BalancerKind, Compared, Counted, EffectKind, LookBack, Loss, Match, Minute, Outcome, Snapshot, look_back, with_counts,
};
use decamp_core::time::Time;

use crate::facts::{attached, named, secs};
use crate::scene::{Scene, deregistered, over};

/// 13:20:00 and a whole minute.
const BEGAN: Time = Time(1_800_000_000_000);
const DEPARTED: Outcome = Outcome::Departed { waiting_for: None };

fn minute(number: u64) -> Time {
    BEGAN + secs(60 * number)
}

/// Two minutes of a departure whose only load balancer is an Application Load Balancer.
fn asked() -> LookBack {
    LookBack { groups: vec![attached()], since: BEGAN - secs(300), from: BEGAN, to: minute(2), has_all: true }
}

/// A minute with 100 requests.
fn counted_in(at: Time, by_balancer: u64, by_targets: u64) -> Minute {
    Minute { at, requests: 100, by_balancer, by_targets }
}

fn counted(minutes: Vec<Minute>) -> Vec<Counted> {
    vec![Counted { group: attached(), minutes: Ok(minutes) }]
}

fn finding(result: Match, loss: Loss, object: &str) -> Compared {
    Compared { result, loss: Some(loss), object: object.into(), seen: "nothing shows it".to_owned(), at: None }
}

fn early(object: &str) -> Compared {
    finding(Match::ForeseenCannotBeSeen, Loss::LeavesBeforeForgotten, object)
}

/// A departure that this run began and drained.
fn seen() -> Snapshot {
    over(|_| ()).seen
}

fn with(compared: &[Compared], minutes: Vec<Minute>) -> Vec<Compared> {
    with_counts(&seen(), compared, &asked(), &counted(minutes))
}

fn quiet() -> Vec<Minute> {
    vec![counted_in(minute(0), 0, 0), counted_in(minute(1), 0, 0)]
}

#[test]
fn errors_confirm_the_only_finding_that_explains_them() {
    let compared = with(&[early("api/group")], vec![counted_in(minute(0), 0, 7), counted_in(minute(1), 0, 0)]);
    let [one] = compared.as_slice() else { panic!("{compared:#?}") };
    assert_eq!((one.result, one.at), (Match::ForeseenAndSeen, Some(BEGAN)));
    assert!(one.seen.starts_with("the load balancer of attached counted 7 5xx of targets and 0 of its own"), "{one}");
}

#[test]
fn errors_that_two_findings_explain_confirm_neither() {
    let compared = with(&[early("api/group"), early("shop/group")], vec![counted_in(minute(1), 0, 7)]);
    assert_eq!(compared.iter().map(|one| one.result).collect::<Vec<_>>(), [Match::ForeseenCannotBeSeen; 2], "{compared:#?}");
    assert!(compared[0].seen.ends_with("2 findings explain that, and nothing shows which of them it was"), "{}", compared[0]);
}

#[test]
fn two_findings_about_one_object_are_confirmed_together() {
    let both = [early("api/group"), finding(Match::ForeseenCannotBeSeen, Loss::KilledWithRequests, "api/group")];
    let compared = with(&both, vec![counted_in(minute(1), 0, 7)]);
    assert!(compared.iter().all(|one| one.result == Match::ForeseenAndSeen), "{compared:#?}");
}

#[test]
fn errors_that_nothing_explains_are_seen_and_not_foreseen() {
    let disk = finding(Match::ForeseenCannotBeSeen, Loss::DiskCut, "db/group");
    let compared = with(std::slice::from_ref(&disk), vec![counted_in(minute(1), 2, 0)]);
    assert!(compared.contains(&disk), "{compared:#?}");
    let unforeseen = compared.iter().find(|one| one.result == Match::SeenNotForeseen).expect("it is a defect");
    assert_eq!((unforeseen.finding(), &*unforeseen.object), ("load-balancer-errors", "attached"));
}

#[test]
fn nobody_knows_what_was_foreseen_of_a_departure_that_another_worker_began() {
    let later = Snapshot::begin(crate::facts::instance(), BEGAN);
    let compared = with_counts(&later, &[], &asked(), &counted(vec![counted_in(minute(1), 2, 0)]));
    assert_eq!(compared.iter().map(|one| one.result).collect::<Vec<_>>(), [Match::SeenBegunByAnother]);
}

#[test]
fn as_many_errors_as_before_are_no_evidence() {
    let usual = vec![counted_in(BEGAN - secs(60), 1, 5), counted_in(minute(0), 1, 5), counted_in(minute(1), 0, 4)];
    let compared = with(&[early("api/group")], usual.clone());
    assert_eq!(compared[0].result, Match::ForeseenNotSeen, "{compared:#?}");
    let more = usual.into_iter().chain([counted_in(minute(1), 0, 6)]).collect();
    assert_eq!(with(&[early("api/group")], more)[0].result, Match::ForeseenAndSeen);
}

#[test]
fn errors_before_and_after_the_departure_do_not_count() {
    let minutes = [vec![counted_in(BEGAN - secs(360), 0, 9), counted_in(minute(2), 0, 9)], quiet()].concat();
    assert_eq!(with(&[], minutes), []);
}

#[test]
fn no_errors_refute_what_would_have_shown_as_errors_and_nothing_else() {
    let gone = finding(Match::ForeseenCannotBeSeen, Loss::NoCopyLeft, "api/group");
    let cut = finding(Match::ForeseenCannotBeSeen, Loss::DelayTooShort, "attached");
    let compared = with(&[early("api/group"), gone.clone(), cut.clone()], quiet());
    assert!(compared.contains(&gone) && compared.contains(&cut), "a 404 and a cut are no 5xx: {compared:#?}");
    assert!(compared.iter().any(|one| one.result == Match::ForeseenNotSeen && one.loss == Some(Loss::LeavesBeforeForgotten)));
}

#[test]
fn no_errors_prove_nothing_while_the_last_minute_is_not_published_or_another_load_balancer_sends() {
    let unpublished = with(&[early("api/group")], vec![counted_in(minute(0), 0, 0)]);
    assert_eq!(unpublished[0].result, Match::ForeseenCannotBeSeen);
    assert!(!asked().is_published(&counted(vec![counted_in(minute(0), 0, 0)])) && asked().is_published(&counted(quiet())));
    let others = LookBack { has_all: false, ..asked() };
    let compared = with_counts(&seen(), &[early("api/group")], &others, &counted(quiet()));
    assert_eq!(compared[0].result, Match::ForeseenCannotBeSeen);
}

#[test]
fn counts_that_cannot_be_read_are_said_and_change_nothing() {
    let denied = vec![Counted { group: attached(), minutes: Err("attached: denied".into()) }];
    let compared = with_counts(&seen(), &[early("api/group")], &asked(), &denied);
    assert_eq!(compared[0].result, Match::ForeseenCannotBeSeen);
    assert!(compared[0].seen.ends_with("the load balancers' errors could not be read: attached: denied"), "{}", compared[0]);
    assert!(asked().is_published(&denied), "nothing more will come");
}

#[test]
fn what_task_events_refuted_is_not_confirmed_by_errors() {
    let refuted = finding(Match::ForeseenNotSeen, Loss::KilledWithRequests, "api/group");
    let compared = with(std::slice::from_ref(&refuted), vec![counted_in(minute(1), 0, 2)]);
    assert!(compared.contains(&refuted), "{compared:#?}");
    assert!(compared.iter().any(|one| one.result == Match::SeenNotForeseen), "and the errors are explained by nothing");
}

#[test]
fn a_target_groups_finding_is_confirmed_only_by_errors_of_its_own_load_balancer() {
    let last = finding(Match::ForeseenCannotBeSeen, Loss::LastHealthyTarget, "named");
    let compared = with(std::slice::from_ref(&last), vec![counted_in(minute(0), 3, 0), counted_in(minute(1), 0, 0)]);
    assert!(compared.contains(&last), "{compared:#?}");
    let own = vec![Counted { group: named(), minutes: Ok(vec![counted_in(minute(1), 3, 0)]) }];
    assert_eq!(with_counts(&seen(), &[last], &asked(), &own)[0].result, Match::ForeseenAndSeen);
}

#[test]
fn a_departure_asks_for_the_minutes_from_its_first_write_to_its_end() {
    let mut scene = over(|_| ());
    let decision = scene.until_it_writes(EffectKind::Complete);
    scene.obey(&decision);
    let of = |scene: &Scene, outcome: &Outcome| look_back(&scene.departure, &scene.seen, &scene.policy, outcome, scene.now);
    let asked = of(&scene, &DEPARTED).expect("two Application Load Balancers");
    assert_eq!((asked.groups.len(), asked.has_all), (2, true));
    assert_eq!((asked.from, asked.since), (BEGAN, BEGAN - secs(300)));
    assert!(scene.now < asked.to && asked.to <= scene.now + secs(60));
    assert_eq!(of(&scene, &Outcome::Overtaken), None, "nothing of it is compared");
}

#[test]
fn only_application_load_balancers_are_asked_for() {
    let mut scene = deregistered(|scene| scene.front(&attached()).kind = BalancerKind::Nlb);
    let asked = look_back(&scene.departure, &scene.seen, &scene.policy, &DEPARTED, scene.now).expect("one is left");
    assert_eq!((asked.groups, asked.has_all), (vec![named()], false));
    scene = deregistered(|scene| scene.fronts.iter_mut().for_each(|front| front.kind = BalancerKind::Nlb));
    assert_eq!(look_back(&scene.departure, &scene.seen, &scene.policy, &DEPARTED, scene.now), None);
}
