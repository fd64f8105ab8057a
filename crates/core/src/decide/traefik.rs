//! How long Traefik goes on routing to a service that has left discovery, by its settings (facts/consul.md 5.2).

use std::sync::Arc;
use std::time::Duration;

use super::Ingress;
use crate::time::plain;

/// How often Traefik polls Consul or Nomad, by default.
const REFRESH: Duration = Duration::from_secs(15);
/// How long Traefik collects changes before it applies them, by default.
const THROTTLE: Duration = Duration::from_secs(2);

/// The settings of a Traefik that matter here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traefik {
    /// How it follows Consul's catalog. `None`: it does not.
    pub consul: Option<Follows>,
    /// How it follows Nomad's own discovery. `None`: it does not.
    pub nomad: Option<Follows>,
    /// `providers.providersThrottleDuration`.
    pub throttle: Option<Duration>,
}

/// How one of its providers follows discovery.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Follows {
    /// `watch`: it is notified of changes.
    pub watch: bool,
    /// `refreshInterval`: it polls this often.
    pub refresh: Option<Duration>,
}

impl Traefik {
    /// The ingress that it is. `None` if it does not follow discovery. The slower of two providers counts.
    #[must_use]
    pub fn ingress(&self) -> Option<Ingress> {
        let one = |follows: Option<Follows>, system: &str| {
            let follows = follows?;
            let throttle = self.throttle.unwrap_or(THROTTLE);
            let (forgets_after, how) = if follows.watch {
                (throttle, format!("Traefik watches {system}"))
            } else {
                let refresh = follows.refresh.unwrap_or(REFRESH);
                (refresh + throttle, format!("Traefik polls {system} every {}", plain(refresh)))
            };
            Some(Ingress { forgets_after, how: Arc::from(how) })
        };
        let both = [one(self.consul, "Consul"), one(self.nomad, "Nomad")];
        both.into_iter().flatten().max_by_key(|ingress| ingress.forgets_after)
    }
}
