//! The token of one system: fetched when it is first needed, kept, and fetched again once when it is refused.

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

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A store whose secret changes with every fetch.
    #[derive(Default)]
    struct Rotating(AtomicU32);

    impl Fetch for Rotating {
        fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
            let turn = self.0.fetch_add(1, Ordering::Relaxed);
            Box::pin(async move { Ok(Secret::new(format!("canary-{turn}\n"))) })
        }
    }

    fn stored(store: &Arc<Rotating>) -> Token {
        let store: Arc<dyn Fetch> = Arc::<Rotating>::clone(store);
        Token::new(TokenSource::Stored(Stored::Ssm("nomad".into())), store)
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_token_is_fetched_once_and_again_only_when_refused() {
        let store = Arc::new(Rotating::default());
        let token = stored(&store);
        assert_eq!(store.0.load(Ordering::Relaxed), 0);
        let first = token.get().await.expect("it is there");
        assert_eq!(token.get().await, Ok(first.clone()));
        assert_eq!(store.0.load(Ordering::Relaxed), 1);
        tokio::time::advance(FETCH_AGAIN_AFTER).await;
        let second = token.instead_of(first.as_ref()).await;
        assert_eq!(second.as_ref().map(Secret::expose), Some("canary-1"));
        assert_eq!(token.instead_of(first.as_ref()).await, second, "whoever was refused with the first gets the second");
        assert_eq!(token.instead_of(second.as_ref()).await, None, "it was just fetched");
        assert_eq!(store.0.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn a_literal_token_has_no_other() {
        let token = Token::new(TokenSource::Literal(Secret::new("canary")), Arc::new(NoStore));
        let first = token.get().await.expect("it is there");
        assert_eq!(token.instead_of(first.as_ref()).await, None);
        assert!(!format!("{token:?}").contains("canary"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_file_is_read_again_after_a_refusal() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "one\n").expect("it is ours");
        let token = Token::new(TokenSource::File(file.path().into()), Arc::new(NoStore));
        let one = token.get().await.expect("it is there");
        assert_eq!(one.as_ref().map(Secret::expose), Some("one"));
        std::fs::write(file.path(), "two\n").expect("it is ours");
        tokio::time::advance(FETCH_AGAIN_AFTER).await;
        assert_eq!(token.instead_of(one.as_ref()).await.as_ref().map(Secret::expose), Some("two"));
    }

    /// A store that never answers, and counts who asks.
    #[derive(Default)]
    struct Hanging(AtomicU32);

    impl Fetch for Hanging {
        fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
            if self.0.fetch_add(1, Ordering::Relaxed) == 0 {
                return Box::pin(async { Ok(Secret::new("canary")) });
            }
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_refused_while_a_store_hangs_holds_up_nobody_else() {
        let store = Arc::new(Hanging::default());
        let token = Token::new(TokenSource::Stored(Stored::Ssm("key".into())), Arc::<Hanging>::clone(&store));
        let first = token.get().await.expect("it is there");
        tokio::time::advance(FETCH_AGAIN_AFTER).await;
        let guesses: Vec<_> = (0..10).map(|_| token.clone()).collect();
        let guesses = guesses.iter().map(|token| token.instead_of(first.as_ref()).boxed());
        let guess = tokio::time::timeout(Duration::from_secs(1), futures_util::future::join_all(guesses));
        assert!(guess.await.is_err(), "it hangs");
        assert_eq!(token.get().now_or_never(), Some(Ok(first)), "the right key is known");
        assert_eq!(store.0.load(Ordering::Relaxed), 2, "all who guess wait for one fetch");
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_compared_with_is_read_again_while_the_old_one_is_believed() {
        let store = Arc::new(Rotating::default());
        let token = stored(&store);
        let first = token.get().await.expect("it is there");
        token.keep_fresh();
        tokio::time::advance(STORED_LASTS).await;
        token.keep_fresh();
        assert_eq!(token.get().now_or_never(), Some(Ok(first.clone())), "nobody waits");
        tokio::task::yield_now().await;
        let second = token.get().await.expect("it is there");
        assert_eq!((second.as_ref().map(Secret::expose), store.0.load(Ordering::Relaxed)), (Some("canary-1"), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_file_is_read_again_and_one_that_is_just_being_written_is_not_believed() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), "one\n").expect("it is ours");
        let token = Token::new(TokenSource::File(file.path().into()), Arc::new(NoStore));
        let text = || async {
            token.keep_fresh();
            token.get().await.expect("it is there").map(|secret| secret.expose().to_owned())
        };
        assert_eq!(text().await.as_deref(), Some("one"));
        for (content, seen) in [("", "one"), ("two\n", "two")] {
            std::fs::write(file.path(), content).expect("it is ours");
            tokio::time::advance(FILE_LASTS).await;
            assert_eq!(text().await.as_deref(), Some(seen));
        }
        std::fs::remove_file(file.path()).expect("it is ours");
        tokio::time::advance(FILE_LASTS).await;
        assert_eq!(text().await.as_deref(), Some("two"), "one that cannot be read changes nothing for a moment");
    }

    #[tokio::test(start_paused = true)]
    async fn a_secret_whose_file_was_deleted_or_emptied_is_believed_for_a_moment_and_named_at_once() {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        let path = file.path().to_owned();
        for emptied in [true, false] {
            std::fs::write(&path, "one\n").expect("it is ours");
            let token = Token::new(TokenSource::File(path.clone()), Arc::new(NoStore));
            assert!(token.get().await.is_ok() && token.gone().is_none());
            if emptied { std::fs::write(&path, "\n") } else { std::fs::remove_file(&path) }.expect("it is ours");
            tokio::time::advance(FILE_LASTS).await;
            token.keep_fresh();
            let why = token.gone().map(|why| why.to_string()).unwrap_or_default();
            assert!(why.contains(&path.display().to_string()), "{why}");
            assert!(token.get().await.is_ok(), "its writer may be about to write");
            tokio::time::advance(GONE_FOR).await;
            assert!(matches!(token.get().await, Err(Unseen::Away(_))), "{emptied}");
            assert!(matches!(token.get().await, Err(Unseen::Away(_))), "{emptied}");
            std::fs::write(&path, "two\n").expect("it is ours");
            tokio::time::advance(FAILED_FOR).await;
            assert_eq!(token.get().await.expect("it is back").as_ref().map(Secret::expose), Some("two"));
            assert!(token.gone().is_none());
        }
    }

    /// A store that answers what it is told to.
    struct Answering(Mutex<Result<Secret, NotFetched>>, AtomicU32);

    impl Fetch for Answering {
        fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
            self.1.fetch_add(1, Ordering::Relaxed);
            let answer = self.0.lock().expect("nobody panicked").clone();
            Box::pin(async move { answer })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_secret_that_is_deleted_or_emptied_is_believed_for_a_moment_and_one_that_is_denied_or_away_goes_on() {
        let deleted = Err(NotFetched::Gone("ResourceNotFoundException: ".into()));
        let denied = Err(NotFetched::Unseen(Unseen::Denied("AccessDenied: ".into())));
        let away = Err(NotFetched::Unseen(Unseen::Away("timeout".into())));
        for (answer, is_gone) in [(deleted, true), (Ok(Secret::new(" \n")), true), (denied, false), (away, false)] {
            let store = Arc::new(Answering(Mutex::new(Ok(Secret::new("one"))), AtomicU32::new(0)));
            let token = Token::new(TokenSource::Stored(Stored::Ssm("key".into())), Arc::<Answering>::clone(&store));
            assert!(token.get().await.is_ok() && token.gone().is_none());
            let is_denied = matches!(answer, Err(NotFetched::Unseen(Unseen::Denied(_))));
            *store.0.lock().expect("nobody panicked") = answer;
            tokio::time::advance(STORED_LASTS).await;
            token.keep_fresh();
            tokio::task::yield_now().await;
            assert_eq!((token.gone().is_some(), token.denied().is_some()), (is_gone, is_denied), "it is known at once");
            assert!(token.get().await.is_ok(), "its writer may be about to write");
            tokio::time::advance(GONE_FOR).await;
            let asked = store.1.load(Ordering::Relaxed);
            for _ in 0..100 {
                assert_eq!(token.get().await.is_err(), is_gone, "{:?}", token.gone());
            }
            assert!(store.1.load(Ordering::Relaxed) <= asked + 1, "AWS is not asked for each who asks");
            *store.0.lock().expect("nobody panicked") = Ok(Secret::new("two"));
            tokio::time::advance(FETCH_AGAIN_AFTER).await;
            token.keep_fresh();
            tokio::task::yield_now().await;
            assert_eq!(token.get().await.expect("it is there").as_ref().map(Secret::expose), Some("two"));
            assert!(token.gone().is_none() && token.denied().is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_stored_secret_that_was_never_there_is_not_had_rather_than_blank() {
        let store = Answering(Mutex::new(Err(NotFetched::Gone("ParameterNotFound: ".into()))), AtomicU32::new(0));
        let token = Token::new(TokenSource::Stored(Stored::Ssm("key".into())), Arc::new(store));
        assert!(matches!(token.get().await, Err(Unseen::Away(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_fetch_that_failed_is_not_made_again_at_once() {
        let token = Token::new(TokenSource::File("/nowhere/token".into()), Arc::new(NoStore));
        assert!(token.get().await.is_err());
        let tried = token.state().tried;
        assert!(token.get().await.is_err());
        assert_eq!(token.state().tried, tried, "it was answered from memory");
        tokio::time::advance(FAILED_FOR).await;
        assert!(token.get().await.is_err());
        assert_ne!(token.state().tried, tried);
    }

    #[tokio::test]
    async fn a_blank_token_is_none() {
        let token = Token::new(TokenSource::Literal(Secret::new(" \n")), Arc::new(NoStore));
        assert_eq!(token.get().await, Ok(None));
    }

    #[tokio::test]
    async fn a_missing_file_is_not_seen_rather_than_blank() {
        let token = Token::new(TokenSource::File("/nowhere/token".into()), Arc::new(NoStore));
        assert!(matches!(token.get().await, Err(Unseen::Away(_))));
    }
}
