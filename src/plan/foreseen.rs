//! The simulated departure of `decamp plan` as text: its writes with their times, and a Gantt chart that fits 80 columns.

use std::time::Duration;

use decamp_core::decide::{Effect, JobKind, LifecycleResult, Nomad, Phase, Snapshot, System};
use decamp_core::time::{Time, plain};
use decamp_sim::forecast::{DeparturePart, Forecast, ForecastEnd, PartSpan};

use crate::out::wrapped;
use crate::styled::{Style, StyledLine};

/// The columns of the names and of the bars. With the times and two spaces a row fits 80 columns.
const NAMES: usize = 25;
const BARS: usize = 31;

/// The same departure twice: once with tasks that stop at their kill signal, once with tasks that need their whole `kill_timeout`.
pub(super) struct Foreseen {
    pub(super) earliest: Forecast,
    pub(super) latest: Forecast,
}

/// The earliest and the latest time of an event, since the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) earliest: Option<Duration>,
    pub(super) latest: Option<Duration>,
}

impl Range {
    fn text(self) -> String {
        match (self.earliest.map(in_seconds), self.latest.map(in_seconds)) {
            (Some(earliest), Some(latest)) if earliest == latest => earliest,
            (Some(earliest), Some(latest)) => format!("{earliest}..{latest}"),
            (Some(earliest), None) => format!("{earliest}..?"),
            (None, Some(latest)) => format!("..{latest}"),
            (None, None) => "?".to_owned(),
        }
    }
}

/// A time in whole seconds, because a forecast is not more exact.
fn in_seconds(span: Duration) -> String {
    plain(Duration::from_secs((span + Duration::from_millis(500)).as_secs()))
}

/// One write, in the order of the latest times.
pub(super) struct Written {
    pub(super) at: Range,
    pub(super) what: String,
    pub(super) reason: &'static str,
    pub(super) because: String,
}

/// One bar of the chart.
pub(super) struct Bar {
    pub(super) name: String,
    pub(super) from: Range,
    pub(super) to: Range,
}

impl Foreseen {
    fn since(&self, time: Time) -> Duration {
        time.since(self.latest.begins)
    }

    /// Every write with its time.
    pub(super) fn written(&self, seen: &Snapshot) -> Vec<Written> {
        let early = keyed(self.earliest.steps.iter().flat_map(|step| step.effects.iter().map(|e| (key(e), step.at))));
        let late: Vec<_> = self.latest.steps.iter().flat_map(|step| step.effects.iter().map(move |e| (e, step))).collect();
        let keys = keyed(late.iter().map(|(effect, step)| (key(effect), step.at)));
        let rows = late.iter().zip(keys).map(|((effect, step), (key, at))| Written {
            at: Range {
                earliest: early.iter().find(|(known, _)| *known == key).map(|(_, at)| self.since(*at)),
                latest: Some(self.since(at)),
            },
            what: title(effect, seen),
            reason: step.reason,
            because: step.because.clone(),
        });
        rows.collect()
    }

    /// Every bar, in the order in which they begin.
    pub(super) fn bars(&self) -> Vec<Bar> {
        let spans = |forecast: &Forecast| -> Vec<((String, usize), PartSpan)> {
            let keys = keyed(forecast.spans.iter().map(|span| (format!("{:?}", span.part), span.from)));
            keys.into_iter().map(|(key, _)| key).zip(forecast.spans.clone()).collect()
        };
        let (early, late) = (spans(&self.earliest), spans(&self.latest));
        let mut bars: Vec<(Time, Bar)> = Vec::new();
        for (key, span) in &late {
            let other = early.iter().find(|(known, _)| known == key).map(|(_, span)| span);
            let of = |time: fn(&PartSpan) -> Option<Time>| Range {
                earliest: other.and_then(time).map(|at| self.since(at)),
                latest: time(span).map(|at| self.since(at)),
            };
            let bar = Bar { name: name(&span.part), from: of(|span| Some(span.from)), to: of(|span| span.to) };
            bars.push((span.from, bar));
        }
        bars.sort_by_key(|(from, _)| *from);
        bars.into_iter().map(|(_, bar)| bar).collect()
    }

    /// The time that the chart spans.
    fn whole(&self) -> Duration {
        let end = |forecast: &Forecast| match &forecast.end {
            ForecastEnd::Ended(_, at) | ForecastEnd::Unknown(at, ..) | ForecastEnd::Waits(at) => *at,
        };
        let last = |forecast: &Forecast| forecast.spans.iter().filter_map(|span| span.to).chain([end(forecast)]).max();
        let latest = last(&self.latest).max(last(&self.earliest)).unwrap_or_default();
        self.since(latest).max(Duration::from_secs(1))
    }

