//! SNS over HTTP: a subscription is confirmed by a call, a signed notification starts a departure, and forgeries do nothing.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decamp_core::time::Time;
use decamp_sandbox::{ACCOUNT, REGION, serve};
use reqwest::Response;
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use serde_json::{Value, json};

use crate::replica::{Replica, machine_is_off, quick, requests, terminate};

const FILE: &str = "SimpleNotificationService-0123456789abcdef0123456789abcdef.pem";

fn topic() -> String {
    format!("arn:aws:sns:{REGION}:{ACCOUNT}:decamp")
}

/// A message of SNS, with a signature over these fields.
fn message(kind: &str, more: &[(&str, &str)], signed: &[&str]) -> Value {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("it is later than 1970");
    let mut body = json!({
        "Type": kind, "MessageId": "22b80b92-fdea-4c2c-8f9d-bdfb0c7bf324", "TopicArn": topic(), "SignatureVersion": "2",
        "Timestamp": (Time(0) + now).to_string(), "SigningCertURL": format!("https://sns.{REGION}.amazonaws.com/{FILE}"),
    });
    more.iter().for_each(|(name, value)| body[*name] = (*value).into());
    let text: String = signed.iter().map(|name| format!("{name}\n{}\n", body[*name].as_str().expect("it is there"))).collect();
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("sns/signer.key.pem")).expect("a key");
    let PrivateKeyDer::Pkcs8(key) = key else { panic!("it is PKCS #8") };
    let key = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).expect("an RSA key");
    let mut signature = vec![0; key.public().modulus_len()];
    key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), text.as_bytes(), &mut signature).expect("it signs");
    body["Signature"] = STANDARD.encode(signature).into();
    body
}

async fn send(replica: &Replica, body: &Value) -> Response {
    let kind = body["Type"].as_str().expect("a type");
    let request = replica.client.post(format!("{}/v1/sns", replica.webhooks)).header("x-amz-sns-message-type", kind);
    request.header("content-type", "text/plain; charset=UTF-8").body(body.to_string()).send().await.expect("it answers")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_subscription_is_confirmed_by_a_call_and_a_notification_starts_a_departure() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    sandbox.shared.stores().signing_certificate = Some(include_str!("sns/signer.pem").to_owned());
    let root = format!("{}/tests/serve/sns/root.pem", env!("CARGO_MANIFEST_DIR"));
    let replica = Replica::start(&sandbox, &[("DECAMP_SNS_TOPICS", &topic()), ("DECAMP_SNS_CACERT", &root)]).await;

    let evil = "http://127.0.0.1:9/canary-visited";
    let fields = [("Message", "You have chosen to subscribe"), ("SubscribeURL", evil), ("Token", "canary-token")];
    let order = ["Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"];
    let confirmation = message("SubscriptionConfirmation", &fields, &order);
    let mut forged = confirmation.clone();
    forged["Token"] = "another-token".into();
    assert_eq!(send(&replica, &forged).await.status(), 403);
    assert!(sandbox.shared.stores().confirmations.is_empty());
    assert_eq!(send(&replica, &confirmation).await.status(), 200, "{}", replica.printed());
    assert_eq!(sandbox.shared.stores().confirmations, [(topic(), "canary-token".to_owned())]);

    let instance = sandbox.instances[0];
    let event = terminate(&sandbox, instance).await.to_string();
    let order = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"];
    let notification = message("Notification", &[("Message", &event)], &order);
    let mut forged = notification.clone();
    forged["Message"] = format!("{event} ").into();
    let answer = send(&replica, &forged).await;
    assert_eq!(answer.status(), 403);
    assert_eq!(answer.json::<Value>().await.expect("JSON")["type"], "urn:decamp:problem:not-believed");
    assert_eq!(replica.json("/v1/departures").await["departures"], json!([]), "a forgery was acted on");
    assert_eq!(send(&replica, &notification).await.status(), 202, "{}", replica.printed());
    assert!(machine_is_off(&sandbox, instance).await, "{}", replica.printed());
    let (_, failures) = requests(&sandbox);
    assert_eq!(failures, Value::Array(vec![]), "{}", replica.printed());
    assert!(!replica.printed().contains("canary"), "{}", replica.printed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_messages_cause_few_fetches_show_no_topic_and_delay_no_genuine_one() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    sandbox.shared.stores().signing_certificate = Some(include_str!("sns/signer.pem").to_owned());
    let root = format!("{}/tests/serve/sns/root.pem", env!("CARGO_MANIFEST_DIR"));
    let settings = [
        ("DECAMP_SNS_TOPICS", &*topic()),
        ("DECAMP_SNS_CACERT", &root),
        ("DECAMP_SNS_CERTIFICATES", FILE),
        ("DECAMP_SOURCE_RATE", "100000"),
    ];
    let replica = Replica::start(&sandbox, &settings).await;
    replica.says("fetched a certificate of SNS").await;
    // From now on SNS has no other certificate.
    sandbox.shared.stores().signing_certificate = None;
    sandbox.shared.stores().certificates_asked.clear();
    let order = ["Message", "MessageId", "Timestamp", "TopicArn", "Type"];
    let genuine = message("Notification", &[("Message", "{\"decamp\":\"sweep\"}")], &order);
    let forged = |number: u32, topic: &str| {
        let mut body = genuine.clone();
        body["SigningCertURL"] = format!("https://sns.{REGION}.amazonaws.com/SimpleNotificationService-{number:032x}.pem").into();
        body["TopicArn"] = topic.into();
        body
    };
    let (ours, other) = (topic(), topic().replace("decamp", "another"));
    let flood = async {
        for number in 0..100 {
            let asked = [&ours, &other].map(|topic| forged(number, topic));
            let answers = futures_util::future::join_all(asked.iter().map(|body| send(&replica, body))).await;
            let mut told = Vec::new();
            for answer in answers {
                told.push((answer.status().as_u16(), answer.text().await.expect("it is text")));
            }
            assert_eq!(told[0], told[1], "the answers differ for a topic of the settings");
            assert_eq!(told[0].0, 403, "{told:?}");
        }
    };
    let sent = async {
        for _ in 0..50 {
            assert_eq!(send(&replica, &genuine).await.status(), 202, "{}", replica.printed());
        }
    };
    tokio::join!(flood, sent);
    // SNS's own certificate, and a text that was not signed.
    for topic in [&ours, &other] {
        let mut body = genuine.clone();
        (body["TopicArn"], body["Message"]) = (topic.as_str().into(), "another message".into());
        assert_eq!(send(&replica, &body).await.status(), 403);
    }
    let asked = sandbox.shared.stores().certificates_asked.len();
    assert!(asked <= 3, "200 forgeries had {asked} files fetched");
}
