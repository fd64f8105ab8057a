//! Compares the models of Nomad and Consul with recordings of real agents: the same scenario must go through the same states in the same
//! order.

mod answers;
mod catalog;
mod cluster;
mod recording;
mod small;
mod trace;

use decamp_sim::consul;
use decamp_sim::nomad::{Read, Token, Version};

use self::cluster::{Cluster, time};
use self::recording::{Exchange, exchanges};
use self::trace::Trace;

const TODAY: &str = "nomad-2.0.5_consul-1.19.2";
const BETWEEN: &str = "nomad-1.10.5_consul-1.19.2";
const FLOOR: &str = "nomad-1.1.2_consul-1.8.7";

/// The seed only decides how long things take. The order must be the same with any seed.
const SEEDS: u64 = 40;

/// Something that was done to the recorded cluster and that the recording does not show as a write.
#[derive(Clone, Copy)]
enum ClusterEvent {
    /// The job was stopped.
    Stop(&'static str),
    /// The job had just been submitted, and became healthy at this time.
    HealthyAt(&'static str, i64),
    /// The job's work was done.
    Finish(&'static str),
    KillNomadAgent,
    KillConsulAgent,
    /// The leader was killed, and there was a new one after this many milliseconds.
    KillLeader(u64),
}

fn versions(folder: &str) -> (Version, consul::Version) {
    match folder {
        FLOOR => (Version::V1_1_2, consul::Version::V1_8_7),
        BETWEEN => (Version::V1_10_5, consul::Version::V1_19_2),
        _ => (Version::V2_0_5, consul::Version::V1_19_2),
    }
}

fn replay(folder: &str, name: &str, events: &[(i64, ClusterEvent)]) {
    let Some(recorded) = exchanges(folder, name) else { return };
    let mut as_recorded = Trace::of_recording(&recorded);
    as_recorded.settle_nodes();
    as_recorded.name_allocations();
    for seed in 0..SEEDS {
        let mut modelled = run_on_model(&recorded, folder, events, seed);
        modelled.settle_nodes();
        modelled.name_allocations();
        if let Err(difference) = as_recorded.compare(&modelled) {
            panic!("{folder}/{name}, seed {seed}:\n{difference}");
        }
    }
}

/// Runs the scenario on the models, and traces what they show at every change.
fn run_on_model(recorded: &[Exchange], folder: &str, events: &[(i64, ClusterEvent)], seed: u64) -> Trace {
    let (version, consul_version) = versions(folder);
    let mut cluster = Cluster::of(recorded, version, consul_version, seed);
    let node = recorded.iter().find_map(|e| e.path.ends_with("/allocations").then(|| e.after("/v1/node/")).flatten());
    let node = cluster.node(node.expect("every scenario reads a node's allocations"));
    let mut trace = Trace::default();
    let end = recorded.iter().filter_map(|e| e.at).max().unwrap_or(0) + 3_000;
    let asked =
        |e: &&Exchange| e.at.is_some() && (e.is_write() || e.path.ends_with("ocations") || e.after("/v1/node/").is_some());
    let mut todo: Vec<(i64, Option<&Exchange>, Option<ClusterEvent>)> =
        recorded.iter().filter(asked).map(|e| (e.at.unwrap_or(0), Some(e), None)).collect();
    todo.extend(events.iter().map(|(at, event)| (*at, None, Some(*event))));
    todo.push((end, None, None));
    todo.sort_by_key(|(at, _, _)| *at);
    for (at, exchange, event) in todo {
        advance(&mut cluster, recorded, at, &mut trace);
        if let Some(event) = event {
            apply(&mut cluster, node, event);
        }
        if let Some(exchange) = exchange {
            compare_answer(&mut cluster, exchange, seed);
        }
        if -1_000 < at {
            cluster.see(recorded, &mut trace);
        }
    }
    trace
}

fn advance(cluster: &mut Cluster, recorded: &[Exchange], to: i64, trace: &mut Trace) {
    loop {
        let next = cluster.nomad.next_event().min(cluster.consul.next_event());
        if time(to) < next {
            break;
        }
        cluster.nomad.advance(next, &mut cluster.consul, &mut cluster.log);
        if time(0) <= next {
            cluster.see(recorded, trace);
        }
    }
    cluster.nomad.advance(time(to), &mut cluster.consul, &mut cluster.log);
}

fn apply(cluster: &mut Cluster, node: decamp_sim::nomad::NodeNumber, event: ClusterEvent) {
    match event {
        ClusterEvent::Stop(job) => {
            cluster.nomad.stop_job(&Token::AclsOff, "default", job, false).expect("the job is there");
        }
        ClusterEvent::HealthyAt(job, at) => {
            let allocation = cluster.first_of(job);
            cluster.nomad.healthy_at(allocation, time(at));
        }
        ClusterEvent::Finish(job) => {
            let (allocation, now) = (cluster.first_of(job), cluster.nomad.now());
            cluster.nomad.ends_at(allocation, now);
        }
        ClusterEvent::KillNomadAgent => cluster.nomad.kill_agent(node),
        ClusterEvent::KillConsulAgent => {
            let beside = cluster.nomad.node(node).spec.consul.clone();
            cluster.consul.kill_agent(beside.expect("every recorded node has a Consul agent").0);
        }
        ClusterEvent::KillLeader(millis) => cluster.nomad.lose_leader(std::time::Duration::from_millis(millis)),
    }
}

/// Sends a recorded write to the model, which must accept or refuse it like the real agent. The same holds for reads: without a leader
/// only stale ones are answered.
fn compare_answer(cluster: &mut Cluster, exchange: &Exchange, seed: u64) {
    if exchange.is_write() {
        let status = cluster.write(exchange);
        assert_eq!(u64::from(status), exchange.status, "seed {seed}: {} {}", exchange.method, exchange.path);
    } else if exchange.to == "nomad" && 0 < exchange.status {
        let read = if exchange.path.ends_with("?stale") { Read::Stale } else { Read::Default };
        let answer = cluster.nomad.may_read(&Token::AclsOff, read);
        let status = answer.err().map_or(200, |refused| refused.status());
        assert_eq!(u64::from(status), exchange.status, "seed {seed}: {:?} {}", exchange.at, exchange.path);
    }
}

#[test]
fn services_go_first_then_the_system_job_and_complete_comes_before_the_last_task_ends() {
    for folder in [TODAY, BETWEEN, FLOOR] {
        replay(folder, "drain-service-and-system", &[]);
    }
}

#[test]
fn system_jobs_that_are_ignored_stay_until_a_second_drain() {
    for folder in [TODAY, FLOOR] {
        replay(folder, "drain-ignore-system-then-all", &[]);
    }
}

#[test]
fn an_allocation_that_has_to_stop_stops_although_the_drain_is_cancelled() {
    for folder in [TODAY, FLOOR] {
        replay(folder, "drain-cancelled-by-operator", &[]);
    }
}

#[test]
fn the_deadline_stops_all_remaining_allocations() {
    for folder in [TODAY, BETWEEN] {
        replay(folder, "drain-deadline-forces-unplaceable-and-batch", &[]);
    }
    let submitted = (-1, ClusterEvent::HealthyAt("pinned", 1_047));
    replay(FLOOR, "drain-deadline-forces-unplaceable-and-batch", &[submitted]);
}

#[test]
fn a_second_drain_moves_the_deadline() {
    replay(TODAY, "drain-deadline-moves-later", &[]);
}

#[test]
fn a_negative_deadline_acts_at_once_if_no_other_node_drains() {
    for folder in [TODAY, FLOOR] {
        replay(folder, "drain-forced", &[]);
    }
}

#[test]
fn a_sysbatch_allocation_hangs_the_drain_to_its_deadline() {
    replay(TODAY, "drain-waits-for-sysbatch", &[(2_950, ClusterEvent::Finish("everywhere"))]);
}

#[test]
fn an_allocation_that_was_already_stopping_hangs_the_drain_to_its_deadline() {
    replay(TODAY, "drain-meets-an-allocation-already-stopping", &[(-4_300, ClusterEvent::Stop("slowstop"))]);
}

#[test]
fn a_purge_empties_the_list_and_hangs_the_drain_to_its_deadline() {
    replay(TODAY, "job-purged-while-draining", &[]);
}

#[test]
fn a_new_leader_does_not_watch_allocations_that_were_already_stopping() {
    replay(TODAY, "leader-lost-while-draining", &[(1_500, ClusterEvent::KillLeader(2_500))]);
}

#[test]
fn a_hung_drain_that_is_sent_again_continues_at_once() {
    replay(TODAY, "hung-drain-sent-again", &[(6_050, ClusterEvent::Finish("everywhere"))]);
}

#[test]
fn an_allocation_stops_layer_by_layer() {
    replay(TODAY, "drain-layers-of-stopping", &[]);
}

#[test]
fn nomads_own_discovery_drops_a_service_when_its_task_has_to_stop() {
    replay(TODAY, "drain-with-nomad-services", &[]);
}

#[test]
fn max_parallel_holds_over_two_draining_nodes() {
    replay(TODAY, "two-nodes-drain-at-once", &[]);
}

#[test]
fn a_second_copy_is_there_before_the_single_one_stops() {
    replay(TODAY, "surge-for-a-single-copy", &[]);
}

#[test]
fn a_dead_nomad_agent_makes_its_allocations_lost_and_its_drain_complete() {
    replay(TODAY, "nomad-agent-dies-while-draining", &[(1_600, ClusterEvent::KillNomadAgent)]);
}

#[test]
fn a_dead_consul_agent_leaves_its_services_in_the_catalog() {
    replay(TODAY, "consul-agent-dies", &[(0, ClusterEvent::KillConsulAgent)]);
    replay(TODAY, "drain-with-dead-consul-agent", &[(-19_000, ClusterEvent::KillConsulAgent)]);
}
