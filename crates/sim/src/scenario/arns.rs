//! The ARNs of target groups, made once a thread and shared by all departures.

use std::cell::RefCell;

use decamp_core::ids::TargetGroupArn;

thread_local! {
    static ARNS: RefCell<Vec<TargetGroupArn>> = const { RefCell::new(Vec::new()) };
    static CLASSIC: RefCell<Option<TargetGroupArn>> = const { RefCell::new(None) };
}

/// The ARN of the target group with this number.
pub(super) fn arn(place: usize) -> TargetGroupArn {
    ARNS.with_borrow_mut(|arns| {
        while arns.len() <= place {
            let text = format!(
                "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/group-{}/0123456789abcde{}",
                arns.len(),
                arns.len() % 10
            );
            if let Ok(arn) = text.parse() {
                arns.push(arn);
            }
        }
        arns[place].clone()
    })
}

/// The ARN of the Classic Load Balancer.
pub(super) fn classic() -> TargetGroupArn {
    CLASSIC.with_borrow_mut(|kept| {
        let made = || "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/classic".parse().ok();
        *kept = kept.take().or_else(made);
        kept.clone().unwrap_or_else(|| arn(0))
    })
}
