//! The keys that open something, and the secrets that sign: compared in constant time, read again when they may have been rotated, and
//! never waited for longer than a sender waits for its answer.

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

/// How long anybody waits for where secrets are kept: senders want their answer within a second.
const PATIENCE: Duration = Duration::from_millis(800);

/// The keys that open something.
#[derive(Debug)]
pub(super) struct Keys {
    /// `None`: there is none, so that nothing fits.
    token: Option<Token>,
    repeated: Arc<Repeated>,
}

impl Keys {
    /// The keys of this source, which the log calls so.
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

    /// The place of a key among those that are known. Each is compared in the same time, whatever it is.
    ///
    /// # Errors
    ///
    /// The keys cannot be had: whoever shows one may be right, and has to come again.
    pub(super) async fn place(&self, given: &str) -> Result<Option<usize>, Problem> {
        let Some(token) = &self.token else { return Ok(None) };
        let held = self.held(token).await?;
        let found = held.as_ref().and_then(|held| place(held, given));
        if found.is_some() {
            return Ok(found);
        }
        // They may have been rotated: they are read again, but not for every guess.
        let other = self.in_time(token.instead_of(held.as_ref())).await?;
        Ok(other.and_then(|other| place(&other, given)))
    }

    /// Whether any of the keys opens this; they are read again if none does.
    ///
    /// # Errors
    ///
    /// They cannot be had.
    pub(super) async fn opens(&self, opens: impl Fn(&[Secret]) -> bool) -> Result<bool, Problem> {
        let Some(token) = &self.token else { return Ok(false) };
        let all = |held: &Secret| keys(held.expose()).map(Secret::new).collect::<Vec<_>>();
        let held = self.held(token).await?;
        if held.as_ref().is_some_and(|held| opens(&all(held))) {
            return Ok(true);
        }
        Ok(self.in_time(token.instead_of(held.as_ref())).await?.is_some_and(|other| opens(&all(&other))))
    }

    /// What `verify` says of the secrets, one a line; if it doubts and they have been rotated, what it says of the new ones.
    ///
    /// # Errors
    ///
    /// They cannot be had; or what was doubted, as `refused` tells it.
    pub(super) async fn believe<T, D>(
        &self,
        verify: impl Fn(&[Secret]) -> Result<T, D>,
        refused: impl Fn(D) -> Problem,
    ) -> Result<T, Problem> {
        let Some(token) = &self.token else { return verify(&[]).map_err(refused) };
        let held = self.held(token).await?;
        match verify(&held.iter().flat_map(Secret::lines).collect::<Vec<_>>()) {
            Ok(believed) => Ok(believed),
            Err(doubt) => match self.in_time(token.instead_of(held.as_ref())).await? {
                Some(other) => verify(&other.lines().collect::<Vec<_>>()).map_err(refused),
                None => Err(refused(doubt)),
            },
        }
    }

    /// What is held now, fetched first if nothing is.
    async fn held(&self, token: &Token) -> Result<Option<Secret>, Problem> {
        token.keep_fresh();
        self.in_time(token.get()).await?.map_err(|why| {
            if self.repeated.may_write(Kind::NoSecret) {
                warn!(%why, "a secret cannot be had, and nobody is believed meanwhile: {why}");
            }
            Problem::cannot_verify()
        })
    }

    async fn in_time<T>(&self, answer: impl Future<Output = T>) -> Result<T, Problem> {
        timeout(PATIENCE, answer).await.map_err(|_| {
            if self.repeated.may_write(Kind::NoSecret) {
                warn!("a secret is not had in time, and nobody is believed by it meanwhile");
            }
            Problem::cannot_verify()
        })
    }
}

fn place(held: &Secret, given: &str) -> Option<usize> {
    let given = Sha256::digest(given.as_bytes());
    let mut found = None;
    for (place, key) in keys(held.expose()).enumerate() {
        // Their digests, so that not even their lengths show.
        if bool::from(Sha256::digest(key.as_bytes()).ct_eq(&given)) {
            found = Some(place);
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
    fn each_of_several_keys_is_known_by_its_place_and_nothing_else_is() {
        let held = Secret::new("first-key-of-two,second-key-of-two");
        assert_eq!((place(&held, "first-key-of-two"), place(&held, "second-key-of-two")), (Some(0), Some(1)));
        for other in ["", "first-key-of-tw", "first-key-of-two,second-key-of-two", "FIRST-KEY-OF-TWO"] {
            assert_eq!(place(&held, other), None, "{other}");
        }
        assert_eq!(place(&Secret::new(""), ""), None, "an empty secret opens nothing");
    }

    #[test]
    fn a_secret_that_signs_may_have_commas_in_it() {
        let held = Secret::new("one, two three\n\n other \n");
        assert_eq!(held.lines().collect::<Vec<_>>(), [Secret::new("one, two three"), Secret::new("other")]);
    }

    /// A store that answers so many times, each time another, and then hangs.
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
    async fn a_key_that_cannot_be_compared_is_neither_right_nor_wrong() {
        let keys = stored(0);
        let began = tokio::time::Instant::now();
        assert_eq!(status(keys.place("any").await), Some(503));
        let believed = keys.believe(|_| Ok::<_, ()>(()), |()| Problem::unauthorized()).await;
        assert_eq!(status(believed), Some(503));
        assert!(began.elapsed() <= 2 * PATIENCE, "{:?}", began.elapsed());
        let missing = Token::new(TokenSource::File("/nowhere/key".into()), Arc::new(decamp_net::secrets::NoStore));
        let missing = Keys { token: Some(missing), repeated: Arc::default() };
        assert_eq!(status(missing.place("any").await), Some(503));
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_rotated_is_believed_and_the_old_one_is_not_for_ever() {
        let keys = stored(2);
        assert_eq!(keys.place("key-of-a-test-number-0").await.ok(), Some(Some(0)));
        tokio::time::advance(Duration::from_secs(30)).await;
        let verify = |secrets: &[Secret]| if secrets == [Secret::new("key-of-a-test-number-1")] { Ok(()) } else { Err(()) };
        assert_eq!(status(keys.believe(verify, |()| Problem::unauthorized()).await), None, "it was read again");
        assert_eq!(keys.place("key-of-a-test-number-0").await.ok(), Some(None));
        // From now on the store hangs. A guess has to come again; the right key waits for nobody.
        tokio::time::advance(Duration::from_mins(6)).await;
        assert_eq!(status(keys.place("a-guess").await), Some(503));
        let began = tokio::time::Instant::now();
        assert_eq!(keys.place("key-of-a-test-number-1").await.ok(), Some(Some(0)));
        assert_eq!(began.elapsed(), Duration::ZERO);
    }
}
