//! The simulated systems as a real HTTP client sees them, on loopback.

mod aws;
mod faults;

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, Response};
use serde_json::Value;

use super::aws::Account;
use super::*;
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_sim::auto_scaling;
use decamp_sim::auto_scaling::{HookSetup, LifecycleState};
use decamp_sim::bucket::Limit;
use decamp_sim::load_balancers::{GroupSetup, Kind};

/// A running sandbox with a group `asg`, a hook `ours`, an attached target group `web` and another one, `api`.
struct Sandbox {
    server: Server,
    shared: Arc<Shared>,
    client: Client,
}

fn arn(name: &str) -> TargetGroupArn {
    let text = format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/0123456789abcdef");
    text.parse().expect("it is a valid ARN")
}

fn me() -> InstanceId {
    InstanceId::from_number(1)
}

impl Sandbox {
    /// Starts a sandbox whose clock runs at this speed, so that no test waits for a delay.
    async fn start(speed: u32) -> Self {
        Self::with_limit(speed, Limit::None).await
    }

    async fn with_limit(speed: u32, limit: Limit) -> Self {
        let clock = Clock::starting(Time(1_767_225_600_000), speed);
        let now = clock.now();
        let mut elb = LoadBalancers::new(now, 1, limit, limit);
        for (name, kind) in [("web", Kind::Alb), ("api", Kind::Nlb)] {
            elb.add_group(GroupSetup { delay: Duration::from_secs(20), ..GroupSetup::new(arn(name), kind, 80) });
            let targets = [(1, 80), (1, 8080), (2, 80)];
            elb.put_targets(
                &arn(name),
                targets.map(|(number, port)| (TargetId::Instance(InstanceId::from_number(number)), port, None)),
            );
        }
        let mut asg = AutoScaling::new(now, 2, limit);
        asg.add_group(auto_scaling::GroupSetup {
            hooks: vec![HookSetup::terminating("ours".into(), Duration::from_secs(300)).naming(vec![arn("api")])],
            attached: vec![arn("web")],
            tags: vec![("decamp:hold".into(), "".into())],
            retains: true,
            ..auto_scaling::GroupSetup::new("asg".into())
        });
        for number in 1..=2 {
            asg.put_instance("asg", InstanceId::from_number(number), "eu-west-1a".into(), LifecycleState::InService);
        }
        let account = Account { id: "123456789012".to_owned(), region: "eu-west-1".to_owned() };
        let models = AwsOnly { auto_scaling: asg, load_balancers: elb };
        let shared = Shared::new(Box::new(models), clock, account);
        let router = super::aws::router(&shared).merge(sandbox::router(&shared));
        let server = serve(&shared, Side::Aws, router, ([127, 0, 0, 1], 0).into()).await.expect("loopback is there");
        // With decamp's adapters compiled in, reqwest has TLS without a provider, and needs one even for plain HTTP.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a plain client");
        Self { server, shared, client }
    }

    /// One call of the query protocol.
    async fn call(&self, service: &str, version: &str, action: &str, fields: &[(&str, &str)]) -> reqwest::Result<Response> {
        let mut form = form_urlencoded::Serializer::new(String::new());
        form.append_pair("Action", action).append_pair("Version", version).extend_pairs(fields);
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDSANDBOX/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let request = self.client.post(self.server.url()).header("authorization", scope);
        request.header("content-type", "application/x-www-form-urlencoded").body(form.finish()).send().await
    }

    async fn asg(&self, action: &str, fields: &[(&str, &str)]) -> (u16, String) {
        read(self.call("autoscaling", "2011-01-01", action, fields).await.expect("it is answered")).await
    }

    async fn elb(&self, action: &str, fields: &[(&str, &str)]) -> (u16, String) {
        read(self.call("elasticloadbalancing", "2015-12-01", action, fields).await.expect("it is answered")).await
    }

    /// One call of a JSON API.
    async fn json(&self, service: &str, target: &str, body: Value) -> (u16, Value) {
        let scope = format!(
            "AWS4-HMAC-SHA256 Credential=AKIDSANDBOX/20260101/eu-west-1/{service}/aws4_request, SignedHeaders=host, Signature=0"
        );
        let request = self.client.post(self.server.url()).header("authorization", scope).header("x-amz-target", target);
        let answer = request.body(body.to_string()).send().await.expect("it is answered");
        (answer.status().as_u16(), answer.json().await.expect("it is JSON"))
    }

    async fn state(&self) -> Value {
        let answer = self.client.get(format!("{}/sandbox/state", self.server.url())).send().await.expect("it is answered");
        answer.json().await.expect("it is JSON")
    }

    async fn terminate(&self, query: &str) -> Response {
        let url = format!("{}/sandbox/terminate?{query}", self.server.url());
        self.client.post(url).send().await.expect("it is answered")
    }
}

async fn read(answer: Response) -> (u16, String) {
    (answer.status().as_u16(), answer.text().await.expect("it is text"))
}

/// The text between the first pair of these tags.
fn between<'a>(text: &'a str, tag: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{tag}>"))?;
    rest.split_once(&format!("</{tag}>")).map(|(inside, _)| inside)
}
