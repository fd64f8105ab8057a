//! The look after the secrets that open the service: one whose file was deleted or emptied is named at once, and opens nothing a
//! moment later.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::sleep;
use tracing::{info, warn};

use super::Service;
use super::departures::lock;
use decamp_net::secrets::Token;

/// How often all of them are looked at.
const EVERY: Duration = Duration::from_secs(1);
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
                    service.health.saw_one_of(SYSTEM, &name, Err(why.to_string()));
                    if gone.insert(Arc::clone(&name)) {
                        warn!(secret = &*name, %why, "{name} is gone, and opens nothing from 30 s on: {why}");
                    }
                }
                None if gone.remove(&name) => {
                    service.health.saw_one_of(SYSTEM, &name, Ok(()));
                    info!(secret = &*name, "{name} is back");
                }
                None => {}
            }
        }
        sleep(EVERY).await;
    }
}
