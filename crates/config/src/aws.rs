//! The connection to AWS: its Region, and custom endpoints.

use super::Refused;
use super::connection::{Proxy, proxy};
use super::reader::Reader;

/// decamp's share of the account's rate limit for all of Auto Scaling, which AWS does not publish (a burst of 100 and 20 a second
/// were seen).
const AUTO_SCALING_RATE: u32 = 15;

/// The connection to AWS. Credentials are left to the AWS SDK's own chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aws {
    /// The Region. `AWS_REGION`, else `AWS_DEFAULT_REGION`; `None` leaves it to the SDK's own chain.
    pub region: Option<String>,
    /// Another endpoint for all services. `AWS_ENDPOINT_URL`.
    pub endpoint: Option<String>,
    /// Another endpoint for Auto Scaling. `AWS_ENDPOINT_URL_AUTO_SCALING`.
    pub auto_scaling_endpoint: Option<String>,
    /// Another endpoint for Elastic Load Balancing v2. `AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2`.
    pub load_balancing_endpoint: Option<String>,
    /// Another endpoint for Systems Manager. `AWS_ENDPOINT_URL_SSM`.
    pub ssm_endpoint: Option<String>,
    /// Another endpoint for Secrets Manager. `AWS_ENDPOINT_URL_SECRETS_MANAGER`.
    pub secrets_manager_endpoint: Option<String>,
    /// Another endpoint for SQS. `AWS_ENDPOINT_URL_SQS`.
    pub sqs_endpoint: Option<String>,
    /// Another endpoint for SNS. `AWS_ENDPOINT_URL_SNS`.
    pub sns_endpoint: Option<String>,
    /// Another endpoint for CloudWatch. `AWS_ENDPOINT_URL_CLOUDWATCH`.
    pub cloudwatch_endpoint: Option<String>,
    /// A proxy. The usual proxy variables are not read.
    pub proxy: Option<Proxy>,
    /// The most calls of Auto Scaling a second that this process makes. `DECAMP_AUTO_SCALING_RATE`.
    pub auto_scaling_rate: u32,
}

impl Default for Aws {
    fn default() -> Self {
        Self {
            region: None,
            endpoint: None,
            auto_scaling_endpoint: None,
            load_balancing_endpoint: None,
            ssm_endpoint: None,
            secrets_manager_endpoint: None,
            sqs_endpoint: None,
            sns_endpoint: None,
            cloudwatch_endpoint: None,
            proxy: None,
            auto_scaling_rate: AUTO_SCALING_RATE,
        }
    }
}

pub(super) fn read(from: &Reader<'_>) -> Result<Aws, Refused> {
    let endpoint = |name: &str| match from.text(name) {
        Some(url) if !url.starts_with("http://") && !url.starts_with("https://") => {
            Err(Refused(format!("{name}: {url:?} has no scheme; write http://… or https://…")))
        }
        other => Ok(other),
    };
    Ok(Aws {
        region: from.text("AWS_REGION").or_else(|| from.text("AWS_DEFAULT_REGION")),
        endpoint: endpoint("AWS_ENDPOINT_URL")?,
        auto_scaling_endpoint: endpoint("AWS_ENDPOINT_URL_AUTO_SCALING")?,
        load_balancing_endpoint: endpoint("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2")?,
        ssm_endpoint: endpoint("AWS_ENDPOINT_URL_SSM")?,
        secrets_manager_endpoint: endpoint("AWS_ENDPOINT_URL_SECRETS_MANAGER")?,
        sqs_endpoint: endpoint("AWS_ENDPOINT_URL_SQS")?,
        sns_endpoint: endpoint("AWS_ENDPOINT_URL_SNS")?,
        cloudwatch_endpoint: endpoint("AWS_ENDPOINT_URL_CLOUDWATCH")?,
        proxy: proxy(from)?,
        auto_scaling_rate: auto_scaling_rate(from)?,
    })
}

fn auto_scaling_rate(from: &Reader<'_>) -> Result<u32, Refused> {
    let Some(text) = from.text("DECAMP_AUTO_SCALING_RATE") else { return Ok(AUTO_SCALING_RATE) };
    text.parse().ok().filter(|rate| (1..=1_000).contains(rate)).ok_or_else(|| {
        Refused(format!("DECAMP_AUTO_SCALING_RATE: {text:?} is no number of calls a second; write one from 1 to 1000"))
    })
}
