//! Tests of behaviour that no recording shows: agents that come back, machines that end, rows that vanish, followers that lag.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::consul;
use decamp_core::decide::snapshot::{
    ClientStatus, DrainStatus, JobKind, NodeStatus, Process, Provider, Service, Task, TaskGroup, TaskRole,
};
use decamp_core::ids::NodeId;

const NODE: NodeNumber = NodeNumber(0);
const ID: NodeId = NodeId(1);
const START: Time = Time(1_000_000);
const FREE: Token = Token::AclsOff;

struct TestCluster {
    nomad: Nomad,
    consul: Consul,
    log: Vec<Event>,
}

impl TestCluster {
    /// Three nodes, a service `app` with a copy on each of the first two, and a system job on the first.
    fn calm() -> Self {
        let mut consul = Consul::new(consul::Version::V1_19_2, START, Rng::new(1));
        let mut nomad = Nomad::new(Version::V2_0_5, START, Rng::new(2));
        for number in 1..=3 {
            let name: Arc<str> = format!("n{number}").into();
            let beside = consul.add_node(name.clone());
            let addresses = Vec::new();
            nomad.add_node(NodeSpec {
                id: NodeId(number),
                name: name.clone(),
                instance: None,
                addresses,
                consul: Some((beside, name)),
            });
        }
        let mut cluster = Self { nomad, consul, log: Vec::new() };
        let app = cluster.group("app", JobKind::Service, 2, |_| {});
        cluster.nomad.place(app, NODE, &mut cluster.consul);
        cluster.nomad.place(app, NodeNumber(1), &mut cluster.consul);
        let ingress = cluster.group("ingress", JobKind::System, 1, |_| {});
        cluster.nomad.place(ingress, NODE, &mut cluster.consul);
        cluster
    }

    fn group(&mut self, job: &str, kind: JobKind, count: u32, change: impl Fn(&mut Behaviour)) -> GroupNumber {
        let kill_timeout = Duration::from_secs(5);
        let task = Task {
            name: "srv".into(),
            shutdown_delay: Duration::from_secs(2),
            kill_timeout,
            role: TaskRole::Main,
            process: Process::default(),
        };
        let group = TaskGroup {
            namespace: "default".into(),
            job: job.into(),
            name: "web".into(),
            kind,
            csi_plugin: false,
            migrates_disk: false,
            volumes: Vec::new(),
            count,
            max_parallel: (kind == JobKind::Service).then_some(1),
            shutdown_delay: Duration::from_secs(2),
            tasks: vec![task],
            services: vec![Service { name: job.into(), provider: Provider::Consul, namespace: None }],
            ingress: None,
        };
        let mut behaviour = Behaviour { healthy_in: Duration::from_secs(1), ..Behaviour::default() };
        change(&mut behaviour);
        self.nomad.add_group(GroupSpec {
            group: Arc::new(group),
            behaviour,
            fits: Fits::Anywhere,
            ports: Ports::Static(Arc::default()),
        })
    }

    fn drain(&mut self, seconds: i64) {
        let spec = DrainSpec { deadline_ns: seconds * 1_000_000_000, ignore_system_jobs: false };
        self.nomad.set_drain(&FREE, ID, spec, Note::None).unwrap();
    }

    fn wait(&mut self, seconds: f64) {
        let to = self.nomad.now() + Duration::from_secs_f64(seconds);
        self.nomad.advance(to, &mut self.consul, &mut self.log);
    }

    fn node(&self) -> &NodeState {
        self.nomad.node(NODE)
    }

    fn client(&self, number: u32) -> ClientStatus {
        self.nomad.allocation(AllocationNumber(number)).client
    }

    fn last(&self) -> DrainStatus {
        self.node().last_drain.as_ref().unwrap().status
    }

    fn first(&self, number: u32, kind: EventKind) -> Option<Time> {
        self.log.iter().find(|e| e.allocation.0 == number && e.kind == kind).map(|e| e.at)
    }
}

#[test]
fn a_process_leaves_discovery_then_is_signalled_then_ends_and_only_then_nomad_reports_it() {
    let mut cluster = TestCluster::calm();
    cluster.drain(60);
    cluster.wait(30.0);
    let requested = cluster.first(0, EventKind::StopRequested).unwrap();
    let left = cluster.first(0, EventKind::LeftDiscovery { service: 0 }).unwrap();
    let signalled = cluster.first(0, EventKind::Signalled).unwrap();
    let ended = cluster.first(0, EventKind::Ended { killed: false }).unwrap();
    assert!(requested < left && left < signalled && signalled < ended);
    assert_eq!((signalled.since(requested), ended.since(signalled)), (Duration::from_secs(4), Duration::from_secs(1)));
    assert_eq!(cluster.client(0), ClientStatus::Complete);
    let synced = cluster.nomad.allocation(AllocationNumber(0)).synced;
    assert!(ended < synced);
}

