//! The parts of Nomad's answers that decamp reads. Every field may be missing or null: releases differ, and Go omits empty values.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::de::IgnoredAny;
use serde::{Deserialize, Deserializer};

/// A field that may be missing or null.
fn lenient<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::<T>::deserialize(from).map(Option::unwrap_or_default)
}

/// A value that may be in a form that is not known. It is then skipped, so that it costs no more than itself.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub(super) enum Tolerant<T> {
    /// As expected.
    Known(T),
    /// Anything else.
    Unknown(IgnoredAny),
}

impl<T> Tolerant<T> {
    /// The value, if it is in the expected form.
    pub(super) fn known(&self) -> Option<&T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(_) => None,
        }
    }
}

impl<T: Default> Default for Tolerant<T> {
    fn default() -> Self {
        Self::Known(T::default())
    }
}

macro_rules! wire {
    ($($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $kind:ty = $wire:literal,)* })*) => { $(
        $(#[$doc])*
        #[derive(Debug, Clone, Default, Deserialize)]
        #[serde(default)]
        pub(super) struct $name { $(
            $(#[$field_doc])*
            #[serde(rename = $wire, deserialize_with = "lenient")]
            pub(super) $field: $kind,
        )* }
    )* };
}

wire! {
    /// One of `GET /v1/nodes`.
    Stub {
        id: String = "ID",
        name: String = "Name",
        status: String = "Status",
        eligibility: String = "SchedulingEligibility",
        version: String = "Version",
        address: String = "Address",
        modify_index: u64 = "ModifyIndex",
    }
    /// `GET /v1/node/:id`.
    Node {
        id: String = "ID",
        name: String = "Name",
        status: String = "Status",
        /// Seconds since 1970.
        status_updated: i64 = "StatusUpdatedAt",
        eligibility: String = "SchedulingEligibility",
        http_address: String = "HTTPAddr",
        attributes: HashMap<String, String> = "Attributes",
        meta: HashMap<String, String> = "Meta",
        strategy: Option<DrainStrategy> = "DrainStrategy",
        last_drain: Option<LastDrain> = "LastDrain",
        modify_index: u64 = "ModifyIndex",
        resources: NodeResources = "NodeResources",
    }
    NodeResources {
        networks: Vec<NodeNetwork> = "NodeNetworks",
    }
    /// An interface of the node that Nomad fingerprinted.
    NodeNetwork {
        mode: String = "Mode",
        device: String = "Device",
        addresses: Vec<NodeAddress> = "Addresses",
    }
    NodeAddress {
        address: String = "Address",
    }
    DrainStrategy {
        ignore_system_jobs: bool = "IgnoreSystemJobs",
        force_deadline: String = "ForceDeadline",
        deadline: i64 = "Deadline",
    }
    LastDrain {
        status: String = "Status",
        started: String = "StartedAt",
        updated: String = "UpdatedAt",
        meta: HashMap<String, String> = "Meta",
    }
    /// One of `GET /v1/node/:id/allocations`.
    Allocation {
        id: String = "ID",
        name: String = "Name",
        namespace: String = "Namespace",
        job_id: String = "JobID",
        task_group: String = "TaskGroup",
        desired: String = "DesiredStatus",
        client: String = "ClientStatus",
        job: Option<Arc<Job>> = "Job",
        modify_index: u64 = "ModifyIndex",
        resources: AllocatedResources = "AllocatedResources",
        network: NetworkStatus = "NetworkStatus",
        states: HashMap<String, TaskState> = "TaskStates",
        transition: Transition = "DesiredTransition",
        next: String = "NextAllocation",
    }
    /// `GET /v1/allocation/:id` of an allocation that replaces another.
    Replacement {
        id: String = "ID",
        client: String = "ClientStatus",
        next: String = "NextAllocation",
        states: HashMap<String, TaskState> = "TaskStates",
    }
    /// `GET /v1/job/:id` of a job whose allocation has no replacement.
    JobState {
        id: String = "ID",
        stop: bool = "Stop",
        groups: Vec<GroupSize> = "TaskGroups",
    }
    GroupSize {
        name: String = "Name",
        count: Option<u32> = "Count",
    }
    Transition {
        migrate: bool = "Migrate",
        no_shutdown_delay: bool = "NoShutdownDelay",
    }
    TaskState {
        state: String = "State",
        started: String = "StartedAt",
        finished: String = "FinishedAt",
        events: Tolerant<Vec<Tolerant<TaskEvent>>> = "Events",
    }
    TaskEvent {
        kind: String = "Type",
        nanoseconds: u64 = "Time",
        details: HashMap<String, String> = "Details",
    }
    /// One of `GET /v1/allocations`.
    AllocationStub {
        id: String = "ID",
        name: String = "Name",
        namespace: String = "Namespace",
        node: String = "NodeID",
        job_id: String = "JobID",
        job_type: String = "JobType",
        job_version: u64 = "JobVersion",
        task_group: String = "TaskGroup",
        desired: String = "DesiredStatus",
        client: String = "ClientStatus",
        modify_index: u64 = "ModifyIndex",
        states: HashMap<String, TaskState> = "TaskStates",
        transition: Transition = "DesiredTransition",
        next: String = "NextAllocation",
    }
    NetworkStatus {
        address: String = "Address",
        address_v6: String = "AddressIPv6",
    }
    AllocatedResources {
        shared: Resources = "Shared",
        tasks: HashMap<String, Resources> = "Tasks",
    }
    Resources {
        networks: Vec<Network> = "Networks",
        ports: Vec<Port> = "Ports",
    }
    Network {
        mode: String = "Mode",
        reserved: Vec<Port> = "ReservedPorts",
        dynamic: Vec<Port> = "DynamicPorts",
    }
    Port {
        value: u16 = "Value",
        to: u16 = "To",
    }
    Job {
        id: String = "ID",
        kind: String = "Type",
        version: u64 = "Version",
        modify_index: u64 = "JobModifyIndex",
        groups: Vec<Group> = "TaskGroups",
        consul_namespace: String = "ConsulNamespace",
    }
    /// The `consul` block of a group or task.
    ConsulBlock {
        namespace: String = "Namespace",
    }
    Group {
        name: String = "Name",
        count: u32 = "Count",
        /// In nanoseconds, like all durations in Nomad.
        shutdown_delay: u64 = "ShutdownDelay",
        migrate: Option<Migrate> = "Migrate",
        disk: Option<EphemeralDisk> = "EphemeralDisk",
        volumes: BTreeMap<String, VolumeRequest> = "Volumes",
        services: Vec<Service> = "Services",
        consul: Option<ConsulBlock> = "Consul",
        tasks: Vec<Task> = "Tasks",
    }
    Migrate {
        max_parallel: u32 = "MaxParallel",
    }
    EphemeralDisk {
        migrate: bool = "Migrate",
    }
    /// The `volume` block of a group.
    VolumeRequest {
        kind: String = "Type",
        source: String = "Source",
        read_only: bool = "ReadOnly",
        sticky: bool = "Sticky",
        per_alloc: bool = "PerAlloc",
    }
    /// `GET /v1/volume/csi/:id`. The allocations in the maps are null.
    CsiVolume {
        id: String = "ID",
        readers: HashMap<String, IgnoredAny> = "ReadAllocs",
        writers: HashMap<String, IgnoredAny> = "WriteAllocs",
        allocations: Vec<Claimant> = "Allocations",
    }
    Claimant {
        id: String = "ID",
    }
    Service {
        name: String = "Name",
        provider: String = "Provider",
    }
    Task {
        name: String = "Name",
        driver: String = "Driver",
        kill_signal: String = "KillSignal",
        kill_timeout: u64 = "KillTimeout",
        shutdown_delay: u64 = "ShutdownDelay",
        leader: bool = "Leader",
        lifecycle: Option<Lifecycle> = "Lifecycle",
        services: Vec<Service> = "Services",
        consul: Option<ConsulBlock> = "Consul",
        csi_plugin: Option<serde_json::Map<String, serde_json::Value>> = "CSIPluginConfig",
        config: serde_json::Map<String, serde_json::Value> = "Config",
        env: HashMap<String, String> = "Env",
        templates: Vec<Template> = "Templates",
    }
    Lifecycle {
        hook: String = "Hook",
        sidecar: bool = "Sidecar",
    }
    Template {
        embedded: String = "EmbeddedTmpl",
    }
    /// One of `GET /v1/allocation/:id/services`.
    Registration {
        service: String = "ServiceName",
        allocation: String = "AllocID",
    }
    /// The answer to `POST /v1/client/metadata`.
    Metadata {
        meta: HashMap<String, String> = "Meta",
    }
    /// The answer to a write.
    Written {
        index: u64 = "Index",
        node_modify_index: u64 = "NodeModifyIndex",
    }
    /// `GET /v1/acl/token/self`.
    OwnToken {
        kind: String = "Type",
    }
    /// One of `GET /v1/acl/policies`.
    PolicyStub {
        name: String = "Name",
    }
    /// `GET /v1/acl/policy/:name`.
    Policy {
        parsed: Option<Rules> = "RulesJSON",
    }
    Rules {
        namespaces: Vec<NamespaceRule> = "Namespaces",
        node: Option<NodeRule> = "Node",
    }
    NamespaceRule {
        name: String = "Name",
        policy: String = "Policy",
        capabilities: Vec<String> = "Capabilities",
    }
    NodeRule {
        policy: String = "Policy",
    }
    /// `GET /v1/agent/members`.
    Members {
        members: Vec<Member> = "Members",
    }
    Member {
        name: String = "Name",
        status: String = "Status",
        tags: HashMap<String, String> = "Tags",
    }
}

impl Job {
    /// The job without most of its tasks' configuration, which is most of its size and matters only while it runs.
    pub(super) fn without_configuration(&self) -> Self {
        let mut job = self.clone();
        for task in job.groups.iter_mut().flat_map(|group| &mut group.tasks) {
            (task.env, task.templates) = Default::default();
            // What a finding about its stop names.
            task.config.retain(|key, _| key == "init");
        }
        job
    }
}

impl Replacement {
    /// Whether one of its tasks has an event. A list in an unknown form proves none.
    pub(super) fn has_events(&self) -> bool {
        let events = |state: &TaskState| state.events.known().is_some_and(|events| !events.is_empty());
        self.states.values().any(events)
    }
}

impl Node {
    /// An attribute that is not empty.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        self.attributes.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// The node with only the attributes that identify its instance, because thousands of nodes may be cached.
    pub(super) fn for_cache(&self) -> Self {
        let mut reduced = self.clone();
        let needed = |name: &str| {
            name.starts_with("unique.platform.aws.")
                || ["unique.network.ip-address", "unique.consul.name", "unique.hostname", "nomad.version"].contains(&name)
        };
        reduced.attributes.retain(|name, _| needed(name));
        reduced.attributes.shrink_to_fit();
        reduced
    }
}
