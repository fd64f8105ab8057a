//! The token of one system: fetched when it is first needed, kept, and fetched again once after it is refused.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use tokio::time::Instant;

use decamp_config::{Secret, Stored, TokenSource};
use decamp_core::decide::Unseen;

/// The shortest time between the last fetch and one after a refusal. A token that was just fetched has not changed.
const FETCH_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How long the error of a failed fetch is returned without another fetch.
const FAILURE_KEPT: Duration = Duration::from_secs(1);
/// How long a secret is still accepted after it was deleted or emptied, in its file or in AWS. Its writer may be about to write the
/// next one.
const GONE_AFTER: Duration = Duration::from_secs(30);
/// How often a file is read again whose secret is compared with those of clients.
const FILE_MAX_AGE: Duration = Duration::from_secs(5);
/// How often such a secret is fetched again from AWS. AWS's own extension for Lambda uses the same time (SECRETS_MANAGER_TTL, 300
/// s).
const STORED_MAX_AGE: Duration = Duration::from_mins(5);

/// Why a secret that is kept in AWS was not fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFetched {
    /// The store answered that the secret does not exist or is marked for deletion.
    Gone(Arc<str>),
    /// The store was not reached or did not say. That proves nothing about the secret.
    Unseen(Unseen),
}

impl NotFetched {
    /// Converts to `Unseen`, for a caller that needs the secret.
    fn unseen(self) -> Unseen {
        match self {
            Self::Gone(why) => Unseen::Away(why),
            Self::Unseen(why) => why,
        }
    }
}

/// Fetches secrets that are kept in AWS.
pub trait Fetch: Send + Sync {
    /// Fetches one secret.
    fn fetch<'a>(&'a self, stored: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>>;
}

/// A store for settings without secrets in AWS. It denies every fetch.
#[derive(Debug, Clone, Copy)]
pub struct NoStore;

impl Fetch for NoStore {
    fn fetch<'a>(&'a self, stored: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
        Box::pin(async move { Err(NotFetched::Unseen(Unseen::Denied(format!("{stored} cannot be fetched here").into()))) })
    }
}

/// The token of one system. Clones share its state.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    source: TokenSource,
    store: Arc<dyn Fetch>,
    /// Never locked during a fetch, so that callers get a known token at once.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// The last fetched secret, and when.
    held: Option<(Secret, Instant)>,
    /// When the last fetch began.
    tried: Option<Instant>,
    /// Why the last fetch failed, and when.
    failed: Option<(Unseen, Instant)>,
    /// Since when the held secret is missing where it is kept, and the error that shows it.
    gone: Option<(Instant, Unseen)>,
    /// The fetch in progress. All callers wait for the same one.
    under_way: Option<Fetching>,
}

type Fetching = Shared<BoxFuture<'static, Result<Secret, Unseen>>>;

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Token").field(&self.0.source).finish()
    }
}

impl Token {
    /// A token that is not fetched yet.
    #[must_use]
    pub fn new(source: TokenSource, store: Arc<dyn Fetch>) -> Self {
        Self(Arc::new(Inner { source, store, state: Mutex::default() }))
    }

    /// The token; `None` if there is none or it is blank.
    ///
    /// # Errors
    ///
    /// Returns an error if it could not be fetched, now or within the last second.
    pub async fn get(&self) -> Result<Option<Secret>, Unseen> {
        if self.0.source == TokenSource::None {
            return Ok(None);
        }
        let fetching = {
            let mut state = self.state();
            // Unauthenticated clients can cause this call, so AWS must not be called each time.
            let again = if self.is_in_a_file() { FAILURE_KEPT } else { FETCH_AGAIN_AFTER };
            if state.is_gone() && state.tried.is_none_or(|at| again <= at.elapsed()) {
                // The secret may exist again.
                drop(self.begin(&mut state));
            }
            if let Some((_, why)) = state.gone.as_ref().filter(|_| state.is_gone()) {
                return Err(why.clone());
            }
            if let Some((secret, _)) = &state.held {
                return Ok(Some(secret.clone()).filter(|s| !s.is_blank()));
            }
            if let Some((why, _)) = state.failed.as_ref().filter(|(_, at)| at.elapsed() < FAILURE_KEPT) {
                return Err(why.clone());
            }
            self.begin(&mut state)
        };
        Ok(Some(fetching.await?).filter(|s| !s.is_blank()))
    }

    /// Whether it is in a file, so that reading it needs no network.
    #[must_use]
    pub fn is_in_a_file(&self) -> bool {
        matches!(self.0.source, TokenSource::File(_))
    }

