//! A small simulated cluster on loopback ports, for decamp, the AWS CLI, `nomad` and `consul`.
//!
//! [`serve`] builds it from [`Options`] and serves it until the [`Sandbox`] is dropped. Every instance can leave. Clients send requests
//! all the time, and `GET /sandbox/state` on the AWS port counts the failed ones.

mod cluster;
mod clusters;
mod requests;
mod routing;
mod state;
pub mod wire;
mod world;

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

pub use self::clusters::TwoClusters;
pub use self::requests::{FailedRequest, Requests};
pub use self::world::World;
use crate::wire::{Clock, Server, Shared, Side, Tokens, aws};
use decamp_core::decide::Provider;
use decamp_core::ids::{InstanceId, TargetGroupArn};
use decamp_sim::api_error::ApiError;
use decamp_sim::bucket::Limit;
use decamp_sim::{consul, nomad};

/// The account of every sandbox.
pub const ACCOUNT: &str = "123456789012";
/// The Region of every sandbox.
pub const REGION: &str = "eu-west-1";
/// The default Auto Scaling group.
pub const ASG: &str = "web";
/// The terminating hook of that group.
pub const HOOK: &str = "decamp";
/// The token that Nomad accepts if ACLs are on. It has the rights that decamp asks for.
pub const NOMAD_TOKEN: &str = "0a0a0a0a-0000-4000-8000-00000000dec0";
/// The token that Consul accepts if ACLs are on.
pub const CONSUL_TOKEN: &str = "0b0b0b0b-0000-4000-8000-00000000dec0";

/// The settings of a sandbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The Auto Scaling group. If it is not the default one, the names of the target groups begin with its name.
    pub asg: Arc<str>,
    /// Nodes at the start, each with its instance. At least two.
    pub nodes: u32,
    /// The number of the first node. Worlds that follow one another behind the same ports use different numbers, so that they share no
    /// instance.
    pub first: u32,
    /// The address to listen on.
    pub listen: IpAddr,
    /// The seed of the simulated systems.
    pub seed: u64,
    /// Services behind the ingress.
    pub services: u32,
    /// Copies of each service.
    pub copies: u32,
    /// The system that services are registered in.
    pub provider: Provider,
    /// The Consul namespace that services are registered in. `Some` makes Consul an Enterprise version.
    pub consul_namespace: Option<Arc<str>>,
    /// The name of a service that is registered by hand with every node's agent.
    pub by_hand: Option<Arc<str>>,
    /// Nodes are named after their instances, and have no EC2 fingerprint.
    pub named_by_instance: bool,
    /// The services' `shutdown_delay`.
    pub shutdown_delay: Duration,
    /// How long a new copy runs before it counts as healthy.
    pub healthy_in: Duration,
    /// How many target groups are attached to the Auto Scaling group. AWS deregisters instances there before the hook.
    pub attached: u32,
    /// How many target groups the hook's metadata names. decamp deregisters instances there.
    pub named: u32,
    /// Whether the first named target group is a Classic Load Balancer instead.
    pub classic: bool,
    /// Whether the named target groups list the nodes' addresses instead of the instances' ids.
    pub by_address: bool,
    /// Whether the attached target groups belong to a Network Load Balancer.
    pub network: bool,
    /// Whether every node runs an allocation of a batch job, which stops when Nomad asks it to.
    pub batch: bool,
    /// Whether every node runs an allocation of a service whose process ignores its kill signal, so that Nomad kills it.
    pub deaf: bool,
    /// Whether services use a CSI volume, and when Nomad then releases the claims. Every node runs a plugin.
    pub csi: Option<nomad::Release>,
    /// Whether cross-zone load balancing is on.
    pub crosses_zones: bool,
    /// The deregistration delay of all target groups.
    pub delay: Duration,
    /// The longest time that routing lags behind a deregistration.
    pub lag: Duration,
    /// The hook's heartbeat time-out.
    pub heartbeat_timeout: Duration,
    /// Requests per second that clients send, over all target groups.
    pub rate: u32,
    /// The longest request that clients send.
    pub longest_request: Duration,
    /// Whether a terminated instance is replaced.
    pub replacements: bool,
    /// How long a new machine takes to start.
    pub starts_in: Duration,
    /// Whether Nomad and Consul require tokens.
    pub acls: bool,
    /// Whether AWS throttles calls, as the real one does.
    pub throttled: bool,
    /// The version of Nomad.
    pub nomad: nomad::Version,
    /// The version of Consul.
    pub consul: consul::Version,
}

