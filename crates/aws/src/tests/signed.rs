//! The calls without an SDK client: secrets are fetched and never shown, messages are hidden, errors are distinguished.

use std::time::Duration;

use super::wire::{Answer, Server};
use crate::aws::{Aws, Keys};
use crate::signed::{Operation, Signed};
use decamp_config as settings;
use decamp_config::{Secret, Stored};
use decamp_core::decide::{Refusal, Unseen};
use decamp_net::secrets::{Fetch, NotFetched};

async fn answering(status: u16, body: &'static str) -> (Server, Signed) {
    let server = Server::start(move |_| Answer::with(status, "application/x-amz-json-1.1", body)).await;
    let signed = Signed::new(&server.aws().await);
    (server, signed)
}

#[tokio::test]
async fn a_parameter_is_fetched_decrypted_and_signed() {
    let (server, signed) = answering(200, r#"{"Parameter":{"Name":"n","Value":"canary\n"}}"#).await;
    assert_eq!(signed.fetch(&Stored::Ssm("/nomad/token".into())).await, Ok(Secret::new("canary")));
    let asked = &server.heads()[0];
    assert!(asked.starts_with("POST / HTTP/1.1\r\n"), "{asked}");
    assert!(asked.contains("x-amz-target: AmazonSSM.GetParameter\r\n"), "{asked}");
    assert!(asked.contains("/eu-west-1/ssm/aws4_request, SignedHeaders=content-type;host;x-amz-date;x-amz-target, "), "{asked}");
    assert!(!asked.contains("secret-canary"), "{asked}");
    assert!(asked.ends_with(r#"{"Name":"/nomad/token","WithDecryption":true}"#), "{asked}");
}

#[tokio::test]
async fn a_secret_of_another_region_is_fetched_there() {
    let (server, signed) = answering(200, r#"{"SecretString":"canary"}"#).await;
    let arn = "arn:aws:secretsmanager:eu-north-1:123456789012:secret:nomad";
    assert_eq!(signed.fetch(&Stored::SecretsManager(arn.into())).await, Ok(Secret::new("canary")));
    assert!(server.heads()[0].contains("/eu-north-1/secretsmanager/aws4_request"));
}

#[tokio::test]
async fn a_message_is_hidden_at_the_address_of_its_queue() {
    let (server, signed) = answering(200, "").await;
    let span = Duration::from_secs(5);
    assert_eq!(signed.hide_message("arn:aws:sqs:eu-west-1:123456789012:departures", "receipt", span).await, Ok(()));
    let asked = &server.heads()[0];
    assert!(asked.contains("x-amz-target: AmazonSQS.ChangeMessageVisibility\r\n"), "{asked}");
    assert!(asked.contains("content-type: application/x-amz-json-1.0\r\n"), "{asked}");
    assert!(asked.contains(r#"/123456789012/departures""#) && asked.contains(r#""VisibilityTimeout":5"#), "{asked}");
    let refused = signed.hide_message("departures", "receipt", span).await;
    assert!(matches!(refused, Err(Refusal::Rejected(_))));
    assert_eq!(server.count(), 1);
}

#[tokio::test]
async fn errors_are_distinguished_and_repeat_no_secret() {
    let denied = r#"{"__type":"com.amazon.coral.service#AccessDeniedException","Message":"User: x is not authorized"}"#;
    let not_found = r#"{"__type":"ResourceNotFoundException","Message":"Secrets Manager can't find the specified secret."}"#;
    let marked = r#"{"__type":"InvalidRequestException","Message":"You can't perform this operation on the secret because it was marked for deletion."}"#;
    let no_version = r#"{"__type":"InvalidRequestException","Message":"You can't ask for this stage."}"#;
    type Expected = fn(&NotFetched) -> bool;
    let unavailable: Expected = |why| matches!(why, NotFetched::Unseen(Unseen::Away(_)));
    let gone: Expected = |why| matches!(why, NotFetched::Gone(_));
    let cases: [(u16, &str, Expected); 9] = [
        (400, denied, |why| matches!(why, NotFetched::Unseen(Unseen::Denied(_)))),
        (400, r#"{"__type":"ThrottlingException"}"#, |why| *why == NotFetched::Unseen(Unseen::Throttled)),
        (400, r#"{"__type":"ParameterNotFound"}"#, gone),
        (400, not_found, gone),
        (400, marked, gone),
        (400, no_version, unavailable),
        (502, "<html>canary</html>", unavailable),
        (200, "<html>canary</html>", unavailable),
        (200, r#"{"Parameter":{"Value":["canary"]}}"#, unavailable),
    ];
    for (status, body, expected) in cases {
        let (_server, signed) = answering(status, body).await;
        let why = signed.fetch(&Stored::Ssm("n".into())).await.expect_err("it is an error");
        assert!(expected(&why), "{status} {body}: {why:?}");
        assert!(!format!("{why:?}").contains("canary"), "{why:?}");
    }
}

#[tokio::test]
async fn messages_are_received_and_deleted_by_their_receipts_which_are_never_shown() {
    let body = r#"{"Messages":[{"MessageId":"m-1","ReceiptHandle":"canary","Body":"hello","MD5OfBody":"x","Attributes":{"ApproximateReceiveCount":"3"}}]}"#;
    let (server, signed) = answering(200, body).await;
    let (queue, wait) = ("arn:aws:sqs:eu-west-1:123456789012:departures", Duration::from_secs(20));
    let received = signed.receive_messages(queue, wait, Duration::from_secs(120)).await.expect("there is one");
    assert!(!format!("{received:?}").contains("canary"));
    let record = received[0].as_record(queue);
    assert_eq!(
        (&record["messageId"], &record["receiptHandle"], &record["body"]),
        (&"m-1".into(), &"canary".into(), &"hello".into())
    );
    assert_eq!((&record["attributes"]["ApproximateReceiveCount"], &record["eventSourceARN"]), (&"3".into(), &queue.into()));
    let asked = &server.heads()[0];
    assert!(asked.contains("x-amz-target: AmazonSQS.ReceiveMessage\r\n") && asked.contains("\"WaitTimeSeconds\":20"), "{asked}");
    assert_eq!(signed.delete_message(queue, "canary").await, Ok(()));
    assert!(server.heads()[1].contains("\"ReceiptHandle\":\"canary\""));
    let (_server, signed) = answering(200, "{}").await;
    assert_eq!(signed.receive_messages(queue, Duration::ZERO, wait).await.map(|all| all.len()), Ok(0));
    let (_server, signed) = answering(400, r#"{"__type":"com.amazonaws.sqs#QueueDoesNotExist","message":"no"}"#).await;
    assert!(signed.receive_messages(queue, Duration::ZERO, wait).await.is_err());
}

#[tokio::test]
async fn a_subscription_is_confirmed_with_a_signed_form() {
    let (server, signed) = answering(200, "<ConfirmSubscriptionResponse/>").await;
    let topic = "arn:aws:sns:eu-west-1:123456789012:decamp";
    assert_eq!(signed.confirm_subscription(topic, "a&b").await, Ok(()));
    let asked = &server.heads()[0];
    assert!(asked.contains("/eu-west-1/sns/aws4_request") && !asked.contains("x-amz-target"), "{asked}");
    assert!(asked.ends_with("TopicArn=arn%3Aaws%3Asns%3Aeu-west-1%3A123456789012%3Adecamp&Token=a%26b"), "{asked}");
    let (_server, signed) = answering(403, "<ErrorResponse><Error>canary</Error></ErrorResponse>").await;
    let refused = signed.confirm_subscription(topic, "canary").await.expect_err("it is refused");
    assert!(!refused.to_string().contains("canary"), "{refused}");
}

#[tokio::test]
async fn calls_that_decamp_signs_itself_use_the_fips_and_dual_stack_settings() {
    let settings = settings::Aws { region: Some("us-east-1".to_owned()), ..settings::Aws::default() };
    let keys = Keys { id: "AKIDEXAMPLE".to_owned(), secret: "secret-canary".to_owned() };
    let plain = Aws::load(&settings, Some(keys)).await;
    let operation = Operation { name: "GetParameter", service: "ssm", target: "AmazonSSM", kind: "application/x-amz-json-1.1" };
    for (fips, dual_stack, host) in [
        (false, false, "ssm.us-east-1.amazonaws.com"),
        (true, false, "ssm-fips.us-east-1.amazonaws.com"),
        (false, true, "ssm.us-east-1.api.aws"),
        (true, true, "ssm-fips.us-east-1.api.aws"),
    ] {
        let mut aws = plain.clone();
        aws.config = aws.config.to_builder().use_fips(fips).use_dual_stack(dual_stack).build();
        assert_eq!(Signed::new(&aws).address(&operation, "us-east-1"), Ok(format!("https://{host}/")));
    }
}
