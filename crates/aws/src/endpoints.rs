//! The hosts of the services that decamp calls without an SDK client, by the SDK's own rules for partitions, FIPS and dual-stack.
//!
//! Each SDK client carries the rules of its own service. Auto Scaling's are linked. They give the same suffixes as those of SSM, SQS, SNS
//! and CloudWatch, GovCloud's exceptions included. Secrets Manager differs as said below. No suffix is written here (ADR 0044).

use aws_sdk_autoscaling::config::endpoint::{DefaultResolver, Params, ResolveEndpoint as _};
use futures_util::FutureExt as _;

/// The service whose rules are linked.
const RESOLVED: &str = "autoscaling";
/// A Region of each of the two commercial partitions.
const COMMERCIAL: [&str; 2] = ["us-east-1", "cn-north-1"];

/// The host of a service in a Region.
///
/// # Errors
///
/// There is no such Region, or its partition has no such endpoints.
pub fn host(service: &str, region: &str, fips: bool, dual_stack: bool) -> Result<String, String> {
    if service != "secretsmanager" {
        return resolve(service, region, fips, dual_stack);
    }
    // In the commercial partitions Secrets Manager's ordinary hosts are its dual-stack hosts too. GovCloud's FIPS hosts have the usual
    // `-fips` in their name.
    let plain = resolve(service, region, false, false)?;
    let partition = without_region(&plain, region);
    let commercial =
        COMMERCIAL.iter().any(|of| resolve(service, of, false, false).is_ok_and(|host| without_region(&host, of) == partition));
    let host = if dual_stack && !commercial { resolve(service, region, false, true)? } else { plain };
    Ok(if fips { host.replacen(service, &format!("{service}-fips"), 1) } else { host })
}

/// The host with neither FIPS nor dual-stack. For a text that is not a Region it is a host that cannot exist.
#[must_use]
pub fn plain_host(service: &str, region: &str) -> String {
    host(service, region, false, false).unwrap_or_else(|_| format!("{service}.invalid"))
}

/// The host of a service that belongs to no Region of the standard partition: `sns.` and the partition's suffix.
#[must_use]
pub fn global_host(service: &str) -> String {
    let [standard, _] = COMMERCIAL;
    without_region(&plain_host(service, standard), standard)
}

fn without_region(host: &str, region: &str) -> String {
    host.replacen(&format!(".{region}."), ".", 1)
}

fn resolve(service: &str, region: &str, fips: bool, dual_stack: bool) -> Result<String, String> {
    let parameters = Params::builder().region(region).use_fips(fips).use_dual_stack(dual_stack).build();
    let parameters = parameters.map_err(|why| format!("no endpoint of {service} in {region}: {why}"))?;
    let resolver = DefaultResolver::new();
    let found = resolver.resolve_endpoint(&parameters).now_or_never();
    let found = found.unwrap_or_else(|| Err("the rules did not answer at once".into()));
    let found = found.map_err(|why| format!("no endpoint of {service} in {region}: {why}"))?;
    let host = found.url().strip_prefix("https://").and_then(|host| host.strip_prefix(RESOLVED));
    host.map(|rest| format!("{service}{rest}")).ok_or_else(|| format!("no endpoint of {service} in {region}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What botocore's rules give for these services: plain, dual-stack, FIPS, both.
    #[test]
    fn every_partition_has_the_same_hosts_as_in_botocore() {
        let cases = [
            ("eu-west-1", "amazonaws.com", "api.aws", "sqs-fips"),
            ("mars-west-1", "amazonaws.com", "api.aws", "sqs-fips"),
            ("cn-north-1", "amazonaws.com.cn", "api.amazonwebservices.com.cn", "sqs-fips"),
            ("us-gov-west-1", "amazonaws.com", "api.aws", "sqs"),
            ("us-iso-east-1", "c2s.ic.gov", "api.aws.ic.gov", "sqs-fips"),
            ("us-isob-east-1", "sc2s.sgov.gov", "api.aws.scloud", "sqs-fips"),
            ("eu-isoe-west-1", "cloud.adc-e.uk", "api.cloud-aws.adc-e.uk", "sqs-fips"),
            ("us-isof-south-1", "csp.hci.ic.gov", "api.aws.hci.ic.gov", "sqs-fips"),
            ("eusc-de-east-1", "amazonaws.eu", "api.amazonwebservices.eu", "sqs-fips"),
        ];
        for (region, suffix, dual, fips) in cases {
            for service in ["sqs", "sns", "ssm", "monitoring"] {
                let fips = fips.replace("sqs", service);
                assert_eq!(plain_host(service, region), format!("{service}.{region}.{suffix}"));
                assert_eq!(host(service, region, false, true), Ok(format!("{service}.{region}.{dual}")));
                assert_eq!(host(service, region, true, false), Ok(format!("{fips}.{region}.{suffix}")));
                assert_eq!(host(service, region, true, true), Ok(format!("{service}-fips.{region}.{dual}")));
            }
        }
    }

    #[test]
    fn secrets_manager_has_no_separate_dual_stack_hosts_in_the_commercial_partitions() {
        let cases = [
            ("eu-west-1", false, true, "secretsmanager.eu-west-1.amazonaws.com"),
            ("us-gov-west-1", true, false, "secretsmanager-fips.us-gov-west-1.amazonaws.com"),
            ("us-gov-west-1", true, true, "secretsmanager-fips.us-gov-west-1.amazonaws.com"),
            ("cn-north-1", false, true, "secretsmanager.cn-north-1.amazonaws.com.cn"),
            ("eusc-de-east-1", false, true, "secretsmanager.eusc-de-east-1.api.amazonwebservices.eu"),
            ("us-iso-east-1", true, true, "secretsmanager-fips.us-iso-east-1.api.aws.ic.gov"),
        ];
        for (region, fips, dual_stack, expected) in cases {
            assert_eq!(host("secretsmanager", region, fips, dual_stack).as_deref(), Ok(expected));
        }
    }

    #[test]
    fn a_global_host_has_no_region() {
        assert_eq!(global_host("sns"), "sns.amazonaws.com");
    }

    #[test]
    fn a_text_that_is_not_a_region_has_no_host() {
        for region in ["", "eu-west-1.evil.example/", "a b"] {
            assert!(host("sns", region, false, false).is_err(), "{region}");
            assert_eq!(plain_host("sns", region), "sns.invalid");
        }
    }
}
