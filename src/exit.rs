//! Exit codes, each named once: scripts depend on them. The table of all is in [`table`].

mod table;

use decamp_core::decide::Outcome;
use decamp_core::refresh::Status;

/// A departure of the group works, with warnings.
pub(crate) const WARNINGS: u8 = 1;
/// A departure of the group would not work.
pub(crate) const WOULD_NOT_WORK: u8 = 2;
/// Something could not be begun or seen: settings, arguments that contradict the world, an API that does not answer.
pub(crate) const ERROR: u8 = 3;
/// `DECAMP_MODE=observe`: a write was next, and was not made.
pub(crate) const OBSERVED: u8 = 4;
/// A simulation or a rehearsal in which decamp did not keep its promises.
pub(crate) const BROKEN: u8 = 5;
/// A rehearsal on a machine that was too busy: requests failed, and nobody can say whose fault that is.
pub(crate) const UNFAIR: u8 = 6;
/// The command line was not understood, or makes no sense as a whole. `EX_USAGE` of sysexits.h.
pub(crate) const USAGE: u8 = 64;
/// Ended by SIGHUP: its terminal went away.
pub(crate) const HUNG_UP: u8 = 129;
/// Ended by SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM.
pub(crate) const TERMINATED: u8 = 143;

/// `refresh`: none of the group is under way, or there never was one.
pub(crate) const NO_REFRESH: u8 = 34;
/// `refresh rollback`: AWS has nothing to go back to.
pub(crate) const IRREVERSIBLE: u8 = 35;

/// The codes of a command, as its help shows them.
pub(crate) fn help(command: &str) -> String {
    let rows = table::rows_of(command).map(|row| format!("\n  {:<4} {}", row.code, row.meaning));
    format!("Exit codes:{}", rows.collect::<String>())
}

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

    fn meaning(code: u8, command: &str) -> &'static str {
        let row = table::rows_of(command).find(|row| row.code == code);
        row.unwrap_or_else(|| panic!("{command} has no row for {code}")).meaning
    }

    #[test]
    fn no_two_rows_share_a_code_and_they_ascend() {
        for two in table::TABLE.windows(2) {
            assert!(two[0].code < two[1].code, "{two:?}");
        }
    }

    #[test]
    fn every_code_that_is_named_here_has_a_row() {
        let cases = [
            (WARNINGS, "check"),
            (WOULD_NOT_WORK, "check"),
            (ERROR, "check"),
            (OBSERVED, "run"),
            (OBSERVED, "refresh"),
            (BROKEN, "simulate"),
            (BROKEN, "rehearse"),
            (UNFAIR, "rehearse"),
            (USAGE, "sandbox"),
            (HUNG_UP, "rehearse"),
            (INTERRUPTED, "run"),
            (TERMINATED, "run"),
            (NO_REFRESH, "refresh"),
            (IRREVERSIBLE, "refresh"),
        ];
        for (code, command) in cases {
            assert!(!meaning(code, command).is_empty());
        }
    }

    #[test]
    fn every_end_of_a_refresh_has_a_code_that_the_table_names() {
        for status in Status::ALL.iter().copied().filter(|status| status.is_over()) {
            for wish in [Wish::Replaced, Wish::Cancelled, Wish::TakenBack] {
                let code = of_refresh(status, wish);
                assert!(code == 0 || meaning(code, "refresh").contains(status.name()), "{status:?} {wish:?}: {code}");
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
        let help = help("run");
        for (place, outcome) in outcomes.iter().enumerate() {
            let code = of(outcome);
            let row = meaning(code, "run");
            assert!(row.starts_with(&format!("{}:", outcome.word())) || code == 0 && row.contains(outcome.word()), "{row}");
            assert!(help.contains(&format!("\n  {code:<4} {row}")), "{help}");
            assert!(outcomes[..place].iter().all(|other| of(other) != code), "{outcome}");
        }
    }
}
