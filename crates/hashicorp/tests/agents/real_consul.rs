//! The Consul adapter with a real server and agent: it distinguishes deregistered services, missing permissions and a dead agent.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use decamp_core::decide::Unseen;
use decamp_hashicorp::consul::Client;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::process::{Agent, free_ports, http, on_the_path, until};
use super::server;

const NODE: &str = "ip-10-0-0-9";
const ROOT: &str = "00000000-0000-0000-0000-0000000000aa";
const ALLOCATION: &str = "15e52398-8b67-143d-4ae7-7107d64e0001";
const OTHER: &str = "15e52398-8b67-143d-4ae7-7107d64e0002";

/// A server, and an agent whose node the tests read. Each has its own address, so that gossip ports do not conflict.
struct Cluster {
    http: reqwest::Client,
    server: String,
    agent: String,
    dying: Agent,
    _server: Agent,
    _folder: TempDir,
}

impl Cluster {
    async fn start(consul: &Path, acls: bool) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // One octet for each test, so that both can run at the same time.
        let (one, two) = if acls { ("127.9.1.1", "127.9.1.2") } else { ("127.9.2.1", "127.9.2.2") };
        let config = |name: &str, address: &str, more: Value| {
            let [http, server, gossip] = free_ports(address);
            let mut config = json!({
                "node_name": name, "bind_addr": address, "client_addr": address, "data_dir": folder.path().join(name),
                "ports": { "http": http, "server": server, "serf_lan": gossip, "serf_wan": -1, "dns": -1, "grpc": -1 },
                "primary_datacenter": "dc1", "datacenter": "dc1", "disable_update_check": true,
                "gossip_lan": { "probe_interval": "200ms", "probe_timeout": "100ms", "suspicion_mult": 1, "gossip_interval": "50ms" },
            });
            if acls {
                config["acl"] = json!({ "enabled": true, "default_policy": "deny", "tokens": { "agent": ROOT } });
            }
            let merged = config.as_object_mut().expect("an object");
            merged.extend(more.as_object().expect("an object").clone());
            let file = folder.path().join(format!("{name}.json"));
            std::fs::write(&file, config.to_string()).expect("it is ours");
            (format!("http://{address}:{http}"), format!("{address}:{gossip}"), file)
        };
        let (server, gossip, file) = config("server", one, json!({ "server": true, "bootstrap_expect": 1 }));
        let mut command = Command::new(consul);
        command.arg("agent").arg("-config-file").arg(&file);
        if acls {
            // The name of the key changed in 1.11, and Consul rejects an unknown key.
            let old = version(consul) < (1, 11);
            let key = if old { "master" } else { "initial_management" };
            let text = std::fs::read_to_string(&file).expect("it was written");
            let mut config: Value = serde_json::from_str(&text).expect("JSON");
            config["acl"]["tokens"][key] = json!(ROOT);
            std::fs::write(&file, config.to_string()).expect("it is ours");
        }
        let server_process = Agent::start(&mut command);
        let (agent, _, file) = config(NODE, two, json!({ "retry_join": [gossip], "retry_interval": "1s" }));
        let dying = Agent::start(Command::new(consul).arg("agent").arg("-config-file").arg(&file));
        let cluster = Self { http: http(), server, agent, dying, _server: server_process, _folder: folder };
        until("the agent joins", Duration::from_secs(40), async || {
            let nodes = cluster.call("GET", &format!("{}/v1/health/node/{NODE}", cluster.server), Value::Null).await?;
            nodes.as_array().filter(|checks| !checks.is_empty()).map(|_| ())
        })
        .await;
        cluster
    }

    /// The answer of the agent or server; `None` if there is none, or if it is an error.
    async fn call(&self, method: &str, url: &str, body: Value) -> Option<Value> {
        let method = method.parse().expect("a method");
        let mut request = self.http.request(method, url).header("x-consul-token", ROOT);
        if !body.is_null() {
            request = request.body(body.to_string());
        }
        let answer = request.send().await.ok()?.error_for_status().ok()?;
        Some(serde_json::from_str(&answer.text().await.ok()?).unwrap_or(Value::Null))
    }

    async fn register(&self, allocation: &str, service: &str) {
        let id = format!("_nomad-task-{allocation}-group-web-{service}-http");
        let body = json!({ "ID": id, "Name": service, "Port": 8080, "Meta": { "external-source": "nomad" } });
        self.call("PUT", &format!("{}/v1/agent/service/register", self.agent), body).await.expect("it is registered");
    }

    async fn deregister(&self, allocation: &str, service: &str) {
        let id = format!("_nomad-task-{allocation}-group-web-{service}-http");
        self.call("PUT", &format!("{}/v1/agent/service/deregister/{id}", self.agent), Value::Null)
            .await
            .expect("it is deregistered");
    }

    /// A token with these rules.
    async fn token(&self, name: &str, rules: &str) -> String {
        let policy = json!({ "Name": name, "Rules": rules });
        self.call("PUT", &format!("{}/v1/acl/policy", self.server), policy).await.expect("a policy");
        let token = json!({ "Policies": [{ "Name": name }] });
        let made = self.call("PUT", &format!("{}/v1/acl/token", self.server), token).await.expect("a token");
        made["SecretID"].as_str().expect("its secret").to_owned()
    }

    fn client(&self, token: Option<&str>) -> Client {
        server::consul(&[&self.server], token)
    }
}

