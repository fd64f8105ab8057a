//! Faults between a client and a healthy server, as data: which requests they affect, how often, and how.

use serde::{Deserialize, Serialize};

use decamp_sim::rng::Rng;

/// Which system a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    /// Every AWS API.
    Aws,
    /// Nomad's API.
    Nomad,
    /// Consul's API.
    Consul,
}

/// A fault of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireFault {
    /// The connection is reset without an answer, before the request is carried out.
    ResetBefore,
    /// The connection is reset without an answer, after the request is carried out.
    ResetAfter,
    /// The connection is reset in the middle of the answer.
    ResetMidway,
    /// The connection ends in the middle of the answer.
    Truncated,
    /// A proxy answers 502 with an HTML page. The request is not carried out.
    HtmlGateway,
    /// 200 with an HTML page. The request is not carried out.
    HtmlOk,
    /// 500. The request is not carried out.
    Error500,
    /// 500, although the request is carried out.
    AppliedError500,
    /// The answer arrives in parts over this many milliseconds.
    SlowBody(
        /// Milliseconds.
        u64,
    ),
    /// The request is carried out at once, and the answer is sent this many milliseconds later.
    Late(
        /// Milliseconds.
        u64,
    ),
    /// The correct answer with the type `text/plain`.
    WrongContentType,
    /// 302 to an address on which nothing listens.
    Redirect,
    /// The system's answer to too many requests. The request is not carried out.
    Throttled,
    /// The system's answer to a denied call. The request is not carried out.
    Denied,
    /// The system's answer to expired credentials. The request is not carried out.
    Expired,
}

/// Which requests a fault affects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Only requests for this system. `None` means any.
    #[serde(default)]
    pub side: Option<Side>,
    /// Only operations whose name contains this text. The name is an AWS action, or a method and path (`GET /v1/nodes`). Empty means any.
    #[serde(default)]
    pub operation: String,
    /// How many such requests pass first.
    #[serde(default)]
    pub skip: u32,
    /// How many requests the rule considers after that.
    #[serde(default = "always")]
    pub times: u32,
    /// One in this many of those is affected.
    #[serde(default = "every")]
    pub one_in: u64,
    /// The fault.
    pub fault: WireFault,
}

fn always() -> u32 {
    u32::MAX
}

fn every() -> u64 {
    1
}

impl Rule {
    /// A rule that affects the next `times` requests for this operation.
    #[must_use]
    pub fn next(times: u32, operation: &str, fault: WireFault) -> Self {
        Self { side: None, operation: operation.to_owned(), skip: 0, times, one_in: 1, fault }
    }
}

/// The rules of one world. The first rule that affects a request decides.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    rules: Vec<Rule>,
    rng: Rng,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

impl FaultPlan {
    /// A plan with these rules. The seed is for rules that affect one request in many.
    #[must_use]
    pub fn new(rules: Vec<Rule>, seed: u64) -> Self {
        Self { rules, rng: Rng::new(seed) }
    }

    /// The fault of the next request, if any.
    pub fn next_fault(&mut self, side: Side, operation: &str) -> Option<WireFault> {
        for rule in &mut self.rules {
            let applies = rule.side.is_none_or(|only| only == side) && operation.contains(&rule.operation);
            if !applies || rule.times == 0 {
                continue;
            }
            if rule.skip != 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.times != u32::MAX {
                rule.times -= 1;
            }
            if self.rng.one_in(rule.one_in.max(1)) {
                return Some(rule.fault);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_affects_its_operation_as_often_as_it_says() {
        let late = Rule { skip: 1, ..Rule::next(2, "DescribeTarget", WireFault::Truncated) };
        let nomad = Rule { side: Some(Side::Nomad), ..Rule::next(9, "", WireFault::Redirect) };
        let mut plan = FaultPlan::new(vec![late, nomad], 1);
        let met: Vec<bool> = (0..4).map(|_| plan.next_fault(Side::Aws, "DescribeTargetHealth").is_some()).collect();
        assert_eq!(met, [false, true, true, false]);
        assert_eq!(plan.next_fault(Side::Aws, "CompleteLifecycleAction"), None);
        assert_eq!(plan.next_fault(Side::Nomad, "GET /v1/nodes"), Some(WireFault::Redirect));
    }

    #[test]
    fn rules_are_read_from_json() {
        let text = r#"[{"operation":"Complete","fault":"applied-error500"},{"side":"consul","fault":{"late":20},"one_in":3}]"#;
        let rules: Vec<Rule> = serde_json::from_str(text).expect("it fits");
        assert_eq!(rules[0].fault, WireFault::AppliedError500);
        assert_eq!((rules[1].fault, rules[1].side, rules[1].times), (WireFault::Late(20), Some(Side::Consul), u32::MAX));
    }
}
