//! What an ingress knows of service discovery: it watches Consul's catalog, or polls it, and applies changes at most every two seconds.

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

use crate::rehearse::plan::Plan;
use crate::rehearse::proxy::{self, Pool};
use crate::rehearse::server::full;

/// The copies of each service that pass their checks.
pub(in crate::rehearse) type Backends = BTreeMap<String, Vec<SocketAddr>>;

/// How long one blocking query waits.
const WAIT: &str = "60s";
/// A query that is not answered within this is given up.
const PATIENCE: Duration = Duration::from_secs(75);
/// After a query that failed.
const AGAIN: Duration = Duration::from_millis(500);

/// Consul, and how it is followed.
#[derive(Clone)]
pub(in crate::rehearse) struct Discovery {
    /// Its address as a URL.
    consul: Arc<str>,
    /// Ask this often; `None` watches.
    poll: Option<Duration>,
    pool: Pool,
}

/// Puts new backends in force. Whether they differ from those that were.
fn apply(routes: &RwLock<Backends>, backends: Backends) -> bool {
    let mut routes = routes.write().unwrap_or_else(PoisonError::into_inner);
    let differ = *routes != backends;
    *routes = backends;
    differ
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
    pub(in crate::rehearse) fn new(consul: &str, poll: Option<Duration>) -> Self {
        Self { consul: consul.into(), poll, pool: proxy::pool(Duration::from_secs(2), true) }
    }

    /// Keeps `routes` as Consul has it, as late as Traefik would.
    pub(super) async fn follow(self, routes: Arc<RwLock<Backends>>) {
        let mut index = 0;
        let mut applied: Option<Instant> = None;
        loop {
            // What it has it keeps while Consul cannot be asked, as Traefik does.
            let Ok(newer) = self.changed(index).await else {
                sleep(AGAIN).await;
                continue;
            };
            if let Some(applied) = applied {
                sleep_until(applied + Plan::THROTTLE).await;
            }
            let Ok(backends) = self.backends().await else {
                sleep(AGAIN).await;
                continue;
            };
            index = newer;
            if apply(&routes, backends) {
                applied = Some(Instant::now());
            }
            if let Some(every) = self.poll {
                sleep(every).await;
            }
        }
    }

    /// Ends when there may be something newer than `index`, with the new index. Polling asks at once, whatever there is.
    async fn changed(&self, index: u64) -> Result<u64> {
        let query = match self.poll {
            Some(_) => String::new(),
            None => format!("?index={index}&wait={WAIT}"),
        };
        let answer = self.get(&format!("/v1/catalog/services{query}")).await?;
        let newer = answer.headers().get("x-consul-index").and_then(|index| index.to_str().ok()?.parse().ok());
        newer.context("Consul gave no index")
    }

    async fn backends(&self) -> Result<Backends> {
        let names: BTreeMap<String, Vec<String>> = serde_json::from_slice(self.get("/v1/catalog/services").await?.body())?;
        let mut all = Backends::new();
        for name in names.into_keys().filter(|name| name != "consul" && name != "nomad-client" && name != "ingress") {
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