    /// A token that differs from the refused one, if there is one by now.
    pub async fn instead_of(&self, refused: Option<&Secret>) -> Option<Secret> {
        let fetching = {
            let mut state = self.state();
            // Another caller was refused too and has fetched it already.
            if let Some((secret, _)) = state.held.as_ref().filter(|(secret, _)| Some(secret) != refused) {
                return Some(secret.clone());
            }
            let recent = state.tried.is_some_and(|at| at.elapsed() < FETCH_AGAIN_AFTER);
            if self.is_fixed() || (recent && state.under_way.is_none()) {
                return None;
            }
            self.begin(&mut state)
        };
        fetching.await.ok().filter(|s| Some(s) != refused)
    }

    /// Reads it again if it is old. It is for callers that compare clients' secrets with it: no refusal shows them that it has
    /// changed. They do not wait for a store. Until it has answered, the old secret is accepted.
    pub fn keep_fresh(&self) {
        let max_age = match &self.0.source {
            TokenSource::None | TokenSource::Literal(_) => return,
            TokenSource::File(_) => FILE_MAX_AGE,
            TokenSource::Stored(_) => STORED_MAX_AGE,
        };
        let mut state = self.state();
        let is_old = state.held.as_ref().is_some_and(|(_, at)| max_age <= at.elapsed());
        if is_old && state.tried.is_none_or(|at| max_age.min(FETCH_AGAIN_AFTER) <= at.elapsed()) {
            drop(self.begin(&mut state));
        }
    }

    /// Why the held secret is accepted for at most 30 s more: it was deleted or emptied where it is kept.
    #[must_use]
    pub fn gone(&self) -> Option<Unseen> {
        self.state().gone.as_ref().map(|(_, why)| why.clone())
    }

    /// The store's answer if it denied the last fetch. The held secret is still accepted, because a policy that was changed by
    /// mistake is no revocation.
    #[must_use]
    pub fn denied(&self) -> Option<Unseen> {
        let state = self.state();
        state.failed.as_ref().map(|(why, _)| why.clone()).filter(|why| matches!(why, Unseen::Denied(_)))
    }

    /// Begins a fetch or joins the one in progress. It continues even if no caller waits for it any more.
    fn begin(&self, state: &mut State) -> Fetching {
        if let Some(fetching) = &state.under_way {
            return fetching.clone();
        }
        state.tried = Some(Instant::now());
        if let TokenSource::Stored(stored) = &self.0.source {
            let (inner, stored) = (Arc::clone(&self.0), stored.clone());
            let fetch = async move {
                let fetched = inner.store.fetch(&stored).await;
                lock(&inner.state).fetched(&inner.source, &fetched);
                fetched.map_err(NotFetched::unseen)
            };
            let fetching = fetch.boxed().shared();
            state.under_way = Some(fetching.clone());
            tokio::spawn(fetching.clone());
            return fetching;
        }
        let read = self.read();
        state.fetched(&self.0.source, &read);
        std::future::ready(read.map_err(NotFetched::unseen)).boxed().shared()
    }

    /// Reads a secret that needs no network.
    fn read(&self) -> Result<Secret, NotFetched> {
        match &self.0.source {
            TokenSource::None | TokenSource::Stored(_) => Ok(Secret::new("")),
            TokenSource::Literal(secret) => Ok(secret.clone()),
            TokenSource::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text)),
                Err(why) => Err(NotFetched::Gone(format!("the token's file {} cannot be read: {why}", path.display()).into())),
            },
        }
    }

    fn is_fixed(&self) -> bool {
        matches!(self.0.source, TokenSource::None | TokenSource::Literal(_))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.0.state)
    }
}

impl State {
    /// Keeps the result of a fetch.
    fn fetched(&mut self, source: &TokenSource, fetched: &Result<Secret, NotFetched>) {
        self.under_way = None;
        let now = Instant::now();
        match fetched {
            // Writing a file empties it first.
            Ok(secret) if secret.is_blank() && self.held.is_some() => {
                let why = || match source {
                    TokenSource::File(path) => format!("there is nothing in the file {}", path.display()),
                    TokenSource::Stored(stored) => format!("there is nothing in {stored}"),
                    TokenSource::None | TokenSource::Literal(_) => "there is nothing in it".to_owned(),
                };
                self.gone.get_or_insert_with(|| (now, Unseen::Away(why().into())));
            }
            Ok(secret) => (self.held, self.failed, self.gone) = (Some((secret.clone(), now)), None, None),
            Err(not_fetched) => {
                let why = not_fetched.clone().unseen();
                self.failed = Some((why.clone(), now));
                // An unreachable store, or one that denies, is not an empty one.
                if matches!(not_fetched, NotFetched::Gone(_)) && self.held.is_some() {
                    self.gone.get_or_insert((now, why));
                }
            }
        }
    }

    /// Whether the held secret is no longer accepted.
    fn is_gone(&self) -> bool {
        self.gone.as_ref().is_some_and(|(since, _)| GONE_AFTER <= since.elapsed())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
