//! Settings of `decamp serve`: its listeners, authentication and limits.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::Refused;
use super::keys::{SHORTEST_KEY, can_be_guessed};
use super::network::Network;
use super::reader::Reader;
use super::secret::{TokenSource, source};
use decamp_core::refresh::Preferences;

/// The most departures that one replica has in progress (ADR 0030).
const MOST_DEPARTURES: u32 = 10_000;

/// The settings of `decamp serve` beside those of every departure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// The listener for events. `DECAMP_WEBHOOKS_LISTEN`.
    pub webhooks: Listen,
    /// The listener for the page, the API and the metrics. `DECAMP_ADMIN_LISTEN`.
    pub admin: Listen,
    /// The host names that requests may use, besides those of loopback. `DECAMP_HOSTS`.
    pub hosts: Vec<Arc<str>>,
    /// The token of the admin listener. `DECAMP_ADMIN_TOKEN`, `_FILE` and `_SECRET`.
    pub admin_token: TokenSource,
    /// The keys that `POST /v1/events` requires, separated by commas or lines. `DECAMP_EVENTS_KEY`, `_FILE` and `_SECRET`.
    pub events_key: TokenSource,
    /// The header that carries a key. `DECAMP_EVENTS_HEADER`.
    pub events_header: String,
    /// The queues to consume, as ARNs. `DECAMP_QUEUES`.
    pub queues: Vec<Arc<str>>,
    /// How long a held message is hidden at a time. After that, another replica may receive it. `DECAMP_QUEUE_HIDDEN`.
    pub queue_hidden: Duration,
    /// The SNS topics whose messages are accepted, as ARNs. `DECAMP_SNS_TOPICS`.
    pub topics: Vec<Arc<str>>,
    /// Whether SNS's first signature version (SHA-1) is accepted too. `DECAMP_SNS_SIGNATURE_1`.
    pub signature_1: bool,
    /// The only authorities trusted for SNS's signing certificate. `DECAMP_SNS_CACERT`.
    pub sns_ca: Option<PathBuf>,
    /// The files of SNS's signing certificates to fetch at the start. `DECAMP_SNS_CERTIFICATES`.
    pub sns_certificates: Vec<Arc<str>>,
    /// The time between two sweeps of the service, or between two scheduled sweeps of the Lambda. `DECAMP_SWEEP`.
    pub sweep_every: Duration,
    /// The most departures in progress. `DECAMP_MOST_DEPARTURES`.
    pub most_departures: usize,
    /// The most requests a second of one source. `DECAMP_SOURCE_RATE`.
    pub source_rate: u32,
    /// The proxies whose X-Forwarded-For is trusted. `DECAMP_TRUSTED_PROXIES`.
    pub proxies: Vec<Network>,
    /// Signed webhooks by name, only from the settings' file.
    pub signed: BTreeMap<Arc<str>, Webhook>,
    /// The Terraform workspaces whose runs start a refresh, only from the settings' file.
    pub terraform: Option<Terraform>,
    /// The preferences of refreshes that are started here, only from the settings' file.
    pub refresh: Preferences,
    /// The receivers of notifications by name, only from the settings' file.
    pub notify: BTreeMap<Arc<str>, Notify>,
    /// How long a departure may wait for one thing before it counts as stalled. `DECAMP_STALLED_AFTER`.
    pub stalled_after: Duration,
    /// The collector of traces; `None`: there are no traces. `DECAMP_TRACES`.
    pub traces: Option<Traces>,
}

impl Serve {
    /// Every group whose refresh a request can start.
    pub fn refreshed_groups(&self) -> impl Iterator<Item = &Arc<str>> {
        let by_runs = self.terraform.iter().flat_map(|terraform| terraform.workspaces.values().flatten());
        by_runs.chain(self.signed.values().filter_map(|webhook| webhook.action.group()))
    }
}

/// A collector of traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Traces {
    /// Its address, without `/v1/traces`.
    pub url: String,
    /// A header that it requires, with its value. `DECAMP_TRACES_HEADER`, `_FILE` and `_SECRET`.
    pub header: TokenSource,
}

