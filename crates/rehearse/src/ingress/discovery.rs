//! Service discovery of an ingress: it watches or polls Consul's catalog, and applies changes at most every two seconds.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::{Request, Response};
use serde::Deserialize;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::plan::{INGRESS, Plan};
use crate::proxy::{self, Pool};
use crate::server::full;

/// The copies of each service that pass their checks.
type Backends = BTreeMap<String, Vec<SocketAddr>>;

/// The catalog as an ingress knows it.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    pub(crate) backends: Backends,
    /// The last query of Consul failed, so the catalog may be outdated.
    pub(crate) away: bool,
}

/// The paths that are watched, as Traefik does: the names of services, and every check. Only the second one changes when a check passes.
const WATCHED: [&str; 2] = ["/v1/catalog/services", "/v1/health/state/any"];
/// How long one blocking query waits.
const WAIT: &str = "60s";
/// The time-out of a query.
const PATIENCE: Duration = Duration::from_secs(75);
/// The pause after a query that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// How an ingress follows Consul.
#[derive(Clone)]
pub(crate) struct Discovery {
    /// Its address as a URL.
    consul: Arc<str>,
    /// The polling interval. `None` watches.
    poll: Option<Duration>,
    pool: Pool,
}

/// Applies new backends. Says whether they differ from the old ones.
fn apply(catalog: &RwLock<Catalog>, backends: Backends) -> bool {
    let mut catalog = catalog.write().unwrap_or_else(PoisonError::into_inner);
    let differ = catalog.backends != backends;
    *catalog = Catalog { backends, away: false };
    differ
}

/// Keeps the last backends while Consul is unreachable, as Traefik does.
async fn away(catalog: &RwLock<Catalog>) {
    catalog.write().unwrap_or_else(PoisonError::into_inner).away = true;
    sleep(AGAIN).await;
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    service: Listed,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Listed {
    address: IpAddr,
    port: u16,
}

impl Discovery {
    pub(crate) fn new(consul: &str, poll: Option<Duration>) -> Self {
        Self { consul: consul.into(), poll, pool: proxy::pool(Duration::from_secs(2), true) }
    }

    /// Keeps the catalog up to date, with the same delays as Traefik.
    pub(super) async fn follow(self, catalog: Arc<RwLock<Catalog>>) {
        let mut indices = [0; WATCHED.len()];
        let mut applied: Option<Instant> = None;
        loop {
            let Ok(newer) = self.changed(indices).await else {
                away(&catalog).await;
                continue;
            };
            if let Some(applied) = applied {
                sleep_until(applied + Plan::THROTTLE).await;
            }
            let Ok(backends) = self.backends().await else {
                away(&catalog).await;
                continue;
            };
            indices = newer;
            if apply(&catalog, backends) {
                applied = Some(Instant::now());
            }
            if let Some(every) = self.poll {
                sleep(every).await;
            }
        }
    }

    /// Waits until something may have changed since these indices, and returns the new ones. Polling does not wait here.
    async fn changed(&self, mut indices: [u64; WATCHED.len()]) -> Result<[u64; WATCHED.len()]> {
        if self.poll.is_some() {
            return Ok(indices);
        }
        let [names, checks] = indices;
        let (place, newer) = tokio::select! {
            newer = self.newer(WATCHED[0], names) => (0, newer?),
            newer = self.newer(WATCHED[1], checks) => (1, newer?),
        };
        // An index that went backwards comes from restored servers.
        indices[place] = if newer < indices[place] { 0 } else { newer };
        Ok(indices)
    }

    async fn newer(&self, path: &str, index: u64) -> Result<u64> {
        let answer = self.get(&format!("{path}?index={index}&wait={WAIT}")).await?;
        let newer = answer.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        newer.context("Consul's answer has no index")
    }

    async fn backends(&self) -> Result<Backends> {
        let names: BTreeMap<String, Vec<String>> = serde_json::from_slice(self.get("/v1/catalog/services").await?.body())?;
        let mut all = Backends::new();
        for name in names.into_keys().filter(|name| name != "consul" && name != "nomad-client" && name != INGRESS) {
            let answer = self.get(&format!("/v1/health/service/{name}?passing")).await?;
            let rows: Vec<Row> = serde_json::from_slice(answer.body())?;
            all.insert(name, rows.iter().map(|row| SocketAddr::new(row.service.address, row.service.port)).collect());
        }
        Ok(all)
    }

    async fn get(&self, path: &str) -> Result<Response<Bytes>> {
        let request = Request::get(format!("{}{path}", self.consul)).body(full(""))?;
        let answer = timeout(PATIENCE, async {
            let (head, body) = self.pool.request(request).await?.into_parts();
            anyhow::Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        });
        let answer = answer.await.context("Consul took too long")??;
        anyhow::ensure!(answer.status().is_success(), "Consul answered {}", answer.status());
        Ok(answer)
    }
}
