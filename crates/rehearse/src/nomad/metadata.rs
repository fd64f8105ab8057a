//! An instance's metadata, as EC2 serves it to whoever runs on the instance: enough of it for Nomad's client to know which it is.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::{Method, Request, Response, StatusCode};

use crate::cluster;
use crate::plan::Plan;
use crate::server::{Body, Server, full, plain};

/// How long a session's token lasts, as the second version of the service tells it.
const TOKEN_LASTS: (&str, HeaderValue) = ("x-aws-ec2-metadata-token-ttl-seconds", HeaderValue::from_static("21600"));

/// Serves the metadata of the instance with this number, until it is dropped.
///
/// # Errors
/// There is no free port.
pub(super) async fn serve(number: u32) -> io::Result<Server> {
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    Server::start(free, move |request, _| async move { answer(number, &request) }).await
}

/// What tells Nomad's client where it is: up to Nomad 1.9 the first, which has the path in it; from 1.10 on the second, which its AWS SDK
/// reads.
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
    fn an_instance_knows_who_and_where_it_is_and_nothing_that_nobody_said() {
        assert_eq!(value(3, "instance-id"), Some(cluster::instance(3).to_string()));
        assert_eq!(value(3, "local-ipv4").as_deref(), Some("127.0.0.13"));
        assert_eq!(value(3, "placement/availability-zone/").as_deref(), Some("eu-west-1a"));
        assert_eq!(value(3, "public-ipv4"), None);
    }
}