/// A receiver of notifications.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The format that it understands.
    pub kind: NotifyKind,
    /// Its address. Slack's is a secret, so all addresses are treated as secrets.
    pub url: TokenSource,
    /// The secrets that sign notifications; several are a rotation.
    pub secrets: TokenSource,
}

/// The format that a receiver of notifications understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyKind {
    /// JSON, signed by the Standard Webhooks specification.
    Webhook,
    /// A text for Slack's incoming webhooks.
    Slack,
}

/// The runs of HCP Terraform or Terraform Enterprise that start a refresh (ADR 0028).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terraform {
    /// The secrets that sign its notifications; several are a rotation.
    pub secrets: TokenSource,
    /// The groups that belong to a workspace, by `ORGANIZATION/WORKSPACE`.
    pub workspaces: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

/// A named webhook (ADR 0029).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// How it is signed.
    pub scheme: WebhookScheme,
    /// The signing secrets; several are a rotation.
    pub secrets: TokenSource,
    /// What it does.
    pub action: WebhookAction,
}

/// What a webhook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAction {
    /// It starts a sweep.
    Look,
    /// It starts a refresh of this group.
    Refresh(Arc<str>),
}

impl WebhookAction {
    /// The group that it refreshes, if it does.
    #[must_use]
    pub fn group(&self) -> Option<&Arc<str>> {
        match self {
            Self::Look => None,
            Self::Refresh(group) => Some(group),
        }
    }
}

/// How a webhook is signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WebhookScheme {
    /// Standard Webhooks: id, time and body.
    Standard,
    /// GitHub's `X-Hub-Signature-256`: the body alone.
    GitHub,
}

/// One listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// Its address.
    pub address: SocketAddr,
    /// Its certificate with its chain, and the private key, as PEM files; `None`: plain HTTP.
    pub tls: Option<(PathBuf, PathBuf)>,
}

pub(super) fn read(from: &Reader<'_>) -> Result<Serve, Refused> {
    let most = number(from, "DECAMP_MOST_DEPARTURES", MOST_DEPARTURES)?;
    if !(1..=MOST_DEPARTURES).contains(&most) {
        return Err(Refused(format!("DECAMP_MOST_DEPARTURES: {most} is not between 1 and {MOST_DEPARTURES}")));
    }
    let sweep_every = from.span("DECAMP_SWEEP", Duration::from_mins(1))?;
    if sweep_every < Duration::from_secs(1) {
        return Err(Refused("DECAMP_SWEEP: each sweep asks for every group; set at least 1s".to_owned()));
    }
    let queue_hidden = from.span("DECAMP_QUEUE_HIDDEN", Duration::from_mins(2))?;
    if !(Duration::from_secs(6)..=Duration::from_hours(1)).contains(&queue_hidden) {
        return Err(Refused(
            "DECAMP_QUEUE_HIDDEN: messages would come twice, or too late to another replica; set 6s to 1h".to_owned(),
        ));
    }
    let stalled_after = from.span("DECAMP_STALLED_AFTER", Duration::from_mins(5))?;
    if stalled_after < Duration::from_secs(1) {
        return Err(Refused("DECAMP_STALLED_AFTER: everything would count as a stall; set at least 1s".to_owned()));
    }
    let source_rate = number(from, "DECAMP_SOURCE_RATE", 100)?;
    if source_rate == 0 {
        return Err(Refused("DECAMP_SOURCE_RATE: nobody could send anything; set at least 1".to_owned()));
    }
    let events_header = from.text("DECAMP_EVENTS_HEADER").unwrap_or_else(|| "x-api-key".to_owned()).to_ascii_lowercase();
    if !events_header.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return Err(Refused("DECAMP_EVENTS_HEADER: it is no name of a header; write one such as x-api-key".to_owned()));
    }
    Ok(Serve {
        webhooks: listen(from, "WEBHOOKS", "127.0.0.1:8480")?,
        admin: listen(from, "ADMIN", "127.0.0.1:8481")?,
        hosts: from.list("DECAMP_HOSTS").iter().map(|host| host.to_ascii_lowercase().into()).collect(),
        admin_token: source(from, "DECAMP_ADMIN_TOKEN", "DECAMP_ADMIN_TOKEN_FILE", "DECAMP_ADMIN_TOKEN_SECRET")?,
        events_key: source(from, "DECAMP_EVENTS_KEY", "DECAMP_EVENTS_KEY_FILE", "DECAMP_EVENTS_KEY_SECRET")?,
        events_header,
        queues: arns(from, "DECAMP_QUEUES", "sqs")?,
        queue_hidden,
        topics: arns(from, "DECAMP_SNS_TOPICS", "sns")?,
        signature_1: from.flag("DECAMP_SNS_SIGNATURE_1", false)?,
        sns_ca: from.text("DECAMP_SNS_CACERT").map(PathBuf::from),
        sns_certificates: certificates(from)?,
        sweep_every,
        most_departures: usize::try_from(most).unwrap_or(usize::MAX),
        source_rate,
        proxies: from.list_of("DECAMP_TRUSTED_PROXIES")?,
        signed: BTreeMap::new(),
        terraform: None,
        refresh: Preferences::default(),
        notify: BTreeMap::new(),
        stalled_after,
        traces: traces(from)?,
    })
}

