//! A canary in every secret, and a search for each in everything that the service prints, answers, sends or shows, also when calls fail.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use decamp_sandbox::wire::{FaultPlan, Rule, Side, WireFault};
use decamp_sandbox::{ACCOUNT, ASG, CONSUL_TOKEN, NOMAD_TOKEN, REGION, Sandbox, serve};
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::receiver::{Manners, Receiver, SECRET};
use crate::replica::{KEY, Replica, machine_is_off, quick, terminate};

const ADMIN: &str = "canary-admin-token-0123456789";
const WEBHOOK: &str = "whsec_Y2FuYXJ5LXdlYmhvb2stc2VjcmV0LTAxMjM0NTY3ODk=";
const GITHUB: &str = "canary-github-secret-0123456789";
const TERRAFORM: &str = "canary-terraform-secret-0123456789";
/// The name in Parameter Store of a webhook's secret.
const STORED: &str = "canary-stored-secret-0123456789";
const PARAMETER: &str = "decamp-webhook";
const AWS_KEY: &str = "canary-aws-secret-access-key-0123456789";
const AWS_SESSION: &str = "canary-aws-session-token-0123456789";
const COLLECTOR: &str = "canary-collector-token-0123456789";
const WRONG_NOMAD: &str = "canary0-wrong-nomad-token-0123456789";
const WRONG_CONSUL: &str = "canary0-wrong-consul-token-0123456789";
/// Sent by unauthenticated clients: it may be a secret that was meant for another service.
const STRANGERS: &str = "canary-strangers-secret-0123456789";
const TLS_KEY: &str = include_str!("sns/signer.key.pem");

/// Everything that the service put out, with the place of each.
#[derive(Default)]
struct Output(Vec<(String, String)>);

impl Output {
    fn add(&mut self, place: impl Into<String>, text: impl Into<String>) {
        self.0.push((place.into(), text.into()));
    }

    /// Adds an answer with its headers.
    async fn answer(&mut self, place: &str, mut answer: Response) -> u16 {
        let status = answer.status().as_u16();
        let mut text = format!("{status} {:?}\n", answer.headers());
        // A stream has no end, so half a second of it is read.
        while let Ok(Ok(Some(chunk))) = timeout(Duration::from_millis(500), answer.chunk()).await {
            text.push_str(&String::from_utf8_lossy(&chunk));
        }
        self.add(place, text);
        status
    }

    async fn ask(&mut self, place: &str, request: RequestBuilder) -> u16 {
        let answer = request.send().await.expect("it answers");
        self.answer(place, answer).await
    }
}

const PATHS: [&str; 13] = [
    "/",
    "/live",
    "/login",
    "/style.css",
    "/page.js",
    "/metrics",
    "/healthz",
    "/readyz",
    "/v1/departures",
    "/v1/refreshes",
    "/v1/openapi.json",
    "/v1/stream",
    "/v1/departures/i-0123456789abcdef0",
];

/// Requests everything: with the admin token, with a wrong one, and without.
async fn ask_everything(replica: &Replica, instance: &str, output: &mut Output) {
    let mut answered = 0;
    for path in PATHS.into_iter().chain([&*format!("/v1/departures/{instance}"), &*format!("/?token={STRANGERS}"), "/nothing"]) {
        let get = || replica.client.get(format!("{}{path}", replica.admin));
        answered += usize::from(output.ask(&format!("GET {path}"), get().bearer_auth(ADMIN)).await == 200);
        output.ask(&format!("GET {path} with a wrong token"), get().bearer_auth(STRANGERS)).await;
        output
            .ask(&format!("GET {path} with a wrong session"), get().header("cookie", format!("__Host-decamp=1.{STRANGERS}")))
            .await;
        output.ask(&format!("GET {path} of nobody"), get()).await;
    }
    assert!(12 <= answered, "only {answered} paths were open to the token");
    let form = |token: &str| {
        let request = replica.client.post(format!("{}/login", replica.admin));
        request.header("content-type", "application/x-www-form-urlencoded").body(format!("token={token}"))
    };
    output.ask("a wrong login", form(STRANGERS)).await;
}

