//! What every request passes before it is answered: its host, its source, its credential, a bound on how many are answered at once.

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

use super::bodies::Bodies;
use super::body;
use super::connection::Connection;
use super::forwarded::client_address;
use super::keys::Keys;
use super::page::session;
use super::problem::Problem;
use super::rate_limit::{RateLimit, Source};
use super::subnet::Subnet;
use super::visit::Visit;
use crate::Service;
use crate::repeated::Kind;
use decamp_events::MOST_BYTES;

/// A request has to be answered by then; a stream only has to begin.
const WHOLE: Duration = Duration::from_secs(10);
/// Requests with a key that are answered at once: each may hold a body of 256 KiB, all of them 64 MiB.
const MOST_KNOWN: usize = 256;
/// What is over its limit is answered this much later, so that no connection has more than ten such answers a second.
const SLOWED: Duration = Duration::from_millis(100);
/// Paths of the admin listener that anybody may ask for: they name nothing, or ask for the token.
const OPEN: &[&str] = &["/healthz", "/readyz", "/login", "/style.css"];

/// What a request was found to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Known {
    /// The place of the key that it showed.
    pub(super) key: Option<usize>,
    /// Whether it may be told names and reasons.
    pub(super) trusted: bool,
}

/// What stands before one listener.
struct Guard {
    service: Arc<Service>,
    listener: &'static str,
    /// What opens the whole listener; `None`: each route asks for itself.
    token: Option<Arc<Keys>>,
    events: Arc<Keys>,
    sources: RateLimit,
    /// The same for the health paths: who floods the rest from the address of a health check does not fail it.
    checks: RateLimit,
    /// How many requests with a key are answered at once.
    known: Arc<Semaphore>,
    bodies: Bodies,
    random: SystemRandom,
}

/// Puts all of it before a router.
pub(super) fn before(
    router: Router,
    service: &Arc<Service>,
    listener: &'static str,
    events: &Arc<Keys>,
    token: Option<Arc<Keys>>,
) -> Router {
    let serve = &service.settings.serve;
    let guard = Arc::new(Guard {
        events: Arc::clone(events),
        sources: RateLimit::new(serve.source_rate),
        checks: RateLimit::new(serve.source_rate),
        known: Arc::new(Semaphore::new(MOST_KNOWN)),
        bodies: Bodies::default(),
        random: SystemRandom::new(),
        service: Arc::clone(service),
        listener,
        token,
    });
    let nothing = || async { Problem::not_found() };
    let method = || async { Problem::method() };
    let router = router.fallback(nothing).method_not_allowed_fallback(method);
    router.layer(DefaultBodyLimit::max(MOST_BYTES)).layer(from_fn_with_state(guard, pass))
}

async fn pass(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = guard.id();
    let route = request.extensions().get::<MatchedPath>().map_or("none", |path| path.as_str()).to_owned();
    let method = known(request.method());
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let peer = connection.as_ref().map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |connection| connection.peer);
    let from = client_address(peer, request.headers(), &guard.service.settings.serve.proxies);
    let (parts, body) = request.into_parts();
    let (body, whole) = body::watched(body);
    let mut request = Request::from_parts(parts, body);
    let answering = async {
        let (known, shown) = match guard.admit(method, request.headers(), request.uri(), from).await {
            Err(refusal) => return *refusal,
            Ok(admitted) => admitted,
        };
        let visit = if shown {
            match Visit::of_known(from, connection, &guard.known) {
                Ok(visit) => visit,
                Err(busy) => return busy.into_response(),
            }
        } else {
            let visit = Visit::of_stranger(from, connection, &guard.bodies);
            request = request.map(|body| body::paced(body, &visit));
            visit
        };
        request.extensions_mut().insert(known);
        request.extensions_mut().insert(visit.clone());
        tokio::select! {
            response = next.run(request) => response,
            () = visit.to_go() => Problem::busy().into_response(),
        }
    };
    let answered = timeout(WHOLE, answering).instrument(info_span!("request", request.id = id)).await;
    let mut response = answered.unwrap_or_else(|_| Problem::late().into_response());
    let status = response.status().as_u16();
    harden(response.headers_mut(), &id);
    if !whole.was_read() {
        // Whoever sends another request on this connection would lose it: what is left of this one stands before it.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let took = began.elapsed();
    guard.service.numbers.requested(guard.listener, &route, status, took);
    let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    // What is looked at is counted, and fills no log; neither does a flood.
    if status < 400 && guard.token.is_some() {
        debug!(request.id = id, listener = guard.listener, method, route, status, peer = %from, milliseconds, "answered");
    } else if guard.service.repeated.may_write(Kind::Answered { listener: guard.listener, status }) {
        info!(request.id = id, listener = guard.listener, method, route, status, peer = %from, milliseconds, "answered");
    }
    response
}