    /// The writes, the chart and the end.
    pub(super) fn lines(&self, seen: &Snapshot, why: bool) -> Vec<StyledLine> {
        let mut lines = Vec::new();
        for row in self.written(seen) {
            lines.push(StyledLine::plain(format!("  {:>14}  ", row.at.text())).then(Style::Plain, row.what));
            if why {
                let text = format!("because {}", row.because);
                lines.extend(wrapped(&" ".repeat(18), &text, 18).into_iter().map(|text| StyledLine::of(Style::Muted, text)));
            }
        }
        if why && !self.latest.waits.is_empty() {
            lines.push(StyledLine::plain(""));
            lines.push(StyledLine::plain("  Waits, by their latest times"));
            for wait in &self.latest.waits {
                let head = format!("  {:>14}  ", in_seconds(self.since(wait.at)));
                let text = format!("because {}", wait.because);
                lines.extend(wrapped(&head, &text, 18).into_iter().map(StyledLine::plain));
            }
        }
        lines.push(StyledLine::plain(""));
        let batch = runs_batch(seen);
        lines.extend(self.chart(batch));
        lines.push(StyledLine::plain(""));
        lines.extend(self.ends(batch));
        lines
    }

    fn chart(&self, batch: bool) -> Vec<StyledLine> {
        let whole = self.whole();
        let bars = self.bars();
        let (half, end) = (in_seconds(whole / 2), in_seconds(whole));
        let middle = BARS / 2;
        let scale = format!("{:<middle$}{half:<width$}{end}", "0s", width = BARS - middle - end.chars().count());
        let mut lines = vec![StyledLine::plain(format!("  {:NAMES$} {scale}", ""))];
        let mut varies = false;
        for bar in &bars {
            let (drawn, uncertain) = drawn(bar, whole);
            varies |= uncertain;
            let times = match bar.to.latest {
                Some(_) => format!("{} to {}", bar.from.text(), bar.to.text()),
                None => format!("{} to ?", bar.from.text()),
            };
            let mut line = StyledLine::plain(format!("  {:NAMES$} ", cut(&bar.name, NAMES)));
            for (style, piece) in drawn {
                line = line.then(style, piece);
            }
            lines.push(line.then(Style::Plain, format!(" {times}")));
        }
        if varies {
            lines.push(StyledLine::of(
                Style::Muted,
                "  # if tasks stop at their kill signal, - if they need their whole kill_timeout",
            ));
            if batch {
                lines.push(StyledLine::of(Style::Muted, "  batch jobs: # if they finish now, - if they run to the deadline"));
            }
        }
        lines
    }

    fn ends(&self, batch: bool) -> Vec<StyledLine> {
        let say = |text: String, style| wrapped("  ", &text, 2).into_iter().map(move |line| StyledLine::of(style, line));
        match (&self.earliest.end, &self.latest.end) {
            (ForecastEnd::Unknown(at, system, why), _) | (_, ForecastEnd::Unknown(at, system, why)) => {
                let at = in_seconds(self.since(*at));
                let text = format!(
                    "From {at} on nothing can be foreseen, because a departure waits for {system}, which cannot be seen: {why}"
                );
                say(text, Style::Warning).collect()
            }
            (ForecastEnd::Waits(at), _) | (_, ForecastEnd::Waits(at)) => {
                say(format!("After {} it would still wait.", plain(self.since(*at))), Style::Warning).collect()
            }
            (ForecastEnd::Ended(early, at), ForecastEnd::Ended(late, by)) => {
                let (at, by) = (self.since(*at), self.since(*by));
                let range = Range { earliest: Some(at), latest: Some(by) }.text();
                let style = |good: bool| if good { Style::Good } else { Style::Warning };
                let departs = |outcome: &decamp_core::decide::Outcome| outcome.word() == "departed";
                if early == late {
                    return say(format!("It would end after {range}, {early}: {}", early.meaning()), style(departs(early)))
                        .collect();
                }
                let (soon, last) = if batch {
                    ("if batch jobs finish now", "if they run to the deadline")
                } else {
                    ("if tasks stop at their signal", "if they need their whole kill_timeout")
                };
                let both = [(early, at, soon), (late, by, last)];
                both.into_iter()
                    .flat_map(|(outcome, after, when)| {
                        let text = format!("It would end after {}, {outcome}, {when}: {}", in_seconds(after), outcome.meaning());
                        say(text, style(departs(outcome)))
                    })
                    .collect()
            }
        }
    }
}