/// Sends wrong and right requests.
async fn send_everything(replica: &Replica, output: &mut Output) {
    let post = |path: &str| replica.client.post(format!("{}{path}", replica.webhooks));
    for body in ["{\"decamp\":\"sweep\"}".to_owned(), format!("{{\"{STRANGERS}\":\"{STRANGERS}\"}}"), STRANGERS.to_owned()] {
        let strange = format!("/v1/webhooks/{STRANGERS}");
        let named = ["/v1/webhooks/deploy", "/v1/webhooks/hub", "/v1/webhooks/stored", &*strange];
        for path in ["/v1/events", "/v1/sns", "/v1/terraform"].into_iter().chain(named) {
            output.ask(path, post(path).header("x-api-key", KEY).body(body.clone())).await;
            output.ask(path, post(path).header("x-api-key", STRANGERS).body(body.clone())).await;
            output.ask(path, post(path).basic_auth(STRANGERS, Some(KEY)).body(body.clone())).await;
            let signed =
                post(path).header("webhook-id", "msg_1").header("webhook-timestamp", "1").header("webhook-signature", STRANGERS);
            let signed = signed.header("x-hub-signature-256", STRANGERS).header("x-tfe-notification-signature", STRANGERS);
            output.ask(path, signed.body(body.clone())).await;
        }
    }
    let forged = json!({
        "Type": "SubscriptionConfirmation", "MessageId": "m", "TopicArn": topic(), "Message": "m", "Timestamp": "2020-01-01T00:00:00Z",
        "Signature": STRANGERS, "SignatureVersion": "2", "SigningCertURL": STRANGERS, "Token": STRANGERS, "SubscribeURL": STRANGERS,
    });
    output.ask("a forged confirmation", post("/v1/sns").body(forged.to_string())).await;
}

fn topic() -> String {
    format!("arn:aws:sns:{REGION}:{ACCOUNT}:decamp")
}

/// A settings' file with a canary wherever one is possible.
fn file(receiver: &Receiver) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[webhooks.deploy]\nscheme = \"standard\"\naction = \"look\"\nsecret = \"{WEBHOOK}\"\n\
         [webhooks.hub]\nscheme = \"github\"\naction = \"look\"\nsecret = \"{GITHUB}\"\n\
         [webhooks.stored]\nscheme = \"github\"\naction = \"look\"\nsecret_stored = \"ssm:{PARAMETER}\"\n\
         [terraform]\nsecret = \"{TERRAFORM}\"\n[terraform.workspaces]\n\"acme/web\" = [\"{ASG}\"]\n\
         [notify.well]\nkind = \"webhook\"\nurl = \"{}\"\nsecret = \"{SECRET}\"\n\
         [notify.slack]\nkind = \"slack\"\nurl = \"{}\"\n\
         [notify.gone]\nkind = \"slack\"\nurl = \"http://127.0.0.1:9/canary-path-of-a-receiver\"\n\
         [notify.nameless]\nkind = \"slack\"\nurl = \"https://receiver.invalid/canary-path-of-a-receiver\"\n",
        receiver.url, receiver.url
    );
    std::fs::write(file.path(), text).expect("it is ours");
    file
}

async fn start(sandbox: &Sandbox, file: &tempfile::NamedTempFile, collector: &Receiver, more: &[(&str, &str)]) -> Replica {
    let (topics, header) = (topic(), format!("x-token: {COLLECTOR}"));
    let mut settings = vec![
        ("DECAMP_ADMIN_TOKEN", ADMIN),
        ("AWS_SECRET_ACCESS_KEY", AWS_KEY),
        ("AWS_SESSION_TOKEN", AWS_SESSION),
        ("DECAMP_SNS_TOPICS", &*topics),
        ("DECAMP_SWEEP", "1s"),
        ("DECAMP_STALLED_AFTER", "1s"),
        ("DECAMP_LOG", "trace"),
        ("DECAMP_TRACES", &*collector.url),
        ("DECAMP_TRACES_HEADER", &*header),
    ];
    settings.extend(more);
    Replica::start_with(sandbox, &["--config", &file.path().display().to_string()], &settings).await
}