impl Default for Options {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            asg: ASG.into(),
            nodes: 3,
            first: 1,
            listen: Ipv4Addr::LOCALHOST.into(),
            seed: 1,
            services: 3,
            copies: 2,
            provider: Provider::Consul,
            consul_namespace: None,
            by_hand: None,
            named_by_instance: false,
            shutdown_delay: seconds(4),
            healthy_in: seconds(1),
            attached: 1,
            named: 1,
            classic: false,
            by_address: false,
            network: false,
            batch: false,
            deaf: false,
            csi: None,
            crosses_zones: true,
            delay: seconds(5),
            lag: seconds(3),
            heartbeat_timeout: seconds(300),
            rate: 50,
            longest_request: seconds(1),
            replacements: true,
            starts_in: seconds(10),
            acls: false,
            throttled: false,
            nomad: nomad::Version::V2_0_5,
            consul: consul::Version::V1_19_2,
        }
    }
}

/// How many instances stay in an exodus, and take over what the others ran.
const STAY: u32 = 5;

impl Options {
    /// A world in which this many instances can leave at once while AWS throttles.
    #[must_use]
    pub fn exodus(leave: u32) -> Self {
        Self {
            nodes: leave + STAY,
            services: leave,
            delay: Duration::from_secs(30),
            lag: Duration::from_secs(5),
            rate: 100,
            replacements: false,
            throttled: true,
            ..Self::default()
        }
    }

    fn limits(&self) -> [Limit; 3] {
        if self.throttled { [Limit::AUTO_SCALING, Limit::ELB_READS, Limit::ELB_WRITES] } else { [Limit::None; 3] }
    }

    /// The ARNs of the attached target groups, and of the named ones.
    #[must_use]
    pub fn target_groups(&self) -> [Vec<TargetGroupArn>; 2] {
        let arns = |kind: &str, many: u32| {
            let prefix = if *self.asg == *ASG { String::new() } else { format!("{}-", self.asg) };
            let arn = |number| {
                format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:targetgroup/{prefix}{kind}-{number}/0123456789abcdef")
            };
            (1..=many).filter_map(|number| arn(number).parse().ok()).collect()
        };
        let mut named: Vec<TargetGroupArn> = arns("named", self.named);
        let classic = format!("arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/classic-1").parse();
        if let (true, Ok(classic), Some(first)) = (self.classic, classic, named.first_mut()) {
            *first = classic;
        }
        [arns("attached", self.attached), named]
    }
}

/// A running sandbox. It ends when this is dropped.
pub struct Sandbox {
    /// The simulated AWS, with `/sandbox/…`.
    pub aws: Server,
    /// The simulated Nomad.
    pub nomad: Server,
    /// The simulated Consul.
    pub consul: Server,
    /// The world behind the three servers.
    pub shared: Arc<Shared>,
    /// The instances at the start.
    pub instances: Vec<InstanceId>,
    /// The Auto Scaling group of the instances.
    pub asg: Arc<str>,
}

/// Builds a world and serves it on three free ports.
///
/// # Errors
/// It cannot listen on the address.
pub async fn serve(options: &Options) -> io::Result<Sandbox> {
    let clock = Clock::real();
    let world = World::new(options, clock.now());
    let instances = world.instances().collect();
    let account = aws::Account { id: ACCOUNT.to_owned(), region: REGION.to_owned() };
    let shared = Shared::new(Box::new(world), clock, account);
    if options.acls {
        shared.set_tokens(tokens(NOMAD_TOKEN, CONSUL_TOKEN));
    }
    let free = SocketAddr::new(options.listen, 0);
    let router = aws::router(&shared).merge(wire::sandbox::router(&shared));
    let aws = wire::serve(&shared, Side::Aws, router, free).await?;
    let nomad = wire::serve(&shared, Side::Nomad, wire::nomad::router(&shared), free).await?;
    let consul = wire::serve(&shared, Side::Consul, wire::consul::router(&shared), free).await?;
    Ok(Sandbox { aws, nomad, consul, shared, instances, asg: Arc::clone(&options.asg) })
}

/// The only tokens that Nomad and Consul accept. They have the rights that decamp asks for.
fn tokens(for_nomad: &str, for_consul: &str) -> Tokens {
    Tokens {
        nomad: Some([(for_nomad.to_owned(), nomad::Token::Client(vec![nomad::Policy::decamp()]))].into()),
        consul: Some([(for_consul.to_owned(), consul::Token::Full)].into()),
    }
}