/// A method by its name, if it is one that HTTP has: any other is a text of the sender's, of any length.
fn known(method: &Method) -> &'static str {
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

/// What a browser needs to be told of everything that is sent.
fn harden(headers: &mut HeaderMap, id: &str) {
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

impl Guard {
    fn id(&self) -> String {
        let mut bytes = [0_u8; 8];
        // Without randomness ids repeat, and requests are answered all the same.
        self.random.fill(&mut bytes).ok();
        format!("{:016x}", u64::from_be_bytes(bytes))
    }

    /// Who asks, and whether a key or a session was shown. The limit of each source comes first, whatever it asks for.
    async fn admit(
        &self,
        method: &'static str,
        headers: &HeaderMap,
        uri: &Uri,
        from: IpAddr,
    ) -> Result<(Known, bool), Box<Response>> {
        let path = uri.path();
        let health = self.token.is_some() && matches!(path, "/healthz" | "/readyz") && matches!(method, "GET" | "HEAD");
        let key = match (&self.token, presented(headers, &self.service.settings.serve.events_header)) {
            (_, None) => None,
            (None, Some(given)) => self.events.place(&given).await.map_err(refused)?,
            (Some(token), Some(given)) => token.place(&given).await.map_err(refused)?,
        };
        let source = key.map_or_else(|| Source::Subnet(Subnet::of(from)), Source::Key);
        if health {
            // A health check may have the address of whoever floods, so it is slowed and never refused.
            if !self.checks.allows(source) {
                sleep(SLOWED).await;
            }
        } else if !self.sources.allows(source) {
            sleep(SLOWED).await;
            return Err(refused(Problem::too_many(1)));
        }
        let is_ours = self.is_ours(headers, uri);
        if !health && !is_ours {
            return Err(refused(Problem::wrong_host()));
        }
        let Some(token) = &self.token else { return Ok((Known { key, trusted: false }, key.is_some())) };
        // Another name that resolves to our address is told as little as a stranger.
        let shown = is_ours && (key.is_some() || session::is_open(token, headers, &self.service).await.map_err(refused)?);
        let trusted = shown || (is_ours && !token.are_set());
        if trusted || OPEN.contains(&path) {
            return Ok((Known { key, trusted }, shown));
        }
        let page = headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|k| k.contains("text/html"));
        if page && path == "/" {
            return Err(Box::new(Redirect::to("/login").into_response()));
        }
        Err(refused(Problem::closed()))
    }

    /// Whether a request is addressed to us: another name that resolves to our address is a page that means no good.
    fn is_ours(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        // Of two names nobody can say which one was meant (RFC 9112, 3.2).
        let mut hosts = headers.get_all(header::HOST).iter().map(|host| host.to_str().ok());
        let named = match (hosts.next(), hosts.next()) {
            (Some(named), None) => named,
            (None, _) => uri.authority().map(|host| host.as_str()),
            (Some(_), Some(_)) => None,
        };
        let Some(said) = named else { return false };
        let Some(host) = without_port(said) else { return false };
        let host = host.to_ascii_lowercase();
        let loopback = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
        let serve = &self.service.settings.serve;
        let listen = if self.token.is_some() { &serve.admin } else { &serve.webhooks };
        (loopback && listen.is_loopback()) || serve.hosts.iter().any(|ours| **ours == *host)
    }
}

/// The name in a Host header; `None` if what follows it is no port.
fn without_port(said: &str) -> Option<&str> {
    let (host, rest) = match said.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => said.find(':').map_or((said, ""), |colon| said.split_at(colon)),
    };
    let is_port = |port: &str| port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    (rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port)).then_some(host)
}

fn refused(problem: Problem) -> Box<Response> {
    Box::new(problem.into_response())
}

/// The key that a request shows: in its own header, as a bearer token, or as the password of Basic.
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
    fn a_host_is_a_name_and_perhaps_a_port() {
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
    fn a_key_is_taken_from_its_header_a_bearer_or_basic() {
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
