//! Which services Consul still lists for a node. Read-only: Nomad removes those of allocations, and whoever made them the others; we
//! only check.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use futures_util::future::try_join_all;
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until};

use decamp_config::Connection;
use decamp_core::decide::{BRIEF, HandRegistration, Registration, Registrations, Unseen};
use decamp_core::ids::AllocationId;
use decamp_net::http;
use decamp_net::http::{Answer, Failure, may_block};
use decamp_net::lately::Lately;
use decamp_net::secrets::Fetch;

/// What the ids of services start with that belong to an allocation; its id follows. Nomad's own agents have other ids, and
/// stay registered as long as they live.
const OF_ALLOCATIONS: &str = "_nomad-task-";

/// What the ids of all services start with that Nomad registers, those of its own agents included (facts/consul.md 1.2 and 1.3).
const OF_NOMAD: &str = "_nomad-";

/// The service that Consul's servers register themselves.
const OF_CONSUL: &str = "consul";

/// What Consul's community edition answers to whoever asks for a namespace (`agent/http_ce.go`). It has none.
const NO_NAMESPACES: &str = "Consul Enterprise feature";

/// Says that something was left out because the token may not see it. Consul has it since 1.11.
const FILTERED: &str = "x-consul-results-filtered-by-acls";

/// The longest blocking query. A check that turns critical does not wake it, so it is how late that is noticed at most.
const WAIT: Duration = Duration::from_secs(20);

/// How often Consul has to answer while allocations stop: an ingress that does not hear of a stop loses requests after a few seconds.
pub const CLOSE_WAIT: Duration = Duration::from_millis(2_500);

/// How long between two questions while it is not known yet whether a failure is an outage.
const AGAIN: Duration = Duration::from_secs(1);

/// How long it is believed that ACLs are off, or on.
const ACLS_KEPT: Duration = Duration::from_mins(1);

/// No node is asked more often than this.
const PACE: Duration = Duration::from_millis(250);

/// How long between two questions where blocking queries are too many, and after a failure.
const PAUSE: Duration = Duration::from_millis(2_500);