impl Serve {
    /// Refuses settings that are valid but unsafe to serve. Returns warnings about doubtful ones.
    ///
    /// # Errors
    ///
    /// Returns the first unsafe setting, with what to change.
    pub fn check(&self) -> Result<Vec<String>, Refused> {
        let mut warnings = Vec::new();
        if !self.admin.is_loopback() {
            if self.admin.tls.is_none() {
                return Err(Refused(
                    "DECAMP_ADMIN_LISTEN: off loopback it needs a certificate; set DECAMP_ADMIN_CERT and DECAMP_ADMIN_KEY, or listen \
                     on 127.0.0.1"
                        .to_owned(),
                ));
            }
            if self.admin_token == TokenSource::None {
                return Err(Refused(
                    "DECAMP_ADMIN_LISTEN: off loopback it needs a token; set DECAMP_ADMIN_TOKEN_FILE, or listen on 127.0.0.1"
                        .to_owned(),
                ));
            }
        }
        let open = [&self.admin, &self.webhooks].into_iter().any(|listen| !listen.is_loopback());
        if open && self.hosts.is_empty() {
            return Err(Refused(
                "DECAMP_HOSTS: off loopback it has to be known which names are ours; write them, such as decamp.example.org"
                    .to_owned(),
            ));
        }
        if let Some(host) = self.hosts.iter().find(|host| !is_a_name(host)) {
            return Err(Refused(format!(
                "DECAMP_HOSTS: {host:?} is no name alone; leave out scheme, port and path, as in decamp.example.org"
            )));
        }
        for (name, source) in [("DECAMP_ADMIN_TOKEN", &self.admin_token), ("DECAMP_EVENTS_KEY", &self.events_key)] {
            if let Some(text) = source.at_hand(name)?
                && can_be_guessed(text.expose())
            {
                return Err(Refused(format!("{name}: it can be guessed; write at least {SHORTEST_KEY} characters")));
            }
        }
        if !self.webhooks.is_loopback() && self.webhooks.tls.is_none() {
            warnings.push(
                "DECAMP_WEBHOOKS_LISTEN: keys come in the clear; set DECAMP_WEBHOOKS_CERT and DECAMP_WEBHOOKS_KEY, or see that only a \
                 load balancer with TLS reaches it"
                    .to_owned(),
            );
        }
        if self.queues.is_empty() && self.events_key == TokenSource::None {
            warnings.push(
                "neither DECAMP_QUEUES nor DECAMP_EVENTS_KEY is set: no event comes in, and only the sweep finds what waits"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }
}

impl Listen {
    /// Whether only this machine can reach it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

/// Whether this can be a Host header without its port.
fn is_a_name(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok() || host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b))
}

fn listen(from: &Reader<'_>, which: &str, usual: &str) -> Result<Listen, Refused> {
    let name = |what: &str| format!("DECAMP_{which}_{what}");
    let text = from.text(&name("LISTEN")).unwrap_or_else(|| usual.to_owned());
    let address = text.parse().map_err(|_| {
        Refused(format!("{}: {text:?} is no address with a port; write one such as {usual} or [::]:8480", name("LISTEN")))
    })?;
    let tls = match (from.text(&name("CERT")), from.text(&name("KEY"))) {
        (None, None) => None,
        (Some(certificate), Some(key)) => Some((certificate.into(), key.into())),
        (Some(_), None) | (None, Some(_)) => {
            return Err(Refused(format!("{} and {} belong together; set both or neither", name("CERT"), name("KEY"))));
        }
    };
    Ok(Listen { address, tls })
}

/// Reads the collector of traces. Traces contain names of the cluster, so plain HTTP is for a collector nearby. No secret is sent
/// over plain HTTP.
fn traces(from: &Reader<'_>) -> Result<Option<Traces>, Refused> {
    let header = source(from, "DECAMP_TRACES_HEADER", "DECAMP_TRACES_HEADER_FILE", "DECAMP_TRACES_HEADER_SECRET")?;
    let Some(url) = from.text("DECAMP_TRACES") else { return Ok(None) };
    let rest = url.strip_prefix("https://").or(url.strip_prefix("http://"));
    if rest.is_none_or(|rest| rest.is_empty() || rest.contains(['@', '?', '#', ' '])) {
        return Err(Refused(
            "DECAMP_TRACES: it is no address such as http://127.0.0.1:4318; a secret goes into DECAMP_TRACES_HEADER".to_owned(),
        ));
    }
    if url.trim_end_matches('/').ends_with("/v1/traces") {
        return Err(Refused(
            "DECAMP_TRACES: leave /v1/traces away, which is added to it; write http://127.0.0.1:4318".to_owned(),
        ));
    }
    let nearby = ["http://127.0.0.1", "http://localhost", "http://[::1]"];
    let nearby =
        nearby.iter().any(|host| url.strip_prefix(host).is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '/'])));
    if header != TokenSource::None && url.starts_with("http://") && !nearby {
        return Err(Refused("DECAMP_TRACES: DECAMP_TRACES_HEADER would go in the clear; use https".to_owned()));
    }
    Ok(Some(Traces { url, header }))
}

