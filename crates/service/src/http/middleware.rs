//! What runs before each handler: it checks the host, the rate of the source and the credential, and bounds the requests in progress.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Redirect, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, debug, info, info_span};

use super::body;
use super::body_memory::BodyMemory;
use super::connection::Connection;
use super::forwarded::client_address;
use super::in_flight::InFlight;
use super::keys::Keys;
use super::page::session;
use super::problem::Problem;
use super::rate_limit::RateLimit;
use crate::Service;
use crate::repeated::Kind;
use decamp_events::MOST_BYTES;

/// The time limit for an answer. A stream only has to begin in this time.
const TIMEOUT: Duration = Duration::from_secs(10);
/// The most authenticated requests in progress. Each may hold a body of 256 KiB, which is 64 MiB for all.
const MOST_AUTHENTICATED: usize = 256;
/// The delay of an answer over the rate limit, so that no connection gets more than ten such answers a second.
const DELAY: Duration = Duration::from_millis(100);
/// Paths of the admin listener that are open to all: they name nothing, or ask for the token.
const OPEN: &[&str] = &["/healthz", "/readyz", "/login", "/style.css"];

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub(super) struct Caller {
    /// The number of the key that the request has.
    pub(super) key: Option<usize>,
    /// Whether the request has a key or a session.
    is_authenticated: bool,
    /// Whether the answer may have names and reasons.
    pub(super) trusted: bool,
}

/// The checks of one listener.
struct Middleware {
    service: Arc<Service>,
    listener: &'static str,
    /// The token for the whole listener. `None`: each route checks its own credential.
    token: Option<Arc<Keys>>,
    events: Arc<Keys>,
    rate: RateLimit,
    /// A separate limit for the health paths, so that a flood from the address of a health check does not fail it.
    health_rate: RateLimit,
    /// Limits the authenticated requests in progress.
    authenticated: Arc<Semaphore>,
    bodies: BodyMemory,
    random: SystemRandom,
}

/// Wraps a router in the checks of its listener.
pub(super) fn apply(
    router: Router,
    service: &Arc<Service>,
    listener: &'static str,
    events: &Arc<Keys>,
    token: Option<Arc<Keys>>,
) -> Router {
    let serve = &service.settings.serve;
    let middleware = Arc::new(Middleware {
        events: Arc::clone(events),
        rate: RateLimit::new(serve.source_rate),
        health_rate: RateLimit::new(serve.source_rate),
        authenticated: Arc::new(Semaphore::new(MOST_AUTHENTICATED)),
        bodies: BodyMemory::default(),
        random: SystemRandom::new(),
        service: Arc::clone(service),
        listener,
        token,
    });
    let not_found = || async { Problem::not_found() };
    let wrong_method = || async { Problem::method() };
    let router = router.fallback(not_found).method_not_allowed_fallback(wrong_method);
    router.layer(DefaultBodyLimit::max(MOST_BYTES)).layer(from_fn_with_state(middleware, handle))
}

async fn handle(State(middleware): State<Arc<Middleware>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = middleware.request_id();
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    let method = method_name(request.method());
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let peer = connection.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.peer);
    let from = client_address(peer, request.headers(), &middleware.service.settings.serve.proxies);
    let (parts, body) = request.into_parts();
    let (body, read_to_end) = body::track_end(body);
    let mut request = Request::from_parts(parts, body);
    let answering = async {
        let caller = match middleware.admit(method, request.headers(), request.uri(), from).await {
            Err(refusal) => return *refusal,
            Ok(admitted) => admitted,
        };
        let in_flight = if caller.is_authenticated {
            match InFlight::authenticated(from, connection, &middleware.authenticated) {
                Ok(in_flight) => in_flight,
                Err(busy) => return busy.into_response(),
            }
        } else {
            let in_flight = InFlight::unauthenticated(from, connection, &middleware.bodies);
            request = request.map(|body| body::paced(body, &in_flight));
            in_flight
        };
        request.extensions_mut().insert(caller);
        request.extensions_mut().insert(in_flight.clone());
        tokio::select! {
            response = next.run(request) => response,
            () = in_flight.dropped() => Problem::busy().into_response(),
        }
    };
    let answered = timeout(TIMEOUT, answering).instrument(info_span!("request", request.id = id)).await;
    let mut response = answered.unwrap_or_else(|_| Problem::timed_out().into_response());
    let status = response.status().as_u16();
    add_headers(response.headers_mut(), &id);
    if !read_to_end.is_true() {
        // The unread rest of this body comes before the next request on this connection, which would be lost.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let took = began.elapsed();
    middleware.service.metrics.requested(middleware.listener, &route, status, took);
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // Reads of the page and the API are counted and logged at `debug` only. A flood is summed up.
    if status < 400 && middleware.token.is_some() {
        debug!(request.id = id, listener = middleware.listener, method, route, status, peer = %from, milliseconds, "answered");
    } else if middleware.service.repeated.may_write(Kind::Answered { listener: middleware.listener, status }) {
        info!(request.id = id, listener = middleware.listener, method, route, status, peer = %from, milliseconds, "answered");
    }
    response
}

/// The name of a standard method. Any other is the sender's text, of any length, and is not logged.
fn method_name(method: &Method) -> &'static str {
    let all = [
        (Method::GET, "GET"),
        (Method::POST, "POST"),
        (Method::HEAD, "HEAD"),
        (Method::PUT, "PUT"),
        (Method::DELETE, "DELETE"),
        (Method::PATCH, "PATCH"),
        (Method::OPTIONS, "OPTIONS"),
        (Method::TRACE, "TRACE"),
        (Method::CONNECT, "CONNECT"),
    ];
    all.iter().find(|(of, _)| of == method).map_or("unknown", |(_, name)| name)
}

