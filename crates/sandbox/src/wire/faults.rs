//! What can go wrong between a client and a healthy server, as data: which request it meets, how often, and what happens to it.

use serde::{Deserialize, Serialize};

use decamp_sim::luck::Luck;

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

/// What happens to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WireFault {
    /// The connection is reset without an answer, before the request was carried out.
    ResetBefore,
    /// The connection is reset without an answer, after the request was carried out.
    ResetAfter,
    /// The connection is reset in the middle of the answer.
    ResetMidway,
    /// The connection ends in the middle of the answer.
    Truncated,
    /// A proxy answers 502 with a page of HTML; the request was not carried out.
    HtmlGateway,
    /// 200 with a page of HTML; the request was not carried out.
    HtmlOk,
    /// 500, and the request was not carried out.
    Error500,
    /// 500, and the request was carried out.
    AppliedError500,
    /// The answer trickles in, over so many milliseconds.
    SlowBody(
        /// How many.
        u64,
    ),
    /// The answer comes late, by so many milliseconds; the request was carried out at once.
    Late(
        /// How many.
        u64,
    ),
    /// The right answer with the type `text/plain`.
    WrongContentType,
    /// 302 to a place where nothing is.
    Redirect,
    /// Too many requests, as the system says it; the request was not carried out.
    Throttled,
    /// We may not, as the system says it; the request was not carried out.
    Denied,
    /// The credentials are out of date, as the system says it; the request was not carried out.
    Expired,
}

/// Which requests meet a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// Of which system; `None` means any.
    #[serde(default)]
    pub side: Option<Side>,
    /// What the operation's name contains: an AWS action, or a method and path (`GET /v1/nodes`). Empty means any.
    #[serde(default)]
    pub operation: String,
    /// How many such requests pass unharmed first.
    #[serde(default)]
    pub skip: u32,
    /// How many are met after that.
    #[serde(default = "always")]
    pub times: u32,
    /// Of those, one in so many is met.
    #[serde(default = "every")]
    pub one_in: u64,
    /// What happens.
    pub fault: WireFault,
}

fn always() -> u32 {
    u32::MAX
}

fn every() -> u64 {
    1
}

impl Rule {
    /// The next `times` requests for this operation meet this fault.
    #[must_use]
    pub fn next(times: u32, operation: &str, fault: WireFault) -> Self {
        Self { side: None, operation: operation.to_owned(), skip: 0, times, one_in: 1, fault }
    }
}

/// The rules of one wire. The first that meets a request decides.
#[derive(Debug, Clone)]
pub struct FaultPlan {
    rules: Vec<Rule>,
    luck: Luck,
}

impl Default for FaultPlan {
    fn default() -> Self {
        Self::new(Vec::new(), 0)
    }
}

impl FaultPlan {
    /// These rules; the seed decides for those that meet one request in many.
    #[must_use]
    pub fn new(rules: Vec<Rule>, seed: u64) -> Self {
        Self { rules, luck: Luck::new(seed) }
    }

    /// What happens to the request that comes now.
    pub fn meet(&mut self, side: Side, operation: &str) -> Option<WireFault> {
        for rule in &mut self.rules {
            let concerns = rule.side.is_none_or(|only| only == side) && operation.contains(&rule.operation);
            if !concerns || rule.times == 0 {
                continue;
            }
            if rule.skip != 0 {
                rule.skip -= 1;
                continue;
            }
            if rule.times != u32::MAX {
                rule.times -= 1;
            }
            if self.luck.one_in(rule.one_in.max(1)) {
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
    fn a_rule_meets_its_own_operation_as_often_as_it_says() {
        let late = Rule { skip: 1, ..Rule::next(2, "DescribeTarget", WireFault::Truncated) };
        let nomad = Rule { side: Some(Side::Nomad), ..Rule::next(9, "", WireFault::Redirect) };
        let mut plan = FaultPlan::new(vec![late, nomad], 1);
        let met: Vec<bool> = (0..4).map(|_| plan.meet(Side::Aws, "DescribeTargetHealth").is_some()).collect();
        assert_eq!(met, [false, true, true, false]);
        assert_eq!(plan.meet(Side::Aws, "CompleteLifecycleAction"), None);
        assert_eq!(plan.meet(Side::Nomad, "GET /v1/nodes"), Some(WireFault::Redirect));
    }

    #[test]
    fn rules_are_read_from_json() {
        let text = r#"[{"operation":"Complete","fault":"applied-error500"},{"side":"consul","fault":{"late":20},"one_in":3}]"#;
        let rules: Vec<Rule> = serde_json::from_str(text).expect("it fits");
        assert_eq!(rules[0].fault, WireFault::AppliedError500);
        assert_eq!((rules[1].fault, rules[1].side, rules[1].times), (WireFault::Late(20), Some(Side::Consul), u32::MAX));
    }
}
