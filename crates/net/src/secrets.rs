//! The token of one system: fetched when it is first needed, kept, and fetched again once when it is refused.

#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use tokio::time::Instant;

use decamp_config::{Secret, Stored, TokenSource};
use decamp_core::decide::Unseen;

/// A refused token is fetched again no sooner than this after the last fetch: what was just fetched will not have changed.
const FETCH_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// A fetch that failed answers for so long whoever asks next.
const FAILED_FOR: Duration = Duration::from_secs(1);
/// A secret that was deleted or emptied, in its file or in AWS, is believed for so long: its writer may be about to write the next one.
const GONE_FOR: Duration = Duration::from_secs(30);
/// A file that is compared with is read again after this.
const FILE_LASTS: Duration = Duration::from_secs(5);
/// A secret in AWS that is compared with is fetched again after this, as AWS's own extension for Lambda does (SECRETS_MANAGER_TTL, 300 s).
const STORED_LASTS: Duration = Duration::from_mins(5);

/// Why a secret that is kept in AWS was not fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NotFetched {
    /// The store answered that there is no such secret, or that it is marked for deletion.
    Gone(Arc<str>),
    /// The store could not be asked, or does not say: that proves nothing about the secret.
    Unseen(Unseen),
}

impl NotFetched {
    /// What it means for whoever needs the secret: it is not to be had.
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

/// For where no token is kept in AWS: every fetch is denied.
#[derive(Debug, Clone, Copy)]
pub struct NoStore;

impl Fetch for NoStore {
    fn fetch<'a>(&'a self, stored: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
        Box::pin(async move { Err(NotFetched::Unseen(Unseen::Denied(format!("{stored} cannot be fetched here").into()))) })
    }
}

/// The token of one system. Its clones are one token.
#[derive(Clone)]
pub struct Token(Arc<Inner>);

struct Inner {
    source: TokenSource,
    store: Arc<dyn Fetch>,
    /// Never held while anything is fetched: whoever has the token already waits for nobody.
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What was fetched last, and when.
    held: Option<(Secret, Instant)>,
    /// When a fetch was begun last.
    tried: Option<Instant>,
    /// Why the last one failed, and when.
    failed: Option<(Unseen, Instant)>,
    /// Since when nothing is where the one that is held was, and how that shows.
    gone: Option<(Instant, Unseen)>,
    /// The one that is under way: all who want it wait for the same.
    under_way: Option<Fetching>,
}

type Fetching = Shared<BoxFuture<'static, Result<Secret, Unseen>>>;

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Token").field(&self.0.source).finish()
    }
}

impl Token {
    /// A token that is fetched when it is first needed.
    #[must_use]
    pub fn new(source: TokenSource, store: Arc<dyn Fetch>) -> Self {
        Self(Arc::new(Inner { source, store, state: Mutex::default() }))
    }

    /// The token; `None` if there is none, or a blank one.
    ///
    /// # Errors
    ///
    /// If it could not be fetched, now or a moment ago.
    pub async fn get(&self) -> Result<Option<Secret>, Unseen> {
        if self.0.source == TokenSource::None {
            return Ok(None);
        }
        let fetching = {
            let mut state = self.state();
            // Whoever asks need not be known: AWS is not called for each of them.
            let again = if self.is_in_a_file() { FAILED_FOR } else { FETCH_AGAIN_AFTER };
            if state.is_gone() && state.tried.is_none_or(|at| again <= at.elapsed()) {
                // It may be back.
                drop(self.begin(&mut state));
            }
            if let Some((_, why)) = state.gone.as_ref().filter(|_| state.is_gone()) {
                return Err(why.clone());
            }
            if let Some((secret, _)) = &state.held {
                return Ok(Some(secret.clone()).filter(|s| !s.is_blank()));
            }
            if let Some((why, _)) = state.failed.as_ref().filter(|(_, at)| at.elapsed() < FAILED_FOR) {
                return Err(why.clone());
            }
            self.begin(&mut state)
        };
        Ok(Some(fetching.await?).filter(|s| !s.is_blank()))
    }

    /// Whether it is in a file, so that to read it asks nobody.
    #[must_use]
    pub fn is_in_a_file(&self) -> bool {
        matches!(self.0.source, TokenSource::File(_))
    }

    /// Another token than the one that was refused, if there is one by now.
    pub async fn instead_of(&self, refused: Option<&Secret>) -> Option<Secret> {
        let fetching = {
            let mut state = self.state();
            // Somebody else was refused as well, and has fetched it already.
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

    /// Reads it again if it is old: for whoever compares others' secrets with it, and is not refused when it has changed. Nobody waits for
    /// a store; until it has answered the old one is believed.
    pub fn keep_fresh(&self) {
        let lasts = match &self.0.source {
            TokenSource::None | TokenSource::Literal(_) => return,
            TokenSource::File(_) => FILE_LASTS,
            TokenSource::Stored(_) => STORED_LASTS,
        };
        let mut state = self.state();
        let is_old = state.held.as_ref().is_some_and(|(_, at)| lasts <= at.elapsed());
        if is_old && state.tried.is_none_or(|at| lasts.min(FETCH_AGAIN_AFTER) <= at.elapsed()) {
            drop(self.begin(&mut state));
        }
    }

    /// Why the secret that is held is believed only for a moment more, or not any more: it was deleted or emptied where it is kept.
    #[must_use]
    pub fn gone(&self) -> Option<Unseen> {
        self.state().gone.as_ref().map(|(_, why)| why.clone())
    }

    /// What the store answered if the last fetch was denied. The secret that is held is believed all the same: a policy that was changed
    /// by mistake is no revocation.
    #[must_use]
    pub fn denied(&self) -> Option<Unseen> {
        let state = self.state();
        state.failed.as_ref().map(|(why, _)| why.clone()).filter(|why| matches!(why, Unseen::Denied(_)))
    }

    /// Begins to fetch, or joins whoever has. It goes on even if nobody waits for it any more.
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

    /// What is at hand without asking anybody.
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
    /// Keeps what came of a fetch.
    fn fetched(&mut self, source: &TokenSource, fetched: &Result<Secret, NotFetched>) {
        self.under_way = None;
        let now = Instant::now();
        match fetched {
            // Whoever writes a file empties it first.
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
                // A store that is away, or that denies, is not an empty one.
                if matches!(not_fetched, NotFetched::Gone(_)) && self.held.is_some() {
                    self.gone.get_or_insert((now, why));
                }
            }
        }
    }

    /// Whether what is held is believed no more.
    fn is_gone(&self) -> bool {
        self.gone.as_ref().is_some_and(|(since, _)| GONE_FOR <= since.elapsed())
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
