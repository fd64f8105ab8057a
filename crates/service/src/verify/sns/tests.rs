//! Tests with messages as SNS sends them and with every known attack on their verification.

use base64::Engine as _;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};

use super::*;

const TOPIC: &str = "arn:aws:sns:eu-west-1:123456789012:decamp";
const URL: &str = "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
const CERTIFICATE: &[u8] = include_bytes!("../../../../../tests/serve/sns/signer.pem");
const ELSEWHERE: &[u8] = include_bytes!("../../../../../tests/serve/sns/elsewhere.pem");
const FOREIGN: &[u8] = include_bytes!("../../../../../tests/serve/sns/foreign.pem");
const ROOT: &[u8] = include_bytes!("../../../../../tests/serve/sns/root.pem");
const OTHER_ROOT: &[u8] = include_bytes!("../../../../../tests/serve/sns/other-root.pem");
const KEY: &[u8] = include_bytes!("../../../../../tests/serve/sns/signer.key.pem");
/// By `openssl dgst -sha1` and `-sha256` over the canonical string of `notification()`, with the same key.
const FIRST_VERSION: &str = include_str!("../../../../../tests/serve/sns/sha1.sig");
const SECOND_VERSION: &str = include_str!("../../../../../tests/serve/sns/sha256.sig");

fn now() -> Time {
    Time::read("2027-01-01T00:00:10Z").expect("a time")
}

fn notification() -> Value {
    json!({
        "Type": "Notification", "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": TOPIC, "Message": "hello",
        "Timestamp": "2027-01-01T00:00:00.000Z", "SignatureVersion": "2", "Signature": SECOND_VERSION.trim(), "SigningCertURL": URL,
        "UnsubscribeURL": "https://sns.eu-west-1.amazonaws.com/?Action=Unsubscribe",
    })
}

fn confirmation() -> Value {
    let mut body = notification();
    body["Type"] = "SubscriptionConfirmation".into();
    body["Token"] = "canary-token".into();
    body["SubscribeURL"] = "https://sns.eu-west-1.amazonaws.com/?Action=ConfirmSubscription&Token=canary-token".into();
    signed(body)
}

/// Signs a message with SNS's key, whatever its fields are.
fn signed(mut body: Value) -> Value {
    let said: Envelope = serde_json::from_value(body.clone()).expect("an envelope");
    body["Signature"] = sign(&canonical(&said).expect("it can be signed")).into();
    body
}

fn sign(text: &str) -> String {
    let PrivateKeyDer::Pkcs8(key) = PrivateKeyDer::from_pem_slice(KEY).expect("a key") else { panic!("it is PKCS #8") };
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("an RSA key");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("it signs");
    STANDARD.encode(signature)
}

fn claim(body: &Value, first_version_too: bool) -> Result<Claim, Doubt> {
    read(&|_| None, body.to_string().as_bytes(), &[TOPIC.into()], first_version_too, now())
}

fn verified_by(claim: &Claim, certificates: &[u8], root: &[u8], now: Time) -> Result<(), Doubt> {
    let root = CertificateDer::from_pem_slice(root).expect("a root");
    let anchor = webpki::anchor_from_trusted_cert(&root).expect("an anchor");
    verify(claim, certificates, &[anchor], now).map(drop)
}

fn verified(body: &Value) -> Result<Claim, Doubt> {
    let claim = claim(body, false)?;
    verified_by(&claim, CERTIFICATE, ROOT, now())?;
    Ok(claim)
}

/// The message with one field changed.
fn with(field: &str, value: impl Into<Value>) -> Value {
    let mut body = notification();
    body[field] = value.into();
    body
}

#[test]
fn messages_of_sns_are_accepted() {
    let claim = verified(&notification()).expect("openssl signed it");
    assert_eq!((claim.kind, &*claim.message), (Kind::Notification, "hello"));
    assert!(verified(&signed(with("Subject", "a subject"))).is_ok());
    assert_eq!(verified(&confirmation()).map(|claim| claim.kind), Ok(Kind::Confirmation { token: "canary-token".to_owned() }));
    let mut goodbye = confirmation();
    goodbye["Type"] = "UnsubscribeConfirmation".into();
    assert_eq!(verified(&signed(goodbye)).map(|claim| claim.kind), Ok(Kind::Unsubscribed));
}

#[test]
fn the_first_version_is_accepted_only_if_the_settings_allow_it() {
    let mut body = with("SignatureVersion", "1");
    body["Signature"] = FIRST_VERSION.trim().into();
    assert_eq!(claim(&body, false), Err(Doubt::Version));
    let first = claim(&body, true).expect("the settings allow it");
    assert_eq!(verified_by(&first, CERTIFICATE, ROOT, now()), Ok(()));
    // A signature of one version under the name of the other.
    let second = claim(&with("SignatureVersion", "1"), true).expect("the settings allow it");
    assert_eq!(verified_by(&second, CERTIFICATE, ROOT, now()), Err(Doubt::Forged));
    body["SignatureVersion"] = "2".into();
    assert_eq!(verified(&body), Err(Doubt::Forged));
}

