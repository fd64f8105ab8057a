//! The jobs of a drawn cluster: an ingress, services of several kinds, and other jobs.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use super::{pick, volumes};
use crate::consul::Consul;
use crate::event::AllocationNumber;
use crate::faults::{Fault, Faults};
use crate::nomad::{Behaviour, Earlier, Fits, GroupNumber, GroupSpec, NodeNumber, Nomad, Ports};
use crate::rng::Rng;
use decamp_core::decide::{Ingress, JobKind, OwnNetwork, Process, Provider, Service, Task, TaskGroup, TaskRole};

thread_local! {
    static NAMES: RefCell<BTreeMap<(u64, &'static str), Arc<str>>> = const { RefCell::new(BTreeMap::new()) };
}

/// A name, made once a thread and shared.
pub(super) fn name(stem: &'static str, number: u64) -> Arc<str> {
    NAMES.with_borrow_mut(|names| Arc::clone(names.entry((number, stem)).or_insert_with(|| format!("{stem}{number}").into())))
}

/// A cluster that is being filled with jobs. The first node is the one that leaves.
pub(super) struct Cluster {
    pub(super) nomad: Nomad,
    pub(super) consul: Consul,
    pub(super) rng: Rng,
    pub(super) nodes: Vec<NodeNumber>,
    /// Whether batch jobs run for longer than a departure waits.
    pub(super) works_long: bool,
    /// Whether the ingress has less time to stop than the longest request takes.
    pub(super) stops_in_short: bool,
}

/// The drawn services.
pub(super) struct Drawn {
    /// The first service's group.
    pub(super) first: Option<GroupNumber>,
    /// The groups that the ingress may route to, by their numbers.
    pub(super) routed: Range<usize>,
}

/// The address of the mesh copy on the node with this number.
pub(super) fn mesh_address(place: u64) -> IpAddr {
    IpAddr::from([10, 1, u8::try_from(place).unwrap_or(255), 5])
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

impl Cluster {
    fn group(&mut self, stem: &'static str, number: u64, kind: JobKind) -> TaskGroup {
        TaskGroup {
            namespace: name("default", 0),
            job: name(stem, number),
            name: name("group", 0),
            kind,
            csi_plugin: false,
            migrates_disk: false,
            volumes: Vec::new(),
            count: 1,
            max_parallel: matches!(kind, JobKind::Service).then_some(1),
            shutdown_delay: Duration::ZERO,
            tasks: vec![Task {
                name: name("server", 0),
                shutdown_delay: Duration::ZERO,
                kill_timeout: secs([5, 5, 10, 30][pick(&mut self.rng, 4)]),
                role: TaskRole::Main,
                process: Process::default(),
            }],
            services: Vec::new(),
            ingress: None,
        }
    }

    fn add(&mut self, group: TaskGroup, behaviour: Behaviour, fits: Fits, ports: Ports) -> GroupNumber {
        self.nomad.add_group(GroupSpec { group: Arc::new(group), behaviour, fits, ports })
    }

    /// An ingress with a static port on every node. Its job declares that it follows service discovery.
    pub(super) fn ingress(&mut self, kind: JobKind, polls: bool) -> AllocationNumber {
        let mut group = self.group("traefik", 0, kind);
        group.tasks[0].shutdown_delay = secs(self.rng.below(4));
        group.tasks[0].kill_timeout = secs(10 + self.rng.below(10));
        if self.stops_in_short {
            group.tasks[0].kill_timeout = secs(1);
        }
        group.ingress = Some(Ingress { forgets_after: secs(if polls { 17 } else { 2 }), how: name("follows Consul", 0) });
        group.services.push(Service { name: name("traefik", 0), provider: Provider::Consul, namespace: None });
        group.count = u32::try_from(self.nodes.len()).unwrap_or(1);
        let number = self.add(group, Behaviour::default(), Fits::Anywhere, Ports::Static([8080, 8443].into()));
        self.on_every_node(number)
    }

    /// A service that the load balancers send to directly.
    pub(super) fn direct(&mut self) -> AllocationNumber {
        let mut group = self.group("api", 0, JobKind::Service);
        group.shutdown_delay = secs([0, 5, 20, 60][pick(&mut self.rng, 4)]);
        group.count = u32::try_from(self.nodes.len()).unwrap_or(1);
        let number = self.add(group, Behaviour::default(), Fits::Anywhere, Ports::Static([8080, 8443].into()));
        self.on_every_node(number)
    }

    /// A service whose copies each have their own address and answer there, at the same port that the ingress has on the node.
    pub(super) fn mesh(&mut self) -> AllocationNumber {
        let mut group = self.group("mesh", 0, JobKind::Service);
        group.shutdown_delay = secs([0, 5, 20, 60][pick(&mut self.rng, 4)]);
        group.count = u32::try_from(self.nodes.len()).unwrap_or(1);
        let number = self.add(group, Behaviour::default(), Fits::Anywhere, Ports::Static([].into()));
        let first = self.on_every_node(number);
        let copies = self.nomad.groups()[number.index()].allocations.clone();
        for (place, copy) in copies.into_iter().enumerate() {
            let own = OwnNetwork { address: mesh_address(place as u64), bridge: false, ports: [8080].into() };
            self.nomad.put_in_network(copy, own);
        }
        first
    }

    /// An allocation on the leaving node with an address at which another workload is a target. The allocation is over, or is behind a
    /// bridge. `known`: Nomad runs the other workload as well.
    pub(super) fn stranger(&mut self, over: bool, known: bool, address: IpAddr) {
        let ours = self.nodes[0];
        let network = |bridge| OwnNetwork { address, bridge, ports: [8080].into() };
        let kind = if over { JobKind::Batch } else { JobKind::System };
        let group = self.group("before", 0, kind);
        let number = self.add(group, Behaviour::default(), Fits::Only(ours), Ports::Static([].into()));
        let placed = self.nomad.place(number, ours, &mut self.consul);
        self.nomad.put_in_network(placed, network(!over));
        if over {
            self.nomad.ends_at(placed, super::BEGIN + Duration::from_millis(500));
        }
        if known {
            let there = self.nodes[1];
            let group = self.group("stranger", 0, JobKind::Service);
            let number = self.add(group, Behaviour::default(), Fits::Only(there), Ports::Static([].into()));
            let placed = self.nomad.place(number, there, &mut self.consul);
            self.nomad.put_in_network(placed, network(false));
        }
    }

    fn on_every_node(&mut self, number: GroupNumber) -> AllocationNumber {
        let mut first = None;
        for place in 0..self.nodes.len() {
            let placed = self.nomad.place(number, self.nodes[place], &mut self.consul);
            first.get_or_insert(placed);
        }
        first.unwrap_or(AllocationNumber(0))
    }

    /// Services behind the ingress.
    pub(super) fn services(&mut self, faults: Faults) -> Drawn {
        let from = self.nomad.groups().len();
        let many = match self.rng.below(100) {
            0..4 => 10 + self.rng.below(16),
            4..20 => 4 + self.rng.below(4),
            _ => 1 + self.rng.below(3),
        };
        let mut first = None;
        for place in 0..many {
            let mut group = self.service(place, faults);
            let mut drawn = self.draw_behaviour(faults, place);
            volumes::mount(&mut self.rng, faults, place, &mut group, &mut drawn);
            let fits = if faults.has(Fault::NoRoomElsewhere) && place == 0 { Fits::Nowhere } else { Fits::Anywhere };
            let count = group.count;
            let number = self.add(group, drawn, fits, Ports::Dynamic);
            first.get_or_insert(number);
            // The leaving node has one copy at least. The others are spread.
            let here = 1 + self.rng.below(u64::from(count.min(3)));
            for copy in 0..u64::from(count) {
                let node = if copy < here { 0 } else { 1 + pick(&mut self.rng, self.nodes.len() as u64 - 1) };
                self.nomad.place(number, self.nodes[node], &mut self.consul);
            }
        }
        Drawn { first, routed: from..self.nomad.groups().len() }
    }

    /// The first copy of a service on the leaving node came up right before the departure, and is not in Consul yet. `aside` draws it, so
    /// that the draws of all other clusters stay unchanged.
    pub(super) fn comes_up_late(&mut self, group: GroupNumber, aside: &mut Rng) -> Option<AllocationNumber> {
        let ours = self.nodes[0];
        let copies = self.nomad.groups()[group.index()].allocations.clone();
        let is_here = |copy: &AllocationNumber| self.nomad.allocation(*copy).node == ours;
        // Another copy must serve meanwhile.
        copies.iter().find(|copy| !is_here(copy))?;
        let copy = copies.iter().copied().find(is_here)?;
        let started = super::BEGIN - Duration::from_millis(aside.below(2_000));
        let at = super::BEGIN + Duration::from_millis(aside.below(10_000));
        self.nomad.registers_late(copy, started, at, &mut self.consul);
        Some(copy)
    }

    fn service(&mut self, place: u64, faults: Faults) -> TaskGroup {
        let mut group = self.group("service", place, JobKind::Service);
        // One service in six is badly configured, and decamp must report it.
        let badly = self.rng.one_in(6) || faults.has(Fault::IngressPolls) && self.rng.one_in(2);
        group.shutdown_delay = if badly { secs(self.rng.below(3)) } else { secs([4, 5, 10, 20][pick(&mut self.rng, 4)]) };
        if faults.has(Fault::IngressPolls) && !badly {
            group.shutdown_delay = secs(18 + self.rng.below(10));
        }
        group.count = if self.rng.one_in(10) { 1 } else { u32::try_from(2 + self.rng.below(4)).unwrap_or(2) };
        group.max_parallel = Some(if self.rng.one_in(10) { 2 } else { 1 });
        let provider = if self.rng.one_in(8) && self.nomad.version().has_services() { Provider::Nomad } else { Provider::Consul };
        // Every other service has a namespace, from the first or from the second.
        let namespaced = faults.has(Fault::ConsulNamespaces) && (place + self.nodes.len() as u64).is_multiple_of(2);
        let namespace = (namespaced && provider == Provider::Consul).then(|| name("team", place % 3));
        group.services.push(Service { name: name("service-", place), provider, namespace });
        if badly && self.rng.one_in(3) {
            group.tasks[0].kill_timeout = secs(self.rng.below(4));
        }
        group.migrates_disk = self.rng.one_in(12);
        if faults.has(Fault::ClaimsHours) && place == 0 {
            group.tasks[0].kill_timeout = secs([120, 1_200, 6_000, 7_200, 36_000][pick(&mut self.rng, 5)]);
        }
        match self.rng.below(12) {
            0 => group.tasks[0].role = TaskRole::Leader,
            1 => group.tasks.push(self.task("sidecar", TaskRole::Sidecar)),
            2 => group.tasks.push(self.task("after", TaskRole::Poststop)),
            3 => group.tasks[0].shutdown_delay = secs(self.rng.below(4)),
            _ => {}
        }
        group
    }

    fn task(&mut self, stem: &'static str, role: TaskRole) -> Task {
        Task { name: name(stem, 0), shutdown_delay: Duration::ZERO, kill_timeout: secs(5), role, process: Process::default() }
    }

    fn draw_behaviour(&mut self, faults: Faults, place: u64) -> Behaviour {
        // After a purge no list shows an allocation, so nobody can know that its process survives SIGKILL.
        let unseen = faults.has(Fault::JobPurged)
            || faults.has(Fault::AgentAway)
            || faults.has(Fault::AgentBackLate)
            || faults.has(Fault::NodeCollected);
        let stuck = faults.has(Fault::StuckStop) && !unseen && place == 0;
        // Where the clients allow more than Nomad's default, a process needs it.
        let cap = self.nomad.kill_cap().filter(|cap| faults.has(Fault::ClaimsHours) && place == 0 && secs(30) < *cap);
        let behaviour = Behaviour {
            starts_in: Duration::from_millis(300 + self.rng.below(4000)),
            // An allocation is healthy when its checks pass and `min_healthy_time` is over.
            healthy_in: secs(3 + self.rng.below(10)),
            stops_in: Duration::from_millis(200 + self.rng.below(2000)).max(cap.map_or(Duration::ZERO, |cap| cap / 2)),
            ignores_signal: stuck,
            survives_kill_for: if stuck { secs(self.rng.below(120)) } else { Duration::ZERO },
            poststop: secs(self.rng.below(15)),
            exits_with_error: self.rng.one_in(20),
            disconnects: faults.has(Fault::AgentAway) && self.rng.one_in(2),
            copies_disk_in: secs(1 + self.rng.below(120)),
            ..Behaviour::default()
        };
        // One that ends so soon has no handler for its signal.
        Behaviour { dies_of_signal: behaviour.stops_in < Duration::from_millis(250), ..behaviour }
    }

    /// Adds allocations on the leaving node that ended before the departure: nightly batch work, and copies of a service that were stopped or
    /// drained before. Some nodes list thousands. `aside` draws them, so that all other draws stay unchanged.
    pub(super) fn earlier(&mut self, mut aside: Rng) {
        let (ours, other) = (self.nodes[0], self.nodes[1]);
        let many = match aside.below(4_000) {
            0 => 10_000,
            1..1_000 => 1 + aside.below(12),
            _ => return,
        };
        let nomads = self.nomad.draw_from(aside.clone());
        let mut batch = self.group("nightly", 0, JobKind::Batch);
        batch.count = 0;
        let batch = self.add(batch, Behaviour::default(), Fits::Anywhere, Ports::Static([].into()));
        let mut service = self.group("earlier", 0, JobKind::Service);
        service.migrates_disk = aside.one_in(2);
        service.services.push(Service { name: name("earlier", 0), provider: Provider::Consul, namespace: None });
        let deaf = Behaviour { ignores_signal: aside.one_in(3), ..Behaviour::default() };
        let service = self.add(service, deaf, Fits::Anywhere, Ports::Dynamic);
        let moved_to = self.nomad.place(service, other, &mut self.consul);
        for _ in 0..many {
            let (group, how) = match aside.below(16) {
                0..8 => (batch, Earlier::Done),
                8..10 => (batch, Earlier::Failed),
                10..13 => (service, Earlier::Stopped),
                13 => (service, Earlier::Failed),
                14 => (service, Earlier::Drained(Some(moved_to))),
                _ => (service, Earlier::Drained(None)),
            };
            // Clocks differ by up to a minute. A disk that nobody copied may be of this departure if its beginning is unknown.
            let latest = if how == Earlier::Drained(None) { secs(6 * 3_600) } else { secs(120) };
            let ended = super::BEGIN - latest - secs(aside.below(64_800));
            self.nomad.add_earlier(group, ours, ended, how);
        }
        self.nomad.draw_from(nomads);
    }

    /// Adds the jobs that are no services: batch, system and sysbatch jobs.
    pub(super) fn beside(&mut self, faults: Faults) {
        let ours = self.nodes[0];
        if faults.has(Fault::LongBatch) || self.rng.one_in(20) {
            let group = self.group("etl", 0, JobKind::Batch);
            let number = self.add(group, Behaviour::default(), Fits::Only(ours), Ports::Static([].into()));
            let placed = self.nomad.place(number, ours, &mut self.consul);
            if !faults.has(Fault::LongBatch) || self.rng.one_in(2) {
                let at = super::BEGIN + secs(20 + self.rng.below(400));
                if !self.works_long {
                    self.nomad.ends_at(placed, at);
                }
            }
        }
        if faults.has(Fault::DrainHangs) {
            let group = self.group("everywhere", 0, JobKind::SysBatch);
            let number = self.add(group, Behaviour::default(), Fits::Anywhere, Ports::Static([].into()));
            let placed = self.nomad.place(number, ours, &mut self.consul);
            let at = super::BEGIN + secs(30 + self.rng.below(300));
            self.nomad.ends_at(placed, at);
        }
        if faults.has(Fault::SystemAndCsi) || self.rng.one_in(10) {
            let group = self.group("logs", 0, JobKind::System);
            let number = self.add(group, Behaviour::default(), Fits::Anywhere, Ports::Static([].into()));
            self.nomad.place(number, ours, &mut self.consul);
        }
        if faults.has(Fault::SystemAndCsi) || volumes::has_csi(faults) {
            let mut group = self.group("csi", 0, JobKind::System);
            group.csi_plugin = true;
            let number = self.add(group, Behaviour::default(), Fits::Anywhere, Ports::Static([].into()));
            self.nomad.place(number, ours, &mut self.consul);
        }
    }
}
