//! What must be there before the first request: Consul, pretended or real, every process listening, and decamp's settings.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::consul::Consul;
use super::nomad::Nomad;
use super::plan::{self, Plan};
use super::{cluster, processes, proxy, server, traefik};
use decamp_sandbox::wire;
use decamp_sandbox::wire::{Shared, Side, listen};

/// A cluster that is not whole within this will not be.
const COMES_UP_IN: Duration = Duration::from_secs(20);
/// With real agents, which find one another first.
const COMES_UP_REALLY_IN: Duration = Duration::from_secs(60);
/// With a real Nomad, which starts each copy as a process.
const IS_PLACED_IN: Duration = Duration::from_secs(120);

/// What takes the place of what is pretended.
pub(super) struct Real {
    pub(super) consul: Option<Consul>,
    pub(super) nomad: Option<Nomad>,
    /// Which real programs these are, and which others, by their own words.
    pub(super) words: Vec<String>,
}

impl Real {
    /// Starts the servers of what the plan names.
    ///
    /// # Errors
    /// A binary is missing or another, or does not come up.
    pub(super) async fn start(plan: &Plan) -> Result<Self> {
        let words = match &plan.traefik {
            Some(binary) => vec![traefik::identity(binary).context("start a real Traefik")?],
            None => Vec::new(),
        };
        let mut real = Self { consul: None, nomad: None, words };
        if let Some(binary) = &plan.consul {
            let consul = Consul::start(binary).await.context("start a real Consul")?;
            if let Some(binary) = &plan.nomad {
                ingress_can_listen(plan)?;
                let nomad = Nomad::start(binary, &consul).await.context("start a real Nomad")?;
                real.words.push(nomad.version.clone());
                real.nomad = Some(nomad);
            }
            real.words.push(consul.version.clone());
            real.consul = Some(consul);
        }
        real.words.reverse();
        Ok(real)
    }
}

/// Nomad would start an ingress again and again that finds its port in use, and nobody would say why.
fn ingress_can_listen(plan: &Plan) -> Result<()> {
    for number in 1..=plan.nodes {
        let address = SocketAddr::from((Plan::address(number), plan.port));
        if let Err(why) = listen(address) {
            let said = format!("the ingress of {} cannot listen on {address}: {why}", cluster::name(number));
            return Err(cannot_listen(io::Error::new(why.kind(), said)));
        }
    }
    Ok(())
}

/// Nomad's API.
pub(super) enum Scheduler {
    /// The model's.
    Pretended(wire::Server),
    /// A real server's.
    Real(Nomad),
}

impl Scheduler {
    /// The real one if there is one, else the model's.
    ///
    /// # Errors
    /// There is no free port.
    pub(super) async fn of(shared: &Arc<Shared>, real: Option<Nomad>) -> Result<Self> {
        Ok(match real {
            Some(nomad) => Self::Real(nomad),
            None => {
                let free = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
                let server = wire::serve(shared, Side::Nomad, wire::nomad::router(shared), free).await;
                Self::Pretended(server.context("serve the pretended Nomad")?)
            }
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Pretended(server) => server.address,
            Self::Real(nomad) => nomad.address,
        }
    }

    /// The real one, if it is.
    pub(super) fn real(&self) -> Option<&Nomad> {
        match self {
            Self::Pretended(_) => None,
            Self::Real(nomad) => Some(nomad),
        }
    }
}

/// Consul's API.
pub(super) enum Discovery {
    /// The model's.
    Pretended(wire::Server),
    /// A real server's.
    Real(Consul),
}

impl Discovery {
    /// The real one if there is one, else the model's.
    ///
    /// # Errors
    /// There is no free port.
    pub(super) async fn of(shared: &Arc<Shared>, real: Option<Consul>) -> Result<Self> {
        Ok(match real {
            Some(consul) => Self::Real(consul),
            None => {
                let free = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
                let server = wire::serve(shared, Side::Consul, wire::consul::router(shared), free).await;
                Self::Pretended(server.context("serve the pretended Consul")?)
            }
        })
    }

    /// Where it is.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Pretended(server) => server.address,
            Self::Real(consul) => consul.address,
        }
    }
}

/// What to do about a port that cannot be had.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has dozens of errors; two of them have advice of their own")]
pub(super) fn cannot_listen(why: io::Error) -> anyhow::Error {
    let advice = match why.kind() {
        io::ErrorKind::AddrInUse => "end what listens there, or choose another port with --port",
        io::ErrorKind::AddrNotAvailable => "all of 127.0.0.0/8 must be this machine, as it is on Linux",
        _ => "look at what the system says",
    };
    anyhow::anyhow!("{why}; {advice}")
}

/// Waits until every process of the calm cluster listens and every ingress knows every service.
pub(super) async fn ready(plan: &Plan, names: &processes::Names, breaks: &mut mpsc::Receiver<anyhow::Error>) -> Result<()> {
    let services = plan.services();
    let many = usize::try_from(plan.nodes + services.iter().map(|s| s.copies).sum::<u32>()).unwrap_or(usize::MAX);
    let patience = match (&plan.nomad, &plan.consul) {
        (Some(_), _) => IS_PLACED_IN,
        (None, Some(_)) => COMES_UP_REALLY_IN,
        (None, None) => COMES_UP_IN,
    };
    let pool = proxy::pool(Duration::from_secs(1), true);
    let everything = async {
        while names.lock().unwrap_or_else(PoisonError::into_inner).len() < many {
            sleep(Duration::from_millis(10)).await;
        }
        for number in 1..=plan.nodes {
            for service in &services {
                let uri = format!("http://{}:{}/{}/work", Plan::address(number), plan.port, service.name);
                let request = || hyper::Request::get(&uri).body(server::full("")).expect("it is a plain request");
                while !matches!(pool.request(request()).await, Ok(answer) if answer.status().is_success()) {
                    sleep(Duration::from_millis(20)).await;
                }
            }
        }
    };
    tokio::select! {
        done = timeout(patience, everything) => {
            done.with_context(|| format!("the cluster did not come up within {} s", patience.as_secs()))
        }
        Some(why) = breaks.recv() => Err(why),
    }
}

/// What decamp is set to.
pub(super) fn variables(plan: &Plan, aws: &str, nomad: &str, consul: &str) -> Vec<(&'static str, String)> {
    let seconds = |span: Duration| format!("{}s", span.as_secs());
    vec![
        ("AWS_ENDPOINT_URL", aws.to_owned()),
        ("AWS_REGION", plan::REGION.to_owned()),
        ("NOMAD_ADDR", nomad.to_owned()),
        ("CONSUL_HTTP_ADDR", consul.to_owned()),
        ("CONSUL_HTTP_TOKEN", "rehearsal".to_owned()),
        ("DECAMP_GROUPS", plan::ASG.to_owned()),
        (if plan.balancer.is_network() { "DECAMP_GUARD_NLB" } else { "DECAMP_GUARD_ALB" }, seconds(plan.guard())),
        ("DECAMP_LONGEST_REQUEST", seconds(Plan::LONGEST_REQUEST)),
        ("DECAMP_INGRESS_FORGETS", seconds(plan.ingress_forgets() + Plan::MARGIN)),
        ("DECAMP_INGRESS_MARGIN", seconds(Plan::MARGIN)),
        ("DECAMP_CALL_TIMEOUT", "2s".to_owned()),
    ]
}