impl Sandbox {
    /// Puts a new world behind the same ports, and returns its instances.
    pub fn replace_world(&mut self, options: &Options) -> &[InstanceId] {
        let world = World::new(options, self.shared.clock.now());
        self.instances = world.instances().collect();
        self.asg = Arc::clone(&options.asg);
        self.shared.replace(Box::new(world));
        &self.instances
    }

    /// Terminates the first `many` of the instances at the start. See [`Sandbox::terminate_these`].
    ///
    /// # Errors
    /// An instance is terminating already.
    pub async fn terminate(&self, many: usize) -> Result<Vec<Value>, ApiError> {
        let leave: Vec<InstanceId> = self.instances.iter().take(many).copied().collect();
        self.terminate_these(&leave).await
    }

    /// Terminates these instances at once. When all their hooks have begun, it returns the events of the hooks as EventBridge sends them.
    /// At most 1,000 instances, because the world remembers no more events.
    ///
    /// # Errors
    /// An instance is terminating already, or does not exist.
    pub async fn terminate_these(&self, leave: &[InstanceId]) -> Result<Vec<Value>, ApiError> {
        let leave: HashSet<InstanceId> = leave.iter().copied().collect();
        let mut changes = self.shared.watch();
        self.shared.with(|models| {
            let (auto_scaling, balancers) = models.aws();
            leave.iter().try_for_each(|id| auto_scaling.terminate(*id, balancers))
        })?;
        loop {
            changes.mark_unchanged();
            let begun: Vec<_> = self.shared.events().into_iter().filter(|event| leave.contains(&event.instance)).collect();
            if leave.len() <= begun.len() {
                return Ok(begun.iter().map(|event| event.event_bridge(REGION, ACCOUNT)).collect());
            }
            // AWS first deregisters the instances from the attached target groups.
            changes.changed().await.ok();
        }
    }

    /// Waits until the machine of this instance is stopped.
    pub async fn machine_is_off(&self, instance: InstanceId) {
        let mut changes = self.shared.watch();
        while self.shared.look(|models| models.aws().0.instance(instance).is_some_and(|instance| instance.runs)) {
            changes.changed().await.ok();
        }
    }

    /// The environment variables that point decamp and the vendors' clients to the sandbox.
    #[must_use]
    pub fn variables(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", self.aws.url()),
            ("AWS_REGION", REGION.to_owned()),
            // boto3 and the AWS CLI read only this one.
            ("AWS_DEFAULT_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "sandbox".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "sandbox".to_owned()),
            ("NOMAD_ADDR", self.nomad.url()),
            ("NOMAD_TOKEN", NOMAD_TOKEN.to_owned()),
            ("CONSUL_HTTP_ADDR", self.consul.url()),
            ("CONSUL_HTTP_TOKEN", CONSUL_TOKEN.to_owned()),
            ("DECAMP_GROUPS", self.asg.to_string()),
            // The sandbox's ingress is never under load.
            ("DECAMP_INGRESS_MARGIN", "1s".to_owned()),
        ]
    }

    /// The variables as shell exports, with instructions as comments.
    #[must_use]
    pub fn exports(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.variables() {
            text.push_str(&format!("export {name}={value}\n"));
        }
        let (aws, asg) = (self.aws.url(), &self.asg);
        text.push_str(&format!("# the instances of the group {asg}:"));
        for instance in &self.instances {
            text.push_str(&format!(" {instance}"));
        }
        let Some(first) = self.instances.first() else {
            text.push('\n');
            return text;
        };
        text.push_str(&format!(
            "\n# In another terminal, with these variables set:\n\
             # check the settings, and show what a departure would do\n#   decamp check\n#   decamp plan --instance {first}\n\
             # one departure: terminate an instance, and take it out of service\n\
             #   curl -X POST '{aws}/sandbox/terminate?instance={first}'\n#   decamp run --asg {asg} --instance {first}\n\
             # a whole refresh, in two terminals: first the service (its page is http://127.0.0.1:8481), then the refresh\n\
             #   DECAMP_SWEEP=5s decamp serve\n\
             #   curl -X POST '{aws}/sandbox/release' && decamp refresh start --asg {asg}\n\
             # the state of the cluster, and how many requests failed\n#   curl {aws}/sandbox/state\n",
        ));
        text
    }
}
