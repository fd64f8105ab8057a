//! The look after the secrets that open the service: one that was deleted or emptied, in its file or in AWS, is named at once, and opens
//! nothing a moment later. One that may not be read any more goes on, and is named as well.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{error, info, warn};

use super::Service;
use super::departures::lock;
use decamp_net::secrets::Token;

/// How often all of them are looked at.
const EVERY: Duration = Duration::from_secs(1);
/// A denial that lasts is told again after this (ADR 0019).
const AGAIN_AFTER: Duration = Duration::from_hours(1);
/// What health calls them.
const SYSTEM: &str = "a secret";

/// All that open something, by what they are.
#[derive(Debug, Default)]
pub(crate) struct Secrets(Mutex<Vec<(Arc<str>, Token)>>);

impl Secrets {
    /// Looks after one more from now on.
    pub(crate) fn look_after(&self, name: &str, token: &Token) {
        lock(&self.0).push((name.into(), token.clone()));
    }
}

/// Looks after all of them, for as long as the service is there.
pub(crate) async fn looking_after(service: &Service) {
    let mut gone: HashSet<Arc<str>> = HashSet::new();
    let mut denied: HashMap<Arc<str>, Instant> = HashMap::new();
    loop {
        let all = lock(&service.secrets.0).clone();
        for (name, token) in all {
            if token.is_in_a_file() {
                // The first time it is read here, whoever has shown it or not; why it cannot be is said below, or to whoever shows one.
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
