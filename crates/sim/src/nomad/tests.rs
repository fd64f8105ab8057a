//! What no recording shows: agents that come back, machines that end, rows that vanish, followers that lag.

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::consul;
use decamp_core::decide::snapshot::{
    ClientStatus, DrainStatus, JobKind, NodeStatus, Provider, Service, Task, TaskGroup, TaskRole,
};
use decamp_core::ids::NodeId;

const NODE: NodeNumber = NodeNumber(0);
const ID: NodeId = NodeId(1);
const START: Time = Time(1_000_000);
const FREE: Token = Token::AclsOff;

struct World {
    nomad: Nomad,
    consul: Consul,
    log: Vec<Event>,
}

impl World {
    /// Three nodes; service `app` with two copies, on the first and the second, and a system job on the first.
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
        let mut world = Self { nomad, consul, log: Vec::new() };
        let app = world.group("app", JobKind::Service, 2, |_| {});
        world.nomad.place(app, NODE, &mut world.consul);
        world.nomad.place(app, NodeNumber(1), &mut world.consul);
        let ingress = world.group("ingress", JobKind::System, 1, |_| {});
        world.nomad.place(ingress, NODE, &mut world.consul);
        world
    }

    fn group(&mut self, job: &str, kind: JobKind, count: u32, change: impl Fn(&mut Behaviour)) -> GroupNumber {
        let kill_timeout = Duration::from_secs(5);
        let task = Task { name: "srv".into(), shutdown_delay: Duration::from_secs(2), kill_timeout, role: TaskRole::Main };
        let group = TaskGroup {
            namespace: "default".into(),
            job: job.into(),
            name: "web".into(),
            kind,
            csi_plugin: false,
            migrates_disk: false,
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

    fn said(&self, number: u32, what: What) -> Option<Time> {
        self.log.iter().find(|e| e.allocation.0 == number && e.what == what).map(|e| e.at)
    }
}

#[test]
fn a_process_leaves_discovery_then_is_signalled_then_ends_and_only_then_nomad_says_so() {
    let mut world = World::calm();
    world.drain(60);
    world.wait(30.0);
    let told = world.said(0, What::ToldToStop).unwrap();
    let left = world.said(0, What::LeftDiscovery { service: 0 }).unwrap();
    let signalled = world.said(0, What::Signalled).unwrap();
    let ended = world.said(0, What::Ended { killed: false }).unwrap();
    assert!(told < left && left < signalled && signalled < ended);
    assert_eq!((signalled.since(told), ended.since(signalled)), (Duration::from_secs(4), Duration::from_secs(1)));
    assert_eq!(world.client(0), ClientStatus::Complete);
    let synced = world.nomad.allocation(AllocationNumber(0)).synced;
    assert!(ended < synced);
}

#[test]
fn a_drain_that_a_change_of_leader_hung_still_ends_at_its_deadline() {
    let mut world = World::calm();
    world.drain(60);
    world.wait(1.5);
    world.nomad.lose_leader(Duration::from_secs(3));
    assert!(world.nomad.set_eligibility(&FREE, ID, false).is_err());
    assert!(world.nomad.look(ID, &FREE, Read::Stale).is_ok_and(|answer| !answer.known_leader));
    world.wait(50.0);
    assert_eq!(
        (world.client(0), world.client(2), world.last()),
        (ClientStatus::Complete, ClientStatus::Running, DrainStatus::Draining)
    );
    world.wait(20.0);
    assert_eq!((world.client(2), world.last()), (ClientStatus::Complete, DrainStatus::Complete));
}

#[test]
fn a_dead_agent_that_comes_back_stops_what_it_was_to_stop() {
    let mut world = World::calm();
    world.drain(120);
    world.wait(1.5);
    world.nomad.kill_agent(NODE);
    world.wait(40.0);
    assert_eq!(
        (world.node().status, world.client(0), world.client(2)),
        (NodeStatus::Down, ClientStatus::Lost, ClientStatus::Lost)
    );
    assert_eq!(world.said(0, What::Over), None);
    world.nomad.revive_agent(NODE);
    world.wait(15.0);
    assert_eq!(world.node().status, NodeStatus::Ready);
    assert!(!world.node().eligible);
    assert_eq!((world.client(0), world.client(2)), (ClientStatus::Complete, ClientStatus::Complete));
}

#[test]
fn an_agent_that_is_back_before_anybody_noticed_goes_on_with_the_stop() {
    let mut world = World::calm();
    world.drain(120);
    world.wait(1.5);
    world.nomad.kill_agent(NODE);
    world.wait(5.0);
    world.nomad.revive_agent(NODE);
    world.wait(30.0);
    assert_eq!(
        (world.client(0), world.client(2), world.last()),
        (ClientStatus::Complete, ClientStatus::Complete, DrainStatus::Complete)
    );
}

#[test]
fn a_group_that_disconnects_becomes_unknown_and_its_replacement_goes_when_it_is_back() {
    let mut world = World::calm();
    let group = world.group("edge", JobKind::Service, 1, |behaviour| behaviour.disconnects = true);
    let number = world.nomad.place(group, NODE, &mut world.consul).0;
    world.nomad.kill_agent(NODE);
    world.wait(40.0);
    assert_eq!((world.node().status, world.client(number)), (NodeStatus::Disconnected, ClientStatus::Unknown));
    let replacement = world.nomad.allocation(AllocationNumber(number)).next.unwrap();
    assert_eq!(world.client(replacement.0), ClientStatus::Running);
    world.nomad.revive_agent(NODE);
    world.wait(15.0);
    assert_eq!((world.client(number), world.client(replacement.0)), (ClientStatus::Running, ClientStatus::Complete));
}

#[test]
fn a_machine_that_ends_takes_every_process_with_it_at_once() {
    let mut world = World::calm();
    world.nomad.end_machine(NODE, false, &mut world.consul, &mut world.log);
    for number in [0, 2] {
        assert_eq!(world.said(number, What::Ended { killed: true }), Some(START));
        assert_eq!(world.said(number, What::Over), Some(START));
    }
    assert_eq!(world.client(0), ClientStatus::Running);
    assert_eq!(world.said(0, What::LeftDiscovery { service: 0 }), None);
    world.wait(40.0);
    assert_eq!((world.client(0), world.node().status), (ClientStatus::Lost, NodeStatus::Down));
    let seen = world.consul.look(consul::NodeNumber(0), &consul::Token::Full, consul::Read::Default).unwrap().body;
    assert!(seen.agent_dead && seen.services.len() == 2);
    assert!(world.said(0, What::LeftDiscovery { service: 0 }).is_some());
}

#[test]
fn a_purged_nodes_agent_comes_back_eligible() {
    let mut world = World::calm();
    world.nomad.set_eligibility(&FREE, ID, false).unwrap();
    world.nomad.purge_node(&FREE, ID).unwrap();
    assert_eq!(world.nomad.look(ID, &FREE, Read::Default).unwrap_err(), ApiError::NoSuchNode);
    world.wait(30.0);
    assert!(world.node().registered && world.node().eligible);
}

#[test]
fn a_lagging_follower_shows_neither_the_drain_nor_a_newer_index() {
    let mut world = World::calm();
    world.nomad.lag();
    world.drain(60);
    world.wait(2.0);
    let now = world.nomad.look(ID, &FREE, Read::Default).unwrap();
    let stale = world.nomad.look(ID, &FREE, Read::Stale).unwrap();
    assert!(now.body.drain.is_some() && stale.body.drain.is_none() && stale.index < now.index);
    world.nomad.catch_up();
    assert_eq!(world.nomad.look(ID, &FREE, Read::Stale).unwrap(), now);
}

#[test]
fn collecting_what_is_over_takes_the_lists_index_back() {
    let mut world = World::calm();
    world.drain(60);
    world.wait(30.0);
    let before = world.node().allocations_index;
    let left = world.nomad.start_on(GroupNumber(0), NODE);
    world.nomad.collect_allocations(NODE);
    assert_eq!(world.node().allocations, [left]);
    world.nomad.restore_index(50);
    assert!(world.node().allocations_index < before);
}

#[test]
fn a_csi_plugin_goes_last_even_where_system_jobs_are_ignored() {
    let mut world = World::calm();
    let plugin = world.group("plugin", JobKind::Service, 1, |_| {});
    Arc::make_mut(&mut world.nomad.groups[plugin.index()].spec.group).csi_plugin = true;
    let number = world.nomad.place(plugin, NODE, &mut world.consul).0;
    let spec = DrainSpec { deadline_ns: 60_000_000_000, ignore_system_jobs: true };
    world.nomad.set_drain(&FREE, ID, spec, Note::None).unwrap();
    world.wait(30.0);
    let (service_over, told) = (world.said(0, What::Over).unwrap(), world.said(number, What::ToldToStop).unwrap());
    assert!(service_over < told);
    assert_eq!((world.client(2), world.last()), (ClientStatus::Running, DrainStatus::Complete));
}

#[test]
fn max_parallel_is_overrun_by_two_nodes_at_once_before_1_10_3() {
    let stopped_together = |version| {
        let mut world = World::calm();
        world.nomad.version = version;
        world.drain(60);
        world.wait(0.2);
        let spec = DrainSpec { deadline_ns: 60_000_000_000, ignore_system_jobs: false };
        world.nomad.set_drain(&FREE, NodeId(2), spec, Note::None).unwrap();
        world.wait(2.5);
        world.nomad.allocations().iter().filter(|a| a.group == GroupNumber(0) && !a.wanted).count()
    };
    assert_eq!((stopped_together(Version::V2_0_5), stopped_together(Version::new(1, 10, 2))), (1, 2));
}

#[test]
fn one_that_ignores_its_signal_is_killed_at_its_kill_timeout_and_no_sooner() {
    let mut world = World::calm();
    let deaf = world.group("deaf", JobKind::Service, 1, |behaviour| behaviour.ignores_signal = true);
    let number = world.nomad.place(deaf, NODE, &mut world.consul).0;
    world.drain(60);
    world.wait(30.0);
    let (signalled, ended) =
        (world.said(number, What::Signalled).unwrap(), world.said(number, What::Ended { killed: true }).unwrap());
    assert_eq!(ended.since(signalled), Duration::from_secs(5));
}

#[test]
fn what_finds_no_room_is_placed_when_there_is_room() {
    let mut world = World::calm();
    for id in [2, 3] {
        world.nomad.set_eligibility(&FREE, NodeId(id), false).unwrap();
    }
    world.drain(30);
    world.wait(10.0);
    assert_eq!(world.nomad.groups()[0].missing, [0]);
    world.nomad.set_eligibility(&FREE, NodeId(3), true).unwrap();
    world.wait(5.0);
    let placed = world.nomad.allocations().last().unwrap();
    assert_eq!((placed.node, placed.client, placed.previous), (NodeNumber(2), ClientStatus::Running, None));
}

#[test]
fn the_same_seed_happens_the_same_way_twice() {
    let run = || {
        let mut world = World::calm();
        world.drain(60);
        world.wait(60.0);
        world.log
    };
    let once = run();
    assert!(10 < once.len());
    assert_eq!(once, run());
}
