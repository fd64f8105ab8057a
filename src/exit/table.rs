//! The table of exit codes and their meanings, for all commands. The help and the reference are made from it.

/// One code. No two rows have the same code.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    /// The code.
    pub(crate) code: u8,
    /// The commands that may exit with it; empty for all commands.
    pub(crate) commands: &'static [&'static str],
    /// Its meaning.
    pub(crate) meaning: &'static str,
}

const RUN: &[&str] = &["run"];
const REFRESH: &[&str] = &["refresh"];

const fn row(code: u8, commands: &'static [&'static str], meaning: &'static str) -> Row {
    Row { code, commands, meaning }
}

/// All codes in ascending order.
pub(crate) const TABLE: &[Row] = &[
    row(0, &[], "done; `run`: departed, and nothing is left on the instance; `check`: a departure works, without warnings"),
    row(1, &["check"], "a departure works, with warnings"),
    row(2, &["check"], "a departure would not work"),
    row(3, &[], "could not start, or could not read a system: settings, names that do not exist, an API that does not answer"),
    row(4, &["run", "refresh"], "DECAMP_MODE=observe: the next step is a write, which was not made"),
    row(5, &["rehearse", "simulate"], "decamp lost a request or broke an invariant, or a driver did not finish"),
    row(6, &["rehearse"], "requests failed, and this machine was too busy to say whether decamp lost them"),
    row(10, RUN, "forced: nothing is left, but a deadline cut allocations short"),
    row(11, RUN, "unconfirmed: everything stopped, but discovery or a load balancer may still send to it"),
    row(12, RUN, "timed-out: the time was up before everything was gone"),
    row(13, RUN, "retained: the instance is kept until somebody terminates it"),
    row(14, RUN, "agent-dead: Nomad's agent on it is dead"),
    row(15, RUN, "no-node: no Nomad node is this instance"),
    row(16, RUN, "gone: Auto Scaling no longer lists it"),
    row(17, RUN, "expired: its hook ended before decamp completed it"),
    row(18, RUN, "already-past: it was past its hook, or past the time of EC2's notice, before decamp looked"),
    row(19, RUN, "not-leaving: Auto Scaling says that it stays; nothing more is written"),
    row(20, RUN, "not-ours: it waits in no hook of decamp's; nothing more is written"),
    row(21, RUN, "interrupted: EC2 takes it back; what could be done in time was done"),
    row(22, RUN, "refused: the Nomad token cannot see enough; nothing was written"),
    row(23, RUN, "overtaken: somebody else completed its action while decamp worked"),
    row(24, RUN, "data-left: everything stopped, but data was left on it"),
    row(30, REFRESH, "Failed"),
    row(31, REFRESH, "Cancelled; 0 for `refresh cancel`"),
    row(32, REFRESH, "RollbackSuccessful; 0 for `refresh rollback`"),
    row(33, REFRESH, "RollbackFailed"),
    row(34, REFRESH, "no refresh of the group is in progress (cancel, rollback), or there is none to watch"),
    row(35, REFRESH, "the refresh names no version to go back from (rollback)"),
    row(36, REFRESH, "it was Successful before it could be cancelled or rolled back"),
    row(64, &[], "the command line is invalid"),
    row(101, &[], "a bug in decamp: it panicked"),
    row(129, &[], "ended by SIGHUP"),
    row(130, &[], "ended by SIGINT; `run` printed the state and the command that continues"),
    row(143, &[], "ended by SIGTERM, as by SIGINT; `serve` ends with 0"),
];

/// The rows of a command.
pub(crate) fn rows_of(command: &str) -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(move |row| row.commands.is_empty() || row.commands.contains(&command))
}
