//! Exit codes, each named once: scripts depend on them.

use decamp::decide::Outcome;

/// Something could not be begun: settings, arguments that contradict the world, an API that does not answer.
pub(crate) const ERROR: u8 = 1;
/// `run` with `DECAMP_MODE=observe`: a write was next, and was not made.
pub(crate) const OBSERVED: u8 = 3;
/// Ended by SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// Ended by SIGHUP: its terminal went away.
pub(crate) const HUNG_UP: u8 = 129;
/// Ended by SIGTERM.
pub(crate) const TERMINATED: u8 = 143;

/// The table, as `run --help` shows it.
pub(crate) const HELP: &str = "Exit codes:
  0    departed: nothing was left on the instance
  1    nothing was begun: settings, arguments, or an API that does not answer
  2    the command line was not understood
  3    DECAMP_MODE=observe: a write was next, and was not made
  10   forced: nothing is left, but a deadline cut allocations short
  11   unconfirmed: all is over, but service discovery could not confirm it
  12   timed-out: the time was up before everything was gone
  13   retained: the instance is kept until somebody terminates it
  14   agent-dead: Nomad's agent on it is dead
  15   no-node: no Nomad node is this instance
  16   gone: Auto Scaling no longer lists it
  17   expired: its hook ended without us
  18   already-past: it was past its hook before we looked
  19   not-leaving: nothing was touched
  20   not-ours: it waits in no hook of ours; nothing was touched
  21   interrupted: EC2 takes it back; what could be done in time was done
  22   refused: the Nomad token cannot see enough; nothing was written
  130  SIGINT, 143 SIGTERM: what stands and how to go on was said";

/// The code for an outcome.
pub(crate) fn of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Departed { .. } => 0,
        Outcome::Forced => 10,
        Outcome::Unconfirmed => 11,
        Outcome::TimedOut => 12,
        Outcome::Retained => 13,
        Outcome::AgentDead => 14,
        Outcome::NoNode => 15,
        Outcome::Gone => 16,
        Outcome::Expired => 17,
        Outcome::AlreadyPast => 18,
        Outcome::NotLeaving => 19,
        Outcome::NotOurs => 20,
        Outcome::Interrupted => 21,
        Outcome::Refused { .. } => 22,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_code_of_its_own_that_the_help_names() {
        let outcomes = [
            Outcome::Departed { waiting_for: None },
            Outcome::Forced,
            Outcome::Unconfirmed,
            Outcome::TimedOut,
            Outcome::Retained,
            Outcome::AgentDead,
            Outcome::NoNode,
            Outcome::Gone,
            Outcome::Expired,
            Outcome::AlreadyPast,
            Outcome::NotLeaving,
            Outcome::NotOurs,
            Outcome::Interrupted,
            Outcome::Refused { why: "".into() },
        ];
        for (place, outcome) in outcomes.iter().enumerate() {
            let row = format!("  {:<4} {}:", of(outcome), outcome.word());
            assert!(HELP.contains(&row), "{row}");
            assert!(outcomes[..place].iter().all(|other| of(other) != of(outcome)), "{outcome}");
        }
    }
}
