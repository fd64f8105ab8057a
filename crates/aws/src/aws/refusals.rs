//! Translates errors of AWS into refusals (facts/aws.md 2.3: `ValidationError` alone never means that an action has ended).

use std::error::Error;
use std::sync::Arc;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use aws_smithy_types::error::metadata::ProvideErrorMetadata;

use decamp_core::decide::{Refusal, Unseen};

/// AWS's codes for "too many requests".
const THROTTLED: [&str; 9] = [
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "TooManyRequestsException",
    "PriorRequestNotComplete",
    "SlowDown",
];

/// AWS's codes for a call that is not allowed, because of a policy, a key, an expired token or a wrong clock.
const DENIED: [&str; 15] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "ExpiredToken",
    "ExpiredTokenException",
    "IncompleteSignature",
    "InvalidClientTokenId",
    "InvalidSignatureException",
    "MissingAuthenticationToken",
    "OptInRequired",
    "RequestExpired",
    "SignatureDoesNotMatch",
    "UnauthorizedOperation",
    "UnrecognizedClientException",
    "NotAuthorized",
];

/// A longer message of AWS is cut.
const LONGEST: usize = 300;

/// The refusal that an error means. `secret` is the lifecycle action's token, which AWS repeats in its messages.
pub(crate) fn refusal<E>(error: &SdkError<E, HttpResponse>, secret: Option<&str>) -> Refusal
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let SdkError::ServiceError(answer) = error else {
        return Refusal::Away(no_answer(error));
    };
    let status = answer.raw().status().as_u16();
    let message = answer.err().message().unwrap_or_default();
    classify(status, answer.err().code(), message, secret)
}

/// Whether Auto Scaling says that there is no group of this name. It has no separate code for that.
pub(crate) fn is_no_such_group(refusal: &Refusal) -> bool {
    matches!(refusal, Refusal::Rejected(why) if why.starts_with("ValidationError: ") && why.contains("name not found"))
}

/// The refusal that a status, a code and a message mean. Every protocol of AWS has these three.
pub(crate) fn classify(status: u16, code: Option<&str>, message: &str, secret: Option<&str>) -> Refusal {
    let Some(code) = code else {
        // A proxy answered. Even its 403 does not prove that AWS did not receive the call.
        return if status == 429 { Refusal::Throttled } else { Refusal::Away(format!("status {status}, not from AWS").into()) };
    };
    let text = || plain(&format!("{code}: {message}"), secret);
    if code == "ValidationError" && message.contains("No active Lifecycle Action") {
        return Refusal::NoActiveAction;
    }
    if THROTTLED.contains(&code) || status == 429 {
        return Refusal::Throttled;
    }
    if DENIED.contains(&code) || matches!(status, 401 | 403) {
        return Refusal::Denied(text());
    }
    if matches!(code, "TargetGroupNotFound" | "TargetGroupNotFoundException" | "LoadBalancerNotFound") {
        return Refusal::Missing;
    }
    if status >= 500 { Refusal::Away(text()) } else { Refusal::Rejected(text()) }
}

/// Why a look failed. A failed look shows nothing about the system. A caller for which "missing" is an answer handles it before.
pub(crate) fn unseen(refusal: Refusal) -> Unseen {
    match refusal {
        Refusal::Throttled => Unseen::Throttled,
        Refusal::Denied(why) => Unseen::Denied(why),
        Refusal::Away(why) | Refusal::Rejected(why) => Unseen::Away(why),
        Refusal::NoActiveAction | Refusal::Missing => Unseen::Away(refusal.to_string().into()),
    }
}

/// The error if there are no credentials. It replaces the SDK's chain of providers that were tried.
pub const NO_CREDENTIALS: &str = "no AWS credentials were found: not in the environment, nor in the profile that AWS_PROFILE names or the \
                                  default one, nor from a web identity, a container or an instance";

/// The causes of a call that AWS did not answer.
fn no_answer(error: &(dyn Error + 'static)) -> Arc<str> {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        if matches!(error.downcast_ref(), Some(CredentialsError::CredentialsNotLoaded(_))) {
            return NO_CREDENTIALS.into();
        }
        let next = error.to_string();
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    plain(&text, None)
}

/// The text as one line of bounded length, without the secret.
fn plain(text: &str, secret: Option<&str>) -> Arc<str> {
    let text = match secret {
        Some(secret) if !secret.is_empty() => text.replace(secret, "(token)"),
        Some(_) | None => text.to_owned(),
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "87654321-4321-4321-4321-210987654321";

    fn refused(status: u16, code: &str, message: &str) -> Refusal {
        classify(status, Some(code), message, Some(TOKEN))
    }

    #[test]
    fn no_active_action_needs_both_the_code_and_the_message() {
        let by_token = format!("No active Lifecycle Action found with token {TOKEN}");
        assert_eq!(refused(400, "ValidationError", &by_token), Refusal::NoActiveAction);
        assert_eq!(
            refused(400, "ValidationError", "No active Lifecycle Action found with instance ID i-0abc1234"),
            Refusal::NoActiveAction
        );
        assert!(matches!(refused(400, "ValidationError", "AutoScalingGroup name not found"), Refusal::Rejected(_)));
        assert!(matches!(refused(400, "InternalFailure", &by_token), Refusal::Rejected(_)));
    }

    #[test]
    fn each_code_has_its_own_refusal() {
        assert_eq!(refused(400, "Throttling", "Rate exceeded"), Refusal::Throttled);
        assert_eq!(refused(400, "ThrottlingException", "Rate exceeded"), Refusal::Throttled);
        assert_eq!(refused(400, "TargetGroupNotFound", ""), Refusal::Missing);
        assert!(matches!(refused(403, "AccessDenied", "User: x is not authorized"), Refusal::Denied(_)));
        assert!(matches!(refused(403, "ExpiredToken", ""), Refusal::Denied(_)));
        assert!(matches!(refused(500, "ResourceContention", ""), Refusal::Away(_)));
        assert!(matches!(refused(400, "InvalidTarget", ""), Refusal::Rejected(_)));
    }

    #[test]
    fn a_403_of_a_proxy_is_not_a_denial() {
        assert!(matches!(classify(403, None, "", None), Refusal::Away(_)));
        assert!(matches!(classify(502, None, "", None), Refusal::Away(_)));
        assert_eq!(classify(429, None, "", None), Refusal::Throttled);
    }

    #[test]
    fn the_token_in_a_message_of_aws_is_not_passed_on() {
        let Refusal::Rejected(text) = refused(400, "ValidationError", &format!("bad token {TOKEN}\nsecond line")) else {
            panic!("it is a rejection")
        };
        assert!(!text.contains(TOKEN) && !text.contains('\n'), "{text}");
    }
}
