//! The initial state of the rehearsal's models: nodes with an ingress each, services behind it, and two target groups.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::plan::{ASG, DECAMP, HOOK, INGRESS, LoadBalancer, Nature, Plan, REGION};
use decamp_core::decide::{Ingress, JobKind, Process, Provider, Service, Task, TaskGroup, TaskRole};
use decamp_core::ids::{InstanceId, NodeId, TargetGroupArn};
use decamp_sim::auto_scaling::{GroupSetup as AsgSetup, HookSetup};
use decamp_sim::consul::Consul;
use decamp_sim::load_balancers::{CrossZone, GroupSetup, HealthTimes, Kind};
use decamp_sim::nomad::{Behaviour, Fits, GroupNumber, GroupSpec, NodeNumber, NodeSpec, Nomad, Ports};
use decamp_sim::rng::Rng;

/// The instance ids count up from this one.
const FIRST: u64 = 0x0abc_0000_0000;

/// The instance with this number. Numbers start at 1.
pub(super) fn instance(number: u32) -> InstanceId {
    InstanceId::from_number(FIRST + u64::from(number))
}

/// The number of an instance. `None` if it is not one of the rehearsal's.
pub(super) fn number(instance: InstanceId) -> Option<u32> {
    u32::try_from(instance.number().checked_sub(u128::from(FIRST))?).ok()
}

/// The name of the node with this number.
pub(super) fn name(number: u32) -> String {
    format!("node-{number}")
}

/// The number of the node with this name. `None` if it is not one of the rehearsal's.
pub(super) fn number_of(name: &str) -> Option<u32> {
    name.strip_prefix("node-")?.parse().ok()
}

/// The zone of the instance with this number.
pub(super) fn zone(number: u32) -> Arc<str> {
    ["eu-west-1a", "eu-west-1b", "eu-west-1c"][usize::try_from(number % 3).unwrap_or(0)].into()
}

/// The two target groups: the attached one, and the one that only the hook's metadata names.
pub(super) fn target_groups() -> [TargetGroupArn; 2] {
    ["attached", "named"].map(|name| {
        let account = super::plan::ACCOUNT;
        let text = format!("arn:aws:elasticloadbalancing:{REGION}:{account}:targetgroup/{name}/0123456789abcdef");
        text.parse().expect("it is a valid ARN")
    })
}

/// The settings of a target group.
pub(super) fn target_group(arn: TargetGroupArn, plan: &Plan) -> GroupSetup {
    // Two equal checks in a row decide. The second comes one interval after the first.
    let health = HealthTimes {
        registration: Plan::CHECK_EVERY / 2,
        up: Plan::CHECK_EVERY,
        down: Plan::CHECK_EVERY,
        ..HealthTimes::default()
    };
    let kind = if plan.balancer.is_network() { Kind::Nlb } else { Kind::Alb };
    let connection_termination = plan.balancer == LoadBalancer::NetworkThatTerminates;
    // Cross-zone load balancing, because one process serves all zones.
    let cross_zone = CrossZone { of_group: None, of_balancer: true };
    let setup = GroupSetup::new(arn, kind, plan.port);
    GroupSetup { delay: Plan::DELAY, lag: plan.lag(), health, connection_termination, cross_zone, ..setup }
}

/// The settings of the Auto Scaling group.
pub(super) fn auto_scaling_group(plan: &Plan) -> AsgSetup {
    let [attached, named] = target_groups();
    let hook = HookSetup::terminating(HOOK.into(), Plan::HEARTBEAT_TIMEOUT).naming(vec![named]);
    let stop_after = Duration::from_millis(300);
    AsgSetup {
        stop_after,
        hooks: vec![hook],
        attached: vec![attached],
        start_takes: plan.starts_in(),
        next_instance: FIRST + u64::from(plan.nodes) + 1,
        ..AsgSetup::new(ASG.into())
    }
}

/// Adds a node with its Consul agent.
pub(super) fn add_node(nomad: &mut Nomad, consul: &mut Consul, number: u32, rng: &mut Rng) -> NodeNumber {
    let address = Plan::address(number);
    let name: Arc<str> = name(number).into();
    let agent = consul.add_node(Arc::clone(&name));
    consul.add_other(agent, "nomad-client".into());
    nomad.add_node(NodeSpec {
        id: NodeId(u128::from(rng.bits()) << 64 | u128::from(rng.bits())),
        name: Arc::clone(&name),
        instance: Some(instance(number)),
        addresses: vec![IpAddr::V4(address)],
        consul: Some((agent, name)),
    })
}

