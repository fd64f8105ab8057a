//! A node with 10,000 ended allocations is read within the time limit of a call and within 64 MiB.
//!
//! Each test starts itself once more in a process of its own, because it measures the memory of the whole process: what another test
//! has freed would count too. The server generates its rows while it writes.

use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use decamp_config::{Connection, Tls, TokenSource};
use decamp_core::decide::{ClientStatus, JobKind, Nomad};
use decamp_core::ids::{AllocationId, InstanceId, NodeId};
use decamp_core::time::Time;
use decamp_hashicorp::nomad;
use decamp_net::secrets::NoStore;
use serde_json::{Value, json};
use tokio::time::Instant;

const INSTANCE: &str = "i-0123456789abcdef0";
const ENDED: u128 = 10_000;
const RUNNING: u128 = 12;
const MOST_RESIDENT: usize = 64 * 1024;

/// Set in a process that runs one test and measures itself.
const ALONE: &str = "DECAMP_TEST_ALONE";

/// One test at a time, because they measure the time too.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A Nomad with one node.
#[derive(Default)]
struct Server {
    version: &'static str,
    /// Whether allocation 0 has ended.
    first_ended: AtomicBool,
    requests: Mutex<Vec<String>>,
    written: AtomicUsize,
}

impl Server {
    fn start(self: &Arc<Self>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port on loopback");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let server = Arc::clone(self);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let server = Arc::clone(&server);
                std::thread::spawn(move || server.serve(&stream));
            }
        });
        address
    }

    fn serve(&self, stream: &TcpStream) {
        let mut lines = BufReader::new(stream).lines();
        while let Some(Ok(first)) = lines.next() {
            let path = first.split(' ').nth(1).expect("a path").to_owned();
            while lines.next().is_some_and(|line| line.is_ok_and(|line| !line.is_empty())) {}
            self.requests.lock().expect("no test panics in it").push(path.clone());
            if self.answer(stream, &path).is_err() {
                return;
            }
        }
    }

    fn answer(&self, stream: &TcpStream, path: &str) -> std::io::Result<()> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let id = NodeId(7).to_string();
        let mut out = BufWriter::with_capacity(64 * 1024, stream);
        write!(out, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Nomad-Index: 40\r\n")?;
        let whole = |mut out: BufWriter<&TcpStream>, body: &str| {
            write!(out, "Content-Length: {}\r\n\r\n{body}", body.len())?;
            out.flush()
        };
        match path {
            "/v1/nodes" => whole(out, &json!([{ "ID": id, "ModifyIndex": 10 }]).to_string()),
            "/v1/allocations" => {
                assert!(query.contains("NodeID") && query.contains("task_states=false"), "{query}");
                self.list(out, Self::stub)
            }
            _ if path.ends_with("/allocations") => self.list(out, Self::with_job),
            _ if path.starts_with("/v1/node/") => whole(
                out,
                &json!({ "ID": id, "Name": "node7", "Status": "ready", "ModifyIndex": 10, "HTTPAddr": "10.0.0.7:4646",
                    "Attributes": { "unique.platform.aws.instance-id": INSTANCE, "nomad.version": self.version } })
                .to_string(),
            ),
            _ => {
                let id: AllocationId = path.rsplit('/').next().expect("it has one").parse().expect("an id");
                whole(out, &self.with_job(id.0))
            }
        }
    }

    /// A list, one row per chunk.
    fn list(&self, mut out: BufWriter<&TcpStream>, row: impl Fn(&Self, u128) -> String) -> std::io::Result<()> {
        write!(out, "Transfer-Encoding: chunked\r\n\r\n1\r\n[\r\n")?;
        for number in 0..RUNNING + ENDED {
            let row = row(self, number) + if number + 1 == RUNNING + ENDED { "]" } else { "," };
            self.written.fetch_add(row.len(), Ordering::Relaxed);
            write!(out, "{:x}\r\n{row}\r\n", row.len())?;
        }
        write!(out, "0\r\n\r\n")?;
        out.flush()
    }

    fn fields(&self, number: u128) -> Value {
        let runs = number < RUNNING && !(number == 0 && self.first_ended.load(Ordering::Relaxed));
        let job = if number < RUNNING { "web".to_owned() } else { format!("nightly/dispatch-{number}") };
        json!({ "ID": AllocationId(number).to_string(), "Namespace": "default", "NodeID": NodeId(7).to_string(), "JobID": job,
            "TaskGroup": "g", "DesiredStatus": if runs { "run" } else { "stop" },
            "ClientStatus": if runs { "running" } else { "complete" }, "ModifyIndex": if number == 0 && !runs { 41 } else { 30 },
            "EvalID": NodeId(number).to_string(), "Name": format!("{job}.g[0]"), "NodeName": "node7", "CreateTime": 1 })
    }

    fn stub(&self, number: u128) -> String {
        let mut row = self.fields(number);
        row["JobType"] = json!(if number < RUNNING { "service" } else { "batch" });
        row["JobVersion"] = json!(3);
        row.to_string()
    }

    /// An allocation with its job, whose template gives it a realistic size.
    fn with_job(&self, number: u128) -> String {
        let mut row = self.fields(number);
        let (id, kind) = (row["JobID"].clone(), if number < RUNNING { "service" } else { "batch" });
        row["Job"] = json!({ "ID": id, "Type": kind, "Version": 3, "JobModifyIndex": 5, "TaskGroups": [{ "Name": "g", "Count": 12,
            "Services": [{ "Name": "web", "Provider": "consul" }],
            "Tasks": [{ "Name": "t", "KillTimeout": 5_000_000_000_u64, "Templates": [{ "EmbeddedTmpl": "x".repeat(20_000) }] }] }] });
        row["AllocatedResources"] = json!({ "Shared": { "Ports": [{ "Value": 20_000 + number % 1_000 }] } });
        row.to_string()
    }

    fn requests(&self, start: &str) -> usize {
        self.requests.lock().expect("no test panics in it").iter().filter(|path| path.starts_with(start)).count()
    }
}

