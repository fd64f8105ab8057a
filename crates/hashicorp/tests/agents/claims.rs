//! The claims of CSI volumes, read volume by volume. The answers have the form of Nomad's `command/agent/csi_endpoint.go`: maps from the ids
//! of allocations to null, and a list of stubs.

use decamp_core::decide::{Claims, Node, Unseen};
use decamp_core::ids::InstanceId;
use serde_json::{Value, json};

use super::server::{self, Reply, Server};

const NODE: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const FIRST: &str = "bbbbbbbb-0000-4000-8000-000000000001";
const SECOND: &str = "bbbbbbbb-0000-4000-8000-000000000002";
const ELSEWHERE: &str = "cccccccc-0000-4000-8000-000000000001";
const INSTANCE: &str = "i-00000000000abc001";

/// The volumes of a group: one for each allocation, one for all, and a host volume.
fn volumes() -> Value {
    json!({
        "own": { "Name": "own", "Type": "csi", "Source": "data", "ReadOnly": false, "PerAlloc": true },
        "all": { "Name": "all", "Type": "csi", "Source": "shared-x", "ReadOnly": true, "PerAlloc": false },
        "here": { "Name": "here", "Type": "host", "Source": "logs", "ReadOnly": false, "Sticky": true },
    })
}

fn row(id: &str, number: u32, client: &str, volumes: &Value) -> Value {
    let job = json!({ "ID": "db", "Type": "service", "TaskGroups": [{ "Name": "main", "Count": 2, "Volumes": volumes }] });
    json!({ "ID": id, "Name": format!("db.main[{number}]"), "Namespace": "prod", "JobID": "db", "TaskGroup": "main",
        "DesiredStatus": "stop", "ClientStatus": client, "Job": job })
}

/// A node with these allocations, and a Nomad that answers so for a volume.
async fn nomad(rows: Vec<Value>, volume: impl Fn(&str) -> Reply + Send + 'static) -> Server {
    Server::start(move |request| {
        let path = request.path.split('?').next().unwrap_or_default();
        let node = json!({ "ID": NODE, "Status": "ready", "Attributes": { "unique.platform.aws.instance-id": INSTANCE } });
        match path {
            "/v1/nodes" => Reply::json(json!([{ "ID": NODE }]).to_string()),
            _ if path == format!("/v1/node/{NODE}") => Reply::json(node.to_string()),
            _ if path.ends_with("/allocations") => Reply::json(Value::from(rows.clone()).to_string()),
            _ => match path.strip_prefix("/v1/volume/csi/") {
                Some(id) if request.path.contains("namespace=prod") => volume(id),
                Some(_) | None => Reply::text(404, "volume not found"),
            },
        }
    })
    .await
}

fn claimed(id: &str, readers: &[&str], writers: &[&str], stubs: &[&str]) -> Reply {
    let map = |ids: &[&str]| ids.iter().map(|id| ((*id).to_owned(), Value::Null)).collect::<serde_json::Map<_, _>>();
    let stubs: Vec<Value> = stubs.iter().map(|id| json!({ "ID": id, "NodeID": NODE, "ClientStatus": "complete" })).collect();
    let body =
        json!({ "ID": id, "Namespace": "prod", "ReadAllocs": map(readers), "WriteAllocs": map(writers), "Allocations": stubs });
    Reply::json(body.to_string())
}

async fn look(server: &Server) -> Result<Node, Unseen> {
    let instance: InstanceId = INSTANCE.parse().expect("it fits");
    let look = server::nomad(&[&server.address], None).look(instance, None).await?;
    Ok(look.nodes.into_iter().next().expect("one node"))
}

fn asked(server: &Server) -> Vec<String> {
    let paths = server.requests().into_iter().map(|request| request.path);
    let mut asked: Vec<String> = paths.filter(|path| path.contains("/v1/volume")).collect();
    asked.sort();
    asked
}

fn held(volumes: &[&str]) -> Claims {
    Claims { held: volumes.iter().map(|id| std::sync::Arc::from(*id)).collect(), ..Claims::default() }
}

