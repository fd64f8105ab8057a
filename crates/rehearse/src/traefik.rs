//! A real Traefik in place of the built-in ingress: how it is told to follow Consul, and what its own answers mean.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use hyper::StatusCode;

use super::plan::Plan;
use super::programs::version;
use decamp_core::time::plain;

/// What a binary says that it is, such as `Traefik 3.7.9`.
///
/// # Errors
/// It cannot be run, or is no Traefik.
pub(super) fn identity(binary: &Path) -> Result<String> {
    let words = version(binary)?;
    match words.strip_prefix("Version:") {
        Some(number) => Ok(format!("Traefik {}", number.trim())),
        None => bail!("{} is no Traefik: it says that it is {words:?}", binary.display()),
    }
}

/// Its arguments: it listens there, asks this Consul agent, and finds a service behind a path of the service's name.
pub(super) fn arguments(listen: &str, consul: &str, poll: Option<Duration>) -> Vec<String> {
    let follows = match poll {
        None => "watch=true".to_owned(),
        Some(every) => format!("refreshInterval={}", plain(every)),
    };
    let graceful = Plan::LONGEST_REQUEST * 2;
    vec![
        format!("--entrypoints.web.address={listen}"),
        format!("--entrypoints.web.transport.lifecycle.gracetimeout={}", plain(graceful)),
        "--ping.entrypoint=web".to_owned(),
        format!("--providers.consulcatalog.endpoint.address={consul}"),
        "--providers.consulcatalog.defaultrule=PathPrefix(`/{{ .Name }}/`)".to_owned(),
        format!("--providers.consulcatalog.{follows}"),
        "--log.level=ERROR".to_owned(),
        "--global.checknewversion=false".to_owned(),
        "--global.sendanonymoususage=false".to_owned(),
    ]
}

/// What an answer means that it made up itself, in the words of the built-in ingress; `None` if it did not.
pub(super) fn meant(status: StatusCode, node: &str, service: &str) -> Option<String> {
    let who = format!("the ingress on {node}");
    match status {
        StatusCode::BAD_GATEWAY => Some(format!("{who} sent it to a copy of {service}: it did not take or keep the connection")),
        StatusCode::GATEWAY_TIMEOUT => Some(format!("{who} sent it to a copy of {service}: it did not answer")),
        StatusCode::SERVICE_UNAVAILABLE => Some(format!("{who} knew no copy of {service}")),
        StatusCode::NOT_FOUND => Some(format!("{who} did not know {service}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_it_makes_up_is_told_in_the_words_that_the_judge_knows() {
        let of = |status| meant(status, "node-2", "service-1").unwrap_or_default();
        assert!(of(StatusCode::BAD_GATEWAY).starts_with("the ingress on node-2 sent it to "));
        assert_eq!(of(StatusCode::SERVICE_UNAVAILABLE), "the ingress on node-2 knew no copy of service-1");
        assert_eq!(meant(StatusCode::OK, "node-2", "service-1"), None);
    }

    #[test]
    fn another_program_is_named() {
        let why = identity(Path::new("/bin/true")).unwrap_err().to_string();
        assert!(why.starts_with("/bin/true is no Traefik"), "{why}");
    }
}
