//! The translation of Nomad's answers: of real agents' answers, and of values that no agent has sent yet.

use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use decamp_core::decide::{JobKind, Provider, TaskRole, VolumeKind};

fn translated(node_body: &Value, allocations: &Value) -> Node {
    let node: wire::Node = serde_json::from_value(node_body.clone()).expect("a node");
    let allocations: Vec<wire::Allocation> = serde_json::from_value(allocations.clone()).expect("a list");
    super::node(NodeId(1), &node, &allocations, 0).expect("it can be translated")
}

const ID: &str = "15e52398-8b67-143d-4ae7-7107d64e0001";

#[test]
fn an_empty_allocation_is_accepted_and_has_not_ended() {
    let seen = translated(&json!({}), &json!([{ "ID": ID }]));
    let only = &seen.allocations[0];
    assert_eq!((only.client, only.wanted, only.group.kind), (ClientStatus::Unknown, true, JobKind::Service));
    assert_eq!(only.group.longest_stop(Duration::ZERO, Duration::MAX), Duration::from_secs(30));
    assert_eq!(seen.status, NodeStatus::Other);
}

#[test]
fn an_allocation_without_an_id_is_an_error() {
    let allocations = [wire::Allocation::default()];
    assert!(super::node(NodeId(1), &wire::Node::default(), &allocations, 0).is_err());
}

#[test]
fn an_allocation_with_an_unknown_status_has_not_ended() {
    for (text, status, ended) in [
        ("complete", ClientStatus::Complete, true),
        ("failed", ClientStatus::Failed, true),
        ("lost", ClientStatus::Lost, false),
        ("unknown", ClientStatus::Unknown, false),
        ("finished", ClientStatus::Unknown, false),
        ("", ClientStatus::Unknown, false),
        ("pending", ClientStatus::Pending, false),
    ] {
        assert_eq!(client_status(text), status, "{text}");
        assert_eq!(client_status(text).is_over(), ended, "{text}");
    }
}

#[test]
fn all_host_ports_are_found_wherever_a_release_lists_them() {
    let resources = json!({
        "Shared": { "Ports": [{ "Value": 8080, "To": 80 }], "Networks": [{ "ReservedPorts": [{ "Value": 8080 }], "DynamicPorts": null }] },
        "Tasks": { "srv": { "Networks": [{ "DynamicPorts": [{ "Value": 21000 }, { "Value": 0 }] }] }, "side": { "Networks": null } },
    });
    let seen = translated(&json!({}), &json!([{ "ID": ID, "AllocatedResources": resources }]));
    assert_eq!(*seen.allocations[0].ports, [8080, 21000]);
}

#[test]
fn a_disk_migrates_only_if_the_job_says_so() {
    let disks = [
        (json!({ "Migrate": true, "SizeMB": 300, "Sticky": true }), true),
        (json!({ "Migrate": false, "SizeMB": 300, "Sticky": true }), false),
        (Value::Null, false),
    ];
    for (disk, migrates) in disks {
        let job = json!({ "ID": "db", "Type": "service", "TaskGroups": [{ "Name": "data", "EphemeralDisk": disk }] });
        let seen = translated(&json!({}), &json!([{ "ID": ID, "JobID": "db", "TaskGroup": "data", "Job": job }]));
        assert_eq!(seen.allocations[0].group.migrates_disk, migrates, "{disk}");
    }
}