#[test]
fn a_drain_that_a_change_of_leader_hung_still_ends_at_its_deadline() {
    let mut cluster = TestCluster::calm();
    cluster.drain(60);
    cluster.wait(1.5);
    cluster.nomad.lose_leader(Duration::from_secs(3));
    assert!(cluster.nomad.set_eligibility(&FREE, ID, false).is_err());
    assert!(cluster.nomad.look(ID, &FREE, Read::Stale).is_ok_and(|answer| !answer.known_leader));
    cluster.wait(50.0);
    assert_eq!(
        (cluster.client(0), cluster.client(2), cluster.last()),
        (ClientStatus::Complete, ClientStatus::Running, DrainStatus::Draining)
    );
    cluster.wait(20.0);
    assert_eq!((cluster.client(2), cluster.last()), (ClientStatus::Complete, DrainStatus::Complete));
}

#[test]
fn a_dead_agent_that_comes_back_makes_the_pending_stops() {
    let mut cluster = TestCluster::calm();
    cluster.drain(120);
    cluster.wait(1.5);
    cluster.nomad.kill_agent(NODE);
    cluster.wait(40.0);
    assert_eq!(
        (cluster.node().status, cluster.client(0), cluster.client(2)),
        (NodeStatus::Down, ClientStatus::Lost, ClientStatus::Lost)
    );
    assert_eq!(cluster.first(0, EventKind::Over), None);
    cluster.nomad.revive_agent(NODE);
    cluster.wait(15.0);
    assert_eq!(cluster.node().status, NodeStatus::Ready);
    assert!(!cluster.node().eligible);
    assert_eq!((cluster.client(0), cluster.client(2)), (ClientStatus::Complete, ClientStatus::Complete));
}

#[test]
fn an_agent_that_is_back_before_the_servers_notice_continues_the_stop() {
    let mut cluster = TestCluster::calm();
    cluster.drain(120);
    cluster.wait(1.5);
    cluster.nomad.kill_agent(NODE);
    cluster.wait(5.0);
    cluster.nomad.revive_agent(NODE);
    cluster.wait(30.0);
    assert_eq!(
        (cluster.client(0), cluster.client(2), cluster.last()),
        (ClientStatus::Complete, ClientStatus::Complete, DrainStatus::Complete)
    );
}

#[test]
fn a_group_that_disconnects_becomes_unknown_and_its_replacement_goes_when_it_is_back() {
    let mut cluster = TestCluster::calm();
    let group = cluster.group("edge", JobKind::Service, 1, |behaviour| behaviour.disconnects = true);
    let number = cluster.nomad.place(group, NODE, &mut cluster.consul).0;
    cluster.nomad.kill_agent(NODE);
    cluster.wait(40.0);
    assert_eq!((cluster.node().status, cluster.client(number)), (NodeStatus::Disconnected, ClientStatus::Unknown));
    let replacement = cluster.nomad.allocation(AllocationNumber(number)).next.unwrap();
    assert_eq!(cluster.client(replacement.0), ClientStatus::Running);
    cluster.nomad.revive_agent(NODE);
    cluster.wait(15.0);
    assert_eq!((cluster.client(number), cluster.client(replacement.0)), (ClientStatus::Running, ClientStatus::Complete));
}

#[test]
fn a_machine_that_ends_takes_every_process_with_it_at_once() {
    let mut cluster = TestCluster::calm();
    cluster.nomad.end_machine(NODE, false, &mut cluster.consul, &mut cluster.log);
    for number in [0, 2] {
        assert_eq!(cluster.first(number, EventKind::Ended { killed: true }), Some(START));
        assert_eq!(cluster.first(number, EventKind::Over), Some(START));
    }
    assert_eq!(cluster.client(0), ClientStatus::Running);
    assert_eq!(cluster.first(0, EventKind::LeftDiscovery { service: 0 }), None);
    cluster.wait(40.0);
    assert_eq!((cluster.client(0), cluster.node().status), (ClientStatus::Lost, NodeStatus::Down));
    let seen = cluster.consul.look(consul::NodeNumber(0), &consul::Token::Full, consul::Read::Default).unwrap().body;
    assert!(seen.agent_dead && seen.services.len() == 2);
    assert!(cluster.first(0, EventKind::LeftDiscovery { service: 0 }).is_some());
}

#[test]
fn a_purged_nodes_agent_comes_back_eligible() {
    let mut cluster = TestCluster::calm();
    cluster.nomad.set_eligibility(&FREE, ID, false).unwrap();
    cluster.nomad.purge_node(&FREE, ID).unwrap();
    assert_eq!(cluster.nomad.look(ID, &FREE, Read::Default).unwrap_err(), ApiError::NoSuchNode);
    cluster.wait(30.0);
    assert!(cluster.node().registered && cluster.node().eligible);
}

