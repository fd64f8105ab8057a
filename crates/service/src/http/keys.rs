//! API keys and signing secrets: compared in constant time, read again when they may have been rotated, and fetched within the time in
//! which a sender expects its answer.

use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;
use tokio::time::timeout;
use tracing::warn;

use super::problem::Problem;
use crate::Service;
use crate::repeated::{Kind, Repeated};
use decamp_config::{Secret, TokenSource, keys};
use decamp_net::secrets::Token;

/// The time limit for a store of secrets. Senders expect their answer within a second.
const STORE_TIMEOUT: Duration = Duration::from_millis(800);

/// The keys of one listener, or the secrets of one webhook.
#[derive(Debug)]
pub(super) struct Keys {
    /// `None`: none is set, so no key matches.
    token: Option<Token>,
    repeated: Arc<Repeated>,
}

impl Keys {
    /// The keys of this source. The log calls them by this name.
    pub(super) fn new(name: &str, source: &TokenSource, service: &Service) -> Arc<Self> {
        let token = (*source != TokenSource::None).then(|| Token::new(source.clone(), service.live.store()));
        if let Some(token) = &token {
            service.secrets.look_after(name, token);
        }
        Arc::new(Self { token, repeated: Arc::clone(&service.repeated) })
    }

    /// Whether there are any.
    pub(super) fn are_set(&self) -> bool {
        self.token.is_some()
    }

    /// The number of a key among those that are set. Every comparison takes the same time.
    ///
    /// # Errors
    ///
    /// The keys cannot be read. The client's key may be right, so the client has to send its request again.
    pub(super) async fn index_of(&self, given: &str) -> Result<Option<usize>, Problem> {
        let Some(token) = &self.token else { return Ok(None) };
        let held = self.held(token).await?;
        let found = held.as_ref().and_then(|held| index_in(held, given));
        if found.is_some() {
            return Ok(found);
        }
        // They may have been rotated, so they are read again, but not for every guess.
        let other = self.in_time(token.instead_of(held.as_ref())).await?;
        Ok(other.and_then(|other| index_in(&other, given)))
    }

    /// Whether this is true of the keys. If not, they are read again.
    ///
    /// # Errors
    ///
    /// The keys cannot be read.
    pub(super) async fn satisfy(&self, is_true: impl Fn(&[Secret]) -> bool) -> Result<bool, Problem> {
        let Some(token) = &self.token else { return Ok(false) };
        let all = |held: &Secret| keys(held.expose()).map(Secret::new).collect::<Vec<_>>();
        let held = self.held(token).await?;
        if held.as_ref().is_some_and(|held| is_true(&all(held))) {
            return Ok(true);
        }
        Ok(self.in_time(token.instead_of(held.as_ref())).await?.is_some_and(|other| is_true(&all(&other))))
    }

    /// Verifies a signature with the secrets, one a line. If it fails and they have been rotated, it verifies with the new ones.
    ///
    /// # Errors
    ///
    /// The secrets cannot be read, or the signature is wrong: then `refused` makes the error.
    pub(super) async fn verify_with<T, D>(
        &self,
        verify: impl Fn(&[Secret]) -> Result<T, D>,
        refused: impl Fn(D) -> Problem,
    ) -> Result<T, Problem> {
        let Some(token) = &self.token else { return verify(&[]).map_err(refused) };
        let held = self.held(token).await?;
        match verify(&held.iter().flat_map(Secret::lines).collect::<Vec<_>>()) {
            Ok(verified) => Ok(verified),
            Err(doubt) => match self.in_time(token.instead_of(held.as_ref())).await? {
                Some(other) => verify(&other.lines().collect::<Vec<_>>()).map_err(refused),
                None => Err(refused(doubt)),
            },
        }
    }

    /// The keys that are held; fetches them first if there are none.
    async fn held(&self, token: &Token) -> Result<Option<Secret>, Problem> {
        token.keep_fresh();
        self.in_time(token.get()).await?.map_err(|why| {
            if self.repeated.may_write(Kind::NoSecret) {
                warn!(%why, "a secret cannot be read, so requests that need it get 503: {why}");
            }
            Problem::cannot_verify()
        })
    }

    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Problem> {
        timeout(STORE_TIMEOUT, answer).await.map_err(|_| {
            if self.repeated.may_write(Kind::NoSecret) {
                warn!("a secret was not read in time, so requests that need it get 503");
            }
            Problem::cannot_verify()
        })
    }
}

