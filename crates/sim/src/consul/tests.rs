//! Tests of registrations: which tokens may read them, when they disappear, and when they stay.

use super::*;

const NODE: NodeNumber = NodeNumber(0);
const ONE: AllocationNumber = AllocationNumber(0);

fn one_service() -> (Consul, Vec<Event>) {
    let mut consul = Consul::new(Version::V1_19_2, Time(1_000), Rng::new(1));
    consul.add_node("n1".into());
    let mut log = Vec::new();
    consul.register(NODE, Entry::new(ONE, AllocationId(1), 0, "app".into()), Time(1_500), &mut log);
    consul.advance(Time(2_000), &mut log);
    (consul, log)
}

fn listed(consul: &mut Consul) -> usize {
    consul.look(NODE, &Token::Full, Read::Default).unwrap().body.services.len()
}

#[test]
fn a_service_is_in_discovery_only_once_its_check_passes() {
    let (_, log) = one_service();
    assert_eq!(log, [Event { at: Time(1_500), allocation: ONE, kind: EventKind::InDiscovery { service: 0 } }]);
}

#[test]
fn a_live_agent_registers_again_what_was_deregistered_in_the_catalog() {
    let (mut consul, mut log) = one_service();
    consul.deregister_service(NODE, ONE, 0, &mut log);
    assert_eq!(listed(&mut consul), 0);
    consul.advance(Time(200_000), &mut log);
    assert_eq!(listed(&mut consul), 1);
    assert_eq!(log.len(), 3);
}

#[test]
fn an_agent_that_may_not_deregister_leaves_the_registration_until_it_may() {
    let (mut consul, mut log) = one_service();
    consul.block(NODE, true);
    consul.deregister(NODE, ONE, 1, &mut log);
    consul.advance(Time(400_000), &mut log);
    assert_eq!(listed(&mut consul), 1);
    consul.block(NODE, false);
    consul.advance(Time(800_000), &mut log);
    assert_eq!(listed(&mut consul), 0);
}

#[test]
fn a_service_deregistered_while_the_agent_was_dead_goes_when_the_agent_is_back() {
    let (mut consul, mut log) = one_service();
    consul.kill_agent(NODE);
    consul.deregister(NODE, ONE, 1, &mut log);
    consul.advance(Time(60_000), &mut log);
    assert_eq!((listed(&mut consul), consul.nodes()[0].serf_critical), (1, true));
    consul.revive_agent(NODE);
    consul.advance(Time(120_000), &mut log);
    assert_eq!((listed(&mut consul), consul.nodes()[0].serf_critical), (0, false));
}

#[test]
fn a_check_finds_out_that_its_process_is_gone() {
    let (mut consul, mut log) = one_service();
    consul.process_ended(NODE, ONE);
    consul.advance(Time(20_000), &mut log);
    let seen = consul.look(NODE, &Token::Full, Read::Default).unwrap().body;
    assert!(seen.services[0].critical && seen.whole);
}

#[test]
fn an_answer_is_whole_only_if_a_header_would_have_said_otherwise() {
    let (mut consul, _) = one_service();
    for (token, whole) in [(Token::Full, true), (Token::NodesOnly, false), (Token::Blank, false), (Token::ServicesOnly, false)] {
        assert_eq!(consul.look(NODE, &token, Read::Default).unwrap().body.whole, whole, "{token:?}");
    }
    consul.version = Version::V1_8_7;
    assert!(!consul.look(NODE, &Token::Full, Read::Default).unwrap().body.whole);
}

#[test]
fn without_a_leader_only_stale_reads_are_answered() {
    let (mut consul, mut log) = one_service();
    consul.lose_leader(Duration::from_secs(5));
    assert_eq!(consul.look(NODE, &Token::Full, Read::Default).unwrap_err(), ApiError::NoLeader);
    assert!(consul.look(NODE, &Token::Full, Read::Stale).is_ok());
    consul.deregister(NODE, ONE, 1, &mut log);
    consul.advance(Time(60_000), &mut log);
    assert_eq!(listed(&mut consul), 0);
}
