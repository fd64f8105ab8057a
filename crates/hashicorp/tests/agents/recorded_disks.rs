//! A disk that migrates: recorded answers of Nomad 2.0.5, read by the adapter. The replacement has no task event while it copies.

use decamp_core::decide::{ClientStatus, Disk, Node};
use decamp_core::ids::InstanceId;
use serde_json::{Value, json};

use super::recorded::{lines, reply, text};
use super::server::{self, Reply, Server};

const FILE: &str = "nomad-2.0.5-disk-migrates.jsonl";

/// The replacement.
const REPLACEMENT: &str = "bfec4f2f-bd08-92c5-a581-0376992513ad";

/// A server that knows the first of the recorded answers.
async fn after(answers: usize) -> Server {
    altered(answers, None, |_| ()).await
}

/// The same, with another row of the allocation and its replacement, and with this job. The recording shortened the job in each allocation,
/// which left its disk out.
async fn altered(answers: usize, job: Option<Value>, change: fn(&mut Value)) -> Server {
    altered_list(answers, job, change, |_| ()).await
}

/// The same, with another list of the node's allocations.
async fn altered_list(answers: usize, job: Option<Value>, change: fn(&mut Value), relist: fn(&mut Vec<Value>)) -> Server {
    Server::start(move |request| {
        let mut known: Vec<Value> = lines(FILE);
        known.truncate(answers);
        let last =
            |end: &str| known.iter().rfind(|line| text(line, "method") == "GET" && text(line, "path").ends_with(end)).cloned();
        let path = request.path.split('?').next().unwrap_or_default();
        if path == "/v1/nodes" {
            let node = known.iter().find(|line| line["body"]["Attributes"].is_object()).expect("it was recorded");
            return Reply::json(json!([{ "ID": node["body"]["ID"] }]).to_string());
        }
        if let Some(id) = path.strip_prefix("/v1/allocation/") {
            let rows = last("/v1/job/disk/allocations").expect("it was recorded");
            let row = rows["body"].as_array().and_then(|rows| rows.iter().find(|row| row["ID"] == id).cloned());
            let row = row.map(|mut row| {
                change(&mut row);
                row
            });
            return row.map_or(Reply::text(404, "alloc not found"), |row| Reply::json(row.to_string()));
        }
        if path == "/v1/job/disk" {
            return job.as_ref().map_or(Reply::text(404, "job not found"), |job| Reply::json(job.to_string()));
        }
        let Some(mut line) = last(path) else { return Reply::text(404, "node not found") };
        for row in line["body"].as_array_mut().into_iter().flatten() {
            row["Job"]["TaskGroups"][0]["EphemeralDisk"] = json!({ "Migrate": true, "SizeMB": 2000, "Sticky": true });
            change(row);
        }
        if let Some(rows) = line["body"].as_array_mut().filter(|_| path.starts_with("/v1/node/")) {
            relist(rows);
        }
        reply(&line)
    })
    .await
}

async fn look(server: &Server) -> Node {
    let instance: InstanceId = "i-00000000000abc001".parse().expect("it fits");
    let look = server::nomad(&[&server.address], None).look(instance, None).await.expect("it was recorded");
    look.nodes.into_iter().next().expect("one node")
}

fn calls(server: &Server, of: &str) -> usize {
    server.requests().iter().filter(|request| request.path.contains(of)).count()
}

#[tokio::test]
async fn a_disk_has_moved_when_a_task_of_the_replacement_has_an_event() {
    let replacement = REPLACEMENT.parse().expect("an id");
    let all = lines(FILE).len();
    let at = |time: f64| 1 + lines(FILE).iter().rposition(|line| line["t"] == time).expect("it was recorded");
    for (answers, client, disk) in [
        (at(0.381), ClientStatus::Running, Disk::Stays),
        // It is told to stop, and its replacement is placed.
        (at(1.032), ClientStatus::Running, Disk::Stays),
        (at(1.337), ClientStatus::Complete, Disk::Copying(replacement)),
        (at(19.034), ClientStatus::Complete, Disk::Moved),
        (all, ClientStatus::Complete, Disk::Moved),
    ] {
        let server = after(answers).await;
        let node = look(&server).await;
        let [allocation] = &*node.allocations else { panic!("{node:?}") };
        assert_eq!((allocation.client, allocation.disk), (client, disk), "after {answers} answers");
        // One call for the replacement, and none before there is anything to move.
        assert_eq!(calls(&server, "/v1/allocation/"), usize::from(client == ClientStatus::Complete));
        assert_eq!(calls(&server, "/v1/job/"), 0);
    }
}