#[tokio::test]
async fn each_volume_that_ended_allocations_name_is_read_once_and_only_their_own_claims_count() {
    let rows = vec![row(FIRST, 0, "complete", &volumes()), row(SECOND, 1, "failed", &volumes())];
    let server = nomad(rows, |id| match id {
        "data[0]" => claimed("data[0]", &[], &[FIRST], &[]),
        // The allocation here has released it, and another node's claims it.
        "data[1]" => claimed("data[1]", &[], &[ELSEWHERE], &[ELSEWHERE]),
        // Old releases show the list alone.
        "shared-x" => claimed("shared-x", &[], &[], &[SECOND, ELSEWHERE]),
        _ => Reply::text(404, "volume not found"),
    })
    .await;
    let node = look(&server).await.expect("it is read");
    let claims: Vec<Claims> = node.allocations.iter().map(|allocation| allocation.claims.clone()).collect();
    assert_eq!(claims, [held(&["data[0]"]), held(&["shared-x"])], "{:?}", asked(&server));
    assert_eq!(node.data_reads(), 2);
    let paths = ["/v1/volume/csi/data[0]", "/v1/volume/csi/data[1]", "/v1/volume/csi/shared-x"];
    let asked = asked(&server);
    assert_eq!(asked.len(), 3, "{asked:?}");
    assert!(asked.iter().zip(paths).all(|(asked, path)| asked.starts_with(path)), "{asked:?}");
}

#[tokio::test]
async fn what_runs_and_what_mounts_no_csi_volume_costs_no_call() {
    let host = json!({ "here": { "Name": "here", "Type": "host", "Source": "logs", "ReadOnly": false, "Sticky": true } });
    let rows = vec![row(FIRST, 0, "running", &volumes()), row(SECOND, 1, "complete", &host)];
    let server = nomad(rows, |_| Reply::text(500, "nobody asks")).await;
    let node = look(&server).await.expect("it is read");
    assert!(node.allocations.iter().all(|allocation| allocation.claims == Claims::default()));
    assert!(node.allocations[1].group.holds_local_data() && node.allocations[0].uses_local_data());
    assert_eq!(asked(&server), [""; 0]);
}

#[tokio::test]
async fn a_volume_that_is_gone_has_no_claims_and_is_not_read_again() {
    let rows = vec![row(FIRST, 0, "complete", &volumes())];
    let server = nomad(rows, |_| Reply::text(404, "volume not found")).await;
    let client = server::nomad(&[&server.address], None);
    let instance: InstanceId = INSTANCE.parse().expect("it fits");
    let first = client.look(instance, None).await.expect("it is read");
    assert_eq!(first.nodes[0].allocations[0].claims, Claims::default());
    client.look(instance, Some(&first)).await.expect("it is read");
    assert_eq!(asked(&server).len(), 2, "two volumes, once each");
}

#[tokio::test]
async fn a_denial_is_named_and_an_outage_hides_the_node() {
    let rows = || vec![row(FIRST, 0, "complete", &volumes())];
    let server = nomad(rows(), |id| match id {
        "shared-x" => Reply::text(403, "Permission denied"),
        _ => claimed("data[0]", &[], &[], &[]),
    })
    .await;
    let claims = look(&server).await.expect("it is read").allocations[0].claims.clone();
    assert_eq!((&*claims.held, claims.unread.len(), &*claims.unread[0]), (&[][..], 1, "shared-x"));
    assert!(claims.denied.is_some_and(|why| why.contains("denied")), "the answer is kept");
    for (status, text) in [(500, "rpc error"), (404, "page not here"), (200, "[]")] {
        let server = nomad(rows(), move |_| Reply::text(status, text)).await;
        assert!(look(&server).await.is_err(), "{status} {text}: what cannot be read is not released");
    }
    let server = nomad(rows(), |_| claimed("another", &[], &[], &[])).await;
    assert!(look(&server).await.is_err(), "it answered with another volume");
    let slash = json!({ "all": { "Name": "all", "Type": "csi", "Source": "a/b" } });
    let server = nomad(vec![row(FIRST, 0, "complete", &slash)], |_| Reply::text(404, "resource not found")).await;
    let claims = look(&server).await.expect("it is read").allocations[0].claims.clone();
    assert_eq!((claims.unread.len(), asked(&server).len()), (1, 0), "no call can read it");
}
