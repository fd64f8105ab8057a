//! What is rehearsed: the cluster, the clients and the refresh, with every number of it in one place (ADR 0024).

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use decamp_core::time::plain;

/// The most nodes that there may be: each needs an address of its own, and two cores carry no more.
pub const MOST_NODES: u32 = 40;
/// The account of the pretend AWS.
pub(super) const ACCOUNT: &str = "123456789012";
/// Its Region.
pub(super) const REGION: &str = "eu-west-1";
/// Its Auto Scaling group.
pub(super) const ASG: &str = "web";
/// The terminating hook of that group.
pub(super) const HOOK: &str = "decamp";
/// The job and service of the ingress.
pub(super) const INGRESS: &str = "ingress";
/// decamp's own job, where it runs on the cluster that it looks after.
pub(super) const DECAMP: &str = "decamp";
/// How often a real agent makes a service's check.
pub(super) const REAL_CHECK_EVERY: Duration = Duration::from_secs(1);

/// What is rehearsed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Nodes at the start, all of which are replaced.
    pub nodes: u32,
    /// Services behind the ingress, of two to six copies.
    pub services: u32,
    /// Requests a second.
    pub rate: u32,
    /// What everything draws its luck from.
    pub seed: u64,
    /// The port of the ingress on every node.
    pub port: u16,
    /// Adds a service with a single copy, which no drain can keep up.
    pub single: bool,
    /// The ingress asks Consul this often, and does not watch it.
    pub ingress_poll: Option<Duration>,
    /// decamp is killed and hindered all the while (ADR 0024).
    pub chaos: Option<Chaos>,
    /// Calm load before the refresh begins.
    pub calm: Duration,
    /// The refresh is done this often, one after another.
    pub rounds: u32,
    /// What stands before the ingresses.
    pub balancer: LoadBalancer,
    /// A real Consul in place of the pretended one: its binary.
    pub consul: Option<PathBuf>,
    /// A real Nomad in place of the pretended one: its binary. It needs a real Consul.
    pub nomad: Option<PathBuf>,
    /// A real Traefik in place of the built-in ingress: its binary. It needs a real Nomad, which runs it.
    pub traefik: Option<PathBuf>,
}

/// What goes wrong all the while (ADR 0024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chaos {
    /// decamp's own: it is killed, its events are lost, its path to Consul is cut, AWS throttles it, Nomad has no leader.
    Usual,
    /// The same, and while Consul is away it is away for the ingress as well.
    ConsulForAll,
}

/// What stands before the ingresses, and how it is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadBalancer {
    /// An Application Load Balancer: it sends each request to a target.
    Application,
    /// A Network Load Balancer: it sends each connection to a target, where the connection stays. Its clients keep their connections.
    Network,
    /// The same, which cuts the connections of a target at the end of its deregistration delay
    /// (`deregistration_delay.connection_termination.enabled`).
    NetworkThatTerminates,
}

impl LoadBalancer {
    /// Its name on a command line; `None` for the usual one.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Application => None,
            Self::Network => Some("nlb"),
            Self::NetworkThatTerminates => Some("nlb-termination"),
        }
    }

    /// Whether it passes connections through.
    #[must_use]
    pub fn is_network(self) -> bool {
        match self {
            Self::Application => false,
            Self::Network | Self::NetworkThatTerminates => true,
        }
    }
}

impl Default for Plan {
    fn default() -> Self {
        Self {
            nodes: 4,
            services: 5,
            rate: 300,
            seed: 1,
            port: 8089,
            single: false,
            ingress_poll: None,
            chaos: None,
            calm: Duration::from_secs(15),
            rounds: 1,
            balancer: LoadBalancer::Application,
            consul: None,
            nomad: None,
            traefik: None,
        }
    }
}