#[test]
fn a_lagging_follower_shows_neither_the_drain_nor_a_newer_index() {
    let mut cluster = TestCluster::calm();
    cluster.nomad.lag();
    cluster.drain(60);
    cluster.wait(2.0);
    let now = cluster.nomad.look(ID, &FREE, Read::Default).unwrap();
    let stale = cluster.nomad.look(ID, &FREE, Read::Stale).unwrap();
    assert_eq!(cluster.nomad.lags_since(Read::Stale), Some(stale.index), "it knows no newer change");
    assert_eq!(cluster.nomad.lags_since(Read::Default), None);
    assert!(now.body.drain.is_some() && stale.body.drain.is_none() && stale.index < now.index);
    cluster.nomad.catch_up();
    assert_eq!(cluster.nomad.look(ID, &FREE, Read::Stale).unwrap(), now);
}

#[test]
fn garbage_collection_of_allocations_takes_the_index_of_their_list_back() {
    let mut cluster = TestCluster::calm();
    cluster.drain(60);
    cluster.wait(30.0);
    let before = cluster.node().allocations_index;
    let left = cluster.nomad.start_on(GroupNumber(0), NODE);
    cluster.nomad.collect_allocations(NODE);
    assert_eq!(cluster.node().allocations, [left]);
    cluster.nomad.restore_index(50);
    assert!(cluster.node().allocations_index < before);
}

#[test]
fn a_csi_plugin_goes_last_even_where_system_jobs_are_ignored() {
    let mut cluster = TestCluster::calm();
    let plugin = cluster.group("plugin", JobKind::Service, 1, |_| {});
    Arc::make_mut(&mut cluster.nomad.groups[plugin.index()].spec.group).csi_plugin = true;
    let number = cluster.nomad.place(plugin, NODE, &mut cluster.consul).0;
    let spec = DrainSpec { deadline_ns: 60_000_000_000, ignore_system_jobs: true };
    cluster.nomad.set_drain(&FREE, ID, spec, Note::None).unwrap();
    cluster.wait(30.0);
    let (service_over, requested) =
        (cluster.first(0, EventKind::Over).unwrap(), cluster.first(number, EventKind::StopRequested).unwrap());
    assert!(service_over < requested);
    assert_eq!((cluster.client(2), cluster.last()), (ClientStatus::Running, DrainStatus::Complete));
}

#[test]
fn max_parallel_is_overrun_by_two_nodes_at_once_before_1_10_3() {
    let stopped_together = |version| {
        let mut cluster = TestCluster::calm();
        cluster.nomad.version = version;
        cluster.drain(60);
        cluster.wait(0.2);
        let spec = DrainSpec { deadline_ns: 60_000_000_000, ignore_system_jobs: false };
        cluster.nomad.set_drain(&FREE, NodeId(2), spec, Note::None).unwrap();
        cluster.wait(2.5);
        cluster.nomad.allocations().iter().filter(|a| a.group == GroupNumber(0) && !a.wanted).count()
    };
    assert_eq!((stopped_together(Version::V2_0_5), stopped_together(Version::new(1, 10, 2))), (1, 2));
}

#[test]
fn a_process_that_ignores_its_signal_is_killed_at_its_kill_timeout_and_no_sooner() {
    let mut cluster = TestCluster::calm();
    let stubborn = cluster.group("stubborn", JobKind::Service, 1, |behaviour| behaviour.ignores_signal = true);
    let number = cluster.nomad.place(stubborn, NODE, &mut cluster.consul).0;
    cluster.drain(60);
    cluster.wait(30.0);
    let (signalled, ended) =
        (cluster.first(number, EventKind::Signalled).unwrap(), cluster.first(number, EventKind::Ended { killed: true }).unwrap());
    assert_eq!(ended.since(signalled), Duration::from_secs(5));
}

#[test]
fn a_copy_without_room_is_placed_when_there_is_room() {
    let mut cluster = TestCluster::calm();
    for id in [2, 3] {
        cluster.nomad.set_eligibility(&FREE, NodeId(id), false).unwrap();
    }
    cluster.drain(30);
    cluster.wait(10.0);
    assert_eq!(cluster.nomad.groups()[0].missing, [0]);
    cluster.nomad.set_eligibility(&FREE, NodeId(3), true).unwrap();
    cluster.wait(5.0);
    let placed = cluster.nomad.allocations().last().unwrap();
    assert_eq!((placed.node, placed.client, placed.previous), (NodeNumber(2), ClientStatus::Running, None));
}

#[test]
fn the_same_seed_happens_the_same_way_twice() {
    let run = || {
        let mut cluster = TestCluster::calm();
        cluster.drain(60);
        cluster.wait(60.0);
        cluster.log
    };
    let once = run();
    assert!(10 < once.len());
    assert_eq!(once, run());
}