fn client(address: &str, timeout: Duration) -> nomad::Client {
    let connection = Connection {
        addresses: vec![address.to_owned()],
        token: TokenSource::None,
        tls: Tls::default(),
        query: Vec::new(),
        proxy: None,
        connect_timeout: Duration::from_secs(2),
        timeout,
    };
    let now = || Time(u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("it is past 1970"));
    nomad::Client::new(&connection, Arc::new(NoStore), Arc::new(now)).expect("there is nothing wrong with it")
}

/// The most memory that this process has used, in KiB.
fn most_resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("it is there");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Whether this process is of this test alone. If not, it runs the test in one that is, and asserts that the test passes there.
#[expect(clippy::disallowed_methods, reason = "it is no setting")]
fn runs_alone(test: &str) -> bool {
    if std::env::var_os(ALONE).is_some() {
        return true;
    }
    let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let this = std::env::current_exe().expect("it runs");
    let ended = Command::new(this).args(["--exact", test, "--nocapture"]).env(ALONE, "1").output().expect("it starts");
    let said = String::from_utf8_lossy(&ended.stdout);
    println!("{said}");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(said.contains("1 passed"), "no test is called {test}");
    false
}

fn assert_all_are_listed(look: &Nomad) {
    let allocations = &look.nodes[0].allocations;
    assert_eq!(u128::try_from(allocations.len()), Ok(RUNNING + ENDED));
    assert_eq!(allocations.iter().filter(|a| a.client == ClientStatus::Complete).count(), 10_000);
    for running in allocations.iter().filter(|a| a.client == ClientStatus::Running) {
        assert_eq!((running.group.kind, running.group.services.len(), running.ports.len()), (JobKind::Service, 1, 1));
        assert_eq!(running.group.tasks[0].kill_timeout, Duration::from_secs(5));
    }
    assert!(allocations.iter().filter(|a| a.client == ClientStatus::Complete).all(|a| a.group.kind == JobKind::Batch));
}

#[tokio::test]
async fn ten_thousand_ended_allocations_are_read_in_the_time_of_a_call_and_64_mib() {
    if !runs_alone("ten_thousand_ended_allocations_are_read_in_the_time_of_a_call_and_64_mib") {
        return;
    }
    let server = Arc::new(Server { version: "1.10.5", ..Server::default() });
    let client = client(&server.start(), Duration::from_secs(5));
    let instance: InstanceId = INSTANCE.parse().expect("it fits");
    let began = Instant::now();
    let look = client.look(instance, None).await.expect("it is there");
    let took = began.elapsed();
    assert_all_are_listed(&look);
    assert!(took < Duration::from_secs(5), "{took:?}");
    let written = server.written.load(Ordering::Relaxed);
    assert!(written < 32 * 1024 * 1024, "the whole list with its jobs was read: {written} bytes");
    let read = server.requests("/v1/allocation/");
    assert!(read <= 12 + 32, "{read} allocations were read");

    // Another look reads the stubs, and in full only allocations that have changed.
    let again = client.look(instance, Some(&look)).await.expect("it is there");
    assert_eq!(again, look);
    assert_eq!(
        (server.requests("/v1/node/00000000-0000-0000-0000-000000000007/allocations"), server.requests("/v1/allocation/")),
        (1, read)
    );
    server.first_ended.store(true, Ordering::Relaxed);
    let news = client.watch(&look, Instant::now() + Duration::from_secs(10)).await.expect("one ended");
    assert_eq!(news.nodes[0].allocations.iter().filter(|a| a.client == ClientStatus::Running).count(), 11);
    assert_eq!(server.requests("/v1/allocation/"), read + 1);
    let most = most_resident();
    println!("seen in {took:?}, {read} allocations read, {most} KiB resident at most");
    assert!(most <= MOST_RESIDENT, "{most} KiB");
}

#[tokio::test]
async fn the_whole_list_of_servers_that_cannot_filter_takes_no_more_memory() {
    if !runs_alone("the_whole_list_of_servers_that_cannot_filter_takes_no_more_memory") {
        return;
    }
    let server = Arc::new(Server { version: "1.1.2", ..Server::default() });
    let client = client(&server.start(), Duration::from_secs(60));
    let look = client.look(INSTANCE.parse().expect("it fits"), None).await.expect("it is there");
    assert_all_are_listed(&look);
    assert!(200_000_000 < server.written.load(Ordering::Relaxed));
    assert_eq!(server.requests("/v1/allocations"), 0);
    let most = most_resident();
    println!("{most} KiB resident at most");
    assert!(most <= MOST_RESIDENT, "{most} KiB");
}