#[test]
fn a_groups_volumes_are_read_and_what_an_operator_says_of_local_data() {
    let volumes = json!({
        "b": { "Name": "b", "Type": "host", "Source": "mysql", "ReadOnly": false, "Sticky": true },
        "a": { "Name": "a", "Type": "csi", "Source": "data", "ReadOnly": true, "PerAlloc": true },
        "c": { "Name": "c", "Type": "another", "Source": "x" },
    });
    for (volumes, expected) in [
        (
            volumes,
            vec![
                ("a", "data", true, VolumeKind::Csi { per_alloc: true }),
                ("b", "mysql", false, VolumeKind::Host { sticky: true }),
            ],
        ),
        (Value::Null, vec![]),
    ] {
        let job = json!({ "ID": "db", "Type": "service", "TaskGroups": [{ "Name": "data", "Volumes": volumes }] });
        let seen = translated(&json!({}), &json!([{ "ID": ID, "JobID": "db", "TaskGroup": "data", "Job": job }]));
        let read = seen.allocations[0].group.volumes.iter().map(|v| (&*v.name, &*v.source, v.read_only, v.kind));
        assert_eq!(read.collect::<Vec<_>>(), expected);
    }
    for (meta, leaves) in
        [(json!({ "decamp.local_data": "leave" }), true), (json!({ "decamp.local_data": "no" }), false), (Value::Null, false)]
    {
        assert_eq!(translated(&json!({ "Meta": meta }), &json!([])).leaves_local_data, leaves, "{meta}");
    }
    for (transition, moved) in [(json!({ "Migrate": true }), true), (json!({ "Migrate": null }), false), (Value::Null, false)] {
        let seen = translated(&json!({}), &json!([{ "ID": ID, "DesiredTransition": transition }]));
        assert_eq!(seen.allocations[0].moved, moved, "{transition}");
    }
}

#[test]
fn a_deadline_is_a_time_or_never_or_has_passed() {
    let drain = |strategy: Value| translated(&json!({ "DrainStrategy": strategy }), &json!([])).drain;
    let at = |text: &str| Time::read(text);
    let cases = [
        (json!(null), None),
        (json!({ "Deadline": 0, "ForceDeadline": "0001-01-01T00:00:00Z" }), Some(None)),
        (json!({ "Deadline": -1, "ForceDeadline": "0001-01-01T00:00:00Z" }), Some(Some(Time(0)))),
        (
            json!({ "Deadline": 60_000_000_000_i64, "ForceDeadline": "2026-11-22T19:22:17.137553362Z" }),
            Some(at("2026-11-22T19:22:17.137Z")),
        ),
    ];
    for (strategy, deadline) in cases {
        assert_eq!(drain(strategy.clone()).map(|d| d.force_deadline), deadline, "{strategy}");
    }
}

#[test]
fn the_servers_times_are_corrected_only_if_the_clocks_disagree() {
    let date = Some(Time(100_000));
    for (now, last, ahead_by) in [
        (100_500, 0, 0),
        (102_400, 0, 0),
        (98_600, 0, 0),
        (110_500, 0, 10_000),
        (90_500, 0, -10_000),
        (111_400, 10_000, 10_000),
        (100_500, 10_000, 0),
    ] {
        assert_eq!(ahead(date, Time(now), last), ahead_by, "{now} {last}");
    }
    assert_eq!(ahead(None, Time(5), 7), 7);
}

#[test]
fn allocations_of_the_same_version_share_their_group() {
    let of = |version: u64| {
        json!({ "ID": ID, "Namespace": "default", "JobID": "app", "TaskGroup": "web",
                "Job": { "ID": "app", "Version": version, "TaskGroups": [{ "Name": "web", "Count": 4 }] } })
    };
    let seen = translated(&json!({}), &json!([of(0), of(0), of(1)]));
    let [a, b, c] = &*seen.allocations else { panic!("three were listed") };
    assert!(Arc::ptr_eq(&a.group, &b.group));
    assert!(!Arc::ptr_eq(&b.group, &c.group));
}

