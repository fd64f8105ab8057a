//! Reads the services that Consul lists for a node. Nomad deregisters those of allocations, and their owners the others.

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
use decamp_net::http::{Answer, RequestFailure, may_block};
use decamp_net::secrets::Fetch;
use decamp_net::ttl_map::TtlMap;

/// Before the allocation's id in the ids of allocations' services. Nomad's own agents have other ids and stay registered while they run.
const ALLOCATION_PREFIX: &str = "_nomad-task-";

/// The prefix of the ids of all services that Nomad registers, including its own agents (facts/consul.md 1.2 and 1.3).
const NOMAD_PREFIX: &str = "_nomad-";

/// The service that Consul's servers register for themselves.
const CONSUL_SERVICE: &str = "consul";

/// The answer of Consul's community edition to a request with a namespace (`agent/http_ce.go`). It has no namespaces.
const NO_NAMESPACES: &str = "Consul Enterprise feature";

/// The header that says that the token's ACLs have filtered the answer. Consul has it since 1.11.
const FILTERED: &str = "x-consul-results-filtered-by-acls";

/// The longest blocking query. A check that turns critical does not wake it, so this is the longest time until that is noticed.
const WAIT: Duration = Duration::from_secs(20);

/// How often Consul has to answer while allocations stop. An ingress that is not informed of a stop loses requests after a few seconds.
pub const CLOSE_WAIT: Duration = Duration::from_millis(2_500);

/// The pause between two requests while it is unknown whether a failure is an outage.
const RETRY_PAUSE: Duration = Duration::from_secs(1);

/// How long it is cached whether ACLs are off.
const ACLS_CACHED_FOR: Duration = Duration::from_mins(1);

/// The least time between two requests about a node.
const LEAST_INTERVAL: Duration = Duration::from_millis(250);

/// The pause between two requests when there are too many blocking queries, and after a failure.
const PAUSE: Duration = Duration::from_millis(2_500);

/// A client of Consul's API.
pub struct Client {
    http: http::Client,
    /// Whether these servers are known to report that they filter an answer.
    reports_filtering: AtomicBool,
    /// Whether the agent denies its version, so that it is not requested again.
    version_denied: AtomicBool,
    /// Whether ACLs are off. It is cached only for a while, because somebody may enable them.
    acls_off: TtlMap<(), bool>,
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
    /// Makes a client. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// A certificate or key cannot be used.
    pub fn new(connection: &Connection, store: Arc<dyn Fetch>) -> Result<Self> {
        Ok(Self {
            http: http::Client::new(connection, "x-consul-token", store)?,
            reports_filtering: AtomicBool::new(false),
            version_denied: AtomicBool::new(false),
            acls_off: TtlMap::with_ttl(ACLS_CACHED_FOR),
        })
    }