#[test]
fn a_certificate_is_fetched_from_sns_of_the_topics_region_and_from_nowhere_else() {
    let file = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";
    let places = [
        // An S3 bucket named `sns`, and an API gateway: both fit the pattern that is widely copied.
        format!("https://sns.s3-us-west-2.amazonaws.com/{file}"),
        format!("https://sns.execute-api.amazonaws.com/{file}"),
        format!("https://s3.amazonaws.com/sns/{file}"),
        // Another Region, partition or service.
        format!("https://sns.us-east-1.amazonaws.com/{file}"),
        format!("https://sns.eu-west-1.amazonaws.com.cn/{file}"),
        format!("https://sqs.eu-west-1.amazonaws.com/{file}"),
        // Other hosts that begin, end or look like it.
        format!("https://sns.eu-west-1.amazonaws.com.evil.example/{file}"),
        format!("https://evil.example/sns.eu-west-1.amazonaws.com/{file}"),
        format!("https://xsns.eu-west-1.amazonaws.com/{file}"),
        format!("https://sns.eu-west-1.amazonaws.com@evil.example/{file}"),
        format!("https://evil.example#sns.eu-west-1.amazonaws.com/{file}"),
        format!("https://sns.eu-west-1.amazonaws.com\\@evil.example/{file}"),
        format!("https://sns.eu-west-1.amazonaws.com./{file}"),
        format!("https://SNS.eu-west-1.amazonaws.com/{file}"),
        // Parts that a client would interpret differently.
        format!("https://user:password@sns.eu-west-1.amazonaws.com/{file}"),
        format!("https://sns.eu-west-1.amazonaws.com:8443/{file}"),
        format!("http://sns.eu-west-1.amazonaws.com/{file}"),
        format!("HTTPS://sns.eu-west-1.amazonaws.com/{file}"),
        format!(" https://sns.eu-west-1.amazonaws.com/{file}"),
        format!("https://sns.eu-west-1.amazonaws.com/{file}?x=.pem"),
        format!("https://sns.eu-west-1.amazonaws.com/{file}#.pem"),
        format!("https://sns.eu-west-1.amazonaws.com/x/../{file}"),
        format!("https://sns.eu-west-1.amazonaws.com//{file}"),
        "https://sns.eu-west-1.amazonaws.com/%53impleNotificationService-0123456789abcdef0123456789abcdef.pem".to_owned(),
        "https://sns.eu-west-1.amazonaws.com/?Action=GetTopicAttributes&x=.pem".to_owned(),
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-.pem".to_owned(),
        "https://sns.eu-west-1.amazonaws.com/SimpleNotificationService-0123456789abcdef0123456789abcdeF.pem".to_owned(),
        format!("https://169.254.169.254/{file}"),
        format!("file:///{file}"),
        String::new(),
    ];
    for place in places {
        assert_eq!(claim(&with("SigningCertURL", place.clone()), false), Err(Doubt::Place), "{place}");
    }
    assert!(claim(&with("SigningCertURL", URL), false).is_ok());
}

#[test]
fn only_exactly_the_topics_in_the_list_are_accepted() {
    for topic in [
        "arn:aws:sns:eu-west-1:123456789012:decamp2",
        "arn:aws:sns:eu-west-1:123456789012:Decamp",
        "arn:aws:sns:eu-west-1:999999999999:decamp",
        "arn:aws:sns:us-east-1:123456789012:decamp",
        "arn:aws-cn:sns:eu-west-1:123456789012:decamp",
        "arn:aws:sns:eu-west-1:123456789012:decamp ",
        "",
    ] {
        // A forger learns nothing about topics: a forgery is refused as such whatever its topic, and only a message that SNS signed
        // is refused for its topic.
        assert_eq!(verified(&with("TopicArn", topic)), Err(Doubt::Forged), "{topic}");
        assert_eq!(verified(&signed(with("TopicArn", topic))), Err(Doubt::Topic), "{topic}");
    }
    let none: [Arc<str>; 0] = [];
    assert_eq!(read(&|_| None, notification().to_string().as_bytes(), &none, false, now()), Err(Doubt::Place));
    // Both topics are ours, and the certificate is at SNS in the other topic's Region.
    let both = [TOPIC.into(), "arn:aws:sns:us-east-1:123456789012:decamp".into()];
    let body = signed(with("TopicArn", "arn:aws:sns:us-east-1:123456789012:decamp"));
    let claim = read(&|_| None, body.to_string().as_bytes(), &both, false, now()).expect("it holds together");
    assert_eq!(verified_by(&claim, CERTIFICATE, ROOT, now()), Err(Doubt::Topic));
}

