//! The plan of a rehearsal: the cluster, the clients and the refresh, with every number in one place (ADR 0024).

use std::fmt;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::Duration;

use decamp_core::time::plain;

/// The most nodes that a plan may have. Each needs its own address, and two cores carry no more.
pub const MOST_NODES: u32 = 40;
/// The account of the simulated AWS.
pub(super) const ACCOUNT: &str = "123456789012";
/// The Region of the simulated AWS.
pub(super) const REGION: &str = "eu-west-1";
/// The Auto Scaling group.
pub(super) const ASG: &str = "web";
/// The terminating hook of that group.
pub(super) const HOOK: &str = "decamp";
/// The job and service of the ingress.
pub(super) const INGRESS: &str = "ingress";
/// decamp's own job, for runs in which decamp runs on the cluster that it looks after.
pub(super) const DECAMP: &str = "decamp";
/// How often a real agent checks a service.
pub(super) const REAL_CHECK_EVERY: Duration = Duration::from_secs(1);

/// The plan of a rehearsal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Nodes at the start, all of which are replaced.
    pub nodes: u32,
    /// Services behind the ingress, of two to six copies.
    pub services: u32,
    /// Requests per second.
    pub rate: u32,
    /// The seed of everything random.
    pub seed: u64,
    /// The port of the ingress on every node.
    pub port: u16,
    /// Adds a service with a single copy, which no drain can keep available.
    pub single: bool,
    /// Adds a service that ignores its signal and one that dies of it at once. Both lose requests with any tool, and no setting shows it.
    pub deaf: bool,
    /// The ingress polls Consul at this interval instead of watching it.
    pub ingress_poll: Option<Duration>,
    /// The faults that are injected throughout the run (ADR 0024).
    pub chaos: Option<Chaos>,
    /// How long the load runs before the refresh begins.
    pub calm: Duration,
    /// How many refreshes run, one after another.
    pub rounds: u32,
    /// The load balancer in front of the ingresses.
    pub balancer: LoadBalancer,
    /// The binary of a real Consul to use instead of the simulated one.
    pub consul: Option<PathBuf>,
    /// The binary of a real Nomad to use instead of the simulated one. It needs a real Consul.
    pub nomad: Option<PathBuf>,
    /// The binary of a real Traefik to use instead of the built-in ingress. It needs a real Nomad, which runs it.
    pub traefik: Option<PathBuf>,
}

/// Which faults are injected throughout the run (ADR 0024).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chaos {
    /// Faults of decamp's own: it is killed, its events are lost, its link to Consul is cut, AWS throttles it, Nomad has no leader.
    Usual,
    /// The same, and the ingress loses its link to Consul at the same times.
    ConsulForAll,
}

/// The load balancer in front of the ingresses, and its settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoadBalancer {
    /// An Application Load Balancer, which chooses a target for each request.
    Application,
    /// A Network Load Balancer, which chooses a target for each connection. Its clients keep their connections.
    Network,
    /// A Network Load Balancer that closes the connections of a target at the end of its deregistration delay
    /// (`deregistration_delay.connection_termination.enabled`).
    NetworkThatTerminates,
}

