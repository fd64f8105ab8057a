//! Nodes in Nomad's JSON: complete, and in lists.

use std::net::IpAddr;

use serde_json::{Map, Value, json};

use super::drain_meta;
use decamp_core::decide::{DrainStatus, NodeStatus};
use decamp_core::ids::InstanceId;
use decamp_core::time::Time;
use decamp_sim::nomad::{DrainState, LastDrainState, Metadata, NodeState, Version};

/// A time in RFC 3339 with milliseconds.
pub(super) fn stamp(time: Time) -> String {
    match i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(stamp) => format!("{stamp:.3}"),
        None => "9999-12-30T00:00:00.000Z".to_owned(),
    }
}

/// Go's text for a time that was never set.
pub(super) const NEVER_SET: &str = "0001-01-01T00:00:00Z";

fn status(status: NodeStatus) -> &'static str {
    match status {
        NodeStatus::Ready => "ready",
        NodeStatus::Down => "down",
        NodeStatus::Disconnected => "disconnected",
        NodeStatus::Other => "initializing",
    }
}

fn eligibility(node: &NodeState) -> &'static str {
    if node.eligible { "eligible" } else { "ineligible" }
}

fn address(node: &NodeState) -> String {
    node.spec.addresses.first().map(ToString::to_string).unwrap_or_default()
}

fn drain(drain: &DrainState) -> Value {
    let force = match drain.force_deadline {
        Some(Time(0)) | None => NEVER_SET.to_owned(),
        Some(deadline) => stamp(deadline),
    };
    json!({ "Deadline": drain.deadline_ns, "ForceDeadline": force, "IgnoreSystemJobs": drain.ignore_system_jobs,
        "StartedAt": stamp(drain.started) })
}

fn last_drain(last: &LastDrainState) -> Value {
    let status = match last.status {
        DrainStatus::Draining => "draining",
        DrainStatus::Complete => "complete",
        DrainStatus::Canceled => "canceled",
        DrainStatus::Other => "",
    };
    // Nomad keeps whole seconds here.
    json!({ "AccessorID": "token:acls-disabled", "Meta": drain_meta::write(&last.note), "StartedAt": last.started,
        "Status": status, "UpdatedAt": last.updated })
}

fn attributes(node: &NodeState, version: Version) -> Value {
    let address = address(node);
    let mut map = Map::new();
    let mut put = |name: &str, value: &str| drop(map.insert(name.to_owned(), Value::from(value)));
    put("nomad.version", &version.to_string());
    put("nomad.service_discovery", "true");
    put("unique.network.ip-address", &address);
    put("unique.hostname", &node.spec.name);
    put("kernel.name", "linux");
    put("os.name", "debian");
    put("cpu.arch", "amd64");
    put("cpu.totalcompute", "8000");
    put("memory.totalbytes", "8589934592");
    put("driver.docker", "1");
    // A node that is named after its instance has no EC2 fingerprint.
    let named = |instance: &InstanceId| node.spec.name.starts_with(&instance.to_string());
    if let Some(instance) = node.spec.instance.filter(|instance| !named(instance)) {
        put("unique.platform.aws.instance-id", &instance.to_string());
        put("unique.platform.aws.local-ipv4", &address);
        put("unique.platform.aws.hostname", &node.spec.name);
        put("platform.aws.instance-type", "m5.large");
        put("platform.aws.instance-life-cycle", "on-demand");
    }
    if let Some((_, name)) = &node.spec.consul {
        put("unique.consul.name", name);
        put("consul.version", "1.19.2");
        put("consul.datacenter", "dc1");
    }
    Value::Object(map)
}

fn links(node: &NodeState) -> Value {
    let mut map = Map::new();
    if let Some(instance) = node.spec.instance {
        map.insert("aws.ec2".to_owned(), Value::from(format!("eu-west-1a.{instance}")));
    }
    if let Some((_, name)) = &node.spec.consul {
        map.insert("consul".to_owned(), Value::from(format!("dc1.{name}")));
    }
    Value::Object(map)
}