/// Whether a batch job runs on the instance. A drain waits until it finishes.
fn runs_batch(seen: &Snapshot) -> bool {
    let is_batch = |kind| matches!(kind, JobKind::Batch | JobKind::SysBatch);
    seen.allocations().any(|a| is_batch(a.group.kind) && !a.client.is_over())
}

/// Numbers equal keys, so that the n-th write of a kind in one simulation can be found in the other.
fn keyed(all: impl Iterator<Item = (String, Time)>) -> Vec<((String, usize), Time)> {
    let mut keys: Vec<((String, usize), Time)> = Vec::new();
    for (key, at) in all {
        let before = keys.iter().filter(|((known, _), _)| *known == key).count();
        keys.push(((key, before), at));
    }
    keys
}

fn key(effect: &Effect) -> String {
    match effect {
        Effect::Deregister { group, .. } => format!("deregister {group}"),
        Effect::Drain { node, meta, .. } => format!("drain {node} {}", meta.phase.word()),
        Effect::MakeIneligible(node) => format!("ineligible {node}"),
        Effect::Heartbeat(_) | Effect::Note { .. } | Effect::Complete { .. } => effect.kind().word().to_owned(),
    }
}

/// A write as text, with the node's name instead of its id.
fn title(effect: &Effect, seen: &Snapshot) -> String {
    let nodes = seen.nomad.last().map_or(&[][..], |Nomad { nodes, .. }| nodes);
    let node = |id| nodes.iter().find(|node| node.id == id).map_or_else(|| id.to_string(), |node| node.name.to_string());
    match effect {
        Effect::MakeIneligible(id) => format!("make node {} ineligible", node(*id)),
        Effect::Deregister { group, targets } => {
            let ports: Vec<String> = targets.iter().map(|target| target.port.to_string()).collect();
            format!("deregister it from {} (port {})", group.name(), ports.join(", "))
        }
        Effect::Drain { node: id, deadline, meta, .. } => {
            format!("drain {} of node {}, deadline {}", of_phase(meta.phase), node(*id), plain(deadline.span()))
        }
        Effect::Complete { result: LifecycleResult::Continue, .. } => "complete the lifecycle action: CONTINUE".to_owned(),
        Effect::Complete { result: LifecycleResult::Abandon, .. } => "complete the lifecycle action: ABANDON".to_owned(),
        Effect::Heartbeat(_) | Effect::Note { .. } => effect.brief(),
    }
}

fn of_phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Services => "services",
        Phase::All => "everything",
        Phase::Again => "everything again",
        Phase::Resent => "everything, sent again,",
        Phase::Forced => "everything in one second",
    }
}

fn name(part: &DeparturePart) -> String {
    match part {
        DeparturePart::Hook(hook) => format!("hook {hook}"),
        DeparturePart::Balancer(group) => format!("target group {}", group.name()),
        DeparturePart::Drain(node, phase) => format!("drain {} {node}", phase.word()),
        DeparturePart::Allocation(id, title) => format!("{title} {}", short(&id.to_string())),
        DeparturePart::Discovery(System::Consul) => "Consul lists services".to_owned(),
        DeparturePart::Discovery(_) => "Nomad lists services".to_owned(),
    }
}

/// The first eight characters of an id, as Nomad's own command shows it.
fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

/// A name cut to a width. It keeps its end, because allocations of one group differ only there.
fn cut(name: &str, width: usize) -> String {
    let length = name.chars().count();
    if length <= width {
        return name.to_owned();
    }
    let (head, tail) = (width - 2 - 8, 8);
    let first: String = name.chars().take(head).collect();
    let last: String = name.chars().skip(length - tail).collect();
    format!("{first}..{last}")
}

/// The bar in pieces, and whether its earliest and its latest end differ.
fn drawn(bar: &Bar, whole: Duration) -> (Vec<(Style, String)>, bool) {
    let place = |at: Duration| ((at.as_secs_f64() / whole.as_secs_f64()) * BARS as f64).round() as usize;
    let from = [bar.from.earliest, bar.from.latest].into_iter().flatten().min().map_or(0, place).min(BARS - 1);
    let sure = bar.to.earliest.or(bar.to.latest).map_or(from, place).clamp(from, BARS).max(from + 1);
    let (end, mark) = match bar.to.latest {
        Some(to) => (place(to).clamp(sure, BARS), "-"),
        None => (BARS, "?"),
    };
    let pieces = vec![
        (Style::Plain, " ".repeat(from)),
        (Style::InProgress, "#".repeat(sure - from)),
        (Style::Muted, mark.repeat(end - sure)),
        (Style::Plain, " ".repeat(BARS - end)),
    ];
    (pieces, mark == "-" && sure < end)
}
