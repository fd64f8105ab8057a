//! The certificates that sign SNS's messages: fetched one at a time and kept. Forged messages cause few fetches.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustls::pki_types::TrustAnchor;
use tokio::time::{Instant, sleep, timeout, timeout_at};
use tracing::info;

use super::problem::Problem;
use super::subnet::Subnet;
use crate::Service;
use crate::departures::lock;
use crate::repeated::Kind;
use crate::verify::sns::{Doubt, LARGEST_CERTIFICATE, host, is_of_sns};
use decamp_core::world::World;
use decamp_net::ttl_map::TtlMap;

/// Certificates that are kept in addition to those that the settings name. SNS uses a few for each Region at a time.
const MOST_KEPT: usize = 16;
/// How long a message waits for a certificate. SNS sends it again: three times at once, then ever more slowly.
const WAIT_TIMEOUT: Duration = Duration::from_secs(3);
/// The time limit for one fetch.
const FETCH_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a name is refused for which SNS has no certificate of its own.
const REFUSED_FOR: Duration = Duration::from_mins(10);
/// How long a name is not fetched again after a fetch failed.
const FAILED_FOR: Duration = Duration::from_secs(2);
/// The most refused names that are remembered. At that number, no new name is fetched.
const MOST_REFUSED: usize = 10_000;
/// How many names without a certificate one sender may cause fetches of, until they are forgotten.
const MOST_GUESSES: u32 = 3;
/// How often the certificates that the settings name are fetched: after a success, and after a failure.
const DAILY: Duration = Duration::from_hours(24);
const SOON: Duration = Duration::from_secs(30);

/// A certificate by its host and file.
type Name = (String, String);

/// Why there is no certificate for a message.
#[derive(Debug, Clone)]
pub(super) enum CertificateError {
    /// SNS has none of this name, so the message is forged.
    Doubted(Doubt),
    /// It could not be fetched now.
    Unavailable(Arc<str>),
}

/// The known certificates.
pub(super) struct SnsCertificates {
    service: Arc<Service>,
    anchors: Vec<TrustAnchor<'static>>,
    kept: Mutex<HashMap<Name, Arc<Vec<u8>>>>,
    refused: TtlMap<Name, ()>,
    failed: TtlMap<Name, Arc<str>>,
    guesses: TtlMap<Subnet, u32>,
    /// Held during a fetch.
    turn: tokio::sync::Mutex<()>,
    /// Held by each sender while it waits for `turn`, so that a sender with many messages waits in it once.
    turns: Mutex<HashMap<Subnet, Arc<tokio::sync::Mutex<()>>>>,
}

