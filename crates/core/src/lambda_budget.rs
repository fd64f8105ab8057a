//! Whether the time-outs around the Lambda fit together (ADR 0017): hook, function, queue, sweep and departure.
//!
//! `infra/modules/budget` has the same arithmetic. The cases in `infra/tests/budget.json` test both.

use std::time::Duration;

use crate::decide::needed;

/// With a shorter heartbeat time-out a pass could be shorter than one look.
pub const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(180);
/// The part of the function's time-out that a pass keeps for handing its message back.
pub const KEPT_FOR_HANDING_BACK: Duration = Duration::from_secs(5);
/// The time for looks before a guard begins and for the first step after it.
pub const LOOKS_AROUND_A_GUARD: Duration = Duration::from_secs(10);
/// The most receives that SQS allows for a message.
pub const MOST_RECEIVES: u32 = 1_000;
/// Auto Scaling ends a lifecycle action after 100 heartbeats, or after two days.
const LONGEST_HOOK: Duration = Duration::from_hours(48);

/// The time-outs and limits. The defaults are those of the Terraform module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// The hook ends after this time without a heartbeat.
    pub heartbeat_timeout: Duration,
    /// Lambda ends a pass after this time.
    pub function_timeout: Duration,
    /// The queue hides a received message for this time.
    pub visibility_timeout: Duration,
    /// The time between two sweeps.
    pub sweep_period: Duration,
    /// After this many receives a message moves to the dead-letter queue.
    pub max_receive_count: u32,
    /// How long the queue keeps a message.
    pub message_retention: Duration,
    /// How long the dead-letter queue keeps a message, counted from when it was first sent.
    pub dead_letter_retention: Duration,
    /// The longest time that a departure may take.
    pub max_departure: Duration,
    /// The time kept free before its end, so that the last call succeeds.
    pub reserve: Duration,
    /// The longest deregistration delay of its target groups.
    pub deregistration_delay: Duration,
    /// The longest time that an allocation may take to stop.
    pub longest_stop: Duration,
    /// The longest guard that each pass waits from the beginning, because no note tells the next pass when it began (ADR 0002). Zero: there
    /// is none.
    pub guard: Duration,
}

impl Default for Numbers {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            heartbeat_timeout: seconds(900),
            function_timeout: seconds(60),
            visibility_timeout: seconds(360),
            sweep_period: seconds(60),
            max_receive_count: 500,
            message_retention: seconds(345_600),
            dead_letter_retention: seconds(1_209_600),
            max_departure: seconds(7_200),
            reserve: seconds(30),
            deregistration_delay: seconds(300),
            longest_stop: seconds(120),
            guard: seconds(0),
        }
    }
}

/// A rule that the time-outs may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The dead-letter queue must keep a message longer than the queue: both count from when it was sent.
    DeadLettersTooShort,
    /// A departure must end before its hook does.
    DepartureAboveHook,
    /// The delay, the stops and the confirmations must fit into a departure.
    DepartureTooShort,
    /// A pass must have time besides the time for handing back.
    FunctionTooShort,
    /// A look and the handing back must fit between two heartbeats.
    HeartbeatTooShort,
    /// SQS takes no more receives.
    ReceivesAboveLimit,
    /// A guard that every pass waits from the beginning must fit into one pass. Otherwise no departure gets past it.
    PassBelowGuard,
    /// The passes that the longest departure takes must not turn its message into a dead letter.
    ReceivesTooFew,
    /// A message must become a dead letter before it expires, and must live longer than its departure.
    RetentionTooShort,
    /// A sweep must find a lost event while its hook is alive.
    SweepAboveHeartbeat,
    /// A pass that crashed must come back while its hook is alive.
    VisibilityAboveHeartbeat,
    /// AWS recommends six times the function's time-out, so that a slow pass does not run twice.
    VisibilityBelowFunction,
}

