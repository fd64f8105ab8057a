//! The real world behind the one seam that the rules know: AWS, Nomad and Consul over HTTP.

mod world;

use std::sync::Arc;

use anyhow::{Result, anyhow, bail};
use decamp_aws::shared::Crowd;
use decamp_aws::signed::Signed;
use decamp_aws::{AutoScaling, Aws, Calls, LoadBalancers};
use decamp_config::{Secret, Settings, Stored};
use decamp_hashicorp::{consul, nomad};
use decamp_net::secrets::{Fetch as _, NotFetched};
use decamp_net::{Clock, secrets};

/// The document of settings that is kept in AWS (`DECAMP_CONFIG`).
///
/// # Errors
///
/// If it cannot be fetched, or there is nothing in it.
pub async fn document(stored: &Stored, aws: &decamp_config::Aws) -> Result<Secret> {
    let signed = Signed::new(&Aws::load(aws, None).await);
    match signed.fetch(stored).await {
        Ok(text) if text.is_blank() => bail!("DECAMP_CONFIG: there is nothing in {stored}; write the settings into it"),
        Ok(text) => Ok(text),
        Err(NotFetched::Gone(why)) => Err(anyhow!("DECAMP_CONFIG: {stored} cannot be read: {why}")),
        Err(NotFetched::Unseen(why)) => Err(anyhow!("DECAMP_CONFIG: {stored} cannot be read: {why}")),
    }
}

/// The real world. One of them serves any number of departures at the same time, and asks on behalf of all.
pub struct Live {
    auto_scaling: AutoScaling,
    load_balancers: LoadBalancers,
    nomad: nomad::Client,
    consul: Option<consul::Client>,
    signed: Arc<Signed>,
    clock: Arc<Clock>,
    calls: Arc<Calls>,
    crowd: Arc<Crowd>,
}

impl Live {
    /// The world that the settings name. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// If a certificate or key cannot be used.
    pub async fn connect(settings: &Settings) -> Result<Self> {
        Self::new(settings, &Aws::load(&settings.aws, None).await)
    }

    /// The same with a given access to AWS.
    ///
    /// # Errors
    ///
    /// If a certificate or key cannot be used.
    pub fn new(settings: &Settings, aws: &Aws) -> Result<Self> {
        let signed = Arc::new(Signed::new(aws));
        let crowd = Arc::new(Crowd::default());
        let clock = Arc::clone(aws.clock());
        let tell = Arc::clone(&clock);
        let store: Arc<dyn secrets::Fetch> = Arc::<Signed>::clone(&signed);
        let consul =
            settings.consul.as_ref().map(|connection| consul::Client::new(connection, Arc::clone(&store))).transpose()?;
        Ok(Self {
            auto_scaling: AutoScaling::new(aws, &crowd),
            load_balancers: LoadBalancers::new(aws, &crowd),
            nomad: nomad::Client::new(&settings.nomad, store, Arc::new(move || tell.now()))?,
            consul,
            signed,
            clock,
            calls: Arc::clone(aws.calls()),
            crowd,
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

    /// Nomad.
    #[must_use]
    pub fn nomad(&self) -> &nomad::Client {
        &self.nomad
    }

    /// Consul, if services are registered there.
    #[must_use]
    pub fn consul(&self) -> Option<&consul::Client> {
        self.consul.as_ref()
    }

    /// Where secrets are kept in AWS.
    #[must_use]
    pub fn store(&self) -> Arc<dyn secrets::Fetch> {
        Arc::<Signed>::clone(&self.signed)
    }

    /// The calls that are signed by hand.
    #[must_use]
    pub fn signed(&self) -> &Signed {
        &self.signed
    }

    /// The servers' clock.
    #[must_use]
    pub fn clock(&self) -> &Clock {
        &self.clock
    }

    /// How often AWS was called.
    #[must_use]
    pub fn calls(&self) -> &Calls {
        &self.calls
    }
}