#[test]
fn a_message_that_was_changed_after_signing_is_not_accepted() {
    for (field, value) in [
        ("Message", "goodbye"),
        ("Message", "hello\nMessageId\n22b80b92"),
        ("MessageId", "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf325"),
        ("Subject", "a subject that was not signed"),
        ("Timestamp", "2027-01-01T00:00:01.000Z"),
        ("Timestamp", "2027-01-01T00:00:00Z"),
        ("Signature", "AAAA"),
        ("Signature", ""),
        ("Signature", "!"),
    ] {
        assert_eq!(verified(&with(field, value)).err(), Some(Doubt::Forged), "{field}: {value}");
    }
    let mut body = confirmation();
    body["Token"] = "another".into();
    assert_eq!(verified(&body), Err(Doubt::Forged));
    let mut body = confirmation();
    body["SubscribeURL"] = "https://evil.example/".into();
    assert_eq!(verified(&body), Err(Doubt::Forged));
    // A notification's signature on a confirmation, which has other signed fields.
    let mut body = confirmation();
    body["Signature"] = SECOND_VERSION.trim().into();
    assert_eq!(verified(&body), Err(Doubt::Forged));
    let mut body = confirmation();
    body["Type"] = "Notification".into();
    assert_eq!(verified(&body), Err(Doubt::Forged));
}

#[test]
fn only_a_valid_certificate_of_sns_signs() {
    let of = |certificates: &[u8], root: &[u8], now: Time| {
        verified_by(&claim(&notification(), false).expect("it holds together"), certificates, root, now)
    };
    assert_eq!(of(CERTIFICATE, OTHER_ROOT, now()), Err(Doubt::Certificate), "of an authority that is not trusted");
    assert_eq!(of(FOREIGN, ROOT, now()), Err(Doubt::Certificate), "by an authority that is not trusted");
    assert_eq!(of(ELSEWHERE, ROOT, now()), Err(Doubt::Certificate), "of another Region");
    assert_eq!(of(ROOT, ROOT, now()), Err(Doubt::Certificate), "the authority itself");
    assert_eq!(of(&[FOREIGN, CERTIFICATE].concat(), ROOT, now()), Err(Doubt::Certificate), "the right one second");
    let date = |text: &str| Time::read(text).expect("a time");
    assert_eq!(of(CERTIFICATE, ROOT, date("2222-01-01T00:00:00Z")), Err(Doubt::Certificate), "expired");
    assert_eq!(of(CERTIFICATE, ROOT, date("2001-01-01T00:00:00Z")), Err(Doubt::Certificate), "not valid yet");
    for nonsense in [&b""[..], b"hello", &CERTIFICATE[..400], KEY, &[b' '; LARGEST_CERTIFICATE + 1]] {
        assert_eq!(of(nonsense, ROOT, now()), Err(Doubt::Certificate));
    }
}

#[test]
fn an_old_message_and_one_from_the_future_are_not_accepted() {
    let at = |now: &str| {
        let now = Time::read(now).expect("a time");
        read(&|_| None, notification().to_string().as_bytes(), &[TOPIC.into()], false, now).err()
    };
    assert_eq!(at("2027-01-01T00:59:59Z"), None);
    assert_eq!(at("2027-01-01T01:00:01Z"), Some(Doubt::OutOfTime));
    assert_eq!(at("2026-12-31T23:54:00Z"), Some(Doubt::OutOfTime));
}

#[test]
fn a_body_that_is_not_a_message_of_sns_is_refused() {
    let twice = notification().to_string().replacen('{', "{\"TopicArn\":\"other\",", 1);
    for body in ["", "[]", "hello", "{}", "{\"Type\":\"Notification\"}", &twice] {
        assert_eq!(read(&|_| None, body.as_bytes(), &[TOPIC.into()], false, now()), Err(Doubt::Unreadable), "{body}");
    }
    assert_eq!(claim(&with("Type", "Other"), false), Err(Doubt::Unreadable));
    assert_eq!(claim(&with("Type", "SubscriptionConfirmation"), false), Err(Doubt::Unreadable), "without a token");
    for version in ["", "3", "02", "2 "] {
        assert_eq!(claim(&with("SignatureVersion", version), true), Err(Doubt::Version), "{version}");
    }
    let with_header = |name: &'static str, value: &'static str| {
        let headers = move |asked: &str| (asked == name).then(|| value.to_owned());
        read(&headers, notification().to_string().as_bytes(), &[TOPIC.into()], false, now()).err()
    };
    assert_eq!(with_header("x-amz-sns-rawdelivery", "true"), Some(Doubt::Raw));
    assert_eq!(with_header("x-amz-sns-message-type", "SubscriptionConfirmation"), Some(Doubt::Contradiction));
    assert_eq!(with_header("x-amz-sns-topic-arn", "arn:aws:sns:eu-west-1:123456789012:other"), Some(Doubt::Contradiction));
    assert_eq!(with_header("x-amz-sns-message-type", "Notification"), None);
}

#[test]
fn neither_the_token_nor_the_message_is_printed() {
    let claim = verified(&confirmation()).expect("it is signed");
    assert!(!format!("{claim:?}").contains("canary"));
}
