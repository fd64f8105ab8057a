//! A real Prometheus scrapes a replica, and the dashboard and the alerts find what they need.

use std::collections::BTreeSet;
use std::process::Stdio;
use std::time::Duration;

use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ASG, Options, serve};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep};

use crate::receiver::{Manners, Receiver, SECRET};
use crate::refreshes::{WEBHOOK, hook, seconds};
use crate::replica::{Replica, machine_is_off, quick, terminate};

/// A running Prometheus. It is killed when this is dropped.
pub(crate) struct Prometheus {
    url: String,
    client: Client,
    _folder: tempfile::TempDir,
    _child: Child,
}

impl Prometheus {
    /// Starts Prometheus and waits for its first scrape of a replica. `None`: it is not installed.
    pub(crate) async fn start(replica: &Replica) -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let settings = folder.path().join("prometheus.yml");
        let target = replica.admin.trim_start_matches("http://");
        // JSON is YAML.
        let text = json!({
            "global": { "scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms" },
            "rule_files": [concat!(env!("CARGO_MANIFEST_DIR"), "/infra/serve/alerts.yaml")],
            "scrape_configs": [{ "job_name": "decamp", "static_configs": [{ "targets": [target] }] }],
        });
        std::fs::write(&settings, text.to_string()).expect("it is ours");
        let address = free_address();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", settings.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("tsdb").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::inherit()).kill_on_drop(true);
        let child = match command.spawn() {
            Ok(child) => child,
            Err(why) => {
                eprintln!("prometheus: skipped, it cannot be started: {why}");
                return None;
            }
        };
        let prometheus =
            Self { url: format!("http://{address}"), client: replica.client.clone(), _folder: folder, _child: child };
        let began = Instant::now();
        while prometheus.values("up").await != [1.0] {
            assert!(began.elapsed() < Duration::from_secs(30), "it does not scrape");
            sleep(Duration::from_millis(100)).await;
        }
        Some(prometheus)
    }

    /// The data of its API at this path.
    pub(crate) async fn data(&self, path: &str) -> Value {
        let answer = self.client.get(format!("{}{path}", self.url)).send().await.expect("it answers");
        answer.json::<Value>().await.expect("it is JSON")["data"].clone()
    }

    /// The current values of an expression, one for each row; none while it does not answer.
    async fn values(&self, expression: &str) -> Vec<f64> {
        let request = self.client.get(format!("{}/api/v1/query", self.url)).query(&[("query", expression)]);
        let Ok(answer) = request.send().await else { return Vec::new() };
        let Ok(answer) = answer.json::<Value>().await else { return Vec::new() };
        assert_ne!(answer["status"], "error", "{expression}: {answer}");
        let rows = answer["data"]["result"].as_array().cloned().unwrap_or_default();
        rows.iter().map(|row| row["value"][1].as_str().and_then(|text| text.parse().ok()).expect("a number")).collect()
    }
}

/// The rows of an answer, without their values.
fn rows(metrics: &str) -> BTreeSet<String> {
    let rows = metrics.lines().filter(|line| !line.starts_with('#'));
    rows.filter_map(|line| line.rsplit_once(' ')).map(|(row, _)| row.to_owned()).collect()
}

/// An address that is free now.
fn free_address() -> std::net::SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("loopback is there");
    listener.local_addr().expect("it is bound")
}

