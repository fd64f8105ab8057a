//! Exit codes, each named once: scripts depend on them.

use decamp_core::decide::Outcome;
use decamp_core::refresh::Status;

/// Something could not be begun: settings, arguments that contradict the world, an API that does not answer.
pub(crate) const ERROR: u8 = 1;
/// The command line was understood word by word, and makes no sense as a whole: as where clap does not understand it.
pub(crate) const USAGE: u8 = 2;
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
  1    nothing was started: settings, arguments, or an API that does not answer; or part of the event could not be used
  2    the command line was not understood
  3    DECAMP_MODE=observe: the next step is a write, and was not made
  10   forced: nothing is left, but a deadline cut allocations short
  11   unconfirmed: all is over, but discovery or a load balancer may still send to some of it
  12   timed-out: the time was up before everything was gone
  13   retained: the instance is kept until somebody terminates it
  14   agent-dead: Nomad's agent on it is dead
  15   no-node: no Nomad node is this instance
  16   gone: Auto Scaling no longer lists it
  17   expired: its hook ended before decamp completed it
  18   already-past: it was past its hook, or the time of EC2's notice, before decamp looked
  19   not-leaving: Auto Scaling says that it stays; nothing more is written
  20   not-ours: it waits in no hook of decamp's; nothing more is written
  21   interrupted: EC2 takes it back; what could be done in time was done
  22   refused: the Nomad token cannot see enough; nothing was written
  23   overtaken: somebody else completed its action while decamp worked
  130  SIGINT, 143 SIGTERM: the state and the command that continues were printed";

/// `refresh`: none of the group is under way, or there never was one.
pub(crate) const NO_REFRESH: u8 = 34;
/// `refresh rollback`: AWS has nothing to go back to.
pub(crate) const IRREVERSIBLE: u8 = 35;

/// The table, as `refresh --help` shows it.
pub(crate) const REFRESH_HELP: &str = "Exit codes:
  0    Successful; for cancel: Cancelled; for rollback: RollbackSuccessful; with --no-wait: AWS took the order
  1    nothing was begun: settings, arguments, or an API that does not answer
  2    the command line was not understood
  3    DECAMP_MODE=observe: nothing was ordered
  30   Failed
  31   Cancelled
  32   RollbackSuccessful: it was taken back
  33   RollbackFailed
  34   no refresh of the group is under way (cancel, rollback), or there is none to watch
  35   the refresh names no version to go back from (rollback)
  36   it was Successful before it could be cancelled or taken back
  130  SIGINT, 143 SIGTERM: the refresh goes on, and how to watch it again was said";

/// What whoever follows a refresh waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wish {
    /// That everything is replaced.
    Replaced,
    /// That it stops.
    Cancelled,
    /// That it is taken back.
    TakenBack,
}

/// The code for how a refresh stands in the end.
pub(crate) fn of_refresh(status: Status, wish: Wish) -> u8 {
    match (status, wish) {
        (Status::Successful, Wish::Replaced)
        | (Status::Cancelled, Wish::Cancelled)
        | (Status::RollbackSuccessful, Wish::TakenBack) => 0,
        (Status::Successful, Wish::Cancelled | Wish::TakenBack) => 36,
        (Status::Failed, _) => 30,
        (Status::Cancelled, _) => 31,
        (Status::RollbackSuccessful, _) => 32,
        (Status::RollbackFailed, _) => 33,
        // Nothing ends so.
        (
            Status::Pending
            | Status::InProgress
            | Status::Baking
            | Status::Cancelling
            | Status::RollbackInProgress
            | Status::Unknown,
            _,
        ) => ERROR,
    }
}

/// The code for an outcome.
pub(crate) fn of(outcome: &Outcome) -> u8 {
    match outcome {
        Outcome::Departed { .. } => 0,
        Outcome::Forced => 10,
        Outcome::Unconfirmed { .. } => 11,
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
        Outcome::Overtaken => 23,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_end_of_a_refresh_has_a_code_that_the_help_names() {
        for status in Status::ALL.iter().copied().filter(|status| status.is_over()) {
            for wish in [Wish::Replaced, Wish::Cancelled, Wish::TakenBack] {
                let code = of_refresh(status, wish);
                let row = REFRESH_HELP.lines().find(|line| line.trim_start().starts_with(&format!("{code} ")));
                assert!(row.is_some_and(|row| row.contains(status.name())), "{status:?} {wish:?}: {code}");
            }
        }
    }

    #[test]
    fn every_outcome_has_a_code_of_its_own_that_the_help_names() {
        let outcomes = [
            Outcome::Departed { waiting_for: None },
            Outcome::Forced,
            Outcome::Unconfirmed { unseen: None },
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
            Outcome::Overtaken,
        ];
        for (place, outcome) in outcomes.iter().enumerate() {
            let row = format!("  {:<4} {}:", of(outcome), outcome.word());
            assert!(HELP.contains(&row), "{row}");
            assert!(outcomes[..place].iter().all(|other| of(other) != of(outcome)), "{outcome}");
        }
    }
}
