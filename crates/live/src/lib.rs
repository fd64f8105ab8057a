//! The real systems as one `World`: AWS, Nomad and Consul over HTTP.

mod cluster;
mod look_back;
mod world;

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use decamp_aws::coalescing::InFlight;
use decamp_aws::signed::Signed;
use decamp_aws::{AutoScaling, Aws, Calls, LoadBalancers};
use decamp_config::{Secret, Settings, Stored};
use decamp_net::secrets::{Fetch as _, NotFetched};
use decamp_net::{Clock, secrets};

pub use self::cluster::Cluster;

/// The document of settings that is kept in AWS (`DECAMP_CONFIG`).
///
/// # Errors
///
/// Returns an error if it cannot be fetched or is empty.
pub async fn document(stored: &Stored, aws: &decamp_config::Aws) -> Result<Secret> {
    let signed = Signed::new(&Aws::load(aws, None).await);
    match signed.fetch(stored).await {
        Ok(text) if text.is_blank() => bail!("DECAMP_CONFIG: there is nothing in {stored}; write the settings into it"),
        Ok(text) => Ok(text),
        Err(NotFetched::Gone(why)) => Err(anyhow!("DECAMP_CONFIG: {stored} cannot be read: {why}")),
        Err(NotFetched::Unseen(why)) => Err(anyhow!("DECAMP_CONFIG: {stored} cannot be read: {why}")),
    }
}

/// The real systems as one `World`. It serves any number of departures at the same time, and shares their calls.
pub struct Live {
    auto_scaling: AutoScaling,
    load_balancers: LoadBalancers,
    clusters: Vec<Cluster>,
    signed: Arc<Signed>,
    clock: Arc<Clock>,
    calls: Arc<Calls>,
    in_flight: Arc<InFlight>,
}

impl Live {
    /// Connects to the systems in the settings. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate or key cannot be used.
    pub async fn connect(settings: &Settings) -> Result<Self> {
        Self::new(settings, &Aws::load(&settings.aws, None).await)
    }

    /// As `connect`, with given access to AWS.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate or key cannot be used.
    pub fn new(settings: &Settings, aws: &Aws) -> Result<Self> {
        let signed = Arc::new(Signed::new(aws));
        let in_flight = Arc::new(InFlight::default());
        let clock = Arc::clone(aws.clock());
        let store: Arc<dyn secrets::Fetch> = Arc::<Signed>::clone(&signed);
        let clusters = settings.clusters.all().iter().map(|of| Cluster::new(of, &store, &clock)).collect::<Result<_>>()?;
        Ok(Self {
            auto_scaling: AutoScaling::new(aws, &in_flight),
            load_balancers: LoadBalancers::new(aws, &in_flight),
            clusters,
            signed,
            clock,
            calls: Arc::clone(aws.calls()),
            in_flight,
        })
    }

    /// Auto Scaling.
    #[must_use]
    pub fn auto_scaling(&self) -> &AutoScaling {
        &self.auto_scaling
    }

    /// The load balancers.
    #[must_use]
    pub fn load_balancers(&self) -> &LoadBalancers {
        &self.load_balancers
    }

    /// The cluster of a group's instances; `None` if no cluster in the settings has the group. The allow-list has no such group.
    #[must_use]
    pub fn cluster(&self, group: &str) -> Option<&Cluster> {
        self.clusters.iter().find(|cluster| cluster.has(group))
    }

    /// All clusters.
    #[must_use]
    pub fn clusters(&self) -> &[Cluster] {
        &self.clusters
    }

    /// The store of secrets in AWS.
    #[must_use]
    pub fn store(&self) -> Arc<dyn secrets::Fetch> {
        Arc::<Signed>::clone(&self.signed)
    }

    /// The client for calls that decamp signs itself.
    #[must_use]
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The clock, corrected by the servers.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// The counts of calls of AWS.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }
}
