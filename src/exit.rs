//! Exit codes. Scripts depend on them, so each is defined once. The table of all codes is in [`table`].

mod table;

use decamp_core::decide::Outcome;
use decamp_core::refresh::Status;

/// A departure of the group works, with warnings.
pub(crate) const WARNINGS: u8 = 1;
/// A departure of the group would not work.
pub(crate) const WOULD_NOT_WORK: u8 = 2;
/// The command could not start or could not read something: settings, names that do not exist, an API that does not answer.
pub(crate) const ERROR: u8 = 3;
/// `DECAMP_MODE=observe`: the next step is a write, which was not made.
pub(crate) const OBSERVED: u8 = 4;
/// A simulation or a rehearsal in which decamp did not keep its promises.
pub(crate) const BROKEN: u8 = 5;
/// A rehearsal in which requests failed on a machine that was too busy to say whether decamp lost them.
pub(crate) const UNFAIR: u8 = 6;
/// The command line is invalid, or its arguments contradict each other. `EX_USAGE` of sysexits.h.
pub(crate) const USAGE: u8 = 64;
/// Ended by SIGHUP: its terminal was closed.
pub(crate) const HUNG_UP: u8 = 129;
/// Ended by SIGINT.
pub(crate) const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM.
pub(crate) const TERMINATED: u8 = 143;

/// `refresh`: the group has no refresh in progress, or never had one.
pub(crate) const NO_REFRESH: u8 = 34;
/// `refresh rollback`: the refresh names no version to go back from.
pub(crate) const IRREVERSIBLE: u8 = 35;

/// The codes of a command, as its help shows them.
pub(crate) fn help(command: &str) -> String {
    let rows = table::rows_of(command).map(|row| format!("\n  {:<4} {}", row.code, row.meaning));
    format!("Exit codes:{}", rows.collect::<String>())
}

/// The end of a refresh that the command waits for, which exits with 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Goal {
    /// Every instance is replaced.
    Replaced,
    /// The refresh is cancelled.
    Cancelled,
    /// The refresh is rolled back.
    RolledBack,
}

/// The code for the last status of a refresh.
pub(crate) fn of_refresh(status: Status, goal: Goal) -> u8 {
    match (status, goal) {
        (Status::Successful, Goal::Replaced)
        | (Status::Cancelled, Goal::Cancelled)
        | (Status::RollbackSuccessful, Goal::RolledBack) => 0,
        (Status::Successful, Goal::Cancelled | Goal::RolledBack) => 36,
        (Status::Failed, _) => 30,
        (Status::Cancelled, _) => 31,
        (Status::RollbackSuccessful, _) => 32,
        (Status::RollbackFailed, _) => 33,
        // No refresh ends with one of these.
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
        Outcome::DataLeft { .. } => 24,
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
    fn every_named_code_has_a_row() {
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
            for goal in [Goal::Replaced, Goal::Cancelled, Goal::RolledBack] {
                let code = of_refresh(status, goal);
                assert!(code == 0 || meaning(code, "refresh").contains(status.name()), "{status:?} {goal:?}: {code}");
            }
        }
    }

    #[test]
    fn every_outcome_has_a_code_of_its_own_that_the_help_names() {
        let outcomes = [
            Outcome::Departed { waiting_for: None },
            Outcome::Forced,
            Outcome::Unconfirmed { unseen: None, cut: false, unread: [].into() },
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
            Outcome::DataLeft { titles: [].into(), claims: [].into(), local: [].into(), cut: false },
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
