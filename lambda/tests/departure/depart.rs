//! Takes an instance out of the sandbox with a real binary, pass by pass, as the queue would. The tests and `coldstart` use it.

use std::time::{Duration, Instant};

use decamp_sandbox::{ACCOUNT, Options, REGION, Sandbox};

use serde_json::json;
use tokio::process::Command;

use super::runtime::{Answer, Function};

/// The function's time-out. The function works until 5 s before it.
const TIME: Duration = Duration::from_secs(12);

/// A small cluster whose departures take a few passes.
pub(crate) fn options() -> Options {
    Options {
        delay: Duration::from_secs(4),
        lag: Duration::from_secs(1),
        longest_request: Duration::from_millis(700),
        replacements: false,
        acls: true,
        ..Options::default()
    }
}

/// Starts the binary with the settings of a sandbox. `more` overrides them; an empty value removes a setting.
pub(crate) async fn start(sandbox: &Sandbox, command: Command, more: &[(&'static str, String)]) -> Function {
    let mut settings = sandbox.variables();
    settings.extend([
        ("DECAMP_GUARD_ALB", "2s".to_owned()),
        // Longer than the delay, so a loss is foreseen, although no client here takes so long.
        ("DECAMP_LONGEST_REQUEST", "6s".to_owned()),
        ("DECAMP_ACCOUNTS", ACCOUNT.to_owned()),
        ("DECAMP_REGIONS", REGION.to_owned()),
    ]);
    settings.retain(|(name, _)| more.iter().all(|(other, _)| name != other));
    settings.extend(more.iter().filter(|(_, value)| !value.is_empty()).cloned());
    let settings: Vec<(&str, &str)> = settings.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Function::start_by(command, &settings).await
}

/// The message of the first lifecycle action, as the queue delivers it.
async fn message(sandbox: &Sandbox) -> String {
    let mut changes = sandbox.shared.watch();
    let event = loop {
        if let Some(event) = sandbox.shared.events().into_iter().next() {
            break event;
        }
        changes.changed().await.expect("the sandbox runs");
    };
    delivered(&event.event_bridge(REGION, ACCOUNT).to_string())
}

/// A body as the queue delivers it.
pub(crate) fn delivered(body: &str) -> String {
    json!({ "Records": [{
        "messageId": "m-1", "receiptHandle": "canary-handle", "body": body, "eventSource": "aws:sqs",
        "eventSourceARN": format!("arn:aws:sqs:{REGION}:{ACCOUNT}:decamp"), "awsRegion": REGION,
    }] })
    .to_string()
}

/// A departure that is over.
pub(crate) struct Departed {
    /// The sandbox, which counted the clients' requests.
    pub(crate) sandbox: Sandbox,
    /// How many passes it took.
    pub(crate) passes: u32,
    /// From the event to the last answer.
    pub(crate) took: Duration,
    /// The function's peak resident size, in KiB.
    pub(crate) resident: Option<u64>,
    /// All that the function printed.
    pub(crate) printed: String,
}

/// Terminates an instance of a new sandbox and delivers its event until the instance no longer runs.
pub(crate) async fn depart(command: Command) -> Departed {
    let sandbox = decamp_sandbox::serve(&options()).await.expect("loopback has free ports");
    depart_from(sandbox, command, &[]).await
}

/// The same in an existing sandbox, with other settings.
pub(crate) async fn depart_from(sandbox: Sandbox, command: Command, more: &[(&'static str, String)]) -> Departed {
    let function = start(&sandbox, command, more).await;
    depart_with(sandbox, function, TIME, async |_, function| function).await
}

/// The same with a function that is already running and has this time-out. After each pass `between` returns the function for the next
/// pass.
pub(crate) async fn depart_with(
    sandbox: Sandbox,
    mut function: Function,
    time: Duration,
    mut between: impl AsyncFnMut(&Sandbox, Function) -> Function,
) -> Departed {
    let instance = sandbox.instances[0];
    sandbox
        .shared
        .with(|models| {
            let (asg, elb) = models.aws();
            asg.terminate(instance, elb)
        })
        .expect("it is in service");
    let message = message(&sandbox).await;
    let began = Instant::now();
    let mut passes = 0;
    loop {
        passes += 1;
        assert!(passes <= 12, "the departure does not end");
        match function.invoke(&message, time).await {
            Answer::Response(text) if text == r#"{"batchItemFailures":[]}"# => break,
            Answer::Response(text) => assert!(text.contains("m-1"), "{text}"),
            other @ (Answer::Error(_) | Answer::Gone) => panic!("{other:?}"),
        }
        // The queue delivers it again when its visibility, which the function set, is over.
        let visibility = sandbox.shared.stores().visibilities.last().cloned().expect("the message was hidden");
        assert_eq!(visibility.0, "canary-handle");
        tokio::time::sleep(Duration::from_secs(visibility.1)).await;
        function = between(&sandbox, function).await;
    }
    let took = began.elapsed();
    let terminated = async {
        while sandbox.shared.look(|models| models.aws().0.instance(instance).is_some_and(|instance| instance.runs)) {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(60), terminated).await.is_ok(), "the instance was not released");
    let resident = function.peak_resident();
    let printed = function.end().await;
    Departed { sandbox, passes, took, resident, printed }
}
