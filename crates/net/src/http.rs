//! The HTTP client for Nomad and Consul: several addresses, limits of time and size, and a typed error for every failure.

mod answer;
mod failure;
mod rows;
mod transport;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use futures_util::FutureExt as _;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

pub use self::answer::Answer;
pub use self::answer::Sink;
pub use self::answer::read_json;
pub use self::failure::RequestFailure;
pub use self::failure::plain_text;
pub use self::rows::Rows;
use self::transport::Transport;
use super::secrets::{Fetch, Token};
use decamp_config::{Connection, Secret};

/// The largest body that is kept. Lists that may be longer are read row by row (`Client::get_rows`).
const LARGEST_BODY: usize = 32 * 1024 * 1024;

/// The most blocking queries of the whole process. Nomad accepts 100 connections from one address, and several workers may share a
/// NAT's address (facts/nomad.md 7.1).
static BLOCKING: Semaphore = Semaphore::const_new(32);

/// The most other requests of one client at once. A thousand departures that begin together make a thousand requests. Nomad would
/// refuse most of as many connections, and each takes about 30 KiB here.
const AT_ONCE: usize = 32;

/// A permit for one blocking query; `None` if too many are in progress.
pub fn may_block() -> Option<SemaphorePermit<'static>> {
    BLOCKING.try_acquire().ok()
}

/// Makes a client use a proxy, except for the hosts, domains and networks in `except`.
///
/// # Errors
///
/// Returns an error if the proxy's address is invalid.
pub fn through(builder: reqwest::ClientBuilder, proxy: &str, except: &str) -> Result<reqwest::ClientBuilder> {
    let proxy = reqwest::Proxy::all(proxy).context("use the proxy")?;
    Ok(builder.proxy(proxy.no_proxy(reqwest::NoProxy::from_string(except))))
}

/// A client for the servers of one system.
#[derive(Debug)]
pub struct Client {
    http: Transport,
    addresses: Vec<String>,
    /// The address that answered last.
    good: AtomicUsize,
    /// Limits the requests at once.
    turn: Semaphore,
    token: Token,
    token_header: HeaderName,
    query: Vec<(&'static str, String)>,
    timeout: Duration,
}

impl Client {
    /// A client; nothing is sent yet.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate or key cannot be used.
    pub fn new(connection: &Connection, token_header: &'static str, store: Arc<dyn Fetch>) -> Result<Self> {
        Ok(Self {
            http: Transport::new(connection, &store)?,
            addresses: connection.addresses.clone(),
            good: AtomicUsize::new(0),
            turn: Semaphore::new(AT_ONCE),
            token: Token::new(connection.token.clone(), store),
            token_header: HeaderName::from_static(token_header),
            query: connection.query.clone(),
            timeout: connection.timeout,
        })
    }

    /// Whether requests carry a token. Consul never says that it filtered an answer to a request without one.
    pub async fn has_token(&self) -> bool {
        matches!(self.token.get().await, Ok(Some(_)))
    }

    /// Reads from the first address that answers.
    ///
    /// # Errors
    ///
    /// Returns why no address answered, or why one refused.
    pub async fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Answer, RequestFailure> {
        // All addresses together may take twice as long as one, so that a look does not end too late.
        let whole = if self.addresses.len() == 1 { self.timeout } else { self.timeout * 2 };
        let end = Instant::now() + whole;
        let _turn = self.turn(end).await?;
        self.read(path, query, self.timeout, end, self.addresses.len(), None).await
    }

    /// As `get`, but the body goes to `sink` as it arrives.
    ///
    /// # Errors
    ///
    /// As `get`, or the sink's error.
    pub async fn get_rows(&self, path: &str, query: &[(&str, &str)], sink: &mut dyn Sink) -> Result<Answer, RequestFailure> {
        let whole = if self.addresses.len() == 1 { self.timeout } else { self.timeout * 2 };
        let end = Instant::now() + whole;
        let _turn = self.turn(end).await?;
        self.read(path, query, self.timeout, end, self.addresses.len(), Some(sink)).await
    }

    /// A blocking query: answers once the data is newer than `index`, or after `wait`. It tries only one address, because the
    /// caller repeats it.
    ///
    /// # Errors
    ///
    /// As `get`.
    pub async fn get_newer(
        &self,
        path: &str,
        query: &[(&str, &str)],
        index: u64,
        wait: Duration,
        sink: Option<&mut dyn Sink>,
    ) -> Result<Answer, RequestFailure> {
        let (index, millis) = (index.to_string(), format!("{}ms", wait.as_millis()));
        let mut query = query.to_vec();
        query.extend([("index", index.as_str()), ("wait", millis.as_str())]);
        // Servers add up to a sixteenth to the wait, so that not all clients wake at once.
        let time = wait + wait / 16 + self.timeout;
        self.read(path, &query, time, Instant::now() + time, 1, sink).await
    }

    /// Writes. A second address is tried only if the first one certainly did not receive the request.
    ///
    /// # Errors
    ///
    /// Returns the refusal, or that the result is unknown.
    pub async fn put(&self, path: &str, body: &impl Serialize) -> Result<Answer, RequestFailure> {
        self.write(&Method::PUT, path, body).await
    }