/// A second replica for which everything fails: wrong tokens, an unusable key of a certificate, AWS that denies every call.
async fn a_replica_that_fails(sandbox: &Sandbox, file: &tempfile::NamedTempFile, collector: &Receiver, output: &mut Output) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(path("certificate"), include_bytes!("sns/signer.pem")).expect("it is ours");
    std::fs::write(path("key"), TLS_KEY).expect("it is ours");
    let (certificate, key) = (path("certificate"), path("key"));
    let settings = [
        ("NOMAD_TOKEN", WRONG_NOMAD),
        ("CONSUL_HTTP_TOKEN", WRONG_CONSUL),
        ("DECAMP_WEBHOOKS_CERT", &*certificate),
        ("DECAMP_WEBHOOKS_KEY", &*key),
    ];
    let mut replica = start(sandbox, file, collector, &settings).await;
    let instance = sandbox.instances[1];
    terminate(sandbox, instance).await;
    sleep(Duration::from_secs(3)).await;
    ask_everything(&replica, &instance.to_string(), output).await;
    for (name, fault) in [("denied", WireFault::Denied), ("expired", WireFault::Expired), ("broken", WireFault::HtmlGateway)] {
        sandbox.shared.set_faults(FaultPlan::new(vec![Rule { side: Some(Side::Aws), ..Rule::next(u32::MAX, "", fault) }], 1));
        std::fs::write(path("key"), format!("-----BEGIN PRIVATE KEY-----\n{STRANGERS}{name}\n-----END PRIVATE KEY-----\n"))
            .expect("ours");
        let mut stream = TcpStream::connect(replica.webhooks.trim_start_matches("http://")).await.expect("it listens");
        stream.write_all(format!("GET /{STRANGERS} HTTP/1.1\r\n\r\n").as_bytes()).await.expect("it is sent");
        sleep(Duration::from_secs(2)).await;
    }
    ask_everything(&replica, &instance.to_string(), output).await;
    let printed = replica.printed();
    assert!(printed.contains("the new certificate cannot be used"), "the damaged key was read");
    assert!(printed.contains("Auto Scaling cannot be seen"), "AWS denied");
    replica.stop().await;
    output.add("what the failing replica printed", replica.printed());
    sandbox.shared.set_faults(FaultPlan::default());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_secret_is_in_any_output() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    sandbox.shared.stores().parameters.insert(PARAMETER.to_owned(), STORED.to_owned());
    let receiver = Receiver::start(Manners::FailsFirst(2, 401)).await;
    let collector = Receiver::start(Manners::FailsFirst(1, 500)).await;
    let file = file(&receiver);
    let mut output = Output::default();
    let mut replica = start(&sandbox, &file, &collector, &[]).await;
    let instance = sandbox.instances[0];
    let event = terminate(&sandbox, instance).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    ask_everything(&replica, &instance.to_string(), &mut output).await;
    send_everything(&replica, &mut output).await;
    assert!(machine_is_off(&sandbox, instance).await, "it did not depart");
    assert!(receiver.accepted("departure.ended").await.is_some(), "nobody was told");
    ask_everything(&replica, &instance.to_string(), &mut output).await;
    assert_eq!(replica.stop().await.code(), Some(0));
    output.add("what it printed", replica.printed());
    a_replica_that_fails(&sandbox, &file, &collector, &mut output).await;
    for told in receiver.all() {
        output.add("a notification", told.whole);
    }
    let spans = collector.all().into_iter().map(|told| told.body.to_string());
    spans.for_each(|spans| output.add("spans", spans));
    assert!(output.0.iter().any(|(place, text)| place == "spans" && text.contains("traceId")), "no span was sent");

    let fetched =
        |text: &str| text.contains("{operation=\"GetParameter\"}") && !text.contains("{operation=\"GetParameter\"} 0\n");
    assert!(output.0.iter().any(|(place, text)| place == "GET /metrics" && fetched(text)), "no secret was fetched from a store");

    let action = event["detail"]["LifecycleActionToken"].as_str().expect("a token");
    let pem = TLS_KEY.lines().nth(2).expect("a line of its key");
    let secrets = [
        KEY,
        ADMIN,
        WEBHOOK,
        GITHUB,
        TERRAFORM,
        STORED,
        SECRET,
        AWS_KEY,
        AWS_SESSION,
        NOMAD_TOKEN,
        CONSUL_TOKEN,
        WRONG_NOMAD,
        WRONG_CONSUL,
        STRANGERS,
        COLLECTOR,
        action,
        pem,
        "canary-path-of-a-receiver",
    ];
    let bare = |secret: &str| secret.trim_start_matches("whsec_").to_owned();
    let forms = secrets.iter().flat_map(|secret| [bare(secret), STANDARD.encode(secret), secret.replace('-', "%2D")]);
    let forms: Vec<String> = forms.collect();
    let whole: usize = output.0.iter().map(|(_, text)| text.len()).sum();
    assert!(200 < output.0.len() && 100_000 < whole, "{} texts, {whole} bytes: too little to prove anything", output.0.len());
    let mut leaks = Vec::new();
    for (place, text) in &output.0 {
        for line in text.lines() {
            leaks.extend(
                forms.iter().filter(|form| line.contains(form.as_str())).map(|form| format!("{place}: {form} in {line:.400}")),
            );
        }
    }
    assert!(leaks.is_empty(), "{} leaks, such as\n{}", leaks.len(), leaks[..leaks.len().min(12)].join("\n"));
}
