//! Receivers of notifications: one POST to an address that is a secret, and what came of it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Context as _, Result};
use reqwest::Response;
use reqwest::header::{HeaderValue, RETRY_AFTER};

use decamp_config::{Notify, NotifyKind, Secret, Tls};
use decamp_core::decide::Unseen;
use decamp_net::secrets::{Fetch, Token};
use decamp_net::tls;

/// A whole request. Receivers that work through a notification before they answer are told to be quicker.
const CALL: Duration = Duration::from_secs(5);
/// A connection has to be made by then.
const CONNECT: Duration = Duration::from_secs(2);

/// A client for all receivers.
#[derive(Debug, Clone, Default)]
pub(crate) struct Post {
    /// Made with the first request: most services notify nobody.
    http: Arc<OnceLock<reqwest::Client>>,
}

/// One receiver.
#[derive(Debug)]
pub(crate) struct Receiver {
    /// What it understands.
    pub kind: NotifyKind,
    url: Token,
    secrets: Token,
    post: Post,
}

/// Why a notification was not accepted. The address is in none of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unsent {
    /// Its address or its secret could not be had, or cannot be used.
    #[error("{0}")]
    NotSet(Arc<str>),
    /// It was not reached, or did not answer in time. It may have got it.
    #[error("{0}")]
    Away(Arc<str>),
    /// It answered that it will not have it, now.
    #[error("answered {status}{}", .says.as_ref().map(|says| format!(": {says}")).unwrap_or_default())]
    Refused {
        /// The HTTP status.
        status: u16,
        /// When to come again, if it said so.
        retry_after: Option<Duration>,
        /// Why, in its words, where they may be shown.
        says: Option<Arc<str>>,
    },
}

impl Unsent {
    /// Whether the same may well be accepted later.
    #[must_use]
    pub(crate) fn may_pass(&self) -> bool {
        match self {
            Self::NotSet(_) | Self::Away(_) => true,
            Self::Refused { status, .. } => matches!(status, 408 | 425 | 429) || 500 <= *status,
        }
    }
}

impl Receiver {
    /// A receiver; nothing is sent yet.
    #[must_use]
    pub(crate) fn new(settings: &Notify, post: &Post, store: &Arc<dyn Fetch>) -> Self {
        let token = |source: &decamp_config::TokenSource| Token::new(source.clone(), Arc::clone(store));
        Self { kind: settings.kind, url: token(&settings.url), secrets: token(&settings.secrets), post: post.clone() }
    }

    /// The secrets that it may verify with, those of a rotation one after the other.
    ///
    /// # Errors
    ///
    /// They could not be fetched.
    pub(crate) async fn secrets(&self) -> Result<Vec<Secret>, Unsent> {
        let held = self.secrets.get().await.map_err(unset)?;
        Ok(held.iter().flat_map(Secret::lines).collect())
    }

    /// Sends one body.
    ///
    /// # Errors
    ///
    /// Why it was not accepted; it may have been received all the same.
    pub(crate) async fn send(&self, headers: &[(&'static str, String)], body: Arc<[u8]>) -> Result<(), Unsent> {
        let url = self.url.get().await.map_err(unset)?.ok_or_else(|| Unsent::NotSet("its address is empty".into()))?;
        if !Notify::may_be_sent_to(url.expose()) {
            return Err(Unsent::NotSet("its address is none that may be sent to".into()));
        }
        let headers = headers.iter().map(|(name, value)| (*name, value.as_str()));
        let sent = self.post.send(url.expose(), headers, body.to_vec()).await;
        // Whoever refuses may know a newer address or secret of the same name.
        if let Err(Unsent::Refused { status: 401 | 403 | 404 | 410, .. }) = sent {
            let held = self.secrets.get().await.ok().flatten();
            self.url.instead_of(Some(&url)).await;
            self.secrets.instead_of(held.as_ref()).await;
        }
        sent
    }
}

impl Post {
    /// Sends JSON to an address, which is repeated in nothing that is said of it.
    async fn send(&self, url: &str, headers: impl Iterator<Item = (&str, &str)>, body: Vec<u8>) -> Result<(), Unsent> {
        let answer = self.post(url, headers, body).await?;
        let status = answer.status();
        if status.is_success() {
            return Ok(());
        }
        Err(Unsent::Refused { status: status.as_u16(), retry_after: retry_after(&answer), says: None })
    }

    /// The same, with the answer as it came.
    pub(super) async fn post(
        &self,
        url: &str,
        headers: impl Iterator<Item = (&str, &str)>,
        body: Vec<u8>,
    ) -> Result<Response, Unsent> {
        let http = self.client().map_err(|why| Unsent::NotSet(format!("{why:#}").into()))?;
        let mut request = http.post(url).header("content-type", "application/json").body(body);
        for (name, value) in headers {
            let mut value = HeaderValue::from_str(value).map_err(|_| Unsent::NotSet("a header cannot be sent".into()))?;
            value.set_sensitive(true);
            request = request.header(name, value);
        }
        request.send().await.map_err(|why| away(why, url))
    }

    fn client(&self) -> Result<&reqwest::Client> {
        if let Some(http) = self.http.get() {
            return Ok(http);
        }
        let made = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(&Tls::default(), true)?)
            .user_agent(concat!("decamp/", env!("CARGO_PKG_VERSION")))
            // Whoever redirects would send on what was meant for one.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .timeout(CALL)
            .no_proxy()
            .build()
            .context("make an HTTP client")?;
        Ok(self.http.get_or_init(|| made))
    }
}

/// When to come again, if the answer says so in seconds.
pub(super) fn retry_after(answer: &Response) -> Option<Duration> {
    answer.headers().get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

fn unset(why: Unseen) -> Unsent {
    Unsent::NotSet(why.to_string().into())
}

/// What the HTTP library says, without the address.
fn away(why: reqwest::Error, url: &str) -> Unsent {
    let why = why.without_url();
    if why.is_timeout() {
        return Unsent::Away("no answer in time".into());
    }
    let mut cause: &dyn std::error::Error = &why;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    Unsent::Away(cause.to_string().replace(url, "***").into())
}