fn version(consul: &Path) -> (u32, u32) {
    let output = Command::new(consul).arg("version").output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = text.split_whitespace().find_map(|word| word.strip_prefix('v')).expect("a version");
    let mut parts = number.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    (parts.next().unwrap_or(0), parts.next().unwrap_or(0))
}

#[tokio::test]
async fn a_watch_shows_a_deregistration_and_a_look_shows_a_dead_agent() {
    let Some(consul) = on_the_path("consul") else { return };
    let mut cluster = Cluster::start(&consul, false).await;
    cluster.register(ALLOCATION, "web").await;
    cluster.register(OTHER, "api").await;
    let client = cluster.client(Some("any-token-since-acls-are-off"));
    let seen = until("both are listed", Duration::from_secs(10), async || {
        client.look(NODE).await.ok().filter(|seen| seen.services.len() == 2)
    })
    .await;
    assert!(seen.whole, "without ACLs Consul hides nothing");
    assert!(!seen.agent_dead && seen.services.iter().all(|s| !s.critical));

    let gone = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        cluster.deregister(ALLOCATION, "web").await;
    };
    let until_then = tokio::time::Instant::now() + Duration::from_secs(15);
    let (news, ()) = tokio::join!(client.watch(NODE, &seen, false, None, until_then), gone);
    let news = news.expect("one went").expect("it is seen");
    assert_eq!(news.services.iter().map(|s| &*s.service).collect::<Vec<_>>(), ["api"]);

    cluster.dying.kill();
    let dead = until("Consul notices the dead agent", Duration::from_secs(40), async || {
        client.look(NODE).await.ok().filter(|seen| seen.agent_dead)
    })
    .await;
    assert!(dead.services.len() == 1 && dead.services[0].critical, "it stays listed, and is critical: {dead:?}");
}