fn group(job: &str, kind: JobKind, kill_timeout: Duration) -> TaskGroup {
    TaskGroup {
        namespace: "default".into(),
        job: job.into(),
        name: "group".into(),
        kind,
        csi_plugin: false,
        migrates_disk: false,
        volumes: Vec::new(),
        count: 1,
        max_parallel: None,
        shutdown_delay: Duration::ZERO,
        tasks: vec![Task {
            name: "server".into(),
            shutdown_delay: Duration::ZERO,
            kill_timeout,
            role: TaskRole::Main,
            process: Process { driver: "raw_exec".into(), kill_signal: Some("SIGTERM".into()), ..Process::default() },
        }],
        services: vec![Service { name: job.into(), provider: Provider::Consul, namespace: None }],
        ingress: None,
    }
}

/// The behaviour of the model's processes. Each ends at its `kill_timeout`, unless its real server ends earlier.
fn behaviour(plan: &Plan, starts_in: Duration) -> Behaviour {
    Behaviour {
        starts_in,
        passes_in: Duration::from_millis(300),
        healthy_in: plan.healthy_in(),
        ignores_signal: true,
        ..Behaviour::default()
    }
}

/// Adds the ingress: a system job on every node. Its job says how it follows discovery.
pub(super) fn add_ingress(nomad: &mut Nomad, consul: &mut Consul, nodes: &[NodeNumber], plan: &Plan) -> GroupNumber {
    let mut group = group(INGRESS, JobKind::System, Plan::INGRESS_KILL_TIMEOUT);
    let how = if plan.ingress_poll.is_some() { "Traefik polls Consul" } else { "Traefik watches Consul" };
    group.ingress = Some(Ingress { forgets_after: plan.ingress_forgets(), how: how.into() });
    let behaviour = behaviour(plan, Duration::from_millis(300));
    let spec = GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Anywhere, ports: Ports::Static([plan.port].into()) };
    let number = nomad.add_group(spec);
    for &node in nodes {
        nomad.place(number, node, consul);
    }
    number
}

/// Adds decamp itself, like the job file in `infra/serve`: two replicas on different nodes, of which one moves at a time.
pub(super) fn add_decamp(nomad: &mut Nomad, consul: &mut Consul, nodes: &[NodeNumber], plan: &Plan) -> GroupNumber {
    let mut group = group(DECAMP, JobKind::Service, Plan::DECAMP_KILL_TIMEOUT);
    group.count = Plan::REPLICAS;
    group.max_parallel = Some(1);
    // No client sends to it: it reads a queue.
    group.services = Vec::new();
    let behaviour = behaviour(plan, Duration::from_millis(500));
    let number = nomad.add_group(GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Apart, ports: Ports::Dynamic });
    for &node in nodes.iter().take(usize::try_from(Plan::REPLICAS).unwrap_or(usize::MAX)) {
        nomad.place(number, node, consul);
    }
    number
}

/// Adds the services, with their copies spread over the nodes.
pub(super) fn add_services(
    nomad: &mut Nomad,
    consul: &mut Consul,
    nodes: &[NodeNumber],
    plan: &Plan,
) -> Vec<(GroupNumber, Nature)> {
    let mut added = Vec::new();
    let mut next = 0;
    for service in plan.services() {
        let mut group = group(&service.name, JobKind::Service, service.kill_timeout());
        group.count = service.copies;
        group.max_parallel = Some(service.at_once);
        group.shutdown_delay = Plan::SHUTDOWN_DELAY;
        let dies_of_signal = service.nature == Nature::Abrupt;
        let behaviour = Behaviour { dies_of_signal, ..behaviour(plan, Duration::from_millis(500)) };
        let ports = Ports::Dynamic;
        let number = nomad.add_group(GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Anywhere, ports });
        for _ in 0..service.copies {
            nomad.place(number, nodes[next % nodes.len()], consul);
            next += 1;
        }
        added.push((number, service.nature));
    }
    added
}
