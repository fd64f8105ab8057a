//! More alterations: holds, sweeps without events, targets by address, lost agents, and settings that cost requests or data.

use std::time::Duration;

use decamp_sandbox::Options;
use decamp_sim::consul::Version;
use decamp_sim::nomad::Release;
use serde_json::{Value, json};

use super::forwarder::Change::{Json, Refuse, Text};
use super::rows::Loses::{self, WithTheMachine};
use super::rows::{AWS, CONSUL, NOMAD, Row, differences, row};
use super::shells::options;
use super::table::{DENIED, NOTHING, each, leftover};

/// A Consul too old to report whether ACLs filtered its answer.
fn old_consul() -> Options {
    Options { consul: Version::V1_8_7, ..options() }
}

/// The hook's target group lists addresses.
fn by_address() -> Options {
    Options { by_address: true, ..options() }
}

fn disks_migrate(value: &mut Value) {
    each(value, |allocation| {
        let groups = allocation.get_mut("Job").and_then(|job| job["TaskGroups"].as_array_mut());
        for group in groups.into_iter().flatten() {
            group["EphemeralDisk"] = json!({ "Migrate": true });
        }
    });
}

fn have_local_data(value: &mut Value) {
    each(value, |allocation| {
        let groups = allocation.get_mut("Job").and_then(|job| job["TaskGroups"].as_array_mut());
        for group in groups.into_iter().flatten() {
            group["Volumes"] = json!({ "data": { "Name": "data", "Type": "host", "Source": "mysql", "ReadOnly": false } });
        }
    });
}

/// Services use CSI volumes, which are released soon.
fn csi() -> Options {
    Options { csi: Some(Release::After(Duration::from_secs(2))), ..options() }
}

/// The same, and Nomad never releases them.
fn stuck_csi() -> Options {
    Options { csi: Some(Release::Never), ..options() }
}

const HELD: [&str; 2] = ["<Tags></Tags>", "<Tags><member><Key>decamp:hold</Key><Value>yes</Value></member></Tags>"];

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    row("the group is held for longer than a departure may take", AWS, "DescribeAutoScalingGroups", Text(HELD[0], HELD[1]), "departed", "held by the tag decamp:hold").times(2).with(&[("DECAMP_MAX_DEPARTURE", "90s")]),
    row("the instance waits for another root volume", AWS, "DescribeAutoScalingInstances", Text("Terminating:Wait", "ReplacingRootVolume:Wait"), "timed-out", "its root volume is to be replaced").waits().loses(WithTheMachine).lambda("timed-out", "\"Kind\":\"root-volume\""),
    row("activities are denied, and only sweeps see it", AWS, "DescribeScalingActivities", DENIED, "departed", "departed").swept(),
    row("targets are addresses", AWS, "DescribeTargetHealth", NOTHING, "departed", "departed").within(by_address),
    row("a target is at an address that no node is known to have", AWS, "DescribeTargetHealth", Text(">10.0.0.11<", ">10.99.0.11<"), "unconfirmed", "nobody is known to have").within(by_address).with(&[("DECAMP_UNKNOWN_TARGET_WAIT", "5s")]).loses(Loses::Some),
    row("the agent is lost, and Consul shows its services passing", NOMAD, "GET /v1/node", Text("\"ready\"", "\"down\""), "agent-dead", "passing; waited for until").with(&[("DECAMP_MAX_DEPARTURE", "55s")]).loses(Loses::WithTheMachine),
    row("a guard is longer than a pass of the function", NOMAD, "GET /v1/node", NOTHING, "departed", "departed").with(&[("DECAMP_GUARD_ALB", "25s")]),
    row("services stop before a loaded ingress forgets them", NOMAD, "/allocations", NOTHING, "departed", "which load makes longer"),
    row("disks migrate", NOMAD, "/allocations", Json(disks_migrate), "departed", "starts with an empty disk"),
    row("host volumes have data", NOMAD, "/allocations", Json(have_local_data), "departed", "goes with it; Nomad moves no host volume"),
    row("local data is held until nothing uses it", NOMAD, "/allocations", Json(have_local_data), "departed", "has data in the host volume mysql").times(2).with(&[("DECAMP_LOCAL_DATA", "hold")]),
    row("services use CSI volumes", NOMAD, "/v1/volume", NOTHING, "departed", "departed").within(csi),
    row("a CSI volume is gone", NOMAD, "/v1/volume", Refuse(404, "volume not found"), "departed", "departed").within(csi),
    row("CSI volumes may not be read", NOMAD, "/v1/volume", Refuse(403, "Permission denied"), "unconfirmed", "csi-read-volume").within(csi),
    row("a CSI volume cannot be read for a while", NOMAD, "/v1/volume", Refuse(500, "rpc error: no path to region"), "departed", "departed").times(3).within(csi),
    row("a CSI volume is never released", NOMAD, "/v1/volume", NOTHING, "data-left", "has not released").within(stuck_csi).waits(),
    row("Consul goes on listing a registration that passes", CONSUL, "/v1/", Json(leftover), "unconfirmed", "left is still registered"),
    row("an old Consul without ACLs", CONSUL, "/v1/acl/token/self", NOTHING, "departed", "departed").within(old_consul),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_further_alteration_ends_as_the_table_says() {
    let differences = differences(ROWS).await;
    assert!(differences.is_empty(), "{} differ:\n{}", differences.len(), differences.join("\n"));
}
