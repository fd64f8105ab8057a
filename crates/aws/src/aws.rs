//! The configuration that all clients of AWS share.

mod http_client;
mod refusals;
mod response_check;

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

pub(super) use self::http_client::no_proxy;
pub use self::refusals::NO_CREDENTIALS;
pub(super) use self::refusals::{classify, is_no_such_group, refusal, unseen};
use self::response_check::ResponseCheck;
pub(super) use self::response_check::date;
use super::operations::Calls;
use decamp_config as settings;
use decamp_net::clock::Clock;

/// The time limit of one attempt. The answers are small, so a slower answer counts as none.
const ATTEMPT: Duration = Duration::from_secs(5);
/// The time limit of a look with its retries. The next look follows anyway.
const LOOK: Duration = Duration::from_secs(8);
/// The time limit of a write with its retries.
const WRITE: Duration = Duration::from_secs(12);
/// The longest pause before the first retry. Each pause is drawn between zero and its bound, and every further bound is twice as long.
const BACKOFF: Duration = Duration::from_millis(400);

/// An access key and its secret, which is never printed. For tests and the simulation; otherwise keys come from the standard chain.
#[derive(Clone)]
pub struct Keys {
    /// The access key's id.
    pub id: String,
    /// The access key's secret.
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
    /// The longest pause before the first retry.
    pub backoff: Duration,
    pub(super) clock: Arc<Clock>,
    pub(super) calls: Arc<Calls>,
}

/// The kind of a client's calls. A look may fail, because the next look follows. A write has more attempts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallKind {
    /// `Describe…`.
    Look,
    /// Heartbeat, complete, deregister.
    Write,
}

impl CallKind {
    /// The most attempts of one call.
    pub(super) fn attempts(self) -> u32 {
        match self {
            Self::Look => 3,
            Self::Write => 6,
        }
    }

    /// The time limit of one call with its retries.
    pub(super) fn time_limit(self) -> Duration {
        match self {
            Self::Look => LOOK,
            Self::Write => WRITE,
        }
    }
}

impl Aws {
    /// Makes the configuration from the settings, and the rest from the standard chain of variables, profiles and roles. Credentials are
    /// fetched with the first call.
    pub async fn load(settings: &settings::Aws, keys: Option<Keys>) -> Self {
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http_client::client(settings.proxy.as_ref()))
            .timeout_config(TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).build())
            // `attempts` repeats calls: before each attempt it takes a token of the process's rate limit, which the SDK cannot.
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

    /// The Region of the calls.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        self.config.region().map(Region::as_ref)
    }

    /// The servers' clock, as far as answers have shown it.
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
        aws_sdk_autoscaling::Client::from_conf(config.interceptor(self.response_check()).build())
    }

    /// A client of Elastic Load Balancing.
    pub(super) fn load_balancers(&self) -> aws_sdk_elasticloadbalancingv2::Client {
        let config = aws_sdk_elasticloadbalancingv2::config::Builder::from(&self.config);
        let config = match self.endpoint(&self.settings.load_balancing_endpoint) {
            Some(endpoint) => config.endpoint_url(endpoint),
            None => config,
        };
        aws_sdk_elasticloadbalancingv2::Client::from_conf(config.interceptor(self.response_check()).build())
    }

    /// The service's own endpoint in the settings, else the endpoint for all services; `None` for AWS's.
    pub(super) fn endpoint<'a>(&'a self, own: &'a Option<String>) -> Option<&'a str> {
        own.as_deref().or(self.settings.endpoint.as_deref())
    }

    fn response_check(&self) -> ResponseCheck {
        ResponseCheck { clock: Arc::clone(&self.clock), calls: Arc::clone(&self.calls) }
    }
}
