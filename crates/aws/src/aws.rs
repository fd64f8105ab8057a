//! How AWS is called: one configuration for all clients.

mod answers;
mod refusals;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use self::answers::Answers;
pub(super) use self::answers::date;
pub use self::refusals::NO_CREDENTIALS;
pub(super) use self::refusals::{classify, is_no_such_group, refusal, unseen};
pub(super) use self::wire::not_through;
use super::calls::Calls;
use decamp_config as settings;
use decamp_net::clock::Clock;

/// One attempt of a call: these bodies are small, so a slower answer is no answer.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A whole look, its retries included: the next one comes anyway.
const LOOK: Duration = Duration::from_secs(8);
/// A whole write, its retries included.
const WRITE: Duration = Duration::from_secs(12);
/// The longest pause before the first retry; each is drawn between nothing and its bound, and every further bound is twice as long.
const BACKOFF: Duration = Duration::from_millis(400);

/// An access key and its secret, which is never printed. For tests and the pretend world: others leave keys to the standard chain.
#[derive(Clone)]
pub struct Keys {
    /// The access key's id.
    pub id: String,
    /// Its secret.
    pub secret: String,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys")
    }
}

/// The configuration that all calls of AWS share.
#[derive(Debug, Clone)]
pub struct Aws {
    pub(super) config: SdkConfig,
    pub(super) settings: settings::Aws,
    /// The longest pause between two attempts at first.
    pub backoff: Duration,
    pub(super) clock: Arc<Clock>,
    pub(super) calls: Arc<Calls>,
}

/// What a client is for: looks may fail, since the next look comes; a write should land.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// `Describe…`.
    Look,
    /// Heartbeat, complete, deregister.
    Write,
}

impl Use {
    /// How often a call is made at most.
    pub(super) fn attempts(self) -> u32 {
        match self {
            Self::Look => 3,
            Self::Write => 6,
        }
    }

    /// How long it may take, with its retries.
    pub(super) fn whole(self) -> Duration {
        match self {
            Self::Look => LOOK,
            Self::Write => WRITE,
        }
    }
}

impl Aws {
    /// Takes what the settings say, and the rest from the standard chain of variables, profiles and roles. Credentials are
    /// fetched with the first call, not here.
    pub async fn load(settings: &settings::Aws, keys: Option<Keys>) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(wire::client(settings.proxy.as_ref()))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
            // `attempts` repeats calls: it asks our share of AWS's buckets before each attempt, which the SDK cannot.
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = &settings.region {
            loader = loader.region(Region::new(region.clone()));
        }
        if let Some(keys) = keys {
            loader = loader.credentials_provider(Credentials::new(keys.id, keys.secret, None, None, "given"));
        }
        let config = loader.load().await;
        Self { config, settings: settings.clone(), backoff: BACKOFF, clock: Arc::default(), calls: Arc::default() }
    }

    /// The Region that calls go to.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.config.region().map(Region::as_ref)
    }

    /// The servers' clock, as far as it was heard.
    #[must_use]
    pub fn clock(&self) -> &Arc<Clock> {
        &self.clock
    }

    /// How often each operation was called, every attempt counted.
    #[must_use]
    pub fn calls(&self) -> &Arc<Calls> {
        &self.calls
    }

    /// A client of Auto Scaling.
    pub(super) fn auto_scaling(&self) -> aws_sdk_autoscaling::Client {
        let config = aws_sdk_autoscaling::config::Builder::from(&self.config);
        let config = match self.endpoint(&self.settings.auto_scaling_endpoint) {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        aws_sdk_autoscaling::Client::from_conf(config.interceptor(self.answers()).build())
    }

    /// A client of Elastic Load Balancing.
    pub(super) fn load_balancers(&self) -> aws_sdk_elasticloadbalancingv2::Client {
        let config = aws_sdk_elasticloadbalancingv2::config::Builder::from(&self.config);
        let config = match self.endpoint(&self.settings.load_balancing_endpoint) {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        aws_sdk_elasticloadbalancingv2::Client::from_conf(config.interceptor(self.answers()).build())
    }

    /// A service's own endpoint, else the one for all; `None`: AWS's.
    pub(super) fn endpoint<'a>(&'a self, own: &'a Option<String>) -> Option<&'a str> {
        own.as_deref().or(self.settings.endpoint.as_deref())
    }

    fn answers(&self) -> Answers {
        Answers { clock: Arc::clone(&self.clock), calls: Arc::clone(&self.calls) }
    }
}
