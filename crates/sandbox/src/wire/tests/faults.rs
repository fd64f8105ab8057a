//! What a client sees when a fault is injected, and whether its request was carried out.

use std::time::Instant;

use super::*;

const DEREGISTER: &str = "DeregisterTargets";

impl Sandbox {
    /// Makes one deregistration under this fault. Returns the client's result, and whether the target is draining now.
    async fn deregister_under(&self, fault: WireFault) -> (reqwest::Result<(u16, String)>, bool) {
        self.shared.set_faults(FaultPlan::new(vec![Rule::next(1, DEREGISTER, fault)], 0));
        let (web, id) = (arn("web"), me().to_string());
        let fields = [("TargetGroupArn", web.as_str()), ("Targets.member.1.Id", &id)];
        let got = match self.call("elasticloadbalancing", "2015-12-01", DEREGISTER, &fields).await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                answer.text().await.map(|body| (status, body))
            }
            Err(error) => Err(error),
        };
        let applied = self.state().await["target_groups"][0]["targets"][0]["state"] == "draining";
        (got, applied)
    }
}

/// All causes of an error, down to the socket's.
fn causes(error: &reqwest::Error) -> String {
    let mut text = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        text.push_str(&format!("{error}: "));
        cause = error.source();
    }
    text
}

#[tokio::test]
async fn a_fault_changes_the_answer_and_the_request_is_carried_out_or_not() {
    use WireFault::*;
    let cases = [
        (ResetBefore, None, false),
        (ResetAfter, None, true),
        (ResetMidway, None, true),
        (Truncated, None, true),
        (HtmlGateway, Some((502, "<html>")), false),
        (HtmlOk, Some((200, "<html>")), false),
        (Error500, Some((500, "InternalFailure")), false),
        (AppliedError500, Some((500, "InternalFailure")), true),
        (SlowBody(50), Some((200, "DeregisterTargetsResponse")), true),
        (Late(50), Some((200, "DeregisterTargetsResponse")), true),
        (WrongContentType, Some((200, "DeregisterTargetsResponse")), true),
        (Redirect, Some((302, "")), false),
        (Throttled, Some((400, "ThrottlingException")), false),
        (Denied, Some((403, "AccessDenied")), false),
        (Expired, Some((403, "ExpiredToken")), false),
    ];
    for (fault, expected, should_apply) in cases {
        let sandbox = Sandbox::start(1).await;
        let (got, applied) = sandbox.deregister_under(fault).await;
        assert_eq!(applied, should_apply, "{fault:?}");
        match (expected, &got) {
            (None, Err(_)) => {}
            (Some((status, text)), Ok((given, body))) => {
                assert!(*given == status && body.contains(text), "{fault:?}: {given} {body}")
            }
            _ => panic!("{fault:?}: {got:?}"),
        }
    }
}

#[tokio::test]
async fn a_reset_is_a_reset_and_a_truncated_answer_is_an_end() {
    let sandbox = Sandbox::start(1).await;
    let (reset, _) = sandbox.deregister_under(WireFault::ResetBefore).await;
    let reset = causes(&reset.expect_err("no answer came"));
    assert!(reset.contains("reset"), "{reset}");
    let (cut, _) = sandbox.deregister_under(WireFault::Truncated).await;
    let cut = causes(&cut.expect_err("the answer was cut"));
    assert!(!cut.contains("reset") && cut.contains("body"), "{cut}");
}

#[tokio::test]
async fn a_slow_body_takes_as_long_as_the_fault_says() {
    let sandbox = Sandbox::start(1).await;
    let began = Instant::now();
    let (got, _) = sandbox.deregister_under(WireFault::SlowBody(200)).await;
    assert!(got.is_ok() && Duration::from_millis(200) <= began.elapsed());
}

#[tokio::test]
async fn faults_are_set_over_http_and_never_affect_the_sandbox_api() {
    let sandbox = Sandbox::start(1).await;
    let rules = serde_json::json!([{ "fault": "reset-before" }]);
    let put = sandbox.client.put(format!("{}/sandbox/faults", sandbox.server.url())).json(&rules).send().await;
    assert_eq!(put.map(|answer| answer.status().as_u16()).ok(), Some(204));
    assert!(sandbox.call("autoscaling", "2011-01-01", "DescribeAutoScalingInstances", &[]).await.is_err());
    assert_eq!(sandbox.state().await["account"], "123456789012");
}

#[tokio::test]
async fn answers_have_the_date_of_the_simulated_world() {
    let sandbox = Sandbox::start(1).await;
    let answer = sandbox.call("autoscaling", "2011-01-01", "DescribeAutoScalingInstances", &[]).await.expect("it is answered");
    let date = answer.headers().get("date").and_then(|value| value.to_str().ok()).map(str::to_owned);
    assert!(date.as_ref().is_some_and(|date| date.starts_with("Thu, 01 Jan 2026 00:00:")), "{date:?}");
}
