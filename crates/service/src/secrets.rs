//! Watches the secrets that authenticate requests. A secret that was deleted or emptied, in its file or in AWS, is reported at once
//! and stops being accepted 30 s later. A secret that decamp may no longer read is reported too, and stays accepted.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::Service;
use super::departures::lock;
use decamp_net::secrets::Token;

/// How often all secrets are checked.
const EVERY: Duration = Duration::from_secs(1);
/// A denial that lasts is logged again after this time (ADR 0019).
const AGAIN_AFTER: Duration = Duration::from_hours(1);
/// Their name in health reports.
const SYSTEM: &str = "a secret";

/// All secrets that authenticate requests, with their names.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<Vec<(Arc<str>, Token)>>);

impl Secrets {
    /// Watches one more secret.
    pub(crate) fn look_after(&self, name: &str, token: &Token) {
        lock(&self.0).push((name.into(), token.clone()));
    }
}

/// Watches all secrets for as long as the service runs.
pub(crate) async fn watch(service: &Service) {
    let mut gone: HashSet<Arc<str>> = HashSet::new();
    let mut denied: HashMap<Arc<str>, Instant> = HashMap::new();
    loop {
        let all = lock(&service.secrets.0).clone();
        for (name, token) in all {
            if token.is_in_a_file() {
                // This is its first read, even if no request has needed it yet. A failure is reported below, or to the client that
                // needs the secret.
                token.get().await.ok();
            }
            token.keep_fresh();
            match token.gone() {
                Some(why) => {
                    service.health.saw_one_of(SYSTEM, Some(&name), Err(why.to_string()));
                    if gone.insert(Arc::clone(&name)) {
                        warn!(secret = &*name, %why, "{name} is gone, and opens nothing from 30 s on: {why}");
                    }
                }
                None if gone.remove(&name) => {
                    service.health.saw_one_of(SYSTEM, Some(&name), Ok(()));
                    info!(secret = &*name, "{name} is back");
                }
                None => {}
            }
            match token.denied() {
                Some(why) => {
                    service.health.saw_one_of(SYSTEM, Some(&name), Err(why.to_string()));
                    if denied.get(&name).is_none_or(|told| AGAIN_AFTER <= told.elapsed()) {
                        denied.insert(Arc::clone(&name), Instant::now());
                        error!(secret = &*name, %why, "{name} cannot be read any more, and what was read before goes on opening: {why}");
                    }
                }
                None if denied.remove(&name).is_some() => {
                    service.health.saw_one_of(SYSTEM, Some(&name), Ok(()));
                    info!(secret = &*name, "{name} can be read again");
                }
                None => {}
            }
        }
        sleep(EVERY).await;
    }
}
