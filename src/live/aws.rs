//! How AWS is called: one configuration for all clients, with one retry behaviour for looks and one for writes.

mod answers;
mod refusals;

use std::sync::Arc;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_smithy_http_client::Builder as HttpBuilder;
use aws_smithy_http_client::tls::Provider;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_runtime_api::client::stalled_stream_protection::StalledStreamProtectionConfig;
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use self::answers::Answers;
pub(super) use self::refusals::{refusal, unseen};
use super::calls::Calls;
use super::clock::Clock;

/// One attempt of a call: these bodies are small, so a slower answer is no answer.
const ATTEMPT: Duration = Duration::from_secs(5);
/// A whole call, its retries included.
const CALL: Duration = Duration::from_secs(12);

/// What differs from the standard chain of variables, profiles and roles. Every `None` is left to that chain.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// The Region.
    pub region: Option<String>,
    /// One address for every service, instead of `AWS_ENDPOINT_URL` and its kin.
    pub endpoint: Option<String>,
    /// An access key and its secret.
    pub keys: Option<Keys>,
}

/// An access key and its secret, which is never printed.
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
    fn retries(self) -> RetryConfig {
        match self {
            Self::Look => RetryConfig::standard().with_max_attempts(3).with_max_backoff(Duration::from_secs(3)),
            Self::Write => RetryConfig::standard()
                .with_max_attempts(6)
                .with_initial_backoff(Duration::from_millis(300))
                .with_max_backoff(Duration::from_secs(3)),
        }
    }

    /// Each use has its own quota of retries: failing looks must not use up those of a heartbeat.
    fn partition(self, service: &str) -> String {
        match self {
            Self::Look => format!("{service}-look"),
            Self::Write => format!("{service}-write"),
        }
    }
}

impl Aws {
    /// Reads the standard chain. Credentials are fetched with the first call, not here.
    pub async fn load(access: Access) -> Self {
        let http = HttpBuilder::new().tls_provider(Provider::Rustls(CryptoMode::Ring)).build_https();
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT).operation_timeout(CALL).build();
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .timeout_config(timeouts)
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = access.region {
            loader = loader.region(Region::new(region));
        }
        if let Some(endpoint) = access.endpoint {
            loader = loader.endpoint_url(endpoint);
        }
        if let Some(keys) = access.keys {
            loader = loader.credentials_provider(Credentials::new(keys.id, keys.secret, None, None, "settings"));
        }
        Self { config: loader.load().await, clock: Arc::default(), calls: Arc::default() }
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
    pub(super) fn auto_scaling(&self, used_for: Use) -> aws_sdk_autoscaling::Client {
        use aws_sdk_autoscaling::config::{Builder, retry};
        let partition = retry::RetryPartition::custom(used_for.partition("autoscaling"));
        let partition = match used_for {
            Use::Look => partition,
            Use::Write => partition.token_bucket(retry::TokenBucket::unlimited()),
        };
        let config = Builder::from(&self.config).retry_config(used_for.retries()).retry_partition(partition.build());
        aws_sdk_autoscaling::Client::from_conf(config.interceptor(self.answers()).build())
    }

    /// A client of Elastic Load Balancing.
    pub(super) fn load_balancers(&self, used_for: Use) -> aws_sdk_elasticloadbalancingv2::Client {
        use aws_sdk_elasticloadbalancingv2::config::{Builder, retry};
        let partition = retry::RetryPartition::custom(used_for.partition("elasticloadbalancing"));
        let partition = match used_for {
            Use::Look => partition,
            Use::Write => partition.token_bucket(retry::TokenBucket::unlimited()),
        };
        let config = Builder::from(&self.config).retry_config(used_for.retries()).retry_partition(partition.build());
        aws_sdk_elasticloadbalancingv2::Client::from_conf(config.interceptor(self.answers()).build())
    }

    fn answers(&self) -> Answers {
        Answers { clock: Arc::clone(&self.clock), calls: Arc::clone(&self.calls) }
    }
}
