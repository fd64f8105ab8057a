//! Whether the numbers around the Lambda fit one another (ADR 0017): hook, function, queue, sweep and departure.
//!
//! `infra/modules/budget` has the same arithmetic; both are held to the cases of `infra/tests/budget.json`.

use std::time::Duration;

use crate::decide::needed;

/// With a shorter heartbeat time-out a pass would be shorter than a look may take.
pub const SHORTEST_HEARTBEAT: Duration = Duration::from_secs(180);
/// A pass keeps this much of the function's time to hand its message back.
pub const KEPT_FOR_HANDING_BACK: Duration = Duration::from_secs(5);
/// A pass looks before it waits a guard, and begins what comes after it.
pub const LOOKS_AROUND_A_GUARD: Duration = Duration::from_secs(10);
/// SQS lets a message be received no more often than this.
pub const MOST_RECEIVES: u32 = 1_000;
/// Auto Scaling ends a lifecycle action after 100 heartbeats, or after two days.
const LONGEST_HOOK: Duration = Duration::from_hours(48);

/// The numbers. The defaults are those of the Terraform module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Numbers {
    /// The hook ends after this long without a heartbeat.
    pub heartbeat_timeout: Duration,
    /// Lambda ends a pass after this long.
    pub function_timeout: Duration,
    /// The queue hides a message that was received for this long.
    pub visibility_timeout: Duration,
    /// Between two sweeps.
    pub sweep_period: Duration,
    /// A message becomes a dead letter after this many receives.
    pub max_receive_count: u32,
    /// The queue keeps a message for this long.
    pub message_retention: Duration,
    /// The dead-letter queue does, counted from when the message was first sent.
    pub dead_letter_retention: Duration,
    /// A departure may take this long.
    pub max_departure: Duration,
    /// Kept before its end, so that the last call lands.
    pub reserve: Duration,
    /// The longest deregistration delay of its target groups.
    pub deregistration_delay: Duration,
    /// The slowest allocation may take this long to stop.
    pub longest_stop: Duration,
    /// The longest guard that each pass has to wait by itself, because nothing keeps its beginning for the next one (ADR 0002); zero: none.
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

/// A rule that the numbers may break.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// The dead-letter queue must keep a message longer than the queue: both count from when it was sent.
    DeadLettersTooShort,
    /// A departure must end before its hook does.
    DepartureAboveHook,
    /// The delay, the stops and the confirmations must fit into a departure.
    DepartureTooShort,
    /// A pass must have time beside what handing back takes.
    FunctionTooShort,
    /// A look and a hand back must fit between two heartbeats.
    HeartbeatTooShort,
    /// SQS takes no more receives.
    ReceivesAboveLimit,
    /// A guard that every pass begins anew must be over within one, or no departure gets past it.
    PassBelowGuard,
    /// As many passes as the longest departure takes must not make a dead letter.
    ReceivesTooFew,
    /// A message must become a dead letter before it vanishes, and outlive its departure.
    RetentionTooShort,
    /// A lost event must be found while its hook is alive.
    SweepAboveHeartbeat,
    /// A pass that crashed must come back while its hook is alive.
    VisibilityAboveHeartbeat,
    /// AWS advises six times the function's time-out, so that a slow pass is not doubled.
    VisibilityBelowFunction,
}

impl Rule {
    /// All of them, by the alphabet of their words.
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

    /// Its word in the table of cases and in the Terraform module.
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
    /// The shortest time-outs of function, queue and hook that fit a guard which every pass waits by itself.
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
