//! A calm world: an instance in its hook, one attached and one named target group, a node with an ingress and two services.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::{
    Allocation, BalancerKind, Cause, Claims, ClientStatus, Departure, Disk, Group, GroupToRead, Hook, Ingress, JobKind, Launched,
    LifecycleAction, Node, NodeStatus, Nomad, Process, Provider, Registration, Registrations, Service, Target, TargetGroup,
    TargetHealth, Task, TaskGroup, TaskRole, Zones,
};
use decamp_core::ids::{AllocationId, InstanceId, NodeId, TargetGroupArn, TargetId};
use decamp_core::time::Time;

/// When the instance entered its hook.
pub(crate) const ENTRY: Time = Time(1_800_000_000_000);
/// The node's own address.
pub(crate) const ADDRESS: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 10));
/// The ingress, a system job on port 8080.
pub(crate) const INGRESS: AllocationId = AllocationId(1);
/// An allocation of a service with two copies.
pub(crate) const API: AllocationId = AllocationId(2);
/// An allocation of another service with two copies.
pub(crate) const SHOP: AllocationId = AllocationId(3);
/// An allocation of a batch job, in some rows.
pub(crate) const BATCH: AllocationId = AllocationId(4);

pub(crate) const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub(crate) fn instance() -> InstanceId {
    InstanceId::from_number(0xabc)
}

pub(crate) fn another_instance() -> InstanceId {
    InstanceId::from_number(0xdef)
}

pub(crate) fn node_id() -> NodeId {
    NodeId(7)
}

pub(crate) fn arn(name: &str) -> TargetGroupArn {
    let text = format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/0123456789abcdef");
    text.parse().expect("it fits the grammar")
}

/// The group that is attached to the Auto Scaling group.
pub(crate) fn attached() -> TargetGroupArn {
    arn("attached")
}

/// The group that the hook's metadata names.
pub(crate) fn named() -> TargetGroupArn {
    arn("named")
}

pub(crate) fn departure() -> Departure {
    let action = LifecycleAction {
        hook: Some("decamp".into()),
        token: Some("87654321-4321-4321-4321-210987654321".parse().expect("it fits the grammar")),
        began: Some(ENTRY),
        to_warm_pool: false,
    };
    Departure { instance: instance(), asg: "web".into(), cause: Cause::Lifecycle(action) }
}

pub(crate) fn hook(name: &str) -> Hook {
    Hook {
        name: name.into(),
        heartbeat_timeout: secs(900),
        global_timeout: secs(90_000),
        target_groups: Vec::new(),
        misnamed: Vec::new(),
    }
}

pub(crate) fn group() -> Group {
    let ours = Hook { target_groups: vec![named()], ..hook("decamp") };
    Group {
        hooks: vec![ours],
        attached: vec![attached()],
        unhandled: Vec::new(),
        held: false,
        retains: false,
        activity_began: None,
        launched: Launched::Unasked,
    }
}

pub(crate) fn target(id: TargetId, port: u16) -> Target {
    Target { id, port, zone: None, health: TargetHealth::Healthy }
}

/// A target group to look at.
pub(crate) fn to_read(arn: TargetGroupArn, attached: bool) -> GroupToRead {
    GroupToRead { arn, attached }
}

pub(crate) fn target_group(arn: TargetGroupArn, attached: bool) -> TargetGroup {
    let targets = vec![target(TargetId::Instance(instance()), 8080), target(TargetId::Instance(another_instance()), 8080)];
    TargetGroup {
        arn,
        attached,
        kind: BalancerKind::Alb,
        delay: Some(secs(30)),
        connection_termination: None,
        zones: Zones::Crossed,
        targets: Some(targets.into()),
    }
}

pub(crate) fn task(shutdown_delay: u64, kill_timeout: u64) -> Task {
    Task {
        name: "server".into(),
        shutdown_delay: secs(shutdown_delay),
        kill_timeout: secs(kill_timeout),
        role: TaskRole::Main,
        process: Process::default(),
    }
}

/// A job's group that loses nothing: it serves for another 20 s, and has 10 s to finish its requests.
pub(crate) fn task_group(job: &str, kind: JobKind) -> TaskGroup {
    let service = Service { name: job.into(), provider: Provider::Consul, namespace: None };
    TaskGroup {
        namespace: "default".into(),
        job: job.into(),
        name: "group".into(),
        kind,
        csi_plugin: false,
        migrates_disk: false,
        volumes: Vec::new(),
        count: 2,
        max_parallel: (kind == JobKind::Service).then_some(1),
        shutdown_delay: secs(20),
        tasks: vec![task(0, 10)],
        services: vec![service],
        ingress: None,
    }
}

/// The ingress: a system job that forgets a service 2 s after it left discovery.
pub(crate) fn ingress() -> TaskGroup {
    let ingress = Ingress { forgets_after: secs(2), how: "traefik watches Consul".into() };
    TaskGroup { shutdown_delay: secs(0), ingress: Some(ingress), ..task_group("traefik", JobKind::System) }
}

pub(crate) fn allocation(id: AllocationId, group: TaskGroup, port: u16) -> Allocation {
    Allocation {
        id,
        group: Arc::new(group),
        wanted: true,
        client: ClientStatus::Running,
        ports: vec![port].into(),
        own: None,
        started: Some(Time(0)),
        told: None,
        ended: None,
        ends: [].into(),
        moved: false,
        disk: Disk::Stays,
        claims: Claims::default(),
    }
}

pub(crate) fn node() -> Node {
    let allocations = vec![
        allocation(INGRESS, ingress(), 8080),
        allocation(API, task_group("api", JobKind::Service), 21_001),
        allocation(SHOP, task_group("shop", JobKind::Service), 21_002),
    ];
    Node {
        id: node_id(),
        name: "ip-10-0-0-10".into(),
        status: NodeStatus::Ready,
        status_since: None,
        eligible: true,
        drain: None,
        last_drain: None,
        addresses: vec![ADDRESS],
        consul_name: Some("ip-10-0-0-10".into()),
        notes: Vec::new(),
        leaves_local_data: false,
        version: "2.0.5".into(),
        allocations: allocations.into(),
    }
}

pub(crate) fn nomad() -> Nomad {
    Nomad { nodes: vec![node()], set_aside: Vec::new() }
}

pub(crate) fn registration(allocation: AllocationId, service: &str) -> Registration {
    Registration { allocation, service: service.into(), critical: false }
}

/// Consul's complete answer.
pub(crate) fn consul() -> Registrations {
    let services = vec![registration(INGRESS, "traefik"), registration(API, "api"), registration(SHOP, "shop")];
    Registrations { whole: true, agent_dead: false, services: services.into(), by_hand: [].into() }
}
