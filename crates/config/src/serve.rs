//! How `decamp serve` listens, whom it believes, and how much it takes on.

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

/// The most departures that one replica has in hand (ADR 0030).
const MOST_DEPARTURES: u32 = 10_000;

/// What `decamp serve` needs beside what every departure needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Where events are taken in. `DECAMP_WEBHOOKS_LISTEN`.
    pub webhooks: Listen,
    /// Where the page, the API and the metrics are. `DECAMP_ADMIN_LISTEN`.
    pub admin: Listen,
    /// Names that a request may be addressed to, beside those of loopback. `DECAMP_HOSTS`.
    pub hosts: Vec<Arc<str>>,
    /// What opens the admin listener. `DECAMP_ADMIN_TOKEN` and its kin.
    pub admin_token: TokenSource,
    /// The keys that `POST /v1/events` asks for, with commas or one a line. `DECAMP_EVENTS_KEY` and its kin.
    pub events_key: TokenSource,
    /// The header that carries one. `DECAMP_EVENTS_HEADER`.
    pub events_header: String,
    /// Queues that are consumed, as ARNs. `DECAMP_QUEUES`.
    pub queues: Vec<Arc<str>>,
    /// How long a message is hidden at a time while it is held; then another replica may have it. `DECAMP_QUEUE_HIDDEN`.
    pub queue_hidden: Duration,
    /// SNS topics that are believed, as ARNs. `DECAMP_SNS_TOPICS`.
    pub topics: Vec<Arc<str>>,
    /// Whether SNS's first signature version (SHA-1) is believed too. `DECAMP_SNS_SIGNATURE_1`.
    pub signature_1: bool,
    /// The only authorities that are believed for SNS's signing certificate. `DECAMP_SNS_CACERT`.
    pub sns_ca: Option<PathBuf>,
    /// The files of SNS's signing certificates that are fetched at the start. `DECAMP_SNS_CERTIFICATES`.
    pub sns_certificates: Vec<Arc<str>>,
    /// How often everything that waits is looked after, by the service or by the schedule of the Lambda. `DECAMP_SWEEP`.
    pub sweep_every: Duration,
    /// How many departures are in hand at most. `DECAMP_MOST_DEPARTURES`.
    pub most_departures: usize,
    /// How many requests a second one source may make. `DECAMP_SOURCE_RATE`.
    pub source_rate: u32,
    /// Proxies whose X-Forwarded-For is believed. `DECAMP_TRUSTED_PROXIES`.
    pub proxies: Vec<Network>,
    /// Signed webhooks by name, from the settings' file alone.
    pub signed: BTreeMap<Arc<str>, Webhook>,
    /// Whose runs start a refresh, from the settings' file alone.
    pub terraform: Option<Terraform>,
    /// How refreshes go that are started here, from the settings' file alone.
    pub refresh: Preferences,
    /// Who is notified, by name, from the settings' file alone.
    pub notify: BTreeMap<Arc<str>, Notify>,
    /// How long a departure may wait for one thing until that counts as a stall. `DECAMP_STALLED_AFTER`.
    pub stalled_after: Duration,
    /// Where traces go; `None`: there are none. `DECAMP_TRACES`.
    pub traces: Option<Traces>,
}

impl Serve {
    /// Every group that may be refreshed from outside.
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
    /// A header that it asks for, with its value. `DECAMP_TRACES_HEADER` and its kin.
    pub header: TokenSource,
}

/// Somebody who is notified of departures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// What it understands.
    pub kind: NotifyKind,
    /// Its address. Slack's is a secret, so all are treated as such.
    pub url: TokenSource,
    /// With which secrets notifications are signed; several are a rotation.
    pub secrets: TokenSource,
}

/// What a receiver of notifications understands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NotifyKind {
    /// JSON, signed by the Standard Webhooks specification.
    Webhook,
    /// A text, as Slack's incoming webhooks take it.
    Slack,
}

/// The runs of HCP Terraform or Terraform Enterprise that start a refresh (ADR 0028).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terraform {
    /// What its notifications are signed with; several are a rotation.
    pub secrets: TokenSource,
    /// The groups that belong to a workspace, by `ORGANIZATION/WORKSPACE`.
    pub workspaces: BTreeMap<Arc<str>, Vec<Arc<str>>>,
}

/// A named webhook (ADR 0029).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// How it is signed.
    pub scheme: WebhookScheme,
    /// With which secrets; several are a rotation.
    pub secrets: TokenSource,
    /// What it does.
    pub action: WebhookAction,
}

/// What a webhook does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WebhookAction {
    /// It makes us look sooner, and nothing more.
    Look,
    /// It starts a refresh of this group.
    Refresh(Arc<str>),
}

impl WebhookAction {
    /// The group that it refreshes.
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
    /// Refuses what may be set, and must not be served. What is only doubtful comes back as sentences.
    ///
    /// # Errors
    ///
    /// The first thing that must not be, with what to change.
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
    /// Whether only this machine reaches it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        self.address.ip().is_loopback()
    }
}

/// Whether a Host header can say this, once its port is off.
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

/// Where traces go. They tell names of the cluster, so that plain HTTP is for a collector nearby; no secret goes over it.
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