/// Adds the headers that restrict browsers, and the request's id.
fn add_headers(headers: &mut HeaderMap, id: &str) {
    let fixed = [
        ("content-security-policy", "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in fixed {
        headers.entry(HeaderName::from_static(name)).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(HeaderName::from_static("x-request-id"), id);
    }
}

impl Middleware {
    fn request_id(&self) -> String {
        let mut bytes = [0_u8; 8];
        // Without randomness ids repeat, and requests are still answered.
        self.random.fill(&mut bytes).ok();
        format!("{:016x}", u64::from_be_bytes(bytes))
    }

    /// Checks a request and returns its caller. The rate limit comes before the host and the permissions.
    async fn admit(&self, method: &'static str, headers: &HeaderMap, uri: &Uri, from: IpAddr) -> Result<Caller, Box<Response>> {
        let path = uri.path();
        let health = self.token.is_some() && matches!(path, "/healthz" | "/readyz") && matches!(method, "GET" | "HEAD");
        let key = match (&self.token, presented(headers, &self.service.settings.serve.events_header)) {
            (_, None) => None,
            (None, Some(given)) => self.events.index_of(&given).await.map_err(refused)?,
            (Some(token), Some(given)) => token.index_of(&given).await.map_err(refused)?,
        };
        if health {
            // A health check may come from the address of a flood, so it is delayed and never refused.
            if !self.health_rate.allows(key, from) {
                sleep(DELAY).await;
            }
        } else if !self.rate.allows(key, from) {
            sleep(DELAY).await;
            return Err(refused(Problem::too_many(1)));
        }
        let is_ours = self.is_ours(headers, uri);
        if !health && !is_ours {
            return Err(refused(Problem::wrong_host()));
        }
        let Some(token) = &self.token else { return Ok(Caller { key, is_authenticated: key.is_some(), trusted: false }) };
        // A request by another name that resolves to our address is treated as unauthenticated.
        let is_authenticated =
            is_ours && (key.is_some() || session::is_open(token, headers, &self.service).await.map_err(refused)?);
        let trusted = is_authenticated || (is_ours && !token.are_set());
        if trusted || OPEN.contains(&path) {
            return Ok(Caller { key, is_authenticated, trusted });
        }
        let page = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|k| k.contains("text/html"));
        if page && path == "/" {
            return Err(Box::new(Redirect::to("/login").into_response()));
        }
        Err(refused(Problem::admin_unauthorized()))
    }

    /// Whether a request is addressed to this service. Another name that resolves to our address is an attack by DNS rebinding.
    fn is_ours(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        // Two Host headers are ambiguous (RFC 9112, 3.2).
        let mut hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let named = match (hosts.next(), hosts.next()) {
            (Some(named), None) => named,
            (None, _) => uri.authority().map(|host| host.as_str()),
            (Some(_), Some(_)) => None,
        };
        let Some(named) = named else { return false };
        let Some(host) = without_port(named) else { return false };
        let host = host.to_ascii_lowercase();
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let serve = &self.service.settings.serve;
        let listen = if self.token.is_some() { &serve.admin } else { &serve.webhooks };
        (loopback && listen.is_loopback()) || serve.hosts.iter().any(|ours| **ours == *host)
    }
}

/// The name in a Host header; `None` if the text after it is not a port.
fn without_port(host: &str) -> Option<&str> {
    let (name, rest) = match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => host.find(':').map_or((host, ""), |colon| host.split_at(colon)),
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some(name)
}

fn refused(problem: Problem) -> Box<Response> {
    Box::new(problem.into_response())
}

/// The key in a request: in the header that the settings name, as a bearer token, or as the password of Basic.
fn presented(headers: &HeaderMap, own: &str) -> Option<String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(key) = text(own) {
        return Some(key.trim().to_owned());
    }
    let (scheme, rest) = text("authorization")?.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(rest.trim().to_owned());
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let decoded = String::from_utf8(STANDARD.decode(rest.trim()).ok()?).ok()?;
    decoded.split_once(':').map(|(_, password)| password.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_with_or_without_a_port() {
        for (said, host) in [
            ("localhost", Some("localhost")),
            ("localhost:8480", Some("localhost")),
            ("[::1]:8480", Some("::1")),
            ("[::1]", Some("::1")),
            ("localhost:evil.example", None),
            ("localhost:8480:1", None),
            ("localhost:123456", None),
            ("[::1]evil.example", None),
            ("[::1", None),
        ] {
            assert_eq!(without_port(said), host, "{said}");
        }
    }

    #[test]
    fn a_key_is_read_from_its_header_a_bearer_token_or_basic() {
        let of = |name: &str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name.parse::<HeaderName>().expect("a name"), value.parse().expect("a value"));
            presented(&headers, "x-api-key")
        };
        assert_eq!(of("x-api-key", "one").as_deref(), Some("one"));
        assert_eq!(of("authorization", "Bearer two").as_deref(), Some("two"));
        assert_eq!(of("authorization", "basic dXNlcjpwYXNzOndvcmQ=").as_deref(), Some("pass:word"));
        for nonsense in ["Basic", "Basic !!", "Basic dXNlcg==", "Digest x", "two"] {
            assert_eq!(of("authorization", nonsense), None, "{nonsense}");
        }
    }
}
