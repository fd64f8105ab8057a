//! The initial state of the sandbox's Nomad and Consul: nodes, an ingress on each, and services behind it.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::Options;
use decamp_core::decide::{Ingress, JobKind, Process, Provider, Service, Task, TaskGroup, TaskRole, Volume, VolumeKind};
use decamp_core::ids::{InstanceId, NodeId};
use decamp_sim::consul::{Consul, Entry};
use decamp_sim::nomad::{Behaviour, Fits, GroupNumber, GroupSpec, NodeNumber, NodeSpec, Nomad, Ports, Release};
use decamp_sim::rng::Rng;

/// The port that load balancers send to.
pub(super) const PORT: u16 = 8080;

/// The instance ids count up from this one.
const FIRST: u64 = 0x0abc_0000_0000;

/// The id of the instance with this number.
pub(super) fn instance(number: u32) -> InstanceId {
    InstanceId::from_number(id_of(number))
}

/// The instance id with this number, as an integer.
pub(super) fn id_of(number: u32) -> u64 {
    FIRST + u64::from(number)
}

/// The number of an instance. `None` if it is not one of the sandbox's.
pub(super) fn number(instance: InstanceId) -> Option<u32> {
    u32::try_from(instance.number().checked_sub(u128::from(FIRST))?).ok()
}

/// The address of an instance's node.
pub(super) fn address(instance: InstanceId) -> Option<IpAddr> {
    number(instance).map(address_of)
}

/// The instance whose node has this address, if it is one of the sandbox.
pub(super) fn instance_at(address: IpAddr) -> Option<InstanceId> {
    let IpAddr::V4(address) = address else { return None };
    let [_, high, middle, low] = address.octets();
    let number = u32::from_be_bytes([0, high, middle, low]).checked_sub(FIRST_HOST)?;
    (address_of(number) == address).then(|| instance(number))
}

/// The host number of the first node's address.
const FIRST_HOST: u32 = 10;

fn address_of(number: u32) -> IpAddr {
    let [_, high, middle, low] = (number + FIRST_HOST).to_be_bytes();
    IpAddr::from([10, high, middle, low])
}

/// Adds a node with its Consul agent.
pub(super) fn add_node(nomad: &mut Nomad, consul: &mut Consul, number: u32, rng: &mut Rng, options: &Options) -> NodeNumber {
    let address = address_of(number);
    let name: Arc<str> = match options.named_by_instance {
        true => format!("{}.sandbox.internal", instance(number)).into(),
        false => format!("ip-{}", address.to_string().replace('.', "-")).into(),
    };
    let agent = consul.add_node(Arc::clone(&name));
    consul.add_other(agent, "nomad-client".into());
    if let Some(name) = &options.by_hand {
        consul.register(agent, Entry::by_hand(Arc::clone(name)), consul.now(), &mut Vec::new());
    }
    nomad.add_node(NodeSpec {
        id: NodeId(u128::from(rng.bits()) << 64 | u128::from(rng.bits())),
        name: Arc::clone(&name),
        instance: Some(instance(number)),
        addresses: vec![address],
        consul: Some((agent, name)),
    })
}

fn group(job: &str, kind: JobKind, options: &Options) -> TaskGroup {
    let seconds = if kind == JobKind::System { 10 } else { 5 };
    let task = Task {
        name: "server".into(),
        shutdown_delay: Duration::ZERO,
        // Enough time to finish the longest request.
        kill_timeout: Duration::from_secs(seconds).max(options.longest_request * 2),
        role: TaskRole::Main,
        process: Process { driver: "docker".into(), ..Process::default() },
    };
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
        tasks: vec![task],
        services: vec![Service { name: job.into(), provider: options.provider, namespace: None }],
        ingress: None,
    }
}

