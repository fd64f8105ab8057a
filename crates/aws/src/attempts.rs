//! Calls of AWS and their retries. Each attempt takes a place of its own in our share of the account's bucket, and so does each page.
//!
//! The SDK's own retries are off: six attempts behind one place made 64 calls in 88 s for one departure of a throttled account.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::{Instant, sleep, timeout_at};

use super::aws::{Use, refusal, unseen};
use super::shared::{Limiter, PATIENCE};
use decamp_core::decide::{Refusal, Unseen};

/// A client with its share of the bucket.
#[derive(Debug)]
pub(super) struct Paced<C> {
    client: Arc<C>,
    limiter: Arc<Limiter>,
    used_for: Use,
    backoff: Duration,
}

impl<C> Clone for Paced<C> {
    fn clone(&self) -> Self {
        let (client, limiter) = (Arc::clone(&self.client), Arc::clone(&self.limiter));
        Self { client, limiter, used_for: self.used_for, backoff: self.backoff }
    }
}

impl<C> Paced<C> {
    /// A client whose calls share `limiter`. `backoff` is the longest pause before the first retry.
    pub(super) fn new(client: C, limiter: &Arc<Limiter>, used_for: Use, backoff: Duration) -> Self {
        Self { client: Arc::new(client), limiter: Arc::clone(limiter), used_for, backoff }
    }

    /// Waits for a place for one more look.
    ///
    /// # Errors
    ///
    /// None is free in time.
    pub(super) async fn look(&self) -> Result<(), Unseen> {
        self.limiter.look().await
    }

    /// Waits for a place for one more write.
    ///
    /// # Errors
    ///
    /// None is free in time.
    pub(super) async fn enter(&self) -> Result<(), Refusal> {
        if self.limiter.enter(PATIENCE).await { Ok(()) } else { Err(Refusal::Throttled) }
    }

    /// Makes a call, for which its caller has taken a place, and repeats it while AWS is away or says "too many". Every further
    /// attempt waits for a place of its own; without one, the last answer stands.
    ///
    /// # Errors
    ///
    /// What the last attempt came to.
    pub(super) async fn call<T, E, F>(&self, send: impl Fn(&C) -> F) -> Result<T, SdkError<E, HttpResponse>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let end = Instant::now() + self.used_for.whole();
        let mut tries = 0;
        let mut unanswered = None;
        loop {
            tries += 1;
            let answer = match timeout_at(end, send(&self.client)).await {
                Ok(answer) => answer,
                Err(_) => Err(SdkError::timeout_error("no answer in time")),
            };
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // An attempt without an answer may have completed the action that this one no longer found: nobody can tell from the answers.
            if matches!(refusal(&error, None), Refusal::NoActiveAction)
                && let Some(unanswered) = unanswered
            {
                return Err(unanswered);
            }
            let after = may_be_repeated(&error);
            if after == Some(Repeat::Throttled) {
                self.limiter.throttled();
            }
            let pause = self.pause(tries);
            let left = end.saturating_duration_since(Instant::now());
            if after.is_none() || self.used_for.attempts() <= tries || left <= pause {
                return Err(error);
            }
            sleep(pause).await;
            if !self.limiter.enter((left - pause).min(PATIENCE)).await {
                return Err(error);
            }
            if after == Some(Repeat::Away) {
                unanswered = Some(error);
            }
        }
    }

    /// All pages of a list, or as many as `most`. A place for the first was taken. `next` tells of a page where the next begins.
    ///
    /// # Errors
    ///
    /// What the last attempt at a page came to.
    pub(super) async fn pages<T, E, F>(
        &self,
        most: usize,
        send: impl Fn(&C, Option<String>) -> F,
        next: impl Fn(&T) -> Option<&str>,
    ) -> Result<Vec<T>, Unseen>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let mut pages: Vec<T> = Vec::new();
        let mut from: Option<String> = None;
        while pages.len() < most {
            if from.is_some() {
                self.look().await?;
            }
            let page = self.call(|client| send(client, from.clone())).await.map_err(|error| unseen(refusal(&error, None)))?;
            let follows = next(&page).filter(|next| !next.is_empty()).map(str::to_owned);
            pages.push(page);
            // A list that would begin again at the same place would never end.
            if follows.is_none() || follows == from {
                break;
            }
            from = follows;
        }
        Ok(pages)
    }

    /// The pause after so many tries: drawn between nothing and a bound, which is twice as long each time.
    fn pause(&self, tries: u32) -> Duration {
        let bound = self.backoff.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(3)));
        // The standard library draws the keys of its maps, and has no other number to draw.
        let drawn = std::collections::hash_map::RandomState::new().build_hasher().finish() >> 40;
        bound.mul_f64(f64::from(u32::try_from(drawn).unwrap_or(0)) / f64::from(1_u32 << 24))
    }
}

/// Why a call may be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Throttled,
    Away,
}

/// Whether another attempt may fare better: not if AWS has understood and refused, nor if there is nothing to sign with.
fn may_be_repeated<E>(error: &SdkError<E, HttpResponse>) -> Option<Repeat>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ConstructionFailure(_) => None,
        SdkError::DispatchFailure(failure) => {
            (failure.is_io() || failure.is_timeout() || failure.as_other().is_some()).then_some(Repeat::Away)
        }
        SdkError::ServiceError(_) => match refusal(error, None) {
            Refusal::Throttled => Some(Repeat::Throttled),
            Refusal::Away(_) => Some(Repeat::Away),
            Refusal::Denied(_) | Refusal::Missing | Refusal::NoActiveAction | Refusal::Rejected(_) => None,
        },
        // Cut short, late, or of a kind that is not known yet.
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) | _ => Some(Repeat::Away),
    }
}
