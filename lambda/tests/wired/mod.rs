//! The real binary in the sandbox, with the environment, rule, queue, hook and role of an applied `infra/examples/complete`. Without one
//! (`just infra` applies it) the test prints "skipped".

mod example;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use decamp_core::ids::TargetGroupArn;
use decamp_sandbox::wire::aws;
use decamp_sandbox::{ACCOUNT, ASG, CONSUL_TOKEN, HOOK, NOMAD_TOKEN, Options, REGION, Sandbox};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use self::example::{Example, json as read, seconds};
use super::runtime::{Answer, Function};

/// Refuses actions that the role does not allow, and keeps a list of the requested actions.
struct RolePolicy {
    allowed: Vec<String>,
    requested: Mutex<Vec<String>>,
}

/// The IAM action of a request.
fn action(head: Option<&str>, body: &str) -> String {
    let (service, operation) = match head.and_then(|target| target.split_once('.')) {
        Some((service, operation)) => (service, operation),
        None => {
            let field = |name: &str| body.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
            (field("Version").unwrap_or_default(), field("Action").unwrap_or_default())
        }
    };
    let service = match service {
        "AmazonSSM" => "ssm",
        "AmazonSQS" => "sqs",
        "2011-01-01" => "autoscaling",
        "2015-12-01" => "elasticloadbalancing",
        other => other,
    };
    format!("{service}:{operation}")
}

async fn enforce(State(role): State<Arc<RolePolicy>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, 1 << 20).await.unwrap_or_default();
    let target = parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok());
    let action = action(target, &String::from_utf8_lossy(&body));
    let allowed = role.allowed.contains(&action);
    role.requested.lock().expect("no holder of the lock panics").push(action);
    if !allowed {
        return (StatusCode::FORBIDDEN, "{\"__type\":\"AccessDeniedException\"}").into_response();
    }
    next.run(Request::from_parts(parts, Body::from(body))).await
}

/// The sandbox's AWS behind the example's role.
async fn guarded(sandbox: &Sandbox, example: &Example) -> (Arc<RolePolicy>, String) {
    let role = Arc::new(RolePolicy { allowed: example.allowed(), requested: Mutex::default() });
    let router = aws::router(&sandbox.shared).layer(from_fn_with_state(Arc::clone(&role), enforce));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move { axum::serve(listener, router).await });
    (role, url)
}

/// The example's environment with the addresses of the sandbox.
fn environment(example: &Example, sandbox: &Sandbox, aws: &str) -> Vec<(String, String)> {
    let mut all = example.environment();
    let own = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (name, value) in &mut all {
        match name.as_str() {
            "NOMAD_ADDR" => *value = sandbox.nomad.url(),
            "CONSUL_HTTP_ADDR" => *value = sandbox.consul.url(),
            _ => {}
        }
    }
    all.extend([
        own("AWS_ENDPOINT_URL", aws),
        own("AWS_ACCESS_KEY_ID", "sandbox"),
        own("AWS_SECRET_ACCESS_KEY", "sandbox"),
        // Lambda derives it from the function's logging configuration.
        own(
            "AWS_LAMBDA_LOG_LEVEL",
            example.one("module.decamp.aws_lambda_function.this[0]")["logging_config"][0]["application_log_level"]
                .as_str()
                .expect("a level"),
        ),
    ]);
    all
}

/// Stores the tokens where the environment refers to them.
fn store_tokens(sandbox: &Sandbox, environment: &[(String, String)]) {
    let arn = |name: &str| environment.iter().find(|(known, _)| known == name).map(|(_, arn)| arn.clone()).expect("it is set");
    let mut stores = sandbox.shared.stores();
    for (name, token) in [("NOMAD_TOKEN_SECRET", NOMAD_TOKEN), ("CONSUL_HTTP_TOKEN_SECRET", CONSUL_TOKEN)] {
        let arn = arn(name);
        let store = if arn.contains(":ssm:") { &mut stores.parameters } else { &mut stores.secrets };
        store.insert(arn, token.to_owned());
    }
}

/// The sandbox's options with the hook time-out and the deregistration delay of the example.
fn options(example: &Example) -> Options {
    let delay = example.one("aws_lb_target_group.named")["deregistration_delay"].as_str().and_then(|text| text.parse().ok());
    Options {
        delay: Duration::from_secs(delay.expect("seconds in a text")),
        lag: Duration::from_secs(1),
        heartbeat_timeout: seconds(&example.hook()["heartbeat_timeout"]),
        longest_request: Duration::from_millis(700),
        replacements: false,
        acls: true,
        ..Options::default()
    }
}

/// The example's queue: it delivers a message, and delivers it again while it is handed back.
struct ExampleQueue<'a> {
    example: &'a Example,
    sandbox: &'a Sandbox,
    receives: u64,
}