#[tokio::test]
async fn deregistered_not_permitted_and_unreachable_differ() {
    let Some(consul) = on_the_path("consul") else { return };
    let cluster = Cluster::start(&consul, true).await;
    // Not every release registers a service in time by the agent's own token, so the test writes to the catalog.
    let body = json!({ "Node": NODE, "Address": "127.9.1.2", "SkipNodeUpdate": true,
        "Service": { "ID": format!("_nomad-task-{ALLOCATION}-group-web-web-http"), "Service": "web", "Port": 8080 } });
    cluster.call("PUT", &format!("{}/v1/catalog/register", cluster.server), body).await.expect("it is registered");
    let reads_all = include_str!("../../../../infra/policies/consul.hcl");
    let reader = cluster.token("reader", reads_all).await;
    let narrow = cluster.token("narrow", "node_prefix \"\" { policy = \"read\" }").await;
    let reports_filtering = (1, 11) <= version(&consul);

    let seen = cluster.client(Some(&reader)).look(NODE).await.expect("it may read");
    assert_eq!((seen.services.len(), seen.whole), (1, reports_filtering));
    for (who, token) in [("nodes only", Some(narrow.as_str())), ("anonymous", None)] {
        let seen = cluster.client(token).look(NODE).await.expect("it is answered 200");
        assert_eq!((seen.services.len(), seen.whole), (0, false), "{who}: a filtered list is not whole");
    }
    let unknown = cluster.client(Some("00000000-0000-0000-0000-0000000000bb")).look(NODE).await;
    assert!(matches!(&unknown, Err(Unseen::Denied(why)) if why.contains("ACL")), "{unknown:?}");

    let id = format!("_nomad-task-{ALLOCATION}-group-web-web-http");
    let body = json!({ "Node": NODE, "ServiceID": id });
    cluster.call("PUT", &format!("{}/v1/catalog/deregister", cluster.server), body).await.expect("it is deregistered");
    let gone = cluster.client(Some(&reader)).look(NODE).await.expect("it may read");
    assert_eq!((gone.services.len(), gone.whole), (0, reports_filtering));

    let client = cluster.client(Some(&reader));
    drop(cluster);
    assert!(server::is_away(&client.look(NODE).await));
}

#[tokio::test]
async fn tls_trusts_one_authority_and_one_name_and_presents_a_certificate() {
    let Some(consul) = on_the_path("consul") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let tls = |arguments: &[&str]| {
        let done = Command::new(&consul).arg("tls").args(arguments).current_dir(folder.path()).output().expect("it runs");
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    tls(&["ca", "create"]);
    tls(&["cert", "create", "-server"]);
    tls(&["cert", "create", "-client"]);
    let file = |name: &str| folder.path().join(name);
    // None of the certificate's names is this address.
    let address = "127.9.3.1";
    let [https, server_port, gossip] = free_ports(address);
    let config = json!({
        "node_name": NODE, "bind_addr": address, "client_addr": address, "data_dir": file("data"), "server": true, "bootstrap_expect": 1,
        "ports": { "http": -1, "https": https, "server": server_port, "serf_lan": gossip, "serf_wan": -1, "dns": -1, "grpc": -1 },
        "ca_file": file("consul-agent-ca.pem"), "cert_file": file("dc1-server-consul-0.pem"), "key_file": file("dc1-server-consul-0-key.pem"),
        "verify_incoming": true, "disable_update_check": true,
    });
    std::fs::write(file("server.json"), config.to_string()).expect("it is ours");
    let _server = Agent::start(Command::new(&consul).arg("agent").arg("-config-file").arg(file("server.json")));
    let mut connection = server::connection(&[&format!("https://{address}:{https}")], Some("any"));
    connection.tls.ca = Some(file("consul-agent-ca.pem"));
    connection.tls.certificate = Some(file("dc1-client-consul-0.pem"));
    connection.tls.key = Some(file("dc1-client-consul-0-key.pem"));
    connection.tls.server_name = Some("server.dc1.consul".to_owned());
    let client =
        |connection| Client::new(&connection, std::sync::Arc::new(decamp_net::secrets::NoStore)).expect("all files are there");
    let whole = client(connection.clone());
    until("it answers", Duration::from_secs(30), async || whole.look(NODE).await.ok()).await;

    let mut nameless = connection.clone();
    nameless.tls.server_name = None;
    let mut misnamed = connection.clone();
    misnamed.tls.server_name = Some("server.dc2.consul".to_owned());
    let mut without_certificate = connection.clone();
    (without_certificate.tls.certificate, without_certificate.tls.key) = (None, None);
    let mut untrusted = connection.clone();
    // A certificate, but not that of the server's authority.
    untrusted.tls.ca = Some(file("dc1-client-consul-0.pem"));
    for (what, connection) in
        [("no name", nameless), ("another name", misnamed), ("no certificate", without_certificate), ("no authority", untrusted)]
    {
        let look = client(connection).look(NODE).await;
        assert!(server::is_away(&look), "{what}: {look:?}");
    }
}
