//! The ingress on a node: a reverse proxy that reads its backends from Consul's HTTP API, and drops them no faster than Traefik does.

mod discovery;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use tokio::task::JoinHandle;

pub(super) use self::discovery::{Catalog, Discovery};
use super::processes::{Names, name_at};
use super::proxy::{self, Pool, Stopped, made_up};
use super::server::{Body, Server, WorkToken, full};

/// The path of the load balancers' health checks.
pub(super) const PING: &str = "/ping";
/// Part of a cause if the ingress could not reach Consul and used its last catalog.
pub(super) const AWAY: &str = ", with Consul unreachable,";
/// How long it waits for a connection to a backend.
const CONNECT: Duration = Duration::from_secs(5);

/// An ingress that follows service discovery.
pub(super) struct Ingress {
    catalog: Arc<RwLock<Catalog>>,
    follows: JoinHandle<()>,
}

impl Drop for Ingress {
    fn drop(&mut self) {
        self.follows.abort();
    }
}

impl Ingress {
    /// Starts to follow service discovery.
    pub(super) fn follow(discovery: &Discovery) -> Self {
        let catalog: Arc<RwLock<Catalog>> = Arc::default();
        let follows = tokio::spawn(discovery.clone().follow(Arc::clone(&catalog)));
        Self { catalog, follows }
    }

    /// Starts to listen on this address, as the ingress of this node.
    ///
    /// # Errors
    /// The port is in use.
    pub(super) async fn start(&self, node: &str, address: SocketAddr, names: &Names) -> io::Result<Server> {
        let reverse_proxy = Arc::new(ReverseProxy {
            who: format!("the ingress on {node}"),
            catalog: Arc::clone(&self.catalog),
            turns: RwLock::default(),
            pool: proxy::pool(CONNECT, true),
            names: Arc::clone(names),
        });
        Server::start(address, move |request, token| Arc::clone(&reverse_proxy).answer(request, token)).await
    }
}

struct ReverseProxy {
    who: String,
    catalog: Arc<RwLock<Catalog>>,
    turns: RwLock<HashMap<String, AtomicUsize>>,
    pool: Pool,
    names: Names,
}

impl ReverseProxy {
    async fn answer(self: Arc<Self>, request: Request<Incoming>, token: WorkToken) -> Response<Body> {
        let path = request.uri().path();
        if path == PING {
            return Response::new(full("OK"));
        }
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        let (to, away) = self.backend(&service);
        let who = format!("{}{}", self.who, if away { AWAY } else { "" });
        let to = match to {
            Ok(to) => to,
            // As Traefik answers: 503 if the service has no copy, 404 if there is no such service.
            Err(true) => return made_up(StatusCode::SERVICE_UNAVAILABLE, &format!("{who} knew no copy of {service}")),
            Err(false) => return made_up(StatusCode::NOT_FOUND, &format!("{who} did not know {service}")),
        };
        match proxy::forward(&self.pool, to, request, token.state.clone(), None).await {
            Ok(mut answer) => {
                if away {
                    answer.headers_mut().insert(proxy::OLDER, HeaderValue::from_static("1"));
                }
                answer
            }
            Err(Stopped::Failed(error)) => {
                let (name, why) = (name_at(&self.names, to), proxy::why(&error));
                made_up(StatusCode::BAD_GATEWAY, &format!("{who} sent it to {name}: {why}"))
            }
            Err(Stopped::Cut) => made_up(StatusCode::BAD_GATEWAY, &format!("{who} cut it")),
        }
    }

    /// The next copy in turn, and whether the catalog is outdated because Consul is unreachable. An error says whether the service is
    /// known.
    fn backend(&self, service: &str) -> (Result<SocketAddr, bool>, bool) {
        let catalog = self.catalog.read().unwrap_or_else(PoisonError::into_inner);
        let copies = catalog.backends.get(service);
        (copies.ok_or(false).and_then(|copies| self.in_turn(service, copies)), catalog.away)
    }

    fn in_turn(&self, service: &str, copies: &[SocketAddr]) -> Result<SocketAddr, bool> {
        let turn = {
            let turns = self.turns.read().unwrap_or_else(PoisonError::into_inner);
            turns.get(service).map(|turn| turn.fetch_add(1, Ordering::Relaxed))
        };
        let turn = turn.unwrap_or_else(|| {
            let mut turns = self.turns.write().unwrap_or_else(PoisonError::into_inner);
            turns.entry(service.to_owned()).or_default().fetch_add(1, Ordering::Relaxed)
        });
        let place = turn.checked_rem(copies.len()).ok_or(true)?;
        Ok(copies[place])
    }
}
