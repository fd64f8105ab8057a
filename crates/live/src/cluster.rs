//! One Nomad cluster with its Consul. Each of several clusters has its own clients, so that its outages and refusals do not affect
//! the others.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use decamp_config as config;
use decamp_core::decide::{Nomad, Observation, Part, Registrations, Snapshot, Unseen};
use decamp_core::ids::InstanceId;
use decamp_hashicorp::{consul, discovery, nomad};
use decamp_net::{Clock, secrets};
use futures_util::future::{join, join3};

/// The clients of one cluster.
pub struct Cluster {
    settings: config::Cluster,
    nomad: nomad::Client,
    consul: Option<consul::Client>,
}

impl Cluster {
    pub(super) fn new(settings: &config::Cluster, store: &Arc<dyn secrets::Fetch>, clock: &Arc<Clock>) -> Result<Self> {
        let clock = Arc::clone(clock);
        let clients = || {
            let nomad = nomad::Client::new(&settings.nomad, Arc::clone(store), Arc::new(move || clock.now()))?;
            let consul = settings.consul.as_ref().map(|at| consul::Client::new(at, Arc::clone(store))).transpose()?;
            Ok(Self { settings: settings.clone(), nomad, consul })
        };
        match &settings.name {
            None => clients(),
            Some(name) => clients().with_context(|| format!("clusters.{name}")),
        }
    }

    /// Its name in the document of settings; `None` if it is the only cluster.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.settings.name.as_ref()
    }

    /// Whether the cluster has a group of this name.
    #[must_use]
    pub fn has(&self, group: &str) -> bool {
        self.settings.has(group)
    }

    /// Its Nomad.
    #[must_use]
    pub fn nomad(&self) -> &nomad::Client {
        &self.nomad
    }

    /// Its Consul, if services are registered there.
    #[must_use]
    pub fn consul(&self) -> Option<&consul::Client> {
        self.consul.as_ref()
    }

    /// Looks at Nomad and discovery. If both are wanted, Nomad comes first, because it shows what to look for in discovery.
    pub(super) async fn look(&self, instance: InstanceId, seen: &Snapshot, parts: &[Part]) -> Vec<Observation> {
        let wanted = |part| parts.contains(&part);
        let before = seen.nomad.last();
        let capability = async {
            if wanted(Part::NomadToken) { Some(Observation::NomadToken(self.nomad.token_access().await)) } else { None }
        };
        let rest = async {
            let nomad = if wanted(Part::Nomad) { Some(self.nomad.look(instance, before).await) } else { None };
            let known = nomad.as_ref().and_then(|look| look.as_ref().ok()).or(before);
            let consul = async {
                if wanted(Part::Consul) { Some(Observation::Consul(self.look_at_consul(seen, known).await)) } else { None }
            };
            let services = async {
                if wanted(Part::NomadServices) {
                    Some(Observation::NomadServices(self.look_at_services(known).await))
                } else {
                    None
                }
            };
            let asked = parts.iter().find_map(|part| if let Part::Addresses(asked) = part { Some(asked) } else { None });
            let addresses = async {
                let look = self.nomad.elsewhere(instance, known, asked?).await;
                Some(Observation::Addresses(look))
            };
            let (consul, services, addresses) = join3(consul, services, addresses).await;
            [nomad.map(Observation::Nomad), consul, services, addresses]
        };
        let (capability, rest) = join(capability, rest).await;
        rest.into_iter().flatten().chain(capability).collect()
    }

    async fn look_at_consul(&self, seen: &Snapshot, known: Option<&Nomad>) -> Result<Registrations, Unseen> {
        match &self.consul {
            Some(consul) => {
                let mut namespaces = seen.consul_namespaces();
                // The allocations that this look found on the node may declare other namespaces.
                let new = known.map(Nomad::consul_namespaces).unwrap_or_default();
                namespaces.extend(new.into_iter().filter(|name| !seen.consul_namespaces().contains(name)));
                discovery::look(consul, known, &namespaces).await
            }
            None => Err(Unseen::Away("Consul is switched off".into())),
        }
    }

    async fn look_at_services(&self, known: Option<&Nomad>) -> Result<Registrations, Unseen> {
        match known {
            Some(known) => self.nomad.services(known).await,
            None => Err(Unseen::Away("no Nomad node tells which allocations to ask for".into())),
        }
    }
}