impl SnsCertificates {
    pub(super) fn new(service: &Arc<Service>, anchors: Vec<TrustAnchor<'static>>) -> Arc<Self> {
        Arc::new(Self {
            service: Arc::clone(service),
            anchors,
            kept: Mutex::default(),
            refused: TtlMap::with_ttl(REFUSED_FOR),
            failed: TtlMap::with_ttl(FAILED_FOR),
            guesses: TtlMap::with_ttl(REFUSED_FOR),
            turn: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// The authorities that may sign them.
    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The certificate of this file name at SNS of the topic's Region, for a message of this sender.
    pub(super) async fn get(&self, near: &Arc<str>, file: &str, sender: Subnet) -> Result<Arc<Vec<u8>>, CertificateError> {
        let name = (host(near), file.to_owned());
        if let Some(known) = self.known(near, &name) {
            return known;
        }
        if self.guesses.get(&sender).is_some_and(|guesses| MOST_GUESSES <= guesses) {
            return Err(CertificateError::Doubted(Doubt::Certificate));
        }
        let until = Instant::now() + WAIT_TIMEOUT;
        let late = |_| CertificateError::Unavailable("too many other certificates are being fetched".into());
        let senders = Arc::clone(lock(&self.turns).entry(sender).or_default());
        let found = async {
            let _senders = timeout_at(until, senders.lock()).await.map_err(late)?;
            let _turn = timeout_at(until, self.turn.lock()).await.map_err(late)?;
            match self.known(near, &name) {
                Some(known) => known,
                None => self.fetch(near, name, Some(sender)).await,
            }
        };
        let found = found.await;
        drop(senders);
        // Forgets the sender if none of its other messages waits.
        lock(&self.turns).retain(|_, turn| 1 < Arc::strong_count(turn));
        found
    }

    /// The answer for a name if no fetch is needed.
    fn known(&self, near: &str, name: &Name) -> Option<Result<Arc<Vec<u8>>, CertificateError>> {
        let kept = lock(&self.kept).get(name).cloned();
        // An expired certificate may have a successor of the same name.
        if let Some(kept) = kept.filter(|kept| is_of_sns(near, kept, &self.anchors, self.service.live.now()).is_ok()) {
            return Some(Ok(kept));
        }
        if self.refused.get(name).is_some() {
            return Some(Err(CertificateError::Doubted(Doubt::Certificate)));
        }
        self.failed.get(name).map(|why| Err(CertificateError::Unavailable(why)))
    }

    async fn fetch(&self, near: &Arc<str>, name: Name, sender: Option<Subnet>) -> Result<Arc<Vec<u8>>, CertificateError> {
        if MOST_REFUSED <= self.refused.held() {
            return Err(CertificateError::Unavailable("too many names were refused in the last minutes".into()));
        }
        let fetching = self.service.live.signed().fetch_certificate(near, &name.1, LARGEST_CERTIFICATE);
        let fetched = match timeout(FETCH_TIMEOUT, fetching).await {
            Ok(Ok(Some(fetched))) => is_of_sns(near, &fetched, &self.anchors, self.service.live.now()).map(|()| fetched),
            Ok(Ok(None)) => Err(Doubt::Certificate),
            Ok(Err(refusal)) => return Err(self.failed(name, &refusal.to_string())),
            Err(_) => return Err(self.failed(name, &format!("no answer in {} s", FETCH_TIMEOUT.as_secs()))),
        };
        match fetched {
            Ok(fetched) => {
                let fetched = Arc::new(fetched);
                let mut kept = lock(&self.kept);
                if MOST_KEPT + self.service.settings.serve.sns_certificates.len() <= kept.len() {
                    // Fetching one again costs one call.
                    kept.clear();
                }
                kept.insert(name, Arc::clone(&fetched));
                Ok(fetched)
            }
            Err(doubt) => {
                self.refused.put(name, ());
                if let Some(sender) = sender {
                    let before = self.guesses.get(&sender).unwrap_or_default();
                    self.guesses.put(sender, before + 1);
                }
                Err(CertificateError::Doubted(doubt))
            }
        }
    }

    fn failed(&self, name: Name, why: &str) -> CertificateError {
        let why: Arc<str> = why.into();
        self.failed.put(name, Arc::clone(&why));
        CertificateError::Unavailable(why)
    }

    /// Logs why there is no certificate, and asks the sender to send the message again.
    pub(super) fn unavailable(&self, why: &str) -> Problem {
        if self.service.repeated.may_write(Kind::NoCertificate) {
            tracing::warn!(event = "sns", %why, "cannot fetch SNS's certificate: {why}");
        }
        Problem::cannot_verify()
    }

    /// Fetches the certificates that the settings name, again every day, so that their messages never wait behind forged ones.
    pub(super) async fn keep_preloaded(&self) {
        let serve = &self.service.settings.serve;
        if serve.sns_certificates.is_empty() || serve.topics.is_empty() {
            return std::future::pending().await;
        }
        loop {
            let mut missing = false;
            for near in &serve.topics {
                for file in &serve.sns_certificates {
                    let name = (host(near), file.to_string());
                    match self.fetch(near, name, None).await {
                        Ok(_) => info!(topic = &**near, file = &**file, "fetched a certificate of SNS"),
                        // SNS of another Region than the file's has no file of this name.
                        Err(CertificateError::Doubted(_)) => {}
                        Err(CertificateError::Unavailable(why)) => {
                            missing = true;
                            self.unavailable(&why);
                        }
                    }
                }
            }
            sleep(if missing { SOON } else { DAILY }).await;
        }
    }
}