/// Adds the ingress: a system job on every node. Its job says how it follows discovery.
pub(super) fn add_ingress(nomad: &mut Nomad, consul: &mut Consul, nodes: &[NodeNumber], options: &Options) -> GroupNumber {
    let mut group = group("traefik", JobKind::System, options);
    group.services[0].provider = Provider::Consul;
    let follows = match options.provider {
        Provider::Consul => "Traefik watches Consul",
        Provider::Nomad => "Traefik watches Nomad",
    };
    group.ingress = Some(Ingress { forgets_after: Duration::from_secs(2), how: follows.into() });
    let behaviour = Behaviour { starts_in: Duration::from_millis(300), healthy_in: options.healthy_in, ..Behaviour::default() };
    let spec = GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Anywhere, ports: Ports::Static([PORT].into()) };
    let number = nomad.add_group(spec);
    for &node in nodes {
        nomad.place(number, node, consul);
    }
    number
}

/// Adds a batch job with an allocation on every node.
pub(super) fn add_batch(nomad: &mut Nomad, consul: &mut Consul, nodes: &[NodeNumber], options: &Options) {
    let mut group = group("report", JobKind::Batch, options);
    group.count = options.nodes;
    group.services.clear();
    let behaviour = Behaviour::default();
    let number = nomad.add_group(GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Anywhere, ports: Ports::Dynamic });
    for &node in nodes {
        nomad.place(number, node, consul);
    }
}

/// Adds a CSI plugin with an allocation on every node.
pub(super) fn add_plugin(nomad: &mut Nomad, consul: &mut Consul, nodes: &[NodeNumber], options: &Options) {
    let mut group = group("csi", JobKind::System, options);
    group.csi_plugin = true;
    group.services.clear();
    let behaviour = Behaviour::default();
    let number = nomad.add_group(GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Anywhere, ports: Ports::Dynamic });
    for &node in nodes {
        nomad.place(number, node, consul);
    }
}

/// Adds a service whose process ignores its kill signal, with a copy on every node. No client sends requests to it.
pub(super) fn add_deaf(nomad: &mut Nomad, consul: &mut Consul, nodes: &[NodeNumber], options: &Options) {
    let mut group = group("deaf", JobKind::Service, options);
    group.count = options.nodes;
    group.tasks[0].kill_timeout = Duration::from_secs(1);
    let behaviour = Behaviour { ignores_signal: true, healthy_in: options.healthy_in, ..Behaviour::default() };
    let number = nomad.add_group(GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Anywhere, ports: Ports::Dynamic });
    for &node in nodes {
        nomad.place(number, node, consul);
    }
}

/// Adds the services, with their copies spread over the nodes.
pub(super) fn add_services(nomad: &mut Nomad, consul: &mut Consul, nodes: &[NodeNumber], options: &Options) -> Vec<GroupNumber> {
    let distance = (nodes.len() / usize::try_from(options.copies.max(1)).unwrap_or(1)).max(1);
    let mut added = Vec::new();
    for service in 1..=options.services {
        let mut group = group(&format!("service-{service}"), JobKind::Service, options);
        group.services[0].namespace.clone_from(&options.consul_namespace);
        group.count = options.copies;
        group.max_parallel = Some(1);
        group.shutdown_delay = options.shutdown_delay;
        if options.csi.is_some() {
            let kind = VolumeKind::Csi { per_alloc: true };
            group.volumes.push(Volume {
                name: "data".into(),
                source: format!("volume-{service}").into(),
                read_only: false,
                kind,
            });
        }
        let behaviour = Behaviour {
            releases: options.csi.unwrap_or(Release::Gone),
            starts_in: Duration::from_millis(500),
            healthy_in: options.healthy_in,
            stops_in: Duration::from_millis(200).max(options.longest_request),
            ..Behaviour::default()
        };
        let number =
            nomad.add_group(GroupSpec { group: Arc::new(group), behaviour, fits: Fits::Anywhere, ports: Ports::Dynamic });
        let first = usize::try_from(service - 1).unwrap_or(0);
        for copy in 0..usize::try_from(options.copies).unwrap_or(0) {
            nomad.place(number, nodes[(first + copy * distance) % nodes.len()], consul);
        }
        added.push(number);
    }
    added
}
