//! The load balancer before each target group, which routes by the model's state, in round robin: a reverse proxy as an Application Load
//! Balancer is, or one that passes connections through as a Network Load Balancer does.

mod health;
mod passage;
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

use self::passage::pass;
pub(super) use self::passage::{By, End, Ends};
use self::targets::{Target, Targets};
use super::cluster;
use super::plan::{LoadBalancer, Plan};
use super::proxy::{self, CAUSE, NUMBER, Pool, Stopped, made_up};
use super::server::{Body, Hold, Server};
use super::traefik;
use decamp_sandbox::wire::{Shared, listen};

/// A target that takes no connection within this gives a 504.
const CONNECT: Duration = Duration::from_secs(10);
/// So does one that answers nothing for so long: the idle time-out.
const IDLE: Duration = Duration::from_secs(60);

/// The requests that the load balancer itself cut, at the end of a deregistration delay.
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
    /// Begins to listen on free ports. With `ends` it is a Network Load Balancer, which tells there how connections end.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn start(shared: &Arc<Shared>, plan: &Plan, cuts: &Cuts, ends: Option<&Ends>) -> io::Result<Self> {
        let (mut addresses, mut listeners, mut tasks) = (Vec::new(), Vec::new(), Vec::new());
        for arn in cluster::target_groups() {
            let targets = Arc::new(Targets::new(arn.clone(), plan.port));
            // The routes must be known before the first request comes.
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
            let server = Server::start(free, move |request, hold| Arc::clone(&front).answer(request, hold)).await?;
            addresses.push(server.address);
            listeners.push(server);
        }
        Ok(Self { addresses, _listeners: listeners, tasks })
    }

    /// Where clients of each target group connect.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.addresses.clone()
    }
}

struct Front {
    name: String,
    targets: Arc<Targets>,
    pool: Pool,
    cuts: Cuts,
    /// It does not say on an answer that it made it up, nor why.
    ingress_is_traefik: bool,
}

impl Front {
    async fn answer(self: Arc<Self>, mut request: Request<Incoming>, hold: Hold) -> Response<Body> {
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
        let sent = proxy::forward(&self.pool, target.address, request, hold.life.clone(), Some(cut));
        match timeout(IDLE, sent).await {
            Ok(Ok(answer)) => self.with_its_cause(answer, &target, &service),
            Ok(Err(Stopped::Failed(error))) => made_up(StatusCode::BAD_GATEWAY, &format!("{who}: {}", proxy::why(&error))),
            Ok(Err(Stopped::Cut)) => {
                made_up(StatusCode::BAD_GATEWAY, &format!("{who}, and cut it at the end of the deregistration delay"))
            }
            Err(_) => made_up(StatusCode::GATEWAY_TIMEOUT, &format!("{who}, which did not answer")),
        }
    }

    /// An answer of an ingress that made it up says so.
    fn with_its_cause(&self, mut answer: Response<Body>, target: &Target, service: &str) -> Response<Body> {
        let node = cluster::number(target.instance).filter(|_| self.ingress_is_traefik).map(cluster::name);
        let cause = node.and_then(|node| traefik::meant(answer.status(), &node, service));
        if let Some(cause) = cause.and_then(|cause| HeaderValue::try_from(cause).ok()) {
            answer.headers_mut().insert(CAUSE, cause);
        }
        answer
    }
}