impl LoadBalancer {
    /// Its name on the command line. `None` for the default.
    #[must_use]
    pub fn word(self) -> Option<&'static str> {
        match self {
            Self::Application => None,
            Self::Network => Some("nlb"),
            Self::NetworkThatTerminates => Some("nlb-termination"),
        }
    }

    /// Whether it is a Network Load Balancer, which passes connections through.
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
            deaf: false,
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
    /// The `shutdown_delay` of the services.
    pub const SHUTDOWN_DELAY: Duration = Duration::from_secs(4);
    /// The `min_healthy_time` of the services.
    pub const MIN_HEALTHY: Duration = Duration::from_secs(1);
    /// The `kill_timeout` of the services.
    pub const KILL_TIMEOUT: Duration = Duration::from_secs(5);
    /// The `kill_timeout` of the ingress.
    pub const INGRESS_KILL_TIMEOUT: Duration = Duration::from_secs(10);
    /// How often a target is checked. Two equal results in a row change its health.
    pub const CHECK_EVERY: Duration = Duration::from_secs(1);
    /// Replicas of decamp when it runs as a job on the cluster.
    pub const REPLICAS: u32 = 2;
    /// The `kill_timeout` of decamp's replicas (ADR 0031).
    pub const DECAMP_KILL_TIMEOUT: Duration = Duration::from_secs(30);
    /// The warm-up of new instances.
    pub const WARM_UP: Duration = Duration::from_secs(2);
    /// The longest request that a client sends.
    pub const LONGEST_REQUEST: Duration = Duration::from_secs(3);
    /// The hook's heartbeat time-out.
    pub const HEARTBEAT_TIMEOUT: Duration = Duration::from_secs(60);
    /// How often a sweep looks for waiting instances, whether or not events arrived (ADR 0024).
    pub const SWEEP_EVERY: Duration = Duration::from_secs(10);
    /// The ingress applies at most one change of its configuration in this time.
    pub const THROTTLE: Duration = Duration::from_secs(2);
    /// The most time that the ingress needs beyond the throttle. It is never under load here.
    pub const MARGIN: Duration = Duration::from_secs(1);
    /// How long the load continues after the last instance is gone.
    pub const AFTERWARDS: Duration = Duration::from_secs(1);
    /// A refresh that takes longer than this has failed.
    pub const LONGEST: Duration = Duration::from_secs(600);
    /// The refresh keeps at least this share of the desired instances healthy.
    pub const MIN_HEALTHY_PERCENT: u32 = 100;
    /// The refresh runs at most this share of the desired instances.
    pub const MAX_HEALTHY_PERCENT: u32 = 150;
    /// The guard that decamp is configured with: how long routing may lag behind a deregistration. It is shorter than the two minutes of
    /// a real Network Load Balancer, because the times of a rehearsal are short.
    #[must_use]
    pub fn guard(&self) -> Duration {
        Duration::from_secs(if self.balancer.is_network() { 12 } else { 4 })
    }

    /// The shortest and the longest time that routing really lags behind a deregistration.
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

    /// How many instances are replaced at a time: as many as may run beyond the desired number.
    #[must_use]
    pub fn at_a_time(&self) -> u32 {
        (self.nodes * (Self::MAX_HEALTHY_PERCENT - 100) / 100).max(1)
    }

    /// The services of the plan.
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
        if self.deaf {
            for nature in [Nature::Deaf, Nature::Abrupt] {
                all.push(ServicePlan { name: nature.word().to_owned(), copies: 2, at_once: 1, nature });
            }
        }
        if self.single {
            all.push(ServicePlan { name: "single".to_owned(), copies: 1, at_once: 1, nature: Nature::Obedient });
        }
        all
    }

    /// How often a worker sweeps. Without chaos it sweeps twice as often, because the whole run would wait for a single lost event.
    #[must_use]
    pub fn sweep_every(chaos: bool) -> Duration {
        if chaos { Self::SWEEP_EVERY } else { Self::SWEEP_EVERY / 2 }
    }

    /// How long a machine takes to start. By then real agents have joined and the ingress runs.
    #[must_use]
    pub fn starts_in(&self) -> Duration {
        Duration::from_secs(if self.nomad.is_some() { 6 } else { 1 })
    }

    /// How long a new copy runs before Nomad considers it healthy. A real agent makes its first check up to one interval later, and
    /// the catalog shows the result a moment after that.
    #[must_use]
    pub fn healthy_in(&self) -> Duration {
        Self::MIN_HEALTHY + self.consul.as_ref().map_or(Duration::ZERO, |_| REAL_CHECK_EVERY + Duration::from_millis(500))
    }

    /// The longest time that the ingress may keep sending to a copy that has left discovery.
    #[must_use]
    pub fn ingress_forgets(&self) -> Duration {
        self.ingress_poll.map_or(Self::THROTTLE, |every| every + Self::THROTTLE)
    }

    /// The port of decamp's page, on each node that runs a replica.
    #[must_use]
    pub fn page(&self) -> u16 {
        self.port.wrapping_add(1)
    }

    /// The address of the node with this number. Numbers start at 1.
    #[must_use]
    pub fn address(number: u32) -> Ipv4Addr {
        let low = u8::try_from(10 + number % 240).unwrap_or(10);
        let middle = u8::try_from(number / 240 % 256).unwrap_or(0);
        Ipv4Addr::new(127, 0, middle, low)
    }

    /// An estimate of how long a run takes. `drains` says whether the driver drains nodes.
    #[must_use]
    pub fn takes(&self, drains: bool) -> Duration {
        let batches = self.nodes.div_ceil(self.at_a_time()) * self.rounds;
        let arrive = self.starts_in() + Self::WARM_UP;
        // The move of one copy: signalled, stopped, started elsewhere, healthy there. Some services need two moves in a row.
        let moves = (Self::SHUTDOWN_DELAY + self.healthy_in() + Duration::from_secs(2)) * 2;
        let leave = if drains { self.released_in() + moves } else { Self::DELAY } + Duration::from_secs(2);
        self.calm + (arrive + leave) * batches + Self::AFTERWARDS
    }
}

/// One service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServicePlan {
    /// The name of the service and of its job.
    pub name: String,
    /// The number of copies.
    pub copies: u32,
    /// `migrate.max_parallel`.
    pub at_once: u32,
    /// How its processes behave.
    pub nature: Nature,
}

impl ServicePlan {
    /// The `kill_timeout` of the service. The deaf one that a plan adds is killed while requests are in progress.
    #[must_use]
    pub fn kill_timeout(&self) -> Duration {
        if self.name == Nature::Deaf.word() { Duration::from_secs(1) } else { Plan::KILL_TIMEOUT }
    }
}

/// How a process behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nature {
    /// On SIGTERM it accepts no more connections, finishes the requests in progress and exits.
    Obedient,
    /// Like `Obedient`, but it answers slowly and takes a second longer to exit.
    Slow,
    /// It ignores SIGTERM until Nomad kills it after its `kill_timeout`.
    Deaf,
    /// SIGTERM ends it at once, with the requests in progress.
    Abrupt,
}

impl Nature {
    /// All variants.
    pub const ALL: [Self; 4] = [Self::Obedient, Self::Slow, Self::Deaf, Self::Abrupt];

    /// Its name on a command line.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Obedient => "obedient",
            Self::Slow => "slow",
            Self::Deaf => "deaf",
            Self::Abrupt => "abrupt",
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { nodes, services, rate, seed, .. } = self;
        write!(f, "{nodes} nodes, {} at a time, {services} services of 2 to 6 copies", self.at_a_time())?;
        if self.deaf {
            f.write_str(", one that ignores its signal and one that dies of it")?;
        }
        if self.single {
            f.write_str(" and one of 1")?;
        }
        write!(f, ", {rate} requests/s, two target groups (one attached, one not, delay {}), ", plain(Self::DELAY))?;
        match self.balancer {
            LoadBalancer::Application => {}
            LoadBalancer::Network => f.write_str("a Network Load Balancer through which clients keep connections, ")?,
            LoadBalancer::NetworkThatTerminates => {
                f.write_str("a Network Load Balancer that closes kept connections at the end of the delay, ")?;
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
            Some(Chaos::ConsulForAll) => f.write_str("chaos in which the ingress loses Consul too, ")?,
            None => {}
        }
        write!(f, "seed {seed}")
    }
}