fn drivers() -> Value {
    json!({ "docker": { "Attributes": { "driver.docker": "true" }, "Detected": true, "Healthy": true,
        "HealthDescription": "Healthy", "UpdateTime": NEVER_SET } })
}

/// Metadata as a map.
pub(super) fn meta(metadata: &Metadata) -> Value {
    Value::Object(metadata.iter().map(|(key, value)| (key.to_string(), Value::from(&**value))).collect())
}

/// The network interfaces of a node, as Nomad fingerprints them.
fn networks(node: &NodeState) -> Value {
    let network = |(place, address): (usize, &IpAddr)| {
        let family = if address.is_ipv6() { "ipv6" } else { "ipv4" };
        json!({ "Mode": "host", "Device": format!("ens{}", place + 5), "MacAddress": "", "Speed": 1000,
            "Addresses": [{ "Family": family, "Alias": "default", "Address": address, "ReservedPorts": "", "Gateway": "" }] })
    };
    node.spec.addresses.iter().enumerate().map(network).collect()
}

/// A node as in `GET /v1/node/:id`. Filters apply to this form.
pub(super) fn node(node: &NodeState, version: Version, began: Time) -> Value {
    json!({
        "Attributes": attributes(node, version),
        "CSIControllerPlugins": {},
        "CSINodePlugins": {},
        "CreateIndex": node.index.min(9),
        "Datacenter": "dc1",
        "Drain": node.drain.is_some(),
        "DrainStrategy": node.drain.as_ref().map(drain),
        "Drivers": drivers(),
        "Events": [{ "CreateIndex": 0, "Details": null, "Message": "Node registered", "Subsystem": "Cluster", "Timestamp": stamp(began) }],
        "HTTPAddr": format!("{}:4646", address(node)),
        "HostVolumes": null,
        "ID": node.spec.id.to_string(),
        "LastDrain": node.last_drain.as_ref().map(last_drain),
        "Links": links(node),
        "Meta": meta(&node.metadata),
        "ModifyIndex": node.index,
        "Name": &*node.spec.name,
        "NodeClass": "",
        "NodePool": "default",
        "NodeResources": {
            "Cpu": { "CpuShares": 8000, "TotalCpuCores": 4, "ReservableCpuCores": [0, 1, 2, 3] },
            "Memory": { "MemoryMB": 8192 }, "Disk": { "DiskMB": 20_000 }, "Networks": null, "NodeNetworks": networks(node), "Devices": null,
            "MinDynamicPort": 20_000, "MaxDynamicPort": 32_000,
        },
        "ReservedResources": {
            "Cpu": { "CpuShares": 0 }, "Memory": { "MemoryMB": 0 }, "Disk": { "DiskMB": 0 }, "Networks": { "ReservedHostPorts": "" },
        },
        "SchedulingEligibility": eligibility(node),
        "SecretID": "",
        "Status": status(node.status),
        "StatusDescription": "",
        "StatusUpdatedAt": node.status_since.0 / 1000,
        "TLSEnabled": false,
    })
}

/// A row of `GET /v1/nodes`.
pub(super) fn stub(node: &NodeState, version: Version) -> Value {
    json!({
        "Address": address(node),
        "CreateIndex": node.index.min(9),
        "Datacenter": "dc1",
        "Drain": node.drain.is_some(),
        "Drivers": drivers(),
        "ID": node.spec.id.to_string(),
        "LastDrain": node.last_drain.as_ref().map(last_drain),
        "ModifyIndex": node.index,
        "Name": &*node.spec.name,
        "NodeClass": "",
        "NodePool": "default",
        "SchedulingEligibility": eligibility(node),
        "Status": status(node.status),
        "StatusDescription": "",
        "Version": version.to_string(),
    })
}