impl Rule {
    /// All rules, in the alphabetical order of their names.
    pub const ALL: [Self; 12] = [
        Self::DeadLettersTooShort,
        Self::DepartureAboveHook,
        Self::DepartureTooShort,
        Self::FunctionTooShort,
        Self::HeartbeatTooShort,
        Self::PassBelowGuard,
        Self::ReceivesAboveLimit,
        Self::ReceivesTooFew,
        Self::RetentionTooShort,
        Self::SweepAboveHeartbeat,
        Self::VisibilityAboveHeartbeat,
        Self::VisibilityBelowFunction,
    ];

    /// The name in the table of cases and in the Terraform module.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::DeadLettersTooShort => "dead_letters_too_short",
            Self::DepartureAboveHook => "departure_above_hook",
            Self::DepartureTooShort => "departure_too_short",
            Self::FunctionTooShort => "function_too_short",
            Self::HeartbeatTooShort => "heartbeat_too_short",
            Self::PassBelowGuard => "pass_below_guard",
            Self::ReceivesAboveLimit => "receives_above_limit",
            Self::ReceivesTooFew => "receives_too_few",
            Self::RetentionTooShort => "retention_too_short",
            Self::SweepAboveHeartbeat => "sweep_above_heartbeat",
            Self::VisibilityAboveHeartbeat => "visibility_above_heartbeat",
            Self::VisibilityBelowFunction => "visibility_below_function",
        }
    }
}

impl Numbers {
    /// The shortest time-outs of function, queue and hook for a guard that every pass waits from the beginning.
    #[must_use]
    pub fn that_outlast(guard: Duration) -> Self {
        let function_timeout = guard + LOOKS_AROUND_A_GUARD + KEPT_FOR_HANDING_BACK;
        let usual = Self::default();
        let function_timeout = function_timeout.max(usual.function_timeout);
        let visibility_timeout = (function_timeout * 6).max(usual.visibility_timeout);
        let heartbeat_timeout = (visibility_timeout * 2).max(usual.heartbeat_timeout);
        let message_retention = usual.message_retention.max(visibility_timeout * usual.max_receive_count);
        Self { heartbeat_timeout, function_timeout, visibility_timeout, message_retention, guard, ..usual }
    }

    /// The rules that do not hold.
    #[must_use]
    pub fn broken(&self) -> Vec<Rule> {
        Rule::ALL.into_iter().filter(|rule| !self.holds(*rule)).collect()
    }

    /// Whether a rule holds.
    #[must_use]
    pub fn holds(&self, rule: Rule) -> bool {
        let half_heartbeat = self.heartbeat_timeout / 2;
        let pass = self.function_timeout.saturating_sub(KEPT_FOR_HANDING_BACK);
        let hook_ends = (self.heartbeat_timeout * 100).min(LONGEST_HOOK);
        match rule {
            Rule::DeadLettersTooShort => self.message_retention < self.dead_letter_retention,
            Rule::DepartureAboveHook => self.max_departure <= hook_ends,
            Rule::DepartureTooShort => {
                needed(self.deregistration_delay, self.longest_stop, self.reserve) <= self.max_departure.min(hook_ends)
            }
            Rule::FunctionTooShort => KEPT_FOR_HANDING_BACK < self.function_timeout,
            Rule::HeartbeatTooShort => SHORTEST_HEARTBEAT <= self.heartbeat_timeout,
            Rule::PassBelowGuard => self.guard.is_zero() || self.guard + LOOKS_AROUND_A_GUARD <= pass,
            Rule::ReceivesAboveLimit => self.max_receive_count <= MOST_RECEIVES,
            Rule::ReceivesTooFew => self.max_departure <= pass * self.max_receive_count,
            Rule::RetentionTooShort => {
                self.max_departure.max(self.visibility_timeout * self.max_receive_count) <= self.message_retention
            }
            Rule::SweepAboveHeartbeat => self.sweep_period + self.function_timeout <= half_heartbeat,
            Rule::VisibilityAboveHeartbeat => self.visibility_timeout <= half_heartbeat,
            Rule::VisibilityBelowFunction => self.function_timeout * 6 <= self.visibility_timeout,
        }
    }
}