impl Plan {
    /// The deregistration delay of both target groups.
    pub const DELAY: Duration = Duration::from_secs(5);
    /// The services' `shutdown_delay`.
    pub const SHUTDOWN_DELAY: Duration = Duration::from_secs(4);
    /// Their `min_healthy_time`.
    pub const MIN_HEALTHY: Duration = Duration::from_secs(1);
    /// Their `kill_timeout`.
    pub const KILL_TIMEOUT: Duration = Duration::from_secs(5);
    /// The ingress's `kill_timeout`.
    pub const INGRESS_KILL_TIMEOUT: Duration = Duration::from_secs(10);
    /// How often a target is checked; two results in a row decide.
    pub const CHECK_EVERY: Duration = Duration::from_secs(1);
    /// Replicas of decamp, where it runs as a job of the cluster.
    pub const REPLICAS: u32 = 2;
    /// Their `kill_timeout` (ADR 0031).
    pub const DECAMP_KILL_TIMEOUT: Duration = Duration::from_secs(30);
    /// The warm-up of new instances.
    pub const WARM_UP: Duration = Duration::from_secs(2);
    /// The longest request that clients make.
    pub const LONGEST_REQUEST: Duration = Duration::from_secs(3);
    /// The hook's heartbeat time-out.
    pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);
    /// How often what waits is swept up, events or not (ADR 0024).
    pub const SWEEP_EVERY: Duration = Duration::from_secs(10);
    /// No two changes of the ingress come into force within this time.
    pub const THROTTLE: Duration = Duration::from_secs(2);
    /// What its own work takes beyond that at most: it is never under load.
    pub const MARGIN: Duration = Duration::from_secs(1);
    /// The load goes on for so long after the last instance has gone.
    pub const AFTERWARDS: Duration = Duration::from_secs(1);
    /// A refresh that takes longer than this has failed.
    pub const LONGEST: Duration = Duration::from_secs(600);
    /// Healthy instances never go below this share of what is desired.
    pub const MIN_HEALTHY_PERCENT: u32 = 100;
    /// Nor all of them above this.
    pub const MAX_HEALTHY_PERCENT: u32 = 150;
    /// What decamp is told that routing may lag a deregistration by: less than half a minute instead of the two minutes of a Network Load
    /// Balancer, as time is short here.
    #[must_use]
    pub fn guard(&self) -> Duration {
        Duration::from_secs(if self.balancer.is_network() { 12 } else { 4 })
    }

    /// What it really lags by, least and most.
    #[must_use]
    pub fn lag(&self) -> (Duration, Duration) {
        let (least, most) = if self.balancer.is_network() { (2, 10) } else { (1, 3) };
        (Duration::from_secs(least), Duration::from_secs(most))
    }

    /// How long decamp waits after a deregistration.
    #[must_use]
    pub fn released_in(&self) -> Duration {
        Self::DELAY.max(self.guard())
    }

    /// Instances that leave at a time: as many as may be there beyond what is desired.
    #[must_use]
    pub fn at_a_time(&self) -> u32 {
        (self.nodes * (Self::MAX_HEALTHY_PERCENT - 100) / 100).max(1)
    }

    /// The services: name, copies, how many may move at once, and how their processes are.
    #[must_use]
    pub fn services(&self) -> Vec<ServicePlan> {
        let mut all: Vec<ServicePlan> = (0..self.services)
            .map(|place| {
                let copies = 2 + place % 5;
                let nature = match place % 5 {
                    1 => Nature::Slow,
                    2 => Nature::Deaf,
                    _ => Nature::Obedient,
                };
                ServicePlan { name: format!("service-{}", place + 1), copies, at_once: (copies / 2).max(1), nature }
            })
            .collect();
        if self.single {
            all.push(ServicePlan { name: "single".to_owned(), copies: 1, at_once: 1, nature: Nature::Obedient });
        }
        all
    }

    /// How often a worker sweeps up what waits: without chaos twice as often, as one lost event would be all that a run waits for.
    #[must_use]
    pub fn sweep_every(chaos: bool) -> Duration {
        if chaos { Self::SWEEP_EVERY } else { Self::SWEEP_EVERY / 2 }
    }

    /// How long a machine takes to start. Real agents must have found one another by then, and the ingress must be up.
    #[must_use]
    pub fn starts_in(&self) -> Duration {
        Duration::from_secs(if self.nomad.is_some() { 6 } else { 1 })
    }

    /// How long a new copy runs until Nomad takes it for healthy: a real agent makes its first check up to an interval later, and
    /// tells the catalog a moment after.
    #[must_use]
    pub fn healthy_in(&self) -> Duration {
        Self::MIN_HEALTHY + self.consul.as_ref().map_or(Duration::ZERO, |_| REAL_CHECK_EVERY + Duration::from_millis(500))
    }

    /// The longest that the ingress promises to go on sending to what has left discovery.
    #[must_use]
    pub fn ingress_forgets(&self) -> Duration {
        self.ingress_poll.map_or(Self::THROTTLE, |every| every + Self::THROTTLE)
    }

    /// The port of decamp's page, on each node that has a replica of it.
    #[must_use]
    pub fn page(&self) -> u16 {
        self.port.wrapping_add(1)
    }

    /// The address of the node with this number, counted from 1.
    #[must_use]
    pub fn address(number: u32) -> Ipv4Addr {
        let low = u8::try_from(10 + number % 240).unwrap_or(10);
        let middle = u8::try_from(number / 240 % 256).unwrap_or(0);
        Ipv4Addr::new(127, 0, middle, low)
    }

    /// How long a whole run with a driver that drains takes, reckoned from the plan.
    #[must_use]
    pub fn takes(&self, drains: bool) -> Duration {
        let batches = self.nodes.div_ceil(self.at_a_time()) * self.rounds;
        let arrive = self.starts_in() + Self::WARM_UP;
        // One move of a copy: told, stopped, started elsewhere, healthy there. Some services need two in a row.
        let moves = (Self::SHUTDOWN_DELAY + self.healthy_in() + Duration::from_secs(2)) * 2;
        let leave = if drains { self.released_in() + moves } else { Self::DELAY } + Duration::from_secs(2);
        self.calm + (arrive + leave) * batches + Self::AFTERWARDS
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// Its name, and its job's.
    pub name: String,
    /// Copies.
    pub copies: u32,
    /// `migrate.max_parallel`.
    pub at_once: u32,
    /// How its processes are.
    pub nature: Nature,
}

