//! The top of the page: this replica, its groups, and which systems it reaches.

use std::time::Duration;

use super::Escaped;
use crate::Service;
use decamp_config::Cluster;
use decamp_core::time::{Time, plain};

/// Whether a system is reached; `None`: not read yet.
type Reached = Option<Result<(), String>>;

/// Renders the part.
pub(super) fn render(service: &Service, now: Time) -> String {
    let settings = &service.settings;
    let groups = &settings.allowed.groups;
    let groups = if groups.is_empty() { "all, because DECAMP_GROUPS names none".to_owned() } else { groups.join(", ") };
    let nomad: Vec<String> = settings.clusters.all().iter().map(addresses).collect();
    let nomad = nomad.join("; ");
    let swept = match service.health.last_sweep() {
        Some(at) => format!(
            "<time>{at}</time>, {} ago, every {}",
            plain(Duration::from_secs(now.since(at).as_secs())),
            plain(settings.serve.sweep_every)
        ),
        None => "none yet".to_owned(),
    };
    let mode = if settings.only_observes() { "observe: writes nothing" } else { "act" };
    let rows = [
        ("groups", Escaped(&groups).to_string()),
        ("Region", Escaped(&service.about.region).to_string()),
        ("cluster", Escaped(&nomad).to_string()),
        ("mode", mode.to_owned()),
        ("last sweep", swept),
        ("version", Escaped(service.about.version).to_string()),
        ("replica", format!("admin {}, webhooks {}", service.addresses.admin, service.addresses.webhooks)),
    ];
    let rows: String = rows.iter().map(|(what, value)| format!("<div><dt>{what}</dt><dd>{value}</dd></div>")).collect();
    format!("<dl class=\"about\">{rows}</dl><ul class=\"reached\" aria-label=\"Systems\">{}</ul>", systems(service))
}

/// The addresses of a cluster's Nomad, with its name where it has one.
fn addresses(cluster: &Cluster) -> String {
    let addresses = cluster.nomad.addresses.join(", ");
    cluster.name.as_ref().map_or_else(|| addresses.clone(), |name| format!("{name}: {addresses}"))
}

fn systems(service: &Service) -> String {
    let settings = &service.settings;
    let asked = [
        ("SQS", "queue", !settings.serve.queues.is_empty()),
        ("Auto Scaling", "Auto Scaling", true),
        ("Elastic Load Balancing", "load balancers", true),
        ("Nomad", "Nomad", true),
        ("Consul", "Consul", settings.clusters.all().iter().any(|cluster| cluster.consul.is_some())),
    ];
    asked.iter().filter(|(_, _, asked)| *asked).map(|(system, name, _)| one(name, &service.health.reached(system))).collect()
}

fn one(name: &str, reached: &Reached) -> String {
    match reached {
        Some(Ok(())) => format!("<li class=\"ok\">{name} <small>reached</small></li>"),
        Some(Err(why)) => format!("<li class=\"ill\" title=\"{}\">{name} <small>not reached</small></li>", Escaped(why)),
        None => format!("<li>{name} <small>not read yet</small></li>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_that_was_not_read_yet_is_neither_reached_nor_unreachable() {
        assert!(one("Consul", &None).contains("not read yet"));
        assert!(one("Consul", &Some(Ok(()))).contains(">reached<"));
        let ill = one("Consul", &Some(Err("<b>\"no".to_owned())));
        assert!(ill.contains("not reached") && ill.contains("&lt;b&gt;&quot;no") && !ill.contains("<b>"), "{ill}");
    }
}
