//! The start of a rehearsal: real and simulated servers, decamp's settings, and the wait until every process listens.

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

/// How long a simulated cluster may take to come up.
const COMES_UP_IN: Duration = Duration::from_secs(20);
/// The same with real agents, which have to find one another first.
const COMES_UP_REALLY_IN: Duration = Duration::from_secs(60);
/// The same with a real Nomad, which starts each copy as a process.
const IS_PLACED_IN: Duration = Duration::from_secs(120);

/// The real programs that replace simulated ones.
pub(super) struct RealPrograms {
    pub(super) consul: Option<Consul>,
    pub(super) nomad: Option<Nomad>,
    /// The names and versions of all real programs, as they print them.
    pub(super) versions: Vec<String>,
}

impl RealPrograms {
    /// Starts the real servers that the plan names.
    ///
    /// # Errors
    /// A binary is missing or is another program, or a server does not come up.
    pub(super) async fn start(plan: &Plan) -> Result<Self> {
        let versions = match &plan.traefik {
            Some(binary) => vec![traefik::identity(binary).context("start a real Traefik")?],
            None => Vec::new(),
        };
        let mut real = Self { consul: None, nomad: None, versions };
        if let Some(binary) = &plan.consul {
            let consul = Consul::start(binary).await.context("start a real Consul")?;
            if let Some(binary) = &plan.nomad {
                ingress_can_listen(plan)?;
                let nomad = Nomad::start(binary, &consul).await.context("start a real Nomad")?;
                real.versions.push(nomad.version.clone());
                real.nomad = Some(nomad);
            }
            real.versions.push(consul.version.clone());
            real.consul = Some(consul);
        }
        real.versions.reverse();
        Ok(real)
    }
}

/// Checks the ports of the ingresses. If one were in use, Nomad would restart the ingress again and again without a word about it.
fn ingress_can_listen(plan: &Plan) -> Result<()> {
    for number in 1..=plan.nodes {
        let address = SocketAddr::from((Plan::address(number), plan.port));
        if let Err(why) = listen(address) {
            let text = format!("the ingress of {} cannot listen on {address}: {why}", cluster::name(number));
            return Err(cannot_listen(io::Error::new(why.kind(), text)));
        }
    }
    Ok(())
}

/// The server of Nomad's API.
pub(super) enum NomadServer {
    /// The model.
    Simulated(wire::Server),
    /// A real server.
    Real(Nomad),
}

impl NomadServer {
    /// The real server if there is one, otherwise the model.
    ///
    /// # Errors
    /// No port is free.
    pub(super) async fn of(shared: &Arc<Shared>, real: Option<Nomad>) -> Result<Self> {
        Ok(match real {
            Some(nomad) => Self::Real(nomad),
            None => {
                let free = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
                let server = wire::serve(shared, Side::Nomad, wire::nomad::router(shared), free).await;
                Self::Simulated(server.context("serve the simulated Nomad")?)
            }
        })
    }

    /// The address of the API.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Simulated(server) => server.address,
            Self::Real(nomad) => nomad.address,
        }
    }

    /// The real server. `None` if Nomad is simulated.
    pub(super) fn real(&self) -> Option<&Nomad> {
        match self {
            Self::Simulated(_) => None,
            Self::Real(nomad) => Some(nomad),
        }
    }
}

/// The server of Consul's API.
pub(super) enum ConsulServer {
    /// The model.
    Simulated(wire::Server),
    /// A real server.
    Real(Consul),
}

impl ConsulServer {
    /// The real server if there is one, otherwise the model.
    ///
    /// # Errors
    /// No port is free.
    pub(super) async fn of(shared: &Arc<Shared>, real: Option<Consul>) -> Result<Self> {
        Ok(match real {
            Some(consul) => Self::Real(consul),
            None => {
                let free = SocketAddr::from((std::net::Ipv4Addr::LOCALHOST, 0));
                let server = wire::serve(shared, Side::Consul, wire::consul::router(shared), free).await;
                Self::Simulated(server.context("serve the simulated Consul")?)
            }
        })
    }

    /// The address of the API.
    pub(super) fn address(&self) -> SocketAddr {
        match self {
            Self::Simulated(server) => server.address,
            Self::Real(consul) => consul.address,
        }
    }
}

/// Adds advice to the error of a listener.
#[expect(clippy::wildcard_enum_match_arm, reason = "the system has dozens of errors; two of them have advice of their own")]
pub(super) fn cannot_listen(why: io::Error) -> anyhow::Error {
    let advice = match why.kind() {
        io::ErrorKind::AddrInUse => "stop the program that uses it, or choose another port with --port",
        io::ErrorKind::AddrNotAvailable => "every address of 127.0.0.0/8 must be local, as on Linux",
        _ => "see the error of the operating system",
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

/// decamp's settings, as environment variables.
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