    /// Reads the registrations of a node.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn look(&self, consul_node: &str) -> Result<Registrations, Unseen> {
        self.look_in(consul_node, &[]).await
    }

    /// The same, in these namespaces (Consul Enterprise) besides the one of the settings. A Consul without namespaces rejects requests that
    /// name one, so a namespace is sent only if a job declares it. Then it counts as empty.
    ///
    /// # Errors
    ///
    /// They cannot be read.
    pub async fn look_in(&self, consul_node: &str, namespaces: &[Arc<str>]) -> Result<Registrations, Unseen> {
        let path = services_path(consul_node);
        let services = self.http.get(&path, &[("consistent", "")]);
        let further = try_join_all(namespaces.iter().map(|namespace| self.answers_in(consul_node, namespace)));
        let (services, checks, further) = tokio::join!(services, self.checks(consul_node, None), further);
        let checks = checks?;
        let mut all = self.read(consul_node, &services.map_err(RequestFailure::unseen)?, &checks).await?;
        // The checks of the node itself are in no namespace, and apply to the services of all namespaces.
        let of_node: Vec<Check> = checks.into_iter().filter(|check| check.service_id.is_empty()).collect();
        for (answer, own) in further?.into_iter().flatten() {
            let checks: Vec<Check> = own.into_iter().chain(of_node.iter().cloned()).collect();
            add(&mut all, &self.read(consul_node, &answer, &checks).await?);
        }
        Ok(all)
    }

    /// The answers about a node in one namespace; `None` if Consul has no namespaces.
    async fn answers_in(&self, consul_node: &str, namespace: &str) -> Result<Option<(Answer, Vec<Check>)>, Unseen> {
        let path = services_path(consul_node);
        match self.http.get(&path, &[("consistent", ""), ("ns", namespace)]).await {
            Ok(answer) => Ok(Some((answer, self.checks(consul_node, Some(namespace)).await?))),
            Err(RequestFailure::Status { status: 400, text }) if text.contains(NO_NAMESPACES) => Ok(None),
            Err(failure) => Err(failure.unseen()),
        }
    }

    /// Waits until the registrations of a node differ from `seen`; `None` when the time is up. A failed request does not end the wait.
    ///
    /// With `closely` the wait also ends with any answer from that time on. If `last_look_failed`, it ends with any answer at once,
    /// otherwise with failures that last for [`BRIEF`].
    pub async fn watch(
        &self,
        consul_node: &str,
        seen: &Registrations,
        last_look_failed: bool,
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
                        let wait = by.saturating_duration_since(began).clamp(LEAST_INTERVAL, CLOSE_WAIT);
                        // A server that hangs never answers with an error.
                        let turn = tokio::time::timeout(wait + BRIEF, self.newer(consul_node, &mut index, wait));
                        turn.await.unwrap_or_else(|_| Err(Unseen::Away("no answer in time".into())))
                    }
                };
                let is_due = closely.is_some_and(|by| last_look_failed || by <= Instant::now());
                match answer {
                    Ok(news) if is_due || news != *seen => return Ok(news),
                    Ok(_) => failing = None,
                    Err(why) if closely.is_some() && !last_look_failed => {
                        let first: Instant = *failing.get_or_insert(began);
                        if first + BRIEF <= Instant::now() {
                            return Err(why);
                        }
                        sleep(RETRY_PAUSE).await;
                    }
                    Err(_) => sleep(PAUSE).await,
                }
                sleep_until(began + LEAST_INTERVAL).await;
            }
        };
        tokio::time::timeout_at(until, watch).await.ok()
    }

    /// One request of a watch. It waits for a change after `index`, or returns at once if `index` is 0.
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
        let answer = answer.map_err(RequestFailure::unseen)?;
        let now = answer.number("x-consul-index").unwrap_or(0);
        // An index goes back when the servers are restored from a snapshot. Waiting for the old index would take long.
        *index = if now < *index { 0 } else { now };
        let checks = self.checks(consul_node, None).await?;
        self.read(consul_node, &answer, &checks).await
    }

    async fn checks(&self, consul_node: &str, namespace: Option<&str>) -> Result<Vec<Check>, Unseen> {
        let path = format!("/v1/health/node/{}", path_segment(consul_node));
        let query: Vec<(&str, &str)> = [("consistent", "")].into_iter().chain(namespace.map(|name| ("ns", name))).collect();
        let answer = self.http.get(&path, &query).await.map_err(RequestFailure::unseen)?;
        answer.json().map_err(RequestFailure::unseen)
    }

    async fn read(&self, consul_node: &str, answer: &Answer, checks: &[Check]) -> Result<Registrations, Unseen> {
        let listed: NodeServices = answer.json().map_err(RequestFailure::unseen)?;
        let node = listed.node.clone();
        let mut read = registrations(consul_node, listed, checks)?;
        let filtered = answer.header(FILTERED).is_some();
        if filtered {
            self.reports_filtering.store(true, Ordering::Relaxed);
        }
        let is_proved = !filtered && self.http.has_token().await && self.reports_filtering(answer, node.as_ref()).await;
        // Only if the node is listed does it matter whether ACLs are off.
        read.whole &= node.is_some() && (is_proved || !filtered && self.acls_are_off().await);
        Ok(read)
    }

    /// Whether it is certain that these servers report that they filter an answer, as they do since 1.11.
    ///
    /// Servers are upgraded before agents, so they have at least the version of an agent. The version in a node's metadata is a proof if
    /// the agent that answers is new enough to send the header of its query backend.
    async fn reports_filtering(&self, answer: &Answer, node: Option<&Node>) -> bool {
        if self.reports_filtering.load(Ordering::Relaxed) {
            return true;
        }
        let of_node = node.and_then(|node| node.meta.as_ref()?.get("consul-version"));
        let by_node = answer.header("x-consul-query-backend").is_some() && of_node.is_some_and(|version| is_1_11(version));
        let certain = by_node || self.agent_is_1_11().await;
        if certain {
            self.reports_filtering.store(true, Ordering::Relaxed);
        }
        certain
    }

    /// Whether Consul's ACLs are off. Then it hides nothing.
    async fn acls_are_off(&self) -> bool {
        if let Some(known) = self.acls_off.get(&()) {
            return known;
        }
        let off = match self.http.get("/v1/acl/token/self", &[]).await {
            Err(RequestFailure::Status { text, .. }) if text.contains("ACL support disabled") => true,
            Ok(_) | Err(RequestFailure::Status { .. }) => false,
            // Without an answer nothing is cached.
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

/// Reads the answers to `GET /v1/catalog/node-services/:node` and `GET /v1/health/node/:node`, without their headers.
///
/// # Errors
///
/// They are not such lists, or they are about another node.
pub fn read_registrations(consul_node: &str, services: &[u8], checks: &[u8]) -> Result<Registrations, Unseen> {
    let checks: Vec<Check> = http::read_json(checks).map_err(RequestFailure::unseen)?;
    registrations(consul_node, http::read_json(services).map_err(RequestFailure::unseen)?, &checks)
}

/// The registrations in the lists. `whole` means here that the node is listed, and that the owner of each registration could be read.
fn registrations(consul_node: &str, listed: NodeServices, checks: &[Check]) -> Result<Registrations, Unseen> {
    // Consul also accepts a prefix of a node's id as the name, so the answer may be about another node.
    if listed.node.as_ref().is_some_and(|node| node.node != consul_node) {
        return Err(Unseen::Away(format!("asked for node {consul_node}, Consul answered with another").into()));
    }
    let mut whole = listed.node.is_some();
    let critical = |check: &&Check| check.status == "critical";
    let is_serf = |check: &Check| check.check_id == "serfHealth";
    let of_services: HashSet<&str> = checks.iter().filter(critical).map(|c| c.service_id.as_str()).collect();
    // A critical check of the node itself, such as maintenance, makes all of its services critical.
    let of_node = checks.iter().filter(critical).any(|c| c.service_id.is_empty());
    let mut services = Vec::new();
    let mut by_hand: Vec<HandRegistration> = Vec::new();
    for service in listed.services.unwrap_or_default() {
        let critical = of_node || of_services.contains(service.id.as_str());
        let Some(rest) = service.id.strip_prefix(ALLOCATION_PREFIX) else {
            if !service.id.starts_with(NOMAD_PREFIX) && service.service != CONSUL_SERVICE {
                by_hand.push(HandRegistration { service: service.service.into(), critical });
            }
            continue;
        };
        match rest.get(..36).and_then(|id| id.parse::<AllocationId>().ok()) {
            Some(allocation) => services.push(Registration { allocation, critical, service: service.service.into() }),
            // It belongs to an allocation, but its id is unreadable, so it may be one of this node's.
            None => whole = false,
        }
    }
    by_hand.sort_by(|a, b| a.service.cmp(&b.service));
    services.sort_by(|a, b| (a.allocation, &a.service).cmp(&(b.allocation, &b.service)));
    let agent_dead = checks.iter().filter(critical).any(is_serf);
    Ok(Registrations { whole, agent_dead, services: services.into(), by_hand: by_hand.into() })
}

/// Adds the registrations of another namespace.
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

/// A node's name, escaped as one segment of a path.
fn path_segment(name: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'~');
    // `.` and `..` would be a folder.
    let only_dots = name.chars().all(|c| c == '.');
    name.bytes()
        .map(|b| if plain(b) || b == b'.' && !only_dots { char::from(b).to_string() } else { format!("%{b:02X}") })
        .collect()
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
    fn a_version_that_cannot_be_read_does_not_count_as_new_enough() {
        for (version, new_enough) in
            [("1.19.2", true), ("1.11.0+ent", true), ("1.10.9", false), ("2.0", true), ("", false), ("v1.19.2", false)]
        {
            assert_eq!(is_1_11(version), new_enough, "{version}");
        }
    }
}
