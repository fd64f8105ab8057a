//! The client for receivers of notifications: sends one POST to an address that is a secret, and reports the result.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Response;
use reqwest::header::{HeaderValue, RETRY_AFTER};

use decamp_config::{Notify, NotifyKind, Secret, Tls};
use decamp_core::decide::Unseen;
use decamp_net::secrets::{Fetch, Token};
use decamp_net::tls;

/// The time-out of a whole request. The documentation tells receivers to answer before they process a notification.
const CALL: Duration = Duration::from_secs(5);
/// The time-out of a connection.
const CONNECT: Duration = Duration::from_secs(2);

/// A client for all receivers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Client {
    /// Created with the first request, because most services have no receivers.
    http: Arc<OnceLock<reqwest::Client>>,
}

/// A receiver of notifications.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// The format that it understands.
    pub kind: NotifyKind,
    url: Token,
    secrets: Token,
    client: Client,
}

/// Why a request was not accepted. No message contains the address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SendError {
    /// The address or the secret is not available or not valid.
    #[error("{0}")]
    Unusable(Arc<str>),
    /// The server was not reached or did not answer in time. It may have received the request.
    #[error("{0}")]
    Unreachable(Arc<str>),
    /// The server refused the request.
    #[error("answered {status}{}", .message.as_ref().map(|message| format!(": {message}")).unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The time that the server asked to wait.
        retry_after: Option<Duration>,
        /// The server's message, if it may be shown.
        message: Option<Arc<str>>,
    },
}

impl SendError {
    /// Whether the same request may be accepted later.
    #[must_use]
    pub(crate) fn is_retryable(&self) -> bool {
        match self {
            Self::Unusable(_) | Self::Unreachable(_) => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429) || 500 <= *status,
        }
    }
}

impl Receiver {
    /// A receiver; nothing is sent yet.
    #[must_use]
    pub(crate) fn new(settings: &Notify, client: &Client, store: &Arc<dyn Fetch>) -> Self {
        let token = |source: &decamp_config::TokenSource| Token::new(source.clone(), Arc::clone(store));
        Self { kind: settings.kind, url: token(&settings.url), secrets: token(&settings.secrets), client: client.clone() }
    }

    /// The secrets that it may verify with; several during a rotation.
    ///
    /// # Errors
    ///
    /// Returns an error if they could not be fetched.
    pub(crate) async fn secrets(&self) -> Result<Vec<Secret>, SendError> {
        let held = self.secrets.get().await.map_err(unusable)?;
        Ok(held.iter().flat_map(Secret::lines).collect())
    }

    /// Sends one body.
    ///
    /// # Errors
    ///
    /// Returns why it was not accepted. The receiver may have received it anyway.
    pub(crate) async fn send(&self, headers: &[(&'static str, String)], body: Arc<[u8]>) -> Result<(), SendError> {
        let url = self.url.get().await.map_err(unusable)?.ok_or_else(|| SendError::Unusable("its address is empty".into()))?;
        if !Notify::may_be_sent_to(url.expose()) {
            return Err(SendError::Unusable("its address is none that may be sent to".into()));
        }
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let sent = self.client.send(url.expose(), headers, body.to_vec()).await;
        // The address or the secret may have been rotated.
        if let Err(SendError::Refused { status: 401 | 403 | 404 | 410, .. }) = sent {
            let held = self.secrets.get().await.ok().flatten();
            self.url.instead_of(Some(&url)).await;
            self.secrets.instead_of(held.as_ref()).await;
        }
        sent
    }
}

impl Client {
    /// Sends JSON to an address. No error repeats the address.
    async fn send(&self, url: &str, headers: impl Iterator<Item = (&str, &str)>, body: Vec<u8>) -> Result<(), SendError> {
        let answer = self.post(url, headers, body).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(SendError::Refused { status: status.as_u16(), retry_after: retry_after(&answer), message: None })
    }

    /// Sends JSON and returns the whole answer.
    pub(super) async fn post(
        &self,
        url: &str,
        headers: impl Iterator<Item = (&str, &str)>,
        body: Vec<u8>,
    ) -> Result<Response, SendError> {
        let http = self.http().map_err(|why| SendError::Unusable(format!("{why:#}").into()))?;
        let mut request = http.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| SendError::Unusable("a header cannot be sent".into()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request.send().await.map_err(|why| unreachable(why, url))
    }

    fn http(&self) -> Result<&reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let made = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&Tls::default(), true)?)
            .user_agent(concat!("decamp/", env!("CARGO_PKG_VERSION")))
            // A redirect would forward a request that was meant for one server.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(CALL)
            .no_proxy()
            .build()
            .context("make an HTTP client")?;
        Ok(self.http.get_or_init(|| made))
    }
}

/// The `Retry-After` of an answer, if it is in seconds.
pub(super) fn retry_after(answer: &Response) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn unusable(why: Unseen) -> SendError {
    SendError::Unusable(why.to_string().into())
}

/// An error of the HTTP library, without the address.
fn unreachable(why: reqwest::Error, url: &str) -> SendError {
    let why = why.without_url();
    if why.is_timeout() {
        return SendError::Unreachable("no answer in time".into());
    }
    let mut cause: &dyn std::error::Error = &why;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    SendError::Unreachable(cause.to_string().replace(url, "***").into())
}
