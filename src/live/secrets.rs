//! The token of one system: fetched when it is first needed, kept, and fetched again once when it is refused.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::decide::Unseen;
use crate::settings::{Secret, Stored, TokenSource};

/// A refused token is fetched again no sooner than this after the last fetch: what was just fetched will not have changed.
const FETCH_AGAIN_AFTER: Duration = Duration::from_secs(30);

/// Fetches secrets that are kept in AWS.
pub trait Fetch: Send + Sync {
    /// Fetches one secret.
    fn fetch<'a>(&'a self, stored: &'a Stored) -> BoxFuture<'a, Result<Secret, Unseen>>;
}

/// For where no token is kept in AWS: every fetch is denied.
#[derive(Debug, Clone, Copy)]
pub struct NoStore;

impl Fetch for NoStore {
    fn fetch<'a>(&'a self, stored: &'a Stored) -> BoxFuture<'a, Result<Secret, Unseen>> {
        Box::pin(async move { Err(Unseen::Denied(format!("{stored} cannot be fetched here").into())) })
    }
}

/// The token of one system.
pub struct Token {
    source: TokenSource,
    store: Arc<dyn Fetch>,
    held: Mutex<Option<(Secret, Instant)>>,
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Token").field(&self.source).finish()
    }
}

impl Token {
    /// A token that is fetched when it is first needed.
    #[must_use]
    pub fn new(source: TokenSource, store: Arc<dyn Fetch>) -> Self {
        Self { source, store, held: Mutex::new(None) }
    }

    /// The token; `None` if there is none, or a blank one.
    ///
    /// # Errors
    ///
    /// If it could not be fetched.
    pub async fn get(&self) -> Result<Option<Secret>, Unseen> {
        if self.source == TokenSource::None {
            return Ok(None);
        }
        let mut held = self.held.lock().await;
        if let Some((secret, _)) = held.as_ref() {
            return Ok(Some(secret.clone()).filter(|s| !s.is_blank()));
        }
        let secret = self.fetch().await?;
        *held = Some((secret.clone(), Instant::now()));
        Ok(Some(secret).filter(|s| !s.is_blank()))
    }

    /// Another token than the one that was refused, if there is one by now.
    pub async fn instead_of(&self, refused: Option<&Secret>) -> Option<Secret> {
        let mut held = self.held.lock().await;
        let due = match held.as_ref() {
            // Somebody else was refused as well, and has fetched it already.
            Some((secret, _)) if Some(secret) != refused => return Some(secret.clone()),
            Some((_, at)) => FETCH_AGAIN_AFTER <= at.elapsed(),
            None => true,
        };
        let fixed = matches!(self.source, TokenSource::None | TokenSource::Literal(_));
        if fixed || !due {
            return None;
        }
        let secret = self.fetch().await.ok()?;
        *held = Some((secret.clone(), Instant::now()));
        Some(secret).filter(|s| Some(s) != refused)
    }

    async fn fetch(&self) -> Result<Secret, Unseen> {
        match &self.source {
            TokenSource::None => Ok(Secret::new("")),
            TokenSource::Literal(secret) => Ok(secret.clone()),
            TokenSource::File(path) => match std::fs::read_to_string(path) {
                Ok(text) => Ok(Secret::new(text)),
                Err(why) => Err(Unseen::Away(format!("the token's file {} cannot be read: {why}", path.display()).into())),
            },
            TokenSource::Stored(stored) => self.store.fetch(stored).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A store whose secret changes with every fetch.
    #[derive(Default)]
    struct Rotating(AtomicU32);

    impl Fetch for Rotating {
        fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, Unseen>> {
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
