//! How a row of the table is written, run and checked.

use std::time::Duration;

use super::forwarder::{Alteration, Change};
use super::shells::{Departed, Shell, depart, options};
use decamp_sandbox::Options;
use decamp_sandbox::wire::Side;
use futures_util::StreamExt;
use futures_util::stream;

/// The expected result of one shell.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Expected {
    pub(crate) outcome: &'static str,
    pub(crate) loses: Loses,
    /// A text that its output must contain.
    pub(crate) says: &'static str,
}

/// Which requests fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loses {
    None,
    /// The requests that are on the machine when it stops. There may be none.
    WithTheMachine,
    /// Requests that the load balancer sends to stopped processes.
    Some,
}

/// One alteration and its expected results.
#[derive(Clone, Copy)]
pub(crate) struct Row {
    pub(crate) name: &'static str,
    alteration: Alteration,
    settings: &'static [(&'static str, &'static str)],
    options: fn() -> Options,
    asked_by_lambda: bool,
    /// Whether no event is sent. Then only the service runs the row, and finds the departure by a sweep.
    swept: bool,
    /// How soon the service and the function must deregister a target.
    deregisters: Option<Duration>,
    /// The expected results of the command, the service and the function.
    expected: [Expected; 3],
}

pub(crate) const AWS: Side = Side::Aws;
pub(crate) const NOMAD: Side = Side::Nomad;
pub(crate) const CONSUL: Side = Side::Consul;

/// A row that changes every answer of an operation. All three shells end with `outcome`, print `says` and lose no request.
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
        swept: false,
        deregisters: None,
        expected: [Expected { outcome, loses: Loses::None, says }; 3],
    }
}

impl Row {
    /// Leaves this many answers unchanged first.
    pub(crate) const fn after(mut self, skip: u32) -> Self {
        self.alteration.skip = skip;
        self
    }

    /// Changes only this many answers.
    pub(crate) const fn times(mut self, times: u32) -> Self {
        self.alteration.times = times;
        self
    }

    /// Runs with these settings.
    pub(crate) const fn with(mut self, settings: &'static [(&'static str, &'static str)]) -> Self {
        self.settings = settings;
        self
    }

    /// The departure waits until its end, which comes soon.
    pub(crate) const fn waits(self) -> Self {
        self.with(&[("DECAMP_MAX_DEPARTURE", "45s")])
    }

    /// Runs in another cluster.
    pub(crate) const fn within(mut self, options: fn() -> Options) -> Self {
        self.options = options;
        self
    }

    /// Every shell loses requests.
    pub(crate) const fn loses(mut self, loses: Loses) -> Self {
        self.expected[0].loses = loses;
        self.expected[1].loses = loses;
        self.expected[2].loses = loses;
        self
    }

    /// The service and the function deregister the target this soon after the event. The command may take longer: before its first write
    /// it checks the rights of its token.
    pub(crate) const fn deregisters_within(mut self, span: Duration) -> Self {
        self.deregisters = Some(span);
        self
    }

    /// The function does not make this call.
    pub(crate) const fn not_asked_by_lambda(mut self) -> Self {
        self.asked_by_lambda = false;
        self
    }

    /// No event is sent: only the service's sweeps, one a second, find the departure.
    pub(crate) const fn swept(mut self) -> Self {
        self.swept = true;
        self.with(&[("DECAMP_SWEEP", "1s")])
    }

    /// The command has another outcome or output.
    pub(crate) const fn run(mut self, outcome: &'static str, says: &'static str) -> Self {
        self.expected[0].outcome = outcome;
        self.expected[0].says = says;
        self
    }

    /// The function has another outcome or output.
    pub(crate) const fn lambda(mut self, outcome: &'static str, says: &'static str) -> Self {
        self.expected[2].outcome = outcome;
        self.expected[2].says = says;
        self
    }
}

/// The command's exit codes, as `decamp run --help` lists them.
const CODES: [(&str, i32); 17] = [
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
    ("data-left", 24),
];

/// How many departures run at once. They wait far more than they compute.
const AT_ONCE: usize = 24;

/// Runs every row with every shell and returns the differences from the expected results. `ALTERATIONS` selects rows by a part of their
/// names.
pub(crate) async fn differences(rows: &[Row]) -> Vec<String> {
    #[expect(clippy::disallowed_methods, reason = "it is not a setting of decamp")]
    let only = std::env::var("ALTERATIONS").unwrap_or_default();
    let chosen = rows.iter().filter(|row| row.name.contains(&only));
    let departures = chosen.flat_map(|row| {
        let shells = if row.swept { &[Shell::Sweeps][..] } else { &[Shell::Run, Shell::Serve, Shell::Lambda] };
        shells.iter().zip(row.expected).map(move |(shell, expected)| (row, *shell, expected))
    });
    let judged = stream::iter(departures).map(async |(row, shell, expected)| {
        let departed = depart(shell, &(row.options)(), Some(row.alteration), row.settings).await;
        let differs = differs(row, shell, &departed, &expected);
        let seconds = Duration::as_secs(&departed.took);
        let after =
            departed.deregistered.map_or_else(|| "never".to_owned(), |after| format!("after {:.1} s", after.as_secs_f64()));
        println!(
            "{}: {shell:?}: {}, {} lost, {seconds} s, {} rewritten, deregistered {after}",
            row.name, departed.outcome, departed.failed, departed.rewritten
        );
        (!differs.is_empty())
            .then(|| format!("{}: {shell:?}: {}\n{}", row.name, differs.join("; "), last_lines(&departed.output)))
    });
    judged.buffer_unordered(AT_ONCE).filter_map(async |differs| differs).collect().await
}

fn differs(row: &Row, shell: Shell, departed: &Departed, expected: &Expected) -> Vec<String> {
    let mut all = Vec::new();
    // The hook may run out before or in the last pass of the function.
    if !expected.outcome.split(" or ").any(|outcome| departed.outcome == outcome) {
        all.push(format!("ended {} instead of {}", departed.outcome, expected.outcome));
    }
    let code = CODES.iter().find(|(word, _)| *word == departed.outcome).map(|(_, code)| *code);
    if shell == Shell::Run && departed.code != code {
        all.push(format!("exit code {:?} with the outcome {}", departed.code, departed.outcome));
    }
    let needs_runbook = !matches!(&*departed.outcome, "departed" | "none");
    if shell == Shell::Run && needs_runbook != departed.output.contains(&format!("/docs/outcomes.md#{}", departed.outcome)) {
        all.push("the link to the runbook does not fit its outcome".to_owned());
    }
    let lost = match expected.loses {
        Loses::None => departed.failed == 0,
        Loses::WithTheMachine => departed.failed < 20,
        Loses::Some => 0 < departed.failed,
    };
    if !lost {
        all.push(format!("{} requests lost", departed.failed));
    }
    if !departed.output.contains(expected.says) {
        all.push(format!("does not say {:?}", expected.says));
    }
    let in_time = |within: Duration| departed.deregistered.is_some_and(|after| after <= within);
    if shell != Shell::Run && !row.deregisters.is_none_or(in_time) {
        all.push(format!("deregistered after {:?}", departed.deregistered));
    }
    if departed.rewritten == 0 && (row.asked_by_lambda || shell != Shell::Lambda) {
        all.push("nothing was rewritten, so the row proves nothing".to_owned());
    }
    all
}

/// The last lines of the output, for the error message.
fn last_lines(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    lines[lines.len().saturating_sub(12)..]
        .iter()
        .map(|line| format!("    {}\n", line.chars().take(600).collect::<String>()))
        .collect()
}
