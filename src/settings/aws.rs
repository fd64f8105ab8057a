//! How AWS is reached: its Region, and endpoints other than its own.

use super::Refused;
use super::reader::Reader;

/// How AWS is reached. Credentials are left to the AWS SDK's own chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
    })
}