#[test]
fn a_layered_group_stops_in_the_order_that_nomad_documents() {
    let second = 1_000_000_000_u64;
    let group = json!({
        "Name": "web", "Count": 1, "ShutdownDelay": 2 * second, "Migrate": { "MaxParallel": 1 },
        "Services": [{ "Name": "a", "Provider": "consul" }, { "Name": "old" }],
        "Tasks": [
            { "Name": "srv", "Leader": true, "KillTimeout": 5 * second, "ShutdownDelay": 3 * second, "Services": [{ "Name": "b", "Provider": "nomad" }] },
            { "Name": "other", "Lifecycle": null },
            { "Name": "side", "Lifecycle": { "Hook": "prestart", "Sidecar": true } },
            { "Name": "init", "Lifecycle": { "Hook": "prestart", "Sidecar": false } },
            { "Name": "after", "Lifecycle": { "Hook": "poststop" } },
            { "Name": "odd", "Lifecycle": { "Hook": "someday" } },
        ],
    });
    let allocation = json!({ "ID": ID, "TaskGroup": "web", "Job": { "Type": "sysbatch", "TaskGroups": [group] } });
    let seen = translated(&json!({}), &json!([allocation]));
    let group = &seen.allocations[0].group;
    let roles: Vec<TaskRole> = group.tasks.iter().map(|t| t.role).collect();
    use TaskRole::{Finished, Leader, Main, Poststop, Sidecar};
    assert_eq!(roles, [Leader, Main, Sidecar, Finished, Poststop, Main]);
    assert_eq!(group.longest_stop(Duration::from_secs(30), Duration::MAX), Duration::from_secs(2 + (3 + 5) + 5 + 5 + 30));
    let providers: Vec<Provider> = group.services.iter().map(|s| s.provider).collect();
    assert_eq!(providers, [Provider::Consul, Provider::Consul, Provider::Nomad]);
    assert_eq!((group.kind, group.max_parallel, group.csi_plugin), (JobKind::SysBatch, Some(1), false));
}

#[test]
fn a_service_is_in_the_consul_namespace_that_its_task_its_group_or_its_job_names() {
    let namespaces = |of_job: &str, group: serde_json::Value, task: serde_json::Value| -> Vec<Option<String>> {
        let group = json!({ "Name": "web", "Consul": group, "Services": [{ "Name": "a" }, { "Name": "n", "Provider": "nomad" }],
            "Tasks": [{ "Name": "srv", "Consul": task, "Services": [{ "Name": "b" }] }] });
        let job = json!({ "Type": "service", "ConsulNamespace": of_job, "TaskGroups": [group] });
        let seen = translated(&json!({}), &json!([{ "ID": ID, "TaskGroup": "web", "Job": job }]));
        seen.allocations[0].group.services.iter().map(|s| s.namespace.as_ref().map(ToString::to_string)).collect()
    };
    let some = |name: &str| Some(name.to_owned());
    let block = |name: &str| json!({ "Namespace": name, "Cluster": "default" });
    assert_eq!(namespaces("", json!(null), json!(null)), [None, None, None]);
    assert_eq!(namespaces("", block(""), block("default")), [None, None, None]);
    assert_eq!(namespaces("team", json!(null), json!(null)), [some("team"), None, some("team")]);
    assert_eq!(namespaces("team", block("group"), json!(null)), [some("group"), None, some("group")]);
    assert_eq!(namespaces("", block("group"), block("task")), [some("group"), None, some("task")]);
}

#[test]
fn services_of_prestart_and_poststop_tasks_do_not_count() {
    let task = |lifecycle: serde_json::Value| json!({ "Name": "t", "Lifecycle": lifecycle, "Services": [{ "Name": "s" }] });
    let services = |lifecycle| {
        let group = json!({ "Name": "web", "Tasks": [task(lifecycle)] });
        let job = json!({ "Type": "service", "TaskGroups": [group] });
        let seen = translated(&json!({}), &json!([{ "ID": ID, "TaskGroup": "web", "Job": job }]));
        seen.allocations[0].group.services.len()
    };
    assert_eq!(services(json!(null)), 1);
    assert_eq!(services(json!({ "Hook": "prestart", "Sidecar": true })), 1);
    assert_eq!(services(json!({ "Hook": "prestart" })), 0);
    assert_eq!(services(json!({ "Hook": "poststop" })), 0);
}