fn number(from: &Reader<'_>, name: &str, usual: u32) -> Result<u32, Refused> {
    match from.text(name) {
        None => Ok(usual),
        Some(text) => text.parse().map_err(|_| Refused(format!("{name}: {text:?} is not a whole number"))),
    }
}

/// ARNs of one service: `arn:aws:SERVICE:REGION:ACCOUNT:NAME`.
fn arns(from: &Reader<'_>, name: &str, service: &str) -> Result<Vec<Arc<str>>, Refused> {
    let all = from.list(name);
    let plain = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    for arn in &all {
        let parts: Vec<&str> = arn.split(':').collect();
        let fits = matches!(parts[..], ["arn", _, of, _, account, _] if of == service && account.len() == 12);
        if !fits || !parts.iter().all(|part| plain(part)) {
            return Err(Refused(format!(
                "{name}: {arn:?} is not an ARN such as arn:aws:{service}:eu-west-1:123456789012:decamp"
            )));
        }
    }
    Ok(all)
}

/// Names of files such as `SimpleNotificationService-….pem`: the last part of a message's SigningCertURL.
fn certificates(from: &Reader<'_>) -> Result<Vec<Arc<str>>, Refused> {
    let all = from.list("DECAMP_SNS_CERTIFICATES");
    let is_name = |file: &Arc<str>| {
        let number = file.strip_prefix("SimpleNotificationService-").and_then(|rest| rest.strip_suffix(".pem"));
        number.is_some_and(|number| number.len() == 32 && number.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')))
    };
    match all.iter().find(|file| !is_name(file)) {
        None => Ok(all),
        Some(file) => Err(Refused(format!(
            "DECAMP_SNS_CERTIFICATES: {file:?} is no file of SNS; write the last part of a message's SigningCertURL, such as \
             SimpleNotificationService-0123456789abcdef0123456789abcdef.pem"
        ))),
    }
}

#[cfg(test)]
mod tests;
