//! The registrations that Consul lists for an instance: of its node, or of all its nodes if it has several.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::try_join_all;
use tokio::time::{Instant, sleep_until};

use super::consul::Client;
use decamp_core::decide::{HandRegistration, Nomad, Registration, Registrations, Unseen};

/// How often an instance with several nodes, or with services in namespaces, is polled. These cannot be watched with one blocking query.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// The names of the instance's nodes in Consul. A Nomad client that never reached its Consul agent usually has the same name there.
fn names(nomad: &Nomad) -> Vec<&str> {
    nomad.nodes.iter().map(|node| node.consul_name.as_deref().unwrap_or(&node.name)).collect()
}

/// Reads the registrations of all nodes of an instance, in these namespaces besides the one of the settings.
pub async fn look(consul: &Client, nomad: Option<&Nomad>, namespaces: &[Arc<str>]) -> Result<Registrations, Unseen> {
    let names = nomad.map(names).unwrap_or_default();
    if names.is_empty() {
        return Err(Unseen::Away("without a Nomad node, the instance's name in Consul is unknown".into()));
    }
    let looks = try_join_all(names.into_iter().map(|name| consul.look_in(name, namespaces))).await?;
    Ok(merged(looks))
}

/// Waits until the registrations differ from `seen`; `None` when the time is up. `last_look_failed` and `closely` are as in
/// [`Client::watch`].
pub async fn watch(
    consul: &Client,
    nomad: Option<&Nomad>,
    namespaces: &[Arc<str>],
    seen: Option<&Registrations>,
    last_look_failed: bool,
    closely: Option<Instant>,
    until: Instant,
) -> Option<Result<Registrations, Unseen>> {
    let names = nomad.map(names).unwrap_or_default();
    match (names.as_slice(), seen) {
        ([name], Some(seen)) if namespaces.is_empty() => consul.watch(name, seen, last_look_failed, closely, until).await,
        ([], _) | ([_], None) => {
            sleep_until(until).await;
            None
        }
        (_, seen) => loop {
            let next = Instant::now() + POLL_EVERY;
            sleep_until(next.min(until)).await;
            if until <= next {
                return None;
            }
            match look(consul, nomad, namespaces).await {
                Ok(news) if closely.is_some() || seen != Some(&news) => return Some(Ok(news)),
                Err(why) if closely.is_some() && !last_look_failed => return Some(Err(why)),
                Ok(_) | Err(_) => {}
            }
        },
    }
}

/// The registrations of several nodes as one list. It is whole if all of them are. If only some agents are dead, the services of those are
/// critical.
fn merged(mut looks: Vec<Registrations>) -> Registrations {
    if looks.len() == 1
        && let Some(one) = looks.pop()
    {
        return one;
    }
    let whole = looks.iter().all(|look| look.whole);
    let agent_dead = looks.iter().all(|look| look.agent_dead);
    let services = looks.iter().flat_map(|look| {
        look.services.iter().map(|service| Registration { critical: service.critical || look.agent_dead, ..service.clone() })
    });
    let by_hand = looks.iter().flat_map(|look| {
        look.by_hand.iter().map(|one| HandRegistration { critical: one.critical || look.agent_dead, ..one.clone() })
    });
    Registrations { whole, agent_dead, services: services.collect(), by_hand: by_hand.collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use decamp_core::ids::AllocationId;

    #[test]
    fn services_of_a_dead_agent_are_critical_although_another_agent_lives() {
        let look = |allocation, agent_dead, whole| Registrations {
            whole,
            agent_dead,
            services: [Registration { allocation: AllocationId(allocation), service: "web".into(), critical: false }].into(),
            by_hand: [].into(),
        };
        let both = merged(vec![look(1, true, true), look(2, false, true)]);
        assert!(both.whole && !both.agent_dead);
        assert_eq!(both.services.iter().map(|s| s.critical).collect::<Vec<_>>(), [true, false]);
        assert!(!merged(vec![look(1, false, true), look(2, false, false)]).whole);
        assert_eq!(merged(vec![look(1, true, true)]), look(1, true, true));
    }
}