#[test]
fn an_allocation_runs_since_the_last_of_its_running_tasks_started() {
    let state = |state: &str, began: &str| json!({ "State": state, "StartedAt": began, "FinishedAt": null });
    let started = |states: serde_json::Value| {
        translated(&json!({}), &json!([{ "ID": ID, "TaskGroup": "web", "TaskStates": states }])).allocations[0].started
    };
    let (early, late) = ("2026-11-22T19:22:17Z", "2026-11-22T19:23:17Z");
    assert_eq!(started(json!({ "a": state("running", early), "b": state("running", late) })), Time::read(late));
    assert_eq!(started(json!({ "a": state("running", early), "b": state("dead", late) })), Time::read(early));
    assert_eq!(started(json!({ "a": state("running", "0001-01-01T00:00:00Z"), "b": state("running", late) })), None);
    assert_eq!(started(json!(null)), None);
}

#[test]
fn a_csi_plugin_is_recognised_by_its_task() {
    let group = json!({ "Name": "node", "Tasks": [{ "Name": "plugin", "CSIPluginConfig": { "ID": "ebs", "Type": "node" } }] });
    let allocation = json!({ "ID": ID, "TaskGroup": "node", "Job": { "Type": "system", "TaskGroups": [group] } });
    assert!(translated(&json!({}), &json!([allocation])).allocations[0].group.csi_plugin);
}

#[test]
fn a_node_has_its_advertised_and_its_private_addresses() {
    let seen = translated(
        &json!({ "HTTPAddr": "10.0.0.1:4646", "Attributes": {
            "unique.platform.aws.local-ipv4": "10.0.0.2", "unique.network.ip-address": "10.0.0.1", "unique.consul.name": "ip-10-0-0-1" } }),
        &json!([]),
    );
    let addresses: Vec<String> = seen.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.1", "10.0.0.2"]);
    assert_eq!(seen.consul_name.as_deref(), Some("ip-10-0-0-1"));
}

#[test]
fn addresses_of_host_interfaces_are_the_nodes_and_those_of_bridges_are_not() {
    let network = |mode: &str, device: &str, address: &str| json!({ "Mode": mode, "Device": device, "Addresses": [{ "Family": "ipv4", "Alias": "default", "Address": address }] });
    let networks = json!([
        network("host", "ens5", "10.0.0.1"),
        network("host", "ens6", "10.0.9.7"),
        network("host", "ens5", "fd00::10"),
        network("host", "docker0", "172.17.0.1"),
        network("host", "lo", "127.0.0.1"),
        network("bridge", "nomad", "172.26.64.1"),
        { "Mode": "cni/mesh", "Device": "", "Addresses": null },
    ]);
    let seen = translated(&json!({ "HTTPAddr": "10.0.0.1:4646", "NodeResources": { "NodeNetworks": networks } }), &json!([]));
    let addresses: Vec<String> = seen.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["10.0.0.1", "10.0.9.7", "fd00::10"]);
}

#[test]
fn an_allocations_own_address_comes_with_its_ports_and_whether_it_is_behind_a_bridge() {
    for (mode, bridge) in [("cni/mesh", false), ("bridge", true), ("", true), ("host", true)] {
        let allocation = json!({ "ID": ID, "NetworkStatus": { "Address": "10.1.0.5", "InterfaceName": "eth0" },
            "AllocatedResources": { "Shared": { "Networks": [{ "Mode": mode }], "Ports": [
                { "Label": "http", "Value": 21_000, "To": 8080 }, { "Label": "admin", "Value": 9000, "To": 0 },
            ] } } });
        let seen = translated(&json!({}), &json!([allocation]));
        let own = seen.allocations[0].own.clone().expect("it has one");
        assert_eq!((own.address.to_string().as_str(), own.bridge), ("10.1.0.5", bridge), "{mode}");
        assert_eq!(*own.ports, [8080, 9000]);
        assert_eq!(*seen.allocations[0].ports, [9000, 21_000]);
    }
    let shares_the_nodes = json!({ "ID": ID, "NetworkStatus": { "Address": "", "InterfaceName": "" } });
    assert_eq!(translated(&json!({}), &json!([shares_the_nodes])).allocations[0].own, None);
}
