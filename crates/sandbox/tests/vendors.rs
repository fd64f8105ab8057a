//! The vendors' own clients against the simulated systems on loopback. If a client is not installed, its test prints "skipped".
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};
use decamp_sandbox::wire::aws::Account;
use decamp_sandbox::wire::{AwsOnly, Clock, Server, Shared, Side, aws, sandbox, serve};
use decamp_sandbox::{Options, serve as serve_sandbox};
use decamp_sim::auto_scaling;
use decamp_sim::auto_scaling::{AutoScaling, HookSetup, LifecycleState};
use decamp_sim::bucket::Limit;
use decamp_sim::load_balancers::{GroupSetup, Kind, LoadBalancers, TargetType};

/// The exit code of a vendor's script whose client is missing.
const SKIPPED: i32 = 77;

fn arn(name: &str) -> TargetGroupArn {
    let text = format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/{name}/0123456789abcdef");
    text.parse().expect("it is a valid ARN")
}

fn classic(name: &str) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/{name}").parse().expect("it is a valid ARN")
}

/// Three instances, one target group of each kind and state, one of them attached.
async fn sandbox() -> (Arc<Shared>, Server) {
    let clock = Clock::real();
    let now = clock.now();
    let mut elb = LoadBalancers::new(now, 1, Limit::None, Limit::None);
    let instances = [1, 2, 3].map(|number| InstanceId::from_number(0x00ab_c000 + number));
    let delay = Duration::from_secs(1);
    let setups = [
        GroupSetup { delay, ..GroupSetup::new(arn("attached"), Kind::Alb, 80) },
        GroupSetup { delay: Duration::from_secs(300), ..GroupSetup::new(arn("two-ports"), Kind::Nlb, 80) },
        GroupSetup { in_use: false, ..GroupSetup::new(arn("not-in-use"), Kind::Alb, 80) },
        GroupSetup { target_type: TargetType::Ip, ..GroupSetup::new(arn("addresses"), Kind::Nlb, 443) },
        GroupSetup { delay: Duration::from_secs(40), ..GroupSetup::new(classic("old-web"), Kind::Classic, 80) },
    ];
    for setup in setups {
        let name = setup.arn.clone();
        let targets: Vec<(TargetId, u16, Option<Arc<str>>)> = match setup.target_type {
            TargetType::Ip => vec![(TargetId::read("10.0.0.9"), 4433, Some("all".into()))],
            TargetType::Instance => {
                instances.iter().flat_map(|&id| [80, 8080].map(|port| (TargetId::Instance(id), port, None))).collect()
            }
        };
        elb.add_group(setup);
        elb.put_targets(&name, targets);
    }
    let mut asg = AutoScaling::new(now, 2, Limit::None);
    asg.add_group(auto_scaling::GroupSetup {
        hooks: vec![HookSetup::terminating("decamp".into(), Duration::from_secs(300)).naming(vec![arn("two-ports")])],
        attached: vec![arn("attached")],
        lattice: vec![arn("0123456789abcdef0")],
        tags: vec![("team".into(), "a & b".into())],
        retains: true,
        ..auto_scaling::GroupSetup::new("web".into())
    });
    for id in instances {
        asg.put_instance("web", id, "eu-west-1a".into(), LifecycleState::InService);
    }
    let account = Account { id: "123456789012".to_owned(), region: "eu-west-1".to_owned() };
    let shared = Shared::new(Box::new(AwsOnly { auto_scaling: asg, load_balancers: elb }), clock, account);
    shared.stores().parameters.insert("/decamp/nomad-token".to_owned(), "parameter-value".to_owned());
    shared.stores().secrets.insert("decamp/consul-token".to_owned(), "secret-value".to_owned());
    let router = aws::router(&shared).merge(sandbox::router(&shared));
    let server = serve(&shared, Side::Aws, router, ([127, 0, 0, 1], 0).into()).await.expect("loopback is there");
    (shared, server)
}

/// Runs the script against this address. Says whether boto3 is installed.
async fn boto3_agrees_with(url: String) -> bool {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vendors/boto3_reads_and_writes.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(url);
    let ran = tokio::task::spawn_blocking(move || python.output()).await.expect("it does not panic");
    let output = match ran {
        Ok(output) => output,
        Err(error) => {
            println!("skipped: no python3 ({error})");
            return false;
        }
    };
    let printed = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{printed}");
    let skipped = output.status.code() == Some(SKIPPED);
    assert!(skipped || output.status.success(), "{printed}");
    !skipped
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_reads_the_models_and_its_writes_change_them() {
    let (shared, server) = sandbox().await;
    if boto3_agrees_with(server.url()).await {
        assert_eq!(shared.stores().visibilities, [("receipt".to_owned(), 5)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn boto3_reads_and_writes_the_default_sandbox() {
    let options = Options { replacements: false, delay: Duration::from_secs(1), ..Options::default() };
    let sandbox = serve_sandbox(&options).await.expect("loopback is there");
    sandbox.shared.stores().parameters.insert("/decamp/nomad-token".to_owned(), "parameter-value".to_owned());
    sandbox.shared.stores().secrets.insert("decamp/consul-token".to_owned(), "secret-value".to_owned());
    boto3_agrees_with(sandbox.aws.url()).await;
}
