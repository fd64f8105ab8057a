//! The pretend Nomad and Consul, held to what real agents answered: the same scenario must go through the same states in the same order.

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

/// Rng decides only how long things take; the order must hold with any.
const SEEDS: u64 = 40;

/// What was done to the recorded cluster beside what the recording shows as a write.
#[derive(Clone, Copy)]
enum Deed {
    /// The job was stopped.
    Stop(&'static str),
    /// The job had just been submitted, and was healthy only then.
    HealthyAt(&'static str, i64),
    /// Its work was done.
    Finish(&'static str),
    KillNomadAgent,
    KillConsulAgent,
    /// The leader was killed; there was a new one after so many milliseconds.
    KillLeader(u64),
}

fn versions(folder: &str) -> (Version, consul::Version) {
    match folder {
        FLOOR => (Version::V1_1_2, consul::Version::V1_8_7),
        BETWEEN => (Version::V1_10_5, consul::Version::V1_19_2),
        _ => (Version::V2_0_5, consul::Version::V1_19_2),
    }
}

fn replay(folder: &str, name: &str, deeds: &[(i64, Deed)]) {
    let Some(recorded) = exchanges(folder, name) else { return };
    let mut as_recorded = Trace::of_recording(&recorded);
    as_recorded.settle_nodes();
    as_recorded.name_allocations();
    for seed in 0..SEEDS {
        let mut modelled = play(&recorded, folder, deeds, seed);
        modelled.settle_nodes();
        modelled.name_allocations();
        if let Err(difference) = as_recorded.compare(&modelled) {
            panic!("{folder}/{name}, seed {seed}:\n{difference}");
        }
    }
}

/// The scenario on the model: what it shows at every moment something happens.
fn play(recorded: &[Exchange], folder: &str, deeds: &[(i64, Deed)], seed: u64) -> Trace {
    let (version, consul_version) = versions(folder);
    let mut cluster = Cluster::of(recorded, version, consul_version, seed);
    let node = recorded.iter().find_map(|e| e.path.ends_with("/allocations").then(|| e.after("/v1/node/")).flatten());
    let node = cluster.node(node.expect("every scenario reads a node's allocations"));
    let mut trace = Trace::default();
    let end = recorded.iter().filter_map(|e| e.at).max().unwrap_or(0) + 3_000;
    let asked =
        |e: &&Exchange| e.at.is_some() && (e.is_write() || e.path.ends_with("ocations") || e.after("/v1/node/").is_some());
    let mut todo: Vec<(i64, Option<&Exchange>, Option<Deed>)> =
        recorded.iter().filter(asked).map(|e| (e.at.unwrap_or(0), Some(e), None)).collect();
    todo.extend(deeds.iter().map(|(at, deed)| (*at, None, Some(*deed))));
    todo.push((end, None, None));
    todo.sort_by_key(|(at, _, _)| *at);
    for (at, exchange, deed) in todo {
        run(&mut cluster, recorded, at, &mut trace);
        if let Some(deed) = deed {
            do_it(&mut cluster, node, deed);
        }
        if let Some(exchange) = exchange {
            ask(&mut cluster, exchange, seed);
        }
        if -1_000 < at {
            cluster.see(recorded, &mut trace);
        }
    }
    trace
}

fn run(cluster: &mut Cluster, recorded: &[Exchange], to: i64, trace: &mut Trace) {
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

fn do_it(cluster: &mut Cluster, node: decamp_sim::nomad::NodeNumber, deed: Deed) {
    match deed {
        Deed::Stop(job) => {
            cluster.nomad.stop_job(&Token::AclsOff, "default", job, false).expect("the job is there");
        }
        Deed::HealthyAt(job, at) => {
            let allocation = cluster.first_of(job);
            cluster.nomad.healthy_at(allocation, time(at));
        }
        Deed::Finish(job) => {
            let (allocation, now) = (cluster.first_of(job), cluster.nomad.now());
            cluster.nomad.ends_at(allocation, now);
        }
        Deed::KillNomadAgent => cluster.nomad.kill_agent(node),
        Deed::KillConsulAgent => {
            let beside = cluster.nomad.node(node).spec.consul.clone();
            cluster.consul.kill_agent(beside.expect("every recorded node has a Consul agent").0);
        }
        Deed::KillLeader(millis) => cluster.nomad.lose_leader(std::time::Duration::from_millis(millis)),
    }
}

/// A recorded write is sent to the model, and must be taken or refused alike. So must reads: with no leader, only stale ones are answered.
fn ask(cluster: &mut Cluster, exchange: &Exchange, seed: u64) {
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
fn what_was_told_to_stop_stops_though_the_drain_is_cancelled() {
    for folder in [TODAY, FLOOR] {
        replay(folder, "drain-cancelled-by-operator", &[]);
    }
}

#[test]
fn the_deadline_takes_what_is_left_with_it() {
    for folder in [TODAY, BETWEEN] {
        replay(folder, "drain-deadline-forces-unplaceable-and-batch", &[]);
    }
    let submitted = (-1, Deed::HealthyAt("pinned", 1_047));
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
    replay(TODAY, "drain-waits-for-sysbatch", &[(2_950, Deed::Finish("everywhere"))]);
}

#[test]
fn an_allocation_that_was_already_stopping_hangs_the_drain_to_its_deadline() {
    replay(TODAY, "drain-meets-an-allocation-already-stopping", &[(-4_300, Deed::Stop("slowstop"))]);
}

#[test]
fn a_purge_empties_the_list_and_hangs_the_drain_to_its_deadline() {
    replay(TODAY, "job-purged-while-draining", &[]);
}

#[test]
fn a_new_leader_does_not_watch_for_what_was_already_stopping() {
    replay(TODAY, "leader-lost-while-draining", &[(1_500, Deed::KillLeader(2_500))]);
}

#[test]
fn a_hung_drain_that_is_sent_again_goes_on_at_once() {
    replay(TODAY, "hung-drain-sent-again", &[(6_050, Deed::Finish("everywhere"))]);
}

#[test]
fn an_allocation_stops_layer_by_layer() {
    replay(TODAY, "drain-layers-of-stopping", &[]);
}

#[test]
fn nomads_own_discovery_drops_a_service_when_its_task_is_told_to_stop() {
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
    replay(TODAY, "nomad-agent-dies-while-draining", &[(1_600, Deed::KillNomadAgent)]);
}

#[test]
fn a_dead_consul_agent_leaves_its_services_in_the_catalog() {
    replay(TODAY, "consul-agent-dies", &[(0, Deed::KillConsulAgent)]);
    replay(TODAY, "drain-with-dead-consul-agent", &[(-19_000, Deed::KillConsulAgent)]);
}