/// How a process behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// On SIGTERM it takes no more connections, finishes what it holds and exits.
    Obedient,
    /// The same, and it answers slowly and takes a second more to exit.
    Slow,
    /// It ignores SIGTERM and is killed at its `kill_timeout`.
    Deaf,
}

impl Nature {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Obedient, Self::Slow, Self::Deaf];

    /// Its name on a command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Obedient => "obedient",
            Self::Slow => "slow",
            Self::Deaf => "deaf",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, services, rate, seed, .. } = self;
        write!(f, "{nodes} nodes, {} at a time, {services} services of 2 to 6 copies", self.at_a_time())?;
        if self.single {
            f.write_str(" and one of 1")?;
        }
        write!(f, ", {rate} requests/s, two target groups (one attached, one not, delay {}), ", plain(Self::DELAY))?;
        match self.balancer {
            LoadBalancer::Application => {}
            LoadBalancer::Network => f.write_str("a Network Load Balancer through which clients keep connections, ")?,
            LoadBalancer::NetworkThatTerminates => {
                f.write_str("a Network Load Balancer that cuts kept connections at the end of the delay, ")?;
            }
        }
        match self.ingress_poll {
            Some(every) => write!(f, "an ingress that polls Consul every {}, ", plain(every))?,
            None => f.write_str("an ingress that watches Consul, ")?,
        }
        for (name, real) in [("Nomad", &self.nomad), ("Consul", &self.consul), ("Traefik", &self.traefik)] {
            if real.is_some() {
                write!(f, "a real {name}, ")?;
            }
        }
        match self.chaos {
            Some(Chaos::Usual) => f.write_str("chaos, ")?,
            Some(Chaos::ConsulForAll) => f.write_str("chaos with Consul away for all, ")?,
            None => {}
        }
        write!(f, "seed {seed}")
    }
}
