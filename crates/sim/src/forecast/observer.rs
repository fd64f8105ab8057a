//! Observes the loop during a forecast: collects its writes and waits.

use std::sync::Arc;

use decamp_core::decide::{Action, Decision, Departure, Effect, Reason, Refusal, Snapshot, System, Unseen};
use decamp_core::describe::{because, blindness};
use decamp_core::ids::TargetGroupArn;
use decamp_core::run::Observer;
use decamp_core::time::Time;

use super::{DeparturePart, Forecast, ForecastEnd, ForecastWait, ForecastWrites, PartSpan};

/// The writes and waits up to the point where the departure depends on a system that cannot be seen.
#[derive(Debug)]
pub(super) struct ForecastObserver {
    begins: Time,
    steps: Vec<ForecastWrites>,
    waits: Vec<ForecastWait>,
    /// When each target group stops sending, by the last wait for it.
    released: Vec<(TargetGroupArn, Time)>,
    pub(super) unknown: Option<(Time, System, Unseen)>,
}

impl ForecastObserver {
    pub(super) fn new(begins: Time) -> Self {
        Self { begins, steps: Vec::new(), waits: Vec::new(), released: Vec::new(), unknown: None }
    }

    pub(super) fn forecast(self, mut spans: Vec<PartSpan>, hook: Option<Arc<str>>, end: ForecastEnd) -> Forecast {
        let until = match &end {
            ForecastEnd::Ended(_, at) | ForecastEnd::Unknown(at, ..) | ForecastEnd::Waits(at) => *at,
        };
        for span in &mut spans {
            // The load balancer's own routing lags behind its list by the guard.
            if let DeparturePart::Balancer(arn) = &span.part {
                let released = self.released.iter().find(|(group, _)| group == arn).map(|(_, at)| *at);
                span.to = span.to.max(released);
            }
        }
        // The simulated systems after that time are a guess.
        spans.retain(|span| span.from <= until);
        for span in &mut spans {
            span.to = span.to.filter(|to| *to <= until);
        }
        if let Some(hook) = hook {
            let to = matches!(end, ForecastEnd::Ended(..)).then_some(until);
            spans.insert(0, PartSpan { part: DeparturePart::Hook(hook), from: self.begins, to });
        }
        Forecast { begins: self.begins, steps: self.steps, waits: self.waits, spans, end }
    }
}

impl Observer for ForecastObserver {
    fn decided(&mut self, _: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        if self.unknown.is_some() {
            return;
        }
        let reason = decision.reason.word();
        match &decision.action {
            Action::Wait { .. } => {
                if let Some(system) = decision.reason.unseen_system() {
                    let why = blindness(system, seen).unwrap_or(Unseen::Stale);
                    self.unknown = Some((now, system, why));
                    return;
                }
                if let Reason::LoadBalancerDelay { group, until } = &decision.reason {
                    match self.released.iter_mut().find(|(known, _)| known == group) {
                        Some((_, at)) => *at = *until,
                        None => self.released.push((group.clone(), *until)),
                    }
                }
                if self.waits.last().is_none_or(|last| last.reason != reason) {
                    self.waits.push(ForecastWait { at: now, reason, because: because(decision, seen) });
                }
            }
            Action::Do(effects) => {
                let writes: Vec<Effect> = effects.iter().filter(|effect| !is_upkeep(effect)).cloned().collect();
                if !writes.is_empty() {
                    self.steps.push(ForecastWrites { at: now, effects: writes, reason, because: because(decision, seen) });
                }
            }
            Action::Look(_) | Action::End(_) => {}
        }
    }

    fn wrote(&mut self, _: &Departure, _: &Effect, _: &Result<(), Refusal>, _: Time) {}
}

/// Whether an effect is a heartbeat or a note, which change nothing about the instance.
fn is_upkeep(effect: &Effect) -> bool {
    matches!(effect, Effect::Heartbeat(_) | Effect::Note { .. })
}