/// Without a row at 0 before the first occurrence, Prometheus would see no increase.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_dashboard_shows_the_first_occurrence_of_everything() {
    let sandbox = serve(&Options { delay: Duration::from_secs(5), deaf: true, ..quick() }).await.expect("loopback is there");
    let (told, collector) = (Receiver::start(Manners::FailsFirst(1, 503)).await, Receiver::start(Manners::Well).await);
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[notify.ops]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\n\
         [webhooks.deploy]\nscheme = \"standard\"\naction = \"refresh\"\ngroup = \"{ASG}\"\nsecret = \"{WEBHOOK}\"\n",
        told.url
    );
    std::fs::write(file.path(), text).expect("it is ours");
    let more = [
        ("DECAMP_TRACES", &*collector.url),
        ("DECAMP_SWEEP", "1s"),
        ("DECAMP_STALLED_AFTER", "1s"),
        ("DECAMP_REPLACE", "rebalance"),
    ];
    let replica = Replica::start_with(&sandbox, &["--config", &file.path().display().to_string()], &more).await;
    let prometheus = Prometheus::start(&replica).await;
    let before = rows(&replica.text("/metrics").await);

    // A refresh with nothing to do, a warning, nonsense, and a departure that cannot read Nomad for a while.
    assert_eq!(hook(&replica, "msg-1", seconds(), "{}").await.status(), 200);
    sandbox
        .shared
        .set_faults(FaultPlan::new(vec![Rule { side: Some(Side::Nomad), ..Rule::next(u32::MAX, "", WireFault::Error500) }], 0));
    let instance = sandbox.instances[0];
    let event = terminate(&sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    assert_eq!(replica.send(&json!({ "nothing": 1 })).await.status(), 400);
    let warning = json!({
        "source": "aws.ec2", "detail-type": "EC2 Instance Rebalance Recommendation", "account": event["account"], "region": event["region"],
        "time": event["time"], "detail": { "instance-id": sandbox.instances[1].to_string() },
    });
    assert_eq!(replica.send(&warning).await.status(), 202);
    told.accepted("departure.stalled").await.unwrap_or_else(|| panic!("{}", replica.printed()));
    sandbox.shared.set_faults(FaultPlan::default());
    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    told.accepted("departure.ended").await.unwrap_or_else(|| panic!("{}", replica.printed()));
    replica.past().await;
    let after = rows(&replica.text("/metrics").await);
    // The routes and statuses of requests are not known beforehand.
    let new: Vec<_> = after.difference(&before).filter(|row| !row.starts_with("decamp_http_requests_total")).collect();
    // A group that no setting names is known from its first departure, and a refresh from its first read.
    assert!(new.iter().all(|row| row.contains("{group=\"web\"") && !row.contains("refreshes_total")), "{new:#?}");
    assert!(after.iter().any(|row| row.contains("decamp_hard_stops_total")), "{after:#?}");
    assert!(before.len() < after.len() && after.iter().any(|row| row.contains("outcome=\"departed\"")), "{after:#?}");

    let Some(prometheus) = prometheus else { return };
    sleep(Duration::from_secs(2)).await;
    let dashboard: Value = serde_json::from_str(include_str!("../../infra/serve/grafana.json")).expect("it is JSON");
    let mut empty = Vec::new();
    for panel in dashboard["panels"].as_array().expect("there are panels") {
        for target in panel["targets"].as_array().expect("each asks for something") {
            let expression = target["expr"].as_str().expect("an expression").replace("$__rate_interval", "1m");
            let values = prometheus.values(&expression).await;
            // A gauge may be 0 now. A counter must have increased.
            let drawn = values.iter().any(|value| 0.0 < *value || panel["type"] == "stat" && *value == 0.0);
            // Everything that this departure costs is foreseen.
            let stays_zero = expression.contains("decamp_not_foreseen_total");
            let drawn = if stays_zero { !values.is_empty() && values.iter().all(|value| *value == 0.0) } else { drawn };
            if !drawn {
                empty.push(format!("{}: {expression} = {values:?}", panel["title"]));
            }
        }
    }
    assert!(empty.is_empty(), "the dashboard shows nothing for {empty:#?}\n{}", replica.text("/metrics").await);
    each_rule_has_something_to_judge(&prometheus).await;
}

/// A rule without rows never fires, for example with a misspelt metric. Rules that had a reason to fire have fired.
async fn each_rule_has_something_to_judge(prometheus: &Prometheus) {
    let rules = prometheus.data("/api/v1/rules").await;
    let rules = rules["groups"][0]["rules"].as_array().cloned().expect("there are rules");
    assert!(7 < rules.len(), "{rules:#?}");
    let mut fire = BTreeSet::new();
    for rule in &rules {
        let (name, query) = (rule["name"].as_str().expect("a name"), rule["query"].as_str().expect("an expression"));
        assert_eq!(rule["health"], "ok", "{name}: {rule}");
        let judged = query.rsplit_once(" > ").or_else(|| query.rsplit_once(" < ")).map_or(query, |(judged, _)| judged);
        let judged = judged.strip_prefix("absent(").and_then(|rest| rest.strip_suffix(')')).unwrap_or(judged);
        assert!(!prometheus.values(judged).await.is_empty(), "{name} has nothing to judge: {judged}");
        if rule["state"] == "firing" {
            fire.insert(name);
        }
    }
    assert_eq!(fire, BTreeSet::from(["DecampRejectsEvents", "DecampStalled"]), "{rules:#?}");
}
