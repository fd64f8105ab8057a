//! The instance metadata service of EC2, as far as Nomad's client needs it to know its instance.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};

use crate::cluster;
use crate::plan::Plan;
use crate::server::{Body, Server, full, plain};

/// How long a session token lasts. Version 2 of the service returns it in this header.
const TOKEN_LASTS: (&str, HeaderValue) = ("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from_static("21600"));

/// Serves the metadata of the instance with this number, until the server is dropped.
///
/// # Errors
/// No port is free.
pub(super) async fn serve(number: u32) -> io::Result<Server> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Server::start(free, move |request, _| async move { answer(number, &request) }).await
}

/// The variables that tell Nomad's client the address of the service. Nomad up to 1.9 uses the first one, which includes the path. From
/// 1.10 on its AWS SDK reads the second one.
pub(super) fn variables(address: SocketAddr) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENV_URL", format!("http://{address}/latest/meta-data/")),
        ("AWS_EC2_METADATA_SERVICE_ENDPOINT", format!("http://{address}")),
    ]
}

fn answer(number: u32, request: &Request<Incoming>) -> Response<Body> {
    let path = request.uri().path();
    if request.method() == Method::PUT && path == "/latest/api/token" {
        let mut answer = Response::new(full("rehearsal"));
        let (name, lasts) = TOKEN_LASTS;
        answer.headers_mut().insert(name, lasts);
        return answer;
    }
    match path.strip_prefix("/latest/meta-data/").and_then(|path| value(number, path)) {
        Some(value) => Response::new(full(value)),
        None => plain(StatusCode::NOT_FOUND, "no such thing".to_owned()),
    }
}

fn value(number: u32, path: &str) -> Option<String> {
    let address = Plan::address(number).to_string();
    Some(match path.trim_end_matches('/') {
        "ami-id" => "ami-0123456789abcdef0".to_owned(),
        "instance-id" => cluster::instance(number).to_string(),
        "instance-type" => "m5.large".to_owned(),
        "instance-life-cycle" => "on-demand".to_owned(),
        "local-ipv4" => address,
        "hostname" | "local-hostname" => format!("ip-{}", address.replace('.', "-")),
        "placement/availability-zone" => cluster::zone(number).to_string(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metadata_has_the_id_address_and_zone_and_nothing_unknown() {
        assert_eq!(value(3, "instance-id"), Some(cluster::instance(3).to_string()));
        assert_eq!(value(3, "local-ipv4").as_deref(), Some("127.0.0.13"));
        assert_eq!(value(3, "placement/availability-zone/").as_deref(), Some("eu-west-1a"));
        assert_eq!(value(3, "public-ipv4"), None);
    }
}
