//! What load balancers counted, from CloudWatch: one call with JSON, which does not justify an SDK crate.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};

use super::signed::{CALL, Operation, Signed, read};
use decamp_core::decide::{Minute, Refusal};
use decamp_core::ids::TargetGroupArn;
use decamp_core::time::Time;

const GET_METRIC_DATA: Operation = Operation {
    name: "GetMetricData",
    service: "monitoring",
    target: "GraniteServiceVersion20100801",
    kind: "application/x-amz-json-1.0",
};

/// The namespace of Application Load Balancers.
const NAMESPACE: &str = "AWS/ApplicationELB";
/// The metrics are by the minute.
const PERIOD: u64 = 60;
/// The most answers of one question. A page has 100,800 values, which is more than two months.
const MOST_PAGES: usize = 4;

/// A target group and the load balancer that it belongs to.
#[derive(Debug, Clone)]
pub struct CountsOf {
    /// The group.
    pub group: TargetGroupArn,
    /// The ARN of its load balancer.
    pub balancer: Arc<str>,
}

/// What is counted in a minute.
#[derive(Debug, Clone, Copy)]
enum Metric {
    Requests,
    ByBalancer,
    ByTargets,
}

const METRICS: [Metric; 3] = [Metric::Requests, Metric::ByBalancer, Metric::ByTargets];

