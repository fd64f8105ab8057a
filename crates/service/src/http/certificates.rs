//! The certificates that sign SNS's messages: kept once they are known to be SNS's, fetched one at a time, and never again and again
//! for whoever forges.

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
use decamp_net::lately::Lately;

/// Files that are kept beside those that the settings name: SNS has a few a Region at a time.
const MOST_KEPT: usize = 16;
/// A message waits so long for a certificate; SNS sends it again (three times at once, then ever more slowly).
const TURN: Duration = Duration::from_secs(3);
/// A fetch takes at most this.
const FETCH: Duration = Duration::from_secs(2);
/// A name under which SNS has no certificate of its own is not asked for again in this time, nor is one that could not be asked for
/// in the second.
const REFUSED_FOR: Duration = Duration::from_mins(10);
const FAILED_FOR: Duration = Duration::from_secs(2);
/// Names that are remembered as refused. Beyond that no further name is asked for.
const MOST_REFUSED: usize = 10_000;
/// So many names that SNS does not have are asked for on behalf of one sender in that time.
const MOST_GUESSES: u32 = 3;
/// Certificates that the settings name are fetched at the start and this often, and after a failure this often.
const DAILY: Duration = Duration::from_hours(24);
const SOON: Duration = Duration::from_secs(30);

/// A certificate by its host and file.
type Name = (String, String);

/// Why a certificate is not had.
#[derive(Debug, Clone)]
pub(super) enum NotHad {
    /// SNS has none of this name: the message is forged.
    Doubted(Doubt),
    /// It cannot be told now.
    Unavailable(Arc<str>),
}

/// All that are known.
pub(super) struct Certificates {
    service: Arc<Service>,
    anchors: Vec<TrustAnchor<'static>>,
    kept: Mutex<HashMap<Name, Arc<Vec<u8>>>>,
    refused: Lately<Name, ()>,
    failed: Lately<Name, Arc<str>>,
    guesses: Lately<Subnet, u32>,
    /// Held while one is fetched.
    turn: tokio::sync::Mutex<()>,
    /// Held by each sender while it waits for that: one with many messages waits once.
    turns: Mutex<HashMap<Subnet, Arc<tokio::sync::Mutex<()>>>>,
}

impl Certificates {
    pub(super) fn new(service: &Arc<Service>, anchors: Vec<TrustAnchor<'static>>) -> Arc<Self> {
        Arc::new(Self {
            service: Arc::clone(service),
            anchors,
            kept: Mutex::default(),
            refused: Lately::for_a(REFUSED_FOR),
            failed: Lately::for_a(FAILED_FOR),
            guesses: Lately::for_a(REFUSED_FOR),
            turn: tokio::sync::Mutex::default(),
            turns: Mutex::default(),
        })
    }

    /// Who is believed for them.
    pub(super) fn anchors(&self) -> &[TrustAnchor<'static>] {
        &self.anchors
    }

    /// The certificate of this file at SNS of a topic's Region, for a message of this sender.
    pub(super) async fn of(&self, near: &Arc<str>, file: &str, sender: Subnet) -> Result<Arc<Vec<u8>>, NotHad> {
        let name = (host(near), file.to_owned());
        if let Some(known) = self.known(near, &name) {
            return known;
        }
        if self.guesses.get(&sender).is_some_and(|guesses| MOST_GUESSES <= guesses) {
            return Err(NotHad::Doubted(Doubt::Certificate));
        }
        let until = Instant::now() + TURN;
        let late = |_| NotHad::Unavailable("too many others are to be fetched".into());
        let senders = Arc::clone(lock(&self.turns).entry(sender).or_default());
        let had = async {
            let _senders = timeout_at(until, senders.lock()).await.map_err(late)?;
            let _turn = timeout_at(until, self.turn.lock()).await.map_err(late)?;
            match self.known(near, &name) {
                Some(known) => known,
                None => self.fetch(near, name, Some(sender)).await,
            }
        };
        let had = had.await;
        drop(senders);
        // Nobody else of this sender waits: nothing is to be remembered.
        lock(&self.turns).retain(|_, turn| 1 < Arc::strong_count(turn));
        had
    }

    /// What is known of a name without asking.
    fn known(&self, near: &str, name: &Name) -> Option<Result<Arc<Vec<u8>>, NotHad>> {
        let kept = lock(&self.kept).get(name).cloned();
        // One that is over may have a successor of the same name.
        if let Some(kept) = kept.filter(|kept| is_of_sns(near, kept, &self.anchors, self.service.live.now()).is_ok()) {
            return Some(Ok(kept));
        }
        if self.refused.get(name).is_some() {
            return Some(Err(NotHad::Doubted(Doubt::Certificate)));
        }
        self.failed.get(name).map(|why| Err(NotHad::Unavailable(why)))
    }

    async fn fetch(&self, near: &Arc<str>, name: Name, sender: Option<Subnet>) -> Result<Arc<Vec<u8>>, NotHad> {
        if MOST_REFUSED <= self.refused.held() {
            return Err(NotHad::Unavailable("too many names were refused lately".into()));
        }
        let fetching = self.service.live.signed().fetch_certificate(near, &name.1, LARGEST_CERTIFICATE);
        let fetched = match timeout(FETCH, fetching).await {
            Ok(Ok(Some(fetched))) => is_of_sns(near, &fetched, &self.anchors, self.service.live.now()).map(|()| fetched),
            Ok(Ok(None)) => Err(Doubt::Certificate),
            Ok(Err(refusal)) => return Err(self.failed(name, &refusal.to_string())),
            Err(_) => return Err(self.failed(name, &format!("no answer in {} s", FETCH.as_secs()))),
        };
        match fetched {
            Ok(fetched) => {
                let fetched = Arc::new(fetched);
                let mut kept = lock(&self.kept);
                if MOST_KEPT + self.service.settings.serve.sns_certificates.len() <= kept.len() {
                    // All are SNS's own, and one fetch each.
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
                Err(NotHad::Doubted(doubt))
            }
        }
    }

    fn failed(&self, name: Name, why: &str) -> NotHad {
        let why: Arc<str> = why.into();
        self.failed.put(name, Arc::clone(&why));
        NotHad::Unavailable(why)
    }

    /// Says why a certificate was not had, to whoever reads the log; the sender sends its message again.
    pub(super) fn unavailable(&self, why: &str) -> Problem {
        if self.service.repeated.may_write(Kind::NoCertificate) {
            tracing::warn!(event = "sns", %why, "SNS's certificate was not fetched: {why}");
        }
        Problem::cannot_verify()
    }

    /// Fetches those that the settings name, and again every day: their messages never wait behind those of whoever forges.
    pub(super) async fn preloading(&self) {
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
                        Ok(_) => info!(topic = &**near, file = &**file, "a certificate of SNS was fetched"),
                        // In another Region than its own there is none of this name.
                        Err(NotHad::Doubted(_)) => {}
                        Err(NotHad::Unavailable(why)) => {
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
