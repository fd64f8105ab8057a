//! What AWS answers in JSON under the hammer: a token is one that was in the answer, and a refusal repeats no secret.

use decamp_aws::signed::{parameter_of, refusal_of, secret_of};
use decamp_core::decide::Refusal;

use super::Target;

/// Parameter Store, Secrets Manager, and errors of both and of SQS.
pub(super) const TARGET: Target = Target { name: "signed", good, parse, check: |_| () };

/// A token, and a receipt that SQS repeats in its errors.
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
                let said = format!("{token:?}");
                assert!(token.is_blank() || !said.contains(token.expose()), "a token is never printed");
                return word;
            }
            Err(refused) => quiet(&refused),
        }
    }
    let refused = refusal_of(400, input, CANARY);
    quiet(&refused);
    match refused {
        Refusal::Denied(_) => "denied",
        Refusal::Throttled => "throttled",
        Refusal::Missing => "missing",
        Refusal::Away(_) => "away",
        Refusal::Rejected(_) => "rejected",
        Refusal::NoActiveAction => "no active action",
    }
}

/// A refusal is a line, and repeats no secret.
fn quiet(refused: &Refusal) {
    let said = refused.to_string();
    assert!(!said.contains(CANARY), "it repeats what nobody should read: {said}");
    assert!(said.len() < 2_000, "a refusal is a line: {} bytes", said.len());
}