impl Metric {
    fn name(self) -> &'static str {
        match self {
            Self::Requests => "RequestCount",
            Self::ByBalancer => "HTTPCode_ELB_5XX_Count",
            Self::ByTargets => "HTTPCode_Target_5XX_Count",
        }
    }

    /// The id of its query. CloudWatch wants one that begins with a small letter.
    fn id(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::ByBalancer => "balancer",
            Self::ByTargets => "targets",
        }
    }

    /// Its dimensions. AWS publishes what a load balancer answers itself for the load balancer alone.
    fn dimensions(self, of: &CountsOf) -> Value {
        let balancer = of.balancer.split_once(":loadbalancer/").map_or(&*of.balancer, |(_, name)| name);
        let group = of.group.as_str().rsplit(':').next().unwrap_or_default();
        let balancer = json!({ "Name": "LoadBalancer", "Value": balancer });
        match self {
            Self::ByBalancer => json!([balancer]),
            Self::Requests | Self::ByTargets => json!([balancer, { "Name": "TargetGroup", "Value": group }]),
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    #[serde(default)]
    metric_data_results: Vec<Series>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Series {
    id: String,
    #[serde(default)]
    timestamps: Vec<f64>,
    #[serde(default)]
    values: Vec<f64>,
    status_code: Option<String>,
}

impl Signed {
    /// What the load balancer of a target group counted in each minute from `from` to `to`. Minutes in which it counted nothing are left
    /// out, and so are those that CloudWatch has not published yet.
    ///
    /// # Errors
    ///
    /// CloudWatch refused the call, did not answer, or did not answer all of it.
    pub async fn minutes(&self, of: &CountsOf, from: Time, to: Time) -> Result<Vec<Minute>, Refusal> {
        let mut minutes: BTreeMap<Time, Minute> = BTreeMap::new();
        let mut next: Option<String> = None;
        for _ in 0..MOST_PAGES {
            let body = question(of, from, to, next.as_deref()).to_string();
            let answer = self.call(&GET_METRIC_DATA, Some(of.group.region()), body, "", CALL).await?;
            next = take(&mut minutes, &answer)?;
            if next.is_none() {
                return Ok(minutes.into_values().collect());
            }
        }
        Err(Refusal::Away("CloudWatch did not answer all of it".into()))
    }
}

fn question(of: &CountsOf, from: Time, to: Time, next: Option<&str>) -> Value {
    let queries = METRICS.map(|metric| {
        let what = json!({ "Namespace": NAMESPACE, "MetricName": metric.name(), "Dimensions": metric.dimensions(of) });
        json!({ "Id": metric.id(), "MetricStat": { "Metric": what, "Period": PERIOD, "Stat": "Sum" }, "ReturnData": true })
    });
    let mut question = json!({
        "StartTime": from.0 / 1000, "EndTime": to.0 / 1000, "ScanBy": "TimestampAscending", "MetricDataQueries": queries,
    });
    if let Some(next) = next {
        question["NextToken"] = next.into();
    }
    question
}

/// Adds the values of an answer, and returns the token of the next one.
fn take(minutes: &mut BTreeMap<Time, Minute>, answer: &[u8]) -> Result<Option<String>, Refusal> {
    let answer: Answer = read(answer)?;
    let unexpected = || Refusal::Away("the answer has an unexpected form".into());
    for series in answer.metric_data_results {
        let metric = METRICS.into_iter().find(|metric| metric.id() == series.id).ok_or_else(unexpected)?;
        let complete = matches!(series.status_code.as_deref(), Some("Complete" | "PartialData"));
        if !complete || series.timestamps.len() != series.values.len() {
            return Err(Refusal::Away(format!("CloudWatch could not read {}", metric.name()).into()));
        }
        for (at, value) in series.timestamps.into_iter().zip(series.values) {
            let at = Time(whole(at).ok_or_else(unexpected)?.saturating_mul(1000));
            let count = whole(value).ok_or_else(unexpected)?;
            let minute = minutes.entry(at).or_insert(Minute { at, ..Minute::default() });
            match metric {
                Metric::Requests => minute.requests = count,
                Metric::ByBalancer => minute.by_balancer = count,
                Metric::ByTargets => minute.by_targets = count,
            }
        }
    }
    Ok(answer.next_token.filter(|token| !token.is_empty()))
}

/// A count or a time as CloudWatch writes it, as a number with a fraction.
fn whole(value: f64) -> Option<u64> {
    // Larger numbers are no counts of requests, and no times either.
    let largest = 1e15;
    if !(0.0..largest).contains(&value) {
        return None;
    }
    Duration::try_from_secs_f64(value).ok().map(|span| span.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of() -> CountsOf {
        CountsOf {
            group: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef".parse().unwrap(),
            balancer: "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/front/fedcba9876543210".into(),
        }
    }

    fn taken(answer: &str) -> Result<Vec<Minute>, Refusal> {
        let mut minutes = BTreeMap::new();
        take(&mut minutes, answer.as_bytes()).map(|_| minutes.into_values().collect())
    }

    #[test]
    fn a_question_names_the_load_balancer_and_the_group_as_cloudwatch_does() {
        let asked = question(&of(), Time(60_000), Time(180_000), None);
        assert_eq!((&asked["StartTime"], &asked["EndTime"]), (&json!(60), &json!(180)));
        let queries = asked["MetricDataQueries"].as_array().unwrap();
        let dimensions = |place: usize| queries[place]["MetricStat"]["Metric"]["Dimensions"].clone();
        let balancer = json!({ "Name": "LoadBalancer", "Value": "app/front/fedcba9876543210" });
        let group = json!({ "Name": "TargetGroup", "Value": "targetgroup/web/0123456789abcdef" });
        assert_eq!(dimensions(0), json!([balancer, group]), "RequestCount");
        assert_eq!(dimensions(1), json!([balancer]), "what the load balancer itself answers");
        assert_eq!(dimensions(2), json!([balancer, group]));
        assert!(asked.get("NextToken").is_none());
        assert_eq!(question(&of(), Time(0), Time(60_000), Some("more"))["NextToken"], "more");
    }

    #[test]
    fn the_values_of_a_minute_are_put_together() {
        let answer = r#"{"MetricDataResults":[
            {"Id":"requests","Label":"a","Timestamps":[60.0,120.0],"Values":[50.0,40.0],"StatusCode":"Complete"},
            {"Id":"balancer","Timestamps":[],"Values":[],"StatusCode":"Complete"},
            {"Id":"targets","Timestamps":[120],"Values":[3],"StatusCode":"Complete"}],"Messages":[]}"#;
        let first = Minute { at: Time(60_000), requests: 50, by_balancer: 0, by_targets: 0 };
        assert_eq!(taken(answer), Ok(vec![first, Minute { at: Time(120_000), requests: 40, by_balancer: 0, by_targets: 3 }]));
    }

    #[test]
    fn an_answer_that_is_not_whole_counts_nothing() {
        for answer in [
            r#"{"MetricDataResults":[{"Id":"requests","Timestamps":[60],"Values":[],"StatusCode":"Complete"}]}"#,
            r#"{"MetricDataResults":[{"Id":"requests","Timestamps":[],"Values":[],"StatusCode":"InternalError"}]}"#,
            r#"{"MetricDataResults":[{"Id":"requests","Timestamps":[],"Values":[]}]}"#,
            r#"{"MetricDataResults":[{"Id":"other","Timestamps":[],"Values":[],"StatusCode":"Complete"}]}"#,
            r#"{"MetricDataResults":[{"Id":"targets","Timestamps":[60],"Values":[-1],"StatusCode":"Complete"}]}"#,
            r#"{"MetricDataResults":[{"Id":"targets","Timestamps":[1e30],"Values":[1],"StatusCode":"Complete"}]}"#,
            "[]",
            "<html>",
        ] {
            assert!(taken(answer).is_err(), "{answer}");
        }
    }
}
