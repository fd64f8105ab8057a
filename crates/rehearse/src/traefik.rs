//! A real Traefik instead of the built-in ingress: its arguments, and the meaning of its own error answers.

use std::path::Path;
use std::time::Duration;

use anyhow::{Result, bail};
use hyper::StatusCode;

use super::plan::Plan;
use super::programs::version;
use decamp_core::time::plain;

/// The name and version of a binary, such as `Traefik 3.7.9`.
///
/// # Errors
/// The binary cannot be run, or is not Traefik.
pub(super) fn identity(binary: &Path) -> Result<String> {
    let line = version(binary)?;
    match line.strip_prefix("Version:") {
        Some(number) => Ok(format!("Traefik {}", number.trim())),
        None => bail!("{} is no Traefik: its version is {line:?}", binary.display()),
    }
}

/// Traefik's arguments: the address that it listens on, the Consul agent, and a route for each service by its name as the path.
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

/// The cause behind an answer that Traefik made itself, in the words of the built-in ingress. `None` for other answers.
pub(super) fn cause(status: StatusCode, node: &str, service: &str) -> Option<String> {
    let who = format!("the ingress on {node}");
    match status {
        StatusCode::BAD_GATEWAY => {
            Some(format!("{who} sent it to a copy of {service}: it did not accept or keep the connection"))
        }
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
    fn its_own_answers_get_the_causes_that_the_judge_knows() {
        let of = |status| cause(status, "node-2", "service-1").unwrap_or_default();
        assert!(of(StatusCode::BAD_GATEWAY).starts_with("the ingress on node-2 sent it to "));
        assert_eq!(of(StatusCode::SERVICE_UNAVAILABLE), "the ingress on node-2 knew no copy of service-1");
        assert_eq!(cause(StatusCode::OK, "node-2", "service-1"), None);
    }

    #[test]
    fn another_program_is_refused_by_name() {
        let why = identity(Path::new("/bin/true")).unwrap_err().to_string();
        assert!(why.starts_with("/bin/true is no Traefik"), "{why}");
    }
}
