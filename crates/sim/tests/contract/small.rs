//! A small simulated cluster for single answers.

use std::sync::Arc;
use std::time::Duration;

use decamp_core::decide::snapshot::{JobKind, Process, Provider, Service, Task, TaskGroup, TaskRole};
use decamp_core::ids::AllocationId;
use decamp_core::time::Time;
use decamp_sim::consul;
use decamp_sim::consul::Consul;
use decamp_sim::nomad::{Behaviour, Fits, GroupSpec, NodeNumber, NodeSpec, Nomad, Ports};
use decamp_sim::rng::Rng;

use crate::versions;

/// A small cluster of named nodes, without jobs at first.
pub(crate) struct Small {
    pub(crate) nomad: Nomad,
    pub(crate) consul: Consul,
}

impl Small {
    pub(crate) fn new(folder: &str, nodes: &[(&str, &str)]) -> Self {
        let (version, consul_version) = versions(folder);
        let mut consul = Consul::new(consul_version, Time(1_000), Rng::new(1));
        let mut nomad = Nomad::new(version, Time(1_000), Rng::new(2));
        for (id, name) in nodes {
            let beside = consul.add_node((*name).into());
            nomad.add_node(NodeSpec {
                id: id.parse().expect("an id"),
                name: (*name).into(),
                instance: None,
                addresses: Vec::new(),
                consul: Some((beside, (*name).into())),
            });
        }
        Self { nomad, consul }
    }

    /// Runs copies of a job, distributed over the nodes in turn.
    pub(crate) fn run(&mut self, job: &str, namespace: &str, provider: Provider, copies: usize) {
        let task = Task {
            name: "srv".into(),
            shutdown_delay: Duration::ZERO,
            kill_timeout: Duration::from_secs(5),
            role: TaskRole::Main,
            process: Process::default(),
        };
        let group = TaskGroup {
            namespace: namespace.into(),
            job: job.into(),
            name: "web".into(),
            kind: JobKind::Service,
            csi_plugin: false,
            migrates_disk: false,
            volumes: Vec::new(),
            count: copies as u32,
            max_parallel: Some(1),
            shutdown_delay: Duration::from_secs(2),
            tasks: vec![task],
            services: vec![Service { name: job.into(), provider, namespace: None }],
            ingress: None,
        };
        let spec = GroupSpec {
            group: Arc::new(group),
            behaviour: Behaviour::default(),
            fits: Fits::Anywhere,
            ports: Ports::Static(Arc::default()),
        };
        let number = self.nomad.add_group(spec);
        let nodes: Vec<NodeNumber> = self.nomad.nodes().map(|(number, _)| number).collect();
        for copy in 0..copies {
            self.nomad.place(number, nodes[copy % nodes.len()], &mut self.consul);
        }
    }

    /// The first allocation of a job.
    pub(crate) fn first(&self, job: &str) -> AllocationId {
        let of = |a: &&decamp_sim::nomad::AllocationState| *self.nomad.groups()[a.group.index()].spec.group.job == *job;
        self.nomad.allocations().iter().find(of).expect("it runs").id
    }

    /// The first node's agent in Consul.
    pub(crate) fn consul_node(&self) -> consul::NodeNumber {
        self.nomad.node(NodeNumber(0)).spec.consul.clone().expect("it has one").0
    }
}