impl ExampleQueue<'_> {
    fn record(&mut self, body: &Value) -> String {
        self.receives += 1;
        let queue = self.example.one("module.decamp.aws_sqs_queue.this[0]");
        let most = read(&queue["redrive_policy"])["maxReceiveCount"].as_u64().expect("a count");
        assert!(self.receives <= most, "the message became a dead letter");
        json!({ "Records": [{
            "messageId": "m-1", "receiptHandle": format!("handle-{}", self.receives), "body": body.to_string(), "eventSource": "aws:sqs",
            "eventSourceARN": queue["arn"], "awsRegion": REGION, "attributes": {"ApproximateReceiveCount": self.receives.to_string()},
        }] })
        .to_string()
    }

    /// Waits until the next delivery: the visibility time-out that the function set, or else the queue's own.
    async fn wait_until_visible(&self) {
        let own = seconds(&self.example.one("module.decamp.aws_sqs_queue.this[0]")["visibility_timeout_seconds"]);
        let receipt = format!("handle-{}", self.receives);
        let set = self.sandbox.shared.stores().visibilities.iter().rev().find(|(of, _)| *of == receipt).map(|(_, span)| *span);
        tokio::time::sleep(set.map_or(own, Duration::from_secs)).await;
    }
}

/// The sandbox's first lifecycle event.
async fn event(sandbox: &Sandbox) -> Value {
    let mut changes = sandbox.shared.watch();
    loop {
        if let Some(event) = sandbox.shared.events().into_iter().next() {
            return event.event_bridge(REGION, ACCOUNT);
        }
        changes.changed().await.expect("the sandbox runs");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_applied_example_handles_a_departure_without_a_failed_request() {
    let Some(example) = Example::read() else {
        println!("skipped: no example was applied here; `just infra` does it where terraform and its provider are installed");
        return;
    };
    let sandbox = decamp_sandbox::serve(&options(&example)).await.expect("loopback has free ports");
    // The example and the sandbox have the same group, hook and target groups.
    assert_eq!(example.one("aws_autoscaling_group.this")["name"], ASG);
    assert_eq!(example.hook()["name"], HOOK);
    // The setting names the target groups, not the hook: a hook in the group itself could not be changed.
    let rendered = example.environment();
    let named = rendered.iter().find(|(name, _)| name == "DECAMP_TARGET_GROUPS").map(|(_, arns)| arns.split(','));
    let named: Vec<TargetGroupArn> =
        named.into_iter().flatten().map(|arn| arn.parse().expect("the ARN of a target group")).collect();
    assert_eq!(named, sandbox_groups(&options(&example)));

    let (role, aws) = guarded(&sandbox, &example).await;
    let environment = environment(&example, &sandbox, &aws);
    store_tokens(&sandbox, &environment);
    let settings: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut function = Function::start(Path::new(env!("CARGO_BIN_EXE_bootstrap")), &settings).await;
    let instance = sandbox.instances[0];
    let terminated = sandbox.shared.with(|models| {
        let (asg, elb) = models.aws();
        asg.terminate(instance, elb)
    });
    terminated.expect("it is in service");

    let event = event(&sandbox).await;
    assert!(example.rule_matches("lifecycle", &event), "the rule matches the event: {event}");
    let mut queue = ExampleQueue { example: &example, sandbox: &sandbox, receives: 0 };
    loop {
        match function.invoke(&queue.record(&event), example.function_timeout()).await {
            Answer::Response(text) if text == r#"{"batchItemFailures":[]}"# => break,
            Answer::Response(text) => assert!(text.contains("m-1"), "{text}"),
            other @ (Answer::Error(_) | Answer::Gone) => panic!("{other:?}"),
        }
        queue.wait_until_visible().await;
    }
    let sweep = example.one("module.decamp.aws_cloudwatch_event_target.sweep[0]")["input"].as_str().expect("an input").to_owned();
    let swept = function.invoke(&sweep, example.function_timeout()).await;
    assert_eq!(swept, Answer::Response(r#"{"batchItemFailures":[]}"#.to_owned()));

    let printed = function.end().await;
    let more = sandbox.shared.look(|models| models.more());
    let mut requested = role.requested.lock().expect("no holder of the lock panics").clone();
    requested.sort();
    requested.dedup();
    for line in
        printed.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).filter(|line| line["instance.id"].is_string())
    {
        println!("{}  {}", line["timestamp"].as_str().unwrap_or_default(), line["message"].as_str().unwrap_or_default());
    }
    println!("{} receives, requests {}, calls {requested:?}", queue.receives, more["requests"]);
    assert!(printed.contains("\"outcome\":\"departed\""), "{printed}");
    assert!(printed.contains("\"Sweeps\":1.0"), "the sweep read the group: {printed}");
    assert_eq!(more["requests"]["failed"], Value::from(0), "{}\n{printed}", more["requests"]);
    let refused: Vec<&String> = requested.iter().filter(|action| !role.allowed.contains(action)).collect();
    assert!(refused.is_empty(), "the role lacks {refused:?}");
    let listed = |action: &String| {
        decamp_aws::OPERATIONS.iter().any(|call| {
            format!("{}:{}", call.service, call.name) == *action && call.callers.contains(&decamp_aws::Caller::Lambda)
        })
    };
    assert!(requested.iter().all(listed), "OPERATIONS does not list one of these calls for the Lambda function: {requested:?}");
    for secret in [NOMAD_TOKEN, CONSUL_TOKEN] {
        assert!(!printed.contains(secret), "a secret was printed");
    }
}

/// All target groups of the sandbox, the attached ones first.
fn sandbox_groups(options: &Options) -> Vec<TargetGroupArn> {
    options.target_groups().concat()
}
