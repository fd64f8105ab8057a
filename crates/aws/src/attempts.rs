//! Calls of AWS and their retries. Each attempt and each page takes its own token of the process's rate limit.
//!
//! The SDK's own retries are off: with six attempts for one token, one departure of a throttled account made 64 calls in 88 s.

use std::hash::{BuildHasher, Hasher};
use std::sync::Arc;
use std::time::Duration;

use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;
use tokio::time::{Instant, sleep, timeout_at};

use super::aws::{CallKind, refusal, unseen};
use super::rate_limiter::{LONGEST_WAIT, RateLimiter};
use decamp_core::decide::{Refusal, Unseen};

/// An SDK client with its rate limit.
#[derive(Debug)]
pub(super) struct RateLimited<C> {
    client: Arc<C>,
    limiter: Arc<RateLimiter>,
    kind: CallKind,
    backoff: Duration,
}

impl<C> Clone for RateLimited<C> {
    fn clone(&self) -> Self {
        let (client, limiter) = (Arc::clone(&self.client), Arc::clone(&self.limiter));
        Self { client, limiter, kind: self.kind, backoff: self.backoff }
    }
}

impl<C> RateLimited<C> {
    /// Makes a client whose calls share `limiter`. `backoff` is the longest pause before the first retry.
    pub(super) fn new(client: C, limiter: &Arc<RateLimiter>, kind: CallKind, backoff: Duration) -> Self {
        Self { client: Arc::new(client), limiter: Arc::clone(limiter), kind, backoff }
    }

    /// Waits for a token for a look.
    ///
    /// # Errors
    ///
    /// The wait would be too long.
    pub(super) async fn acquire_look(&self) -> Result<(), Unseen> {
        self.limiter.acquire_look().await
    }

    /// Waits for a token for a write.
    ///
    /// # Errors
    ///
    /// The wait would be too long.
    pub(super) async fn acquire_write(&self) -> Result<(), Refusal> {
        if self.limiter.acquire(LONGEST_WAIT).await { Ok(()) } else { Err(Refusal::Throttled) }
    }

    /// Makes a call, for which the caller has taken a token, and repeats it while AWS cannot be reached or throttles. Every further
    /// attempt waits for its own token. Without one, the last error is returned.
    ///
    /// # Errors
    ///
    /// The error of the last attempt.
    pub(super) async fn call<T, E, F>(&self, send: impl Fn(&C) -> F) -> Result<T, SdkError<E, HttpResponse>>
    where
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
        E: ProvideErrorMetadata + std::error::Error + 'static,
    {
        let end = Instant::now() + self.kind.time_limit();
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
            // An earlier attempt without an answer may have completed the action that this attempt no longer finds, so "no active
            // action" would be a wrong answer.
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
            if after.is_none() || self.kind.attempts() <= tries || left <= pause {
                return Err(error);
            }
            sleep(pause).await;
            if !self.limiter.acquire((left - pause).min(LONGEST_WAIT)).await {
                return Err(error);
            }
            if after == Some(Repeat::Away) {
                unanswered = Some(error);
            }
        }
    }

    /// All pages of a list, at most `most`. The caller has taken a token for the first page. `next` reads the token of the next page.
    ///
    /// # Errors
    ///
    /// The error of the last attempt at a page.
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
                self.acquire_look().await?;
            }
            let page = self.call(|client| send(client, from.clone())).await.map_err(|error| unseen(refusal(&error, None)))?;
            let follows = next(&page).filter(|next| !next.is_empty()).map(str::to_owned);
            pages.push(page);
            // A list whose next page is the same page would never end.
            if follows.is_none() || follows == from {
                break;
            }
            from = follows;
        }
        Ok(pages)
    }

    /// The pause after this many tries: drawn between zero and a bound that doubles with each try.
    fn pause(&self, tries: u32) -> Duration {
        let bound = self.backoff.saturating_mul(2_u32.saturating_pow(tries.saturating_sub(1).min(3)));
        // The standard library has no other source of random numbers than the keys of its maps.
        let drawn = std::collections::hash_map::RandomState::new().build_hasher().finish() >> 40;
        bound.mul_f64(f64::from(u32::try_from(drawn).unwrap_or(0)) / f64::from(1_u32 << 24))
    }
}

/// Why a call may be repeated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Repeat {
    Throttled,
    Away,
}

/// Whether another attempt may succeed. It cannot if AWS has understood and refused the call, or if there are no credentials.
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
        // An answer that was cut short or late, or an error kind that is unknown to this version.
        SdkError::TimeoutError(_) | SdkError::ResponseError(_) | _ => Some(Repeat::Away),
    }
}