/// A client of Consul's API.
pub struct Client {
    http: http::Client,
    /// Whether these servers are known to say so when they filter an answer.
    says_so: AtomicBool,
    /// Whether asking the agent for its version was refused, so that it is not asked again and again.
    version_denied: AtomicBool,
    /// Whether ACLs are off, as was answered a moment ago. Somebody may switch them on.
    acls_off: Lately<(), bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct NodeServices {
    node: Option<Node>,
    services: Option<Vec<Service>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Node {
    node: String,
    meta: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Service {
    #[serde(rename = "ID")]
    id: String,
    service: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Check {
    #[serde(rename = "CheckID")]
    check_id: String,
    #[serde(rename = "ServiceID")]
    service_id: String,
    status: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Agent {
    config: Option<AgentConfig>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct AgentConfig {
    version: String,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If a certificate or key cannot be used.
    pub fn new(connection: &Connection, store: Arc<dyn Fetch>) -> Result<Self> {
        Ok(Self {
            http: http::Client::new(connection, "x-consul-token", store)?,
            says_so: AtomicBool::new(false),
            version_denied: AtomicBool::new(false),
            acls_off: Lately::for_a(ACLS_KEPT),
        })
    }

    /// Looks at what a node still has registered.
    ///
    /// # Errors
    ///
    /// Why it cannot be seen.
    pub async fn look(&self, consul_node: &str) -> Result<Registrations, Unseen> {
        self.look_in(consul_node, &[]).await
    }

    /// The same, in these namespaces as well as in the one that is set (Consul Enterprise). A Consul without namespaces has nothing in
    /// them; it refuses whoever names one, so that none is sent unless a job declares it.
    ///
    /// # Errors
    ///
    /// Why it cannot be seen.
    pub async fn look_in(&self, consul_node: &str, namespaces: &[Arc<str>]) -> Result<Registrations, Unseen> {
        let path = services_path(consul_node);
        let services = self.http.get(&path, &[("consistent", "")]);
        let further = try_join_all(namespaces.iter().map(|namespace| self.answers_in(consul_node, namespace)));
        let (services, checks, further) = tokio::join!(services, self.checks(consul_node, None), further);
        let checks = checks?;
        let mut all = self.read(consul_node, &services.map_err(Failure::unseen)?, &checks).await?;
        // The checks of the node itself are in no namespace, and hold for the services of all.
        let of_node: Vec<Check> = checks.into_iter().filter(|check| check.service_id.is_empty()).collect();
        for (answer, own) in further?.into_iter().flatten() {
            let checks: Vec<Check> = own.into_iter().chain(of_node.iter().cloned()).collect();
            add(&mut all, &self.read(consul_node, &answer, &checks).await?);
        }
        Ok(all)
    }

    /// What a node has in one namespace; `None` where Consul has no namespaces.
    async fn answers_in(&self, consul_node: &str, namespace: &str) -> Result<Option<(Answer, Vec<Check>)>, Unseen> {
        let path = services_path(consul_node);
        match self.http.get(&path, &[("consistent", ""), ("ns", namespace)]).await {
            Ok(answer) => Ok(Some((answer, self.checks(consul_node, Some(namespace)).await?))),
            Err(Failure::Status { status: 400, text }) if text.contains(NO_NAMESPACES) => Ok(None),
            Err(failure) => Err(failure.unseen()),
        }
    }

    /// Waits until a node has something else registered than `seen`; `None` when the time is up. Not seeing is no news. With `closely` it
    /// is: from that time on any answer is told, before it one that follows on silence (`blind`), and that none came for [`BRIEF`].
    pub async fn watch(
        &self,
        consul_node: &str,
        seen: &Registrations,
        blind: bool,
        closely: Option<Instant>,
        until: Instant,
    ) -> Option<Result<Registrations, Unseen>> {
        let watch = async {
            let mut index = 0;
            let mut failing = None;
            loop {
                let began = Instant::now();
                let answer = match closely {
                    None => self.newer(consul_node, &mut index, WAIT).await,
                    Some(by) => {
                        let wait = by.saturating_duration_since(began).clamp(PACE, CLOSE_WAIT);
                        // A server that hangs refuses nothing.
                        let turn = tokio::time::timeout(wait + BRIEF, self.newer(consul_node, &mut index, wait));
                        turn.await.unwrap_or_else(|_| Err(Unseen::Away("no answer in time".into())))
                    }
                };
                let is_due = closely.is_some_and(|by| blind || by <= Instant::now());
                match answer {
                    Ok(news) if is_due || news != *seen => return Ok(news),
                    Ok(_) => failing = None,
                    Err(why) if closely.is_some() && !blind => {
                        let first: Instant = *failing.get_or_insert(began);
                        if first + BRIEF <= Instant::now() {
                            return Err(why);
                        }
                        sleep(AGAIN).await;
                    }
                    Err(_) => sleep(PAUSE).await,
                }
                sleep_until(began + PACE).await;
            }
        };
        tokio::time::timeout_at(until, watch).await.ok()
    }

    /// One turn of a watch, which goes on from `index`; from 0 it answers at once.
    async fn newer(&self, consul_node: &str, index: &mut u64, wait: Duration) -> Result<Registrations, Unseen> {
        let (path, query) = (services_path(consul_node), [("consistent", "")]);
        let answer = match (*index, may_block()) {
            (0, _) => self.http.get(&path, &query).await,
            (from, Some(_held)) => self.http.get_newer(&path, &query, from, wait, None).await,
            (_, None) => {
                sleep(PAUSE).await;
                self.http.get(&path, &query).await
            }
        };
        let answer = answer.map_err(Failure::unseen)?;
        let now = answer.number("x-consul-index").unwrap_or(0);
        // An index that went back is that of restored servers: whoever waits for the old one waits long.
        *index = if now < *index { 0 } else { now };
        let checks = self.checks(consul_node, None).await?;
        self.read(consul_node, &answer, &checks).await
    }

    async fn checks(&self, consul_node: &str, namespace: Option<&str>) -> Result<Vec<Check>, Unseen> {
        let path = format!("/v1/health/node/{}", path_segment(consul_node));
        let query: Vec<(&str, &str)> = [("consistent", "")].into_iter().chain(namespace.map(|name| ("ns", name))).collect();
        let answer = self.http.get(&path, &query).await.map_err(Failure::unseen)?;
        answer.json().map_err(Failure::unseen)
    }

    async fn read(&self, consul_node: &str, answer: &Answer, checks: &[Check]) -> Result<Registrations, Unseen> {
        let listed: NodeServices = answer.json().map_err(Failure::unseen)?;
        let node = listed.node.clone();
        let mut read = registrations(consul_node, listed, checks)?;
        let filtered = answer.header(FILTERED).is_some();
        if filtered {
            self.says_so.store(true, Ordering::Relaxed);
        }
        let would_say = !filtered && self.http.has_token().await && self.says_so(answer, node.as_ref()).await;
        // A node that is shown is asked about further: servers that filter would have hidden it from nobody's token.
        read.whole &= node.is_some() && (would_say || !filtered && self.acls_are_off().await);
        Ok(read)
    }

    /// Whether it is certain that these servers say so when they filter an answer: since 1.11 they do.
    ///
    /// Servers are upgraded before agents, so the version of an agent is one that the servers have at least. The version that a
    /// node writes on itself proves it where the agent that we ask is at least as new as the header that it sends.
    async fn says_so(&self, answer: &Answer, node: Option<&Node>) -> bool {
        if self.says_so.load(Ordering::Relaxed) {
            return true;
        }
        let of_node = node.and_then(|node| node.meta.as_ref()?.get("consul-version"));
        let by_sign = answer.header("x-consul-query-backend").is_some() && of_node.is_some_and(|version| is_1_11(version));
        let certain = by_sign || self.agent_is_1_11().await;
        if certain {
            self.says_so.store(true, Ordering::Relaxed);
        }
        certain
    }

    /// Whether Consul has no ACLs: then nothing can be hidden from anybody.
    async fn acls_are_off(&self) -> bool {
        if let Some(known) = self.acls_off.get(&()) {
            return known;
        }
        let off = match self.http.get("/v1/acl/token/self", &[]).await {
            Err(Failure::Status { text, .. }) if text.contains("ACL support disabled") => true,
            Ok(_) | Err(Failure::Status { .. }) => false,
            // No answer is none to keep.
            Err(_) => return false,
        };
        self.acls_off.put((), off);
        off
    }

    async fn agent_is_1_11(&self) -> bool {
        if self.version_denied.load(Ordering::Relaxed) {
            return false;
        }
        match self.http.get("/v1/agent/self", &[]).await {
            Ok(answer) => {
                let agent: Agent = answer.json().unwrap_or_default();
                agent.config.is_some_and(|config| is_1_11(&config.version))
            }
            Err(failure) => {
                self.version_denied.store(failure.is_denial(), Ordering::Relaxed);
                false
            }
        }
    }
}

/// Reads what `GET /v1/catalog/node-services/:node` and `GET /v1/health/node/:node` answer, without the headers that tell whether
/// the lists were filtered.
///
/// # Errors
///
/// If they are not these lists, or another node's.
pub fn read_registrations(consul_node: &str, services: &[u8], checks: &[u8]) -> Result<Registrations, Unseen> {
    let checks: Vec<Check> = http::read_json(checks).map_err(Failure::unseen)?;
    registrations(consul_node, http::read_json(services).map_err(Failure::unseen)?, &checks)
}

/// What is listed, in our words. `whole`: the node is known, and whose each registration is could be read.
fn registrations(consul_node: &str, listed: NodeServices, checks: &[Check]) -> Result<Registrations, Unseen> {
    // A name may also be the start of a node's id: then it is another node that was answered.
    if listed.node.as_ref().is_some_and(|node| node.node != consul_node) {
        return Err(Unseen::Away(format!("asked for node {consul_node}, Consul answered with another").into()));
    }
    let mut whole = listed.node.is_some();
    let critical = |check: &&Check| check.status == "critical";
    let is_serf = |check: &Check| check.check_id == "serfHealth";
    let of_services: HashSet<&str> = checks.iter().filter(critical).map(|c| c.service_id.as_str()).collect();
    // A critical check of the node itself (maintenance, for one) takes all of its services out.
    let of_node = checks.iter().filter(critical).any(|c| c.service_id.is_empty());
    let mut services = Vec::new();
    let mut by_hand: Vec<HandRegistration> = Vec::new();
    for service in listed.services.unwrap_or_default() {
        let critical = of_node || of_services.contains(service.id.as_str());
        let Some(rest) = service.id.strip_prefix(OF_ALLOCATIONS) else {
            if !service.id.starts_with(OF_NOMAD) && service.service != OF_CONSUL {
                by_hand.push(HandRegistration { service: service.service.into(), critical });
            }
            continue;
        };
        match rest.get(..36).and_then(|id| id.parse::<AllocationId>().ok()) {
            Some(allocation) => services.push(Registration { allocation, critical, service: service.service.into() }),
            // Some allocation's, but whose? Then nobody can say that nothing of ours is left.
            None => whole = false,
        }
    }
    by_hand.sort_by(|a, b| a.service.cmp(&b.service));
    services.sort_by(|a, b| (a.allocation, &a.service).cmp(&(b.allocation, &b.service)));
    let agent_dead = checks.iter().filter(critical).any(is_serf);
    Ok(Registrations { whole, agent_dead, services: services.into(), by_hand: by_hand.into() })
}

/// Takes in what another namespace has.
fn add(all: &mut Registrations, more: &Registrations) {
    let new = more.services.iter().filter(|one| !all.services.iter().any(|known| known == *one)).cloned();
    let services: Arc<[_]> = all.services.iter().cloned().chain(new).collect();
    let by_hand = all.by_hand.iter().chain(more.by_hand.iter()).cloned().collect();
    all.whole &= more.whole;
    (all.services, all.by_hand) = (services, by_hand);
}

/// Whether a version is at least 1.11.
fn is_1_11(version: &str) -> bool {
    let mut numbers = version.split(['.', '-', '+']).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (1, 11) <= (major, minor),
        _ => false,
    }
}

fn services_path(consul_node: &str) -> String {
    format!("/v1/catalog/node-services/{}", path_segment(consul_node))
}

/// A node's name as one segment of a path, whatever is in it.
fn path_segment(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'~');
    // A dot is written out only where it could be taken for a folder.
    let dotted = name.chars().all(|c| c == '.');
    name.bytes().map(|b| if plain(b) || b == b'.' && !dotted { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_name_stays_one_segment_of_the_path() {
        for (name, segment) in [
            ("ip-10-0-0-1.eu-west-1", "ip-10-0-0-1.eu-west-1"),
            ("a/../b?x", "a%2F..%2Fb%3Fx"),
            ("..", "%2E%2E"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(path_segment(name), segment);
        }
    }

    #[test]
    fn only_a_version_that_is_understood_counts_as_new_enough() {
        for (version, new_enough) in
            [("1.19.2", true), ("1.11.0+ent", true), ("1.10.9", false), ("2.0", true), ("", false), ("v1.19.2", false)]
        {
            assert_eq!(is_1_11(version), new_enough, "{version}");
        }
    }
}