fn index_in(held: &Secret, given: &str) -> Option<usize> {
    let given = Sha256::digest(given.as_bytes());
    let mut found = None;
    for (index, key) in keys(held.expose()).enumerate() {
        // Digests are compared, so that the time does not show the length of a key.
        if bool::from(Sha256::digest(key.as_bytes()).ct_eq(&given)) {
            found = Some(index);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use futures_util::future::BoxFuture;

    use super::*;
    use decamp_config::Stored;
    use decamp_net::secrets::{Fetch, NotFetched};

    #[test]
    fn each_of_several_keys_has_its_number_and_nothing_else_has_one() {
        let held = Secret::new("first-key-of-two,second-key-of-two");
        assert_eq!((index_in(&held, "first-key-of-two"), index_in(&held, "second-key-of-two")), (Some(0), Some(1)));
        for other in ["", "first-key-of-tw", "first-key-of-two,second-key-of-two", "FIRST-KEY-OF-TWO"] {
            assert_eq!(index_in(&held, other), None, "{other}");
        }
        assert_eq!(index_in(&Secret::new(""), ""), None, "an empty secret opens nothing");
    }

    #[test]
    fn a_signing_secret_may_contain_commas() {
        let held = Secret::new("one, two three\n\n other \n");
        assert_eq!(held.lines().collect::<Vec<_>>(), [Secret::new("one, two three"), Secret::new("other")]);
    }

    /// A store that answers a number of times, with another key each time, and then hangs.
    struct Answers(AtomicU32, u32);

    impl Fetch for Answers {
        fn fetch<'a>(&'a self, _: &'a Stored) -> BoxFuture<'a, Result<Secret, NotFetched>> {
            let turn = self.0.fetch_add(1, Ordering::Relaxed);
            if turn < self.1 {
                Box::pin(async move { Ok(Secret::new(format!("key-of-a-test-number-{turn}"))) })
            } else {
                Box::pin(std::future::pending())
            }
        }
    }

    fn stored(answers: u32) -> Keys {
        let store = Arc::new(Answers(AtomicU32::new(0), answers));
        Keys { token: Some(Token::new(TokenSource::Stored(Stored::Ssm("key".into())), store)), repeated: Arc::default() }
    }

    fn status<T>(of: Result<T, Problem>) -> Option<u16> {
        use axum::response::IntoResponse as _;
        of.err().map(|problem| problem.into_response().status().as_u16())
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_cannot_be_compared_is_answered_503() {
        let keys = stored(0);
        let began = tokio::time::Instant::now();
        assert_eq!(status(keys.index_of("any").await), Some(503));
        let verified = keys.verify_with(|_| Ok::<_, ()>(()), |()| Problem::unauthorized()).await;
        assert_eq!(status(verified), Some(503));
        assert!(began.elapsed() <= 2 * STORE_TIMEOUT, "{:?}", began.elapsed());
        let missing = Token::new(TokenSource::File("/nowhere/key".into()), Arc::new(decamp_net::secrets::NoStore));
        let missing = Keys { token: Some(missing), repeated: Arc::default() };
        assert_eq!(status(missing.index_of("any").await), Some(503));
    }

    #[tokio::test(start_paused = true)]
    async fn a_rotated_key_is_accepted_and_the_old_one_is_refused_in_the_end() {
        let keys = stored(2);
        assert_eq!(keys.index_of("key-of-a-test-number-0").await.ok(), Some(Some(0)));
        tokio::time::advance(Duration::from_secs(30)).await;
        let verify = |secrets: &[Secret]| if secrets == [Secret::new("key-of-a-test-number-1")] { Ok(()) } else { Err(()) };
        assert_eq!(status(keys.verify_with(verify, |()| Problem::unauthorized()).await), None, "it was read again");
        assert_eq!(keys.index_of("key-of-a-test-number-0").await.ok(), Some(None));
        // From now on the store hangs. A guess is answered 503; the right key does not wait.
        tokio::time::advance(Duration::from_mins(6)).await;
        assert_eq!(status(keys.index_of("a-guess").await), Some(503));
        let began = tokio::time::Instant::now();
        assert_eq!(keys.index_of("key-of-a-test-number-1").await.ok(), Some(Some(0)));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
