//! The load balancer of each target group. It routes by the model's state, in round robin: as a reverse proxy, like an Application Load
//! Balancer, or by passing connections through, like a Network Load Balancer.

mod health;
mod pass_through;
mod targets;

use std::collections::HashSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Request, Response, StatusCode};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use self::pass_through::pass;
pub(super) use self::pass_through::{ConnectionEnd, ConnectionEnds, EndedBy};
use self::targets::{Target, Targets};
use super::cluster;
use super::plan::{LoadBalancer, Plan};
use super::proxy::{self, CAUSE, NUMBER, Pool, Stopped, made_up};
use super::server::{Body, Server, WorkToken};
use super::traefik;
use decamp_sandbox::wire::{Shared, listen};

/// How long it waits for a connection to a target before it answers 504.
const CONNECT: Duration = Duration::from_secs(10);
/// The idle time-out: how long it waits for an answer before it answers 504.
const IDLE: Duration = Duration::from_secs(60);

/// The numbers of the requests that the load balancer cut at the end of a deregistration delay.
pub(super) type Cuts = Arc<Mutex<HashSet<u64>>>;

/// A load balancer with a listener for each target group.
pub(super) struct Balancer {
    addresses: Vec<SocketAddr>,
    _listeners: Vec<Server>,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Balancer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Balancer {
    /// Starts to listen on free ports. With `ends` it is a Network Load Balancer, which records there how connections end.
    ///
    /// # Errors
    /// No port is free.
    pub(super) async fn start(shared: &Arc<Shared>, plan: &Plan, cuts: &Cuts, ends: Option<&ConnectionEnds>) -> io::Result<Self> {
        let (mut addresses, mut listeners, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for arn in cluster::target_groups() {
            let targets = Arc::new(Targets::new(arn.clone(), plan.port));
            // The routes must be known before the first request.
            targets.look(shared);
            let (follow, shared_too) = (Arc::clone(&targets), Arc::clone(shared));
            tasks.push(tokio::spawn(async move { follow.follow(&shared_too).await }));
            tasks.push(tokio::spawn(health::check(Arc::clone(shared), arn.clone(), plan.port)));
            let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            if let Some(ends) = ends {
                let listener = listen(free)?;
                addresses.push(listener.local_addr()?);
                let terminates = plan.balancer == LoadBalancer::NetworkThatTerminates;
                tasks.push(tokio::spawn(pass(listener, targets, terminates, Arc::clone(ends))));
                continue;
            }
            let front = Arc::new(Front {
                name: arn.name().to_owned(),
                targets,
                pool: proxy::pool(CONNECT, false),
                cuts: Arc::clone(cuts),
                ingress_is_traefik: plan.traefik.is_some(),
            });
            let server = Server::start(free, move |request, token| Arc::clone(&front).answer(request, token)).await?;
            addresses.push(server.address);
            listeners.push(server);
        }
        Ok(Self { addresses, _listeners: listeners, tasks })
    }

    /// The address of each target group's listener.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}

struct Front {
    name: String,
    targets: Arc<Targets>,
    pool: Pool,
    cuts: Cuts,
    /// Traefik does not mark the answers that it makes itself.
    ingress_is_traefik: bool,
}

impl Front {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>, token: WorkToken) -> Response<Body> {
        let Some(target) = self.targets.next() else {
            return made_up(StatusCode::SERVICE_UNAVAILABLE, &format!("the load balancer had no target in group {}", self.name));
        };
        for (name, value) in [("x-forwarded-for", "127.0.0.1"), ("x-forwarded-proto", "http"), ("x-forwarded-port", "80")] {
            request.headers_mut().append(name, HeaderValue::from_static(value));
        }
        let service = request.uri().path().trim_start_matches('/').split('/').next().unwrap_or_default().to_owned();
        let number = request.headers().get(NUMBER).and_then(|number| number.to_str().ok()?.parse().ok());
        let (cuts, cut) = (Arc::clone(&self.cuts), target.cut());
        let cut = Box::pin(async move {
            cut.await;
            if let Some(number) = number {
                cuts.lock().unwrap_or_else(PoisonError::into_inner).insert(number);
            }
        });
        let who = format!("the load balancer sent it to the ingress of {}", target.instance);
        let sent = proxy::forward(&self.pool, target.address, request, token.state.clone(), Some(cut));
        match timeout(IDLE, sent).await {
            Ok(Ok(answer)) => self.with_its_cause(answer, &target, &service),
            Ok(Err(Stopped::Failed(error))) => made_up(StatusCode::BAD_GATEWAY, &format!("{who}: {}", proxy::why(&error))),
            Ok(Err(Stopped::Cut)) => {
                made_up(StatusCode::BAD_GATEWAY, &format!("{who}, and cut it at the end of the deregistration delay"))
            }
            Err(_) => made_up(StatusCode::GATEWAY_TIMEOUT, &format!("{who}, which did not answer")),
        }
    }

    /// Adds the cause to an answer that Traefik made itself.
    fn with_its_cause(&self, mut answer: Response<Body>, target: &Target, service: &str) -> Response<Body> {
        let node = cluster::number(target.instance).filter(|_| self.ingress_is_traefik).map(cluster::name);
        let cause = node.and_then(|node| traefik::cause(answer.status(), &node, service));
        if let Some(cause) = cause.and_then(|cause| HeaderValue::try_from(cause).ok()) {
            answer.headers_mut().insert(CAUSE, cause);
        }
        answer
    }
}