#[tokio::test]
async fn a_disk_that_has_moved_is_not_asked_for_again() {
    let server = after(lines(FILE).len()).await;
    let client = server::nomad(&[&server.address], None);
    let instance: InstanceId = "i-00000000000abc001".parse().expect("it fits");
    let first = client.look(instance, None).await.expect("it was recorded");
    let second = client.look(instance, Some(&first)).await.expect("it was recorded");
    assert_eq!(first, second);
    assert_eq!(calls(&server, "/v1/allocation/"), 1);
}

/// The disk if the answers are altered so, and the calls for the replacement and for the job.
async fn disk(answers: usize, job: Option<Value>, change: fn(&mut Value)) -> (Disk, [usize; 2]) {
    let server = altered(answers, job, change).await;
    let disk = look(&server).await.allocations[0].disk;
    (disk, [calls(&server, "/v1/allocation/"), calls(&server, "/v1/job/")])
}

#[tokio::test]
async fn without_a_replacement_the_job_says_whether_anything_will_want_the_disk() {
    let all = lines(FILE).len();
    let unplaced: fn(&mut Value) = |row| row["NextAllocation"] = Value::Null;
    let job = |stop: bool| Some(json!({ "ID": "disk", "Stop": stop }));
    assert_eq!(disk(all, job(false), unplaced).await, (Disk::Unplaced, [0, 1]));
    assert_eq!(disk(all, job(true), unplaced).await, (Disk::Stays, [0, 1]), "somebody stopped the job");
    assert_eq!(disk(all, None, unplaced).await, (Disk::Stays, [0, 1]), "somebody purged the job");
    let group = |name: &str, count: u32| Some(json!({ "ID": "disk", "TaskGroups": [{ "Name": name, "Count": count }] }));
    let wanted = |job| async move { disk(all, job, unplaced).await.0 };
    assert_eq!(wanted(group("store", 1)).await, Disk::Unplaced);
    assert_eq!(wanted(group("store", 0)).await, Disk::Stays, "the group was scaled down");
    assert_eq!(wanted(group("other", 1)).await, Disk::Stays, "the job has no such group any more");
    let by_hand: fn(&mut Value) = |row| {
        row["NextAllocation"] = Value::Null;
        row["DesiredTransition"]["Migrate"] = Value::Null;
    };
    assert_eq!(disk(all, job(false), by_hand).await, (Disk::Stays, [0, 0]), "nobody asked Nomad to move it");
}

#[tokio::test]
async fn a_job_is_read_once_for_all_of_its_disks() {
    let unplaced: fn(&mut Value) = |row| row["NextAllocation"] = Value::Null;
    let job = json!({ "ID": "disk", "Stop": false });
    let server = altered_list(lines(FILE).len(), Some(job), unplaced, |rows| {
        let another = |number: u32| {
            let mut row = rows[0].clone();
            row["ID"] = format!("0e5c2d9c-0000-4000-8000-{number:012}").into();
            row
        };
        let more: Vec<Value> = (0..50).map(another).collect();
        rows.extend(more);
    })
    .await;
    let node = look(&server).await;
    assert_eq!(node.allocations.iter().filter(|a| a.disk == Disk::Unplaced).count(), 51);
    assert_eq!((calls(&server, "/v1/job/"), node.data_reads()), (1, 1));
}

#[tokio::test]
async fn a_replacement_that_never_had_the_disk_is_followed_by_its_own_replacement() {
    let copying = lines(FILE).len() - 3;
    let job = || Some(json!({ "ID": "disk", "Stop": false }));
    let lost: fn(&mut Value) = |row| {
        if row["ID"] == REPLACEMENT {
            row["ClientStatus"] = "lost".into();
        }
    };
    assert_eq!(disk(copying, job(), lost).await, (Disk::Unplaced, [1, 1]));
    let over: fn(&mut Value) = |row| {
        if row["ID"] == REPLACEMENT {
            row["ClientStatus"] = "failed".into();
        }
    };
    assert_eq!(disk(copying, job(), over).await, (Disk::Moved, [1, 0]), "it is over, and nothing replaces it");
    let replaced: fn(&mut Value) = |row| {
        if row["ID"] == REPLACEMENT {
            row["NextAllocation"] = "0e5c2d9c-0000-4000-8000-000000000001".into();
        }
    };
    assert_eq!(disk(copying, job(), replaced).await, (Disk::Moved, [2, 0]), "Nomad no longer lists the last one");
    let around: fn(&mut Value) = |row| row["NextAllocation"] = REPLACEMENT.into();
    assert_eq!(disk(copying, job(), around).await, (Disk::Unplaced, [8, 1]), "a circle ends");
}
