//! Fuzzes the readers of AWS's JSON answers. A token comes from the answer, and no error repeats a secret.

use decamp_aws::signed::{parameter_of, refusal_of, secret_of};
use decamp_core::decide::Refusal;

use super::Target;

/// Answers of Parameter Store and Secrets Manager, and errors of both and of SQS.
pub(super) const TARGET: Target = Target { name: "signed", good, parse, check: |_| () };

/// A token, and a receipt handle that SQS repeats in its errors.
const CANARY: &str = "canary-7f3a91";

fn good() -> Vec<Vec<u8>> {
    [
        r#"{"Parameter":{"ARN":"arn:aws:ssm:eu-west-1:123456789012:parameter/nomad","DataType":"text","Name":"/nomad","Type":"SecureString","Value":"canary-7f3a91","Version":3}}"#,
        r#"{"ARN":"arn:aws:secretsmanager:eu-west-1:123456789012:secret:nomad-a1b2c3","Name":"nomad","SecretString":"canary-7f3a91","VersionStages":["AWSCURRENT"],"CreatedDate":1.7e9}"#,
        r#"{"__type":"com.amazonaws.secretsmanager#ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}"#,
        r#"{"__type":"AccessDeniedException","Message":"User: arn:aws:sts::123456789012:assumed-role/decamp is not authorized to perform: ssm:GetParameter"}"#,
        r#"{"__type":"com.amazonaws.sqs#ReceiptHandleIsInvalid","message":"The input receipt handle \"canary-7f3a91\" is not a valid receipt handle."}"#,
        r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
        r#"{"__type":"InternalServerError"}"#,
        "",
        "<html><body>502 Bad Gateway</body></html>",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

fn parse(input: &[u8]) -> &'static str {
    for (word, read) in [("parameter", parameter_of(input)), ("secret", secret_of(input))] {
        match read {
            Ok(token) => {
                let printed = format!("{token:?}");
                assert!(token.is_blank() || !printed.contains(token.expose()), "a token is never printed");
                return word;
            }
            Err(refused) => repeats_no_secret(&refused),
        }
    }
    let refused = refusal_of(400, input, CANARY);
    repeats_no_secret(&refused);
    match refused {
        Refusal::Denied(_) => "denied",
        Refusal::Throttled => "throttled",
        Refusal::Missing => "missing",
        Refusal::Away(_) => "away",
        Refusal::Rejected(_) => "rejected",
        Refusal::NoActiveAction => "no active action",
    }
}

/// Checks that an error is one line and repeats no secret.
fn repeats_no_secret(refused: &Refusal) {
    let text = refused.to_string();
    assert!(!text.contains(CANARY), "it repeats a secret: {text}");
    assert!(text.len() < 2_000, "an error is one line: {} bytes", text.len());
}