    /// As `put`, for an API that requires POST.
    ///
    /// # Errors
    ///
    /// As `put`.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<Answer, RequestFailure> {
        self.write(&Method::POST, path, body).await
    }

    async fn write(&self, method: &Method, path: &str, body: &impl Serialize) -> Result<Answer, RequestFailure> {
        let body = serde_json::to_vec(body).map_err(|why| RequestFailure::NotSent(why.to_string().into()))?;
        let _turn = self.turn(Instant::now() + self.timeout).await?;
        let (mut token, mut renewed) = (self.token().await?, false);
        let mut tries = 0;
        loop {
            let place = self.good.load(Ordering::Relaxed) % self.addresses.len();
            let sent = self.send(place, method, path, &[], Some(&body), token.as_ref(), self.timeout, None).boxed();
            let failure = match sent.await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            tries += 1;
            if failure.is_denial() && !renewed {
                // A denied write was not done.
                renewed = true;
                token = match self.token.instead_of(token.as_ref()).await {
                    Some(other) => Some(other),
                    None => return Err(failure),
                };
                continue;
            }
            if failure.is_tls() && self.http.renew().await {
                // After a failed handshake, or a certificate that the server refused afterwards, no write was done.
                continue;
            }
            if failure.is_address() {
                self.good.store(place + 1, Ordering::Relaxed);
            }
            let not_sent = matches!(failure, RequestFailure::NotSent(_));
            if !not_sent || self.addresses.len() <= tries {
                return Err(failure);
            }
        }
    }

    async fn read(
        &self,
        path: &str,
        query: &[(&str, &str)],
        time: Duration,
        end: Instant,
        most: usize,
        mut sink: Option<&mut dyn Sink>,
    ) -> Result<Answer, RequestFailure> {
        let (mut token, mut renewed) = (self.token().await?, false);
        let mut tries = 0;
        loop {
            let place = self.good.load(Ordering::Relaxed) % self.addresses.len();
            let left = end.saturating_duration_since(Instant::now());
            // Boxed, because a request in flight is large, and a thousand departures may wait here without one.
            let sink = sink.as_mut().map(|sink| &mut **sink as &mut dyn Sink);
            let sent = self.send(place, &Method::GET, path, query, None, token.as_ref(), time.min(left), sink).boxed();
            let failure = match sent.await {
                Ok(answer) => return Ok(answer),
                Err(failure) => failure,
            };
            tries += 1;
            if failure.is_denial() && !renewed {
                renewed = true;
                token = match self.token.instead_of(token.as_ref()).await {
                    Some(other) => Some(other),
                    None => return Err(failure),
                };
                continue;
            }
            if failure.is_tls() && self.http.renew().await {
                continue;
            }
            if !failure.is_address() {
                return Err(failure);
            }
            self.good.store(place + 1, Ordering::Relaxed);
            // An idle connection that broke must not make a look fail, so a single address is tried twice.
            let broke = matches!(failure, RequestFailure::NoAnswer(_));
            if most.max(1 + usize::from(broke)) <= tries || end <= Instant::now() {
                return Err(failure);
            }
        }
    }

    /// Waits until fewer requests are in flight.
    async fn turn(&self, end: Instant) -> Result<SemaphorePermit<'_>, RequestFailure> {
        match timeout_at(end, self.turn.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(RequestFailure::NotSent("too many requests before it were not answered in time".into())),
        }
    }

    async fn token(&self) -> Result<Option<Secret>, RequestFailure> {
        self.token.get().await.map_err(RequestFailure::NoToken)
    }

    #[expect(clippy::too_many_arguments, reason = "one request has this many parts, and only two callers put them together")]
    async fn send(
        &self,
        place: usize,
        method: &Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&[u8]>,
        token: Option<&Secret>,
        time: Duration,
        sink: Option<&mut dyn Sink>,
    ) -> Result<Answer, RequestFailure> {
        let address = &self.addresses[place];
        let client = self.http.client().await.map_err(RequestFailure::NoToken)?;
        let mut request = client.request(method.clone(), format!("{address}{path}")).timeout(time);
        // The parameters of this request override those of the settings.
        let usual = self.query.iter().filter(|(key, _)| !query.iter().any(|(asked, _)| asked == key));
        request = request.query(&usual.collect::<Vec<_>>()).query(query);
        if let Some(token) = token {
            let mut value = HeaderValue::from_str(token.expose())
                .map_err(|_| RequestFailure::NotSent("the token holds characters that no token has".into()))?;
            value.set_sensitive(true);
            request = request.header(self.token_header.clone(), value);
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body.to_vec());
        }
        let answer = match (request.send().await, sink) {
            (Err(why), _) => Err(RequestFailure::of(why)),
            (Ok(response), Some(sink)) => Answer::pass_on(response, sink, token).await,
            (Ok(response), None) => Answer::read(response, LARGEST_BODY, token).await,
        };
        answer.map_err(|failure| failure.at(method, address, path))
    }
}
