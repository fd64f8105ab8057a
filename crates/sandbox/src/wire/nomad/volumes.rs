//! CSI volumes, with the allocations that claim them. As in Nomad, the maps of allocations have the ids alone, and the list has stubs.

use axum::extract::{Path, State};
use serde_json::{Map, Value, json};

use super::{Answer, AppState, allocations, read};
use crate::wire::query_options::{HttpError, QueryOptions, ReadAnswer};
use decamp_core::decide::{Volume, VolumeKind};
use decamp_sim::event::AllocationNumber;
use decamp_sim::nomad::{ApiError, Nomad};

/// The `volume` blocks of a group, by name.
pub(super) fn requests(volumes: &[Volume]) -> Value {
    let row = |volume: &Volume| {
        let (kind, sticky, per_alloc) = match volume.kind {
            VolumeKind::Host { sticky } => ("host", sticky, false),
            VolumeKind::Csi { per_alloc } => ("csi", false, per_alloc),
        };
        let body = json!({ "Name": &*volume.name, "Type": kind, "Source": &*volume.source, "ReadOnly": volume.read_only,
            "Sticky": sticky, "PerAlloc": per_alloc, "AccessMode": "", "AttachmentMode": "", "MountOptions": null });
        (volume.name.to_string(), body)
    };
    if volumes.is_empty() { Value::Null } else { Value::Object(volumes.iter().map(row).collect()) }
}

/// Whether an allocation mounts the volume read-only.
fn reads(nomad: &Nomad, number: AllocationNumber, id: &str) -> bool {
    let allocation = nomad.allocation(number);
    let group = &nomad.groups()[allocation.group.index()].spec.group;
    let source = id.split('[').next().unwrap_or_default();
    group.volumes.iter().any(|volume| *volume.source == *source && volume.read_only)
}

pub(super) async fn one(State(shared): AppState, Path(id): Path<String>, options: QueryOptions) -> Answer {
    let began = shared.began();
    read(&shared, options, |cluster, request, since| {
        let namespace = request.options.text("namespace").unwrap_or("default");
        let nomad = &*cluster.nomad;
        // `read-job` is enough, like `csi-read-volume` and `csi-mount-volume`.
        if nomad.denies_volumes() || !request.token.reads_jobs(namespace) {
            return Err(ApiError::PermissionDenied.into());
        }
        let Some(claimants) = nomad.claimants(namespace, &id) else {
            return Err(HttpError::not_found("volume not found", nomad.index()));
        };
        let (readers, writers): (Vec<_>, Vec<_>) = claimants.iter().partition(|number| reads(nomad, **number, &id));
        let ids = |numbers: &[AllocationNumber]| -> Map<String, Value> {
            numbers.iter().map(|number| (nomad.allocation(*number).id.to_string(), Value::Null)).collect()
        };
        Ok(ReadAnswer::newer(since, nomad.index(), || {
            let stubs: Vec<Value> = claimants.iter().map(|number| allocations::stub(nomad, *number, began)).collect();
            json!({ "ID": id, "Name": id, "Namespace": namespace, "PluginID": "csi0", "Allocations": stubs,
                "ReadAllocs": ids(&readers), "WriteAllocs": ids(&writers), "Schedulable": true })
        }))
    })
    .await
}
