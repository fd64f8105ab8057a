//! How a row of the table is written, walked and judged.

use std::time::Duration;

use super::forwarder::{Alteration, Change};
use super::shells::{Came, Shell, depart, options};
use decamp_sandbox::Options;
use decamp_sandbox::wire::Side;
use futures_util::StreamExt;
use futures_util::stream;

/// What is expected of one shell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) outcome: &'static str,
    pub(crate) loses: Loses,
    /// What it must say.
    pub(crate) says: &'static str,
}

/// Which requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loses {
    None,
    /// Those that the machine takes with it, if there are any at that moment.
    WithTheMachine,
    /// Those that the load balancer sends to what has stopped, or goes on sending.
    Some,
}

/// One alteration, and what comes of it.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    alteration: Alteration,
    settings: &'static [(&'static str, &'static str)],
    options: fn() -> Options,
    asked_by_lambda: bool,
    /// How soon the service and the function must have deregistered a target.
    deregisters: Option<Duration>,
    /// For the command, the service and the function.
    expected: [Expected; 3],
}

pub(crate) const AWS: Side = Side::Aws;
pub(crate) const NOMAD: Side = Side::Nomad;
pub(crate) const CONSUL: Side = Side::Consul;

/// Every answer of this operation is changed, and all three shells end so and say so, with no request lost.
pub(crate) const fn row(
    name: &'static str,
    side: Side,
    operation: &'static str,
    change: Change,
    outcome: &'static str,
    says: &'static str,
) -> Row {
    let alteration = Alteration { side, operation, skip: 0, times: u32::MAX, change };
    Row {
        name,
        alteration,
        settings: &[],
        options,
        asked_by_lambda: true,
        deregisters: None,
        expected: [Expected { outcome, loses: Loses::None, says }; 3],
    }
}

impl Row {
    /// So many answers stay as they are first.
    pub(crate) const fn after(mut self, skip: u32) -> Self {
        self.alteration.skip = skip;
        self
    }

    /// Only so many are changed.
    pub(crate) const fn times(mut self, times: u32) -> Self {
        self.alteration.times = times;
        self
    }

    /// With these settings.
    pub(crate) const fn with(mut self, settings: &'static [(&'static str, &'static str)]) -> Self {
        self.settings = settings;
        self
    }

    /// It waits until the time is up, which is soon.
    pub(crate) const fn waits(self) -> Self {
        self.with(&[("DECAMP_MAX_DEPARTURE", "45s")])
    }

    /// In another cluster.
    pub(crate) const fn within(mut self, options: fn() -> Options) -> Self {
        self.options = options;
        self
    }

    /// Requests are lost, by whichever shell.
    pub(crate) const fn loses(mut self, loses: Loses) -> Self {
        self.expected[0].loses = loses;
        self.expected[1].loses = loses;
        self.expected[2].loses = loses;
        self
    }

    /// The service and the function deregister it this soon after its event. The command refuses before its first write, and so it has
    /// to see what its token may.
    pub(crate) const fn deregisters_within(mut self, span: Duration) -> Self {
        self.deregisters = Some(span);
        self
    }

    /// The function has no need to ask.
    pub(crate) const fn not_asked_by_lambda(mut self) -> Self {
        self.asked_by_lambda = false;
        self
    }

    /// The command ends otherwise, or says it otherwise.
    pub(crate) const fn run(mut self, outcome: &'static str, says: &'static str) -> Self {
        self.expected[0].outcome = outcome;
        self.expected[0].says = says;
        self
    }

    /// The function ends otherwise, or says it otherwise.
    pub(crate) const fn lambda(mut self, outcome: &'static str, says: &'static str) -> Self {
        self.expected[2].outcome = outcome;
        self.expected[2].says = says;
        self
    }
}

/// The command's exit codes, as `decamp run --help` lists them.
const CODES: [(&str, i32); 16] = [
    ("departed", 0),
    ("none", 3),
    ("forced", 10),
    ("unconfirmed", 11),
    ("timed-out", 12),
    ("retained", 13),
    ("agent-dead", 14),
    ("no-node", 15),
    ("gone", 16),
    ("expired", 17),
    ("already-past", 18),
    ("not-leaving", 19),
    ("not-ours", 20),
    ("interrupted", 21),
    ("refused", 22),
    ("overtaken", 23),
];

/// How many departures are walked at once: they wait far more than they compute.
const AT_ONCE: usize = 24;

/// Walks every row by every shell, and answers what differs from what is expected. `ALTERATIONS` names a part of the rows.
pub(crate) async fn differences(rows: &[Row]) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "it is no setting of decamp's")]
    let only = std::env::var("ALTERATIONS").unwrap_or_default();
    let chosen = rows.iter().filter(|row| row.name.contains(&only));
    let shells = [Shell::Run, Shell::Serve, Shell::Lambda];
    let walks = chosen.flat_map(|row| shells.into_iter().zip(row.expected).map(move |(shell, expected)| (row, shell, expected)));
    let judged = stream::iter(walks).map(async |(row, shell, expected)| {
        let came = depart(shell, &(row.options)(), Some(row.alteration), row.settings).await;
        let differs = differs(row, shell, &came, &expected);
        let seconds = Duration::as_secs(&came.took);
        let after = came.deregistered.map_or_else(|| "never".to_owned(), |after| format!("after {:.1} s", after.as_secs_f64()));
        println!(
            "{}: {shell:?}: {}, {} lost, {seconds} s, {} rewritten, deregistered {after}",
            row.name, came.outcome, came.failed, came.rewritten
        );
        (!differs.is_empty()).then(|| format!("{}: {shell:?}: {}\n{}", row.name, differs.join("; "), last_lines(&came.said)))
    });
    judged.buffer_unordered(AT_ONCE).filter_map(async |differs| differs).collect().await
}

fn differs(row: &Row, shell: Shell, came: &Came, expected: &Expected) -> Vec<String> {
    let mut all = Vec::new();
    if came.outcome != expected.outcome {
        all.push(format!("ended {} instead of {}", came.outcome, expected.outcome));
    }
    let code = CODES.iter().find(|(word, _)| *word == came.outcome).map(|(_, code)| *code);
    if shell == Shell::Run && came.code != code {
        all.push(format!("exit code {:?} with the outcome {}", came.code, came.outcome));
    }
    let is_bad = !matches!(&*came.outcome, "departed" | "none");
    if shell == Shell::Run && is_bad != came.said.contains(&format!("/docs/outcomes.md#{}", came.outcome)) {
        all.push("the address of what to do does not fit its outcome".to_owned());
    }
    let lost = match expected.loses {
        Loses::None => came.failed == 0,
        Loses::WithTheMachine => came.failed < 20,
        Loses::Some => 0 < came.failed,
    };
    if !lost {
        all.push(format!("{} requests lost", came.failed));
    }
    if !came.said.contains(expected.says) {
        all.push(format!("does not say {:?}", expected.says));
    }
    let in_time = |within: Duration| came.deregistered.is_some_and(|after| after <= within);
    if shell != Shell::Run && !row.deregisters.is_none_or(in_time) {
        all.push(format!("deregistered after {:?}", came.deregistered));
    }
    if came.rewritten == 0 && (row.asked_by_lambda || shell != Shell::Lambda) {
        all.push("nothing was rewritten, so nothing was shown".to_owned());
    }
    all
}

/// Enough to see why.
fn last_lines(said: &str) -> String {
    let lines: Vec<&str> = said.lines().collect();
    lines[lines.len().saturating_sub(12)..]
        .iter()
        .map(|line| format!("    {}\n", line.chars().take(600).collect::<String>()))
        .collect()
}
