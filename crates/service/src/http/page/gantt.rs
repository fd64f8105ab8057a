//! The Gantt chart of a departure: its steps over an axis of seconds, with decamp's own time apart from the waits that it cannot shorten.
//!
//! It uses attributes and classes of the style sheet only, because the page's content security policy forbids styles in the markup.
//! Horizontal positions are percentages of the width, so that text keeps its size in a narrow window.

use std::fmt::{self, Display, Write as _};
use std::time::Duration;

use super::Escaped;
use crate::view::{STOPPING, Step, View};
use decamp_core::decide::{ActionKind, ReasonClass};
use decamp_core::time::{Time, plain};

/// The height of a row, and of its text and its bar, in pixels.
const ROW: u32 = 30;
const TEXT: u32 = 11;
const BAR: u32 = 11;
/// The height of the axis below the rows.
const AXIS: u32 = 18;
/// The narrowest bar in per cent of the width, so that a step without a duration is visible.
const NARROWEST: f64 = 0.6;
/// Seconds between two marks of the axis: the first of these that gives at most five marks.
const BETWEEN: [u64; 16] = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 1_200, 1_800, 3_600, 7_200, 21_600, 43_200];
const MOST_MARKS: u64 = 5;
/// The most bars of a row in the description for screen readers.
const MOST_DESCRIBED: usize = 12;

/// What the colours of the bars mean.
pub(super) const LEGEND: &str = "<p class=\"legend\"><span><i class=\"delay\"></i>load balancers' delay</span> \
     <span><i class=\"stopping\"></i>allocations stop</span> <span><i class=\"own\"></i>decamp itself</span> \
     <span><i class=\"discovery\"></i>service discovery</span> <span><i class=\"block\"></i>blocked</span> \
     <span><i class=\"before\"></i>before this replica took over</span> <span><i class=\"write\"></i>a write</span></p>";

/// Renders the chart of a departure up to this time. `None`: this replica saw nothing of it.
pub(super) fn render(view: &View, until: Time) -> Option<String> {
    let steps = view.steps.all();
    let lanes: Vec<Lane> = floor(view, until).chain((!steps.is_empty()).then(|| own(view, until))).collect();
    if lanes.is_empty() {
        return None;
    }
    let scale = Scale::new(view.began(), until);
    let rows = u32::try_from(lanes.len()).unwrap_or(u32::MAX).saturating_mul(ROW);
    let mut svg = format!(
        "<svg class=\"gantt\" role=\"img\" aria-label=\"{}\" width=\"100%\" height=\"{}\"><title>{} of {}</title>",
        Escaped(&describe(view, &lanes, until)),
        rows + AXIS,
        Escaped(&view.instance),
        Escaped(&view.group),
    );
    scale.axis(&mut svg, rows);
    for (place, lane) in (0..).zip(&lanes) {
        lane.draw(&mut svg, &scale, place * ROW);
    }
    svg.push_str("</svg>");
    Some(svg)
}

/// Describes a chart for screen readers.
fn describe(view: &View, lanes: &[Lane], until: Time) -> String {
    let mut text = format!("{} took {}", view.instance, plain(until.since(view.began())));
    for lane in lanes {
        let bars: Vec<String> = lane.bars.iter().take(MOST_DESCRIBED).map(|bar| bar.describe(view.began())).collect();
        let more = if MOST_DESCRIBED < lane.bars.len() { "; and more" } else { "" };
        text.push_str(&format!(". {}: {}{more}", lane.name, bars.join("; ")));
    }
    text.push('.');
    text
}

/// The rows of the waits that decamp cannot shorten.
fn floor(view: &View, until: Time) -> impl Iterator<Item = Lane> {
    view.floor.iter().filter(move |wait| wait.from < until).map(move |wait| {
        let (name, class) = match wait.what {
            STOPPING => ("allocations stop", "stopping"),
            _ => ("load balancers' delay", "delay"),
        };
        let bar = Bar { class, text: name.to_owned(), from: wait.from, to: wait.to.min(until) };
        Lane { name, bars: vec![bar], writes: Vec::new() }
    })
}

/// The row of decamp's waits and writes.
fn own(view: &View, until: Time) -> Lane {
    let steps = view.steps.all().iter();
    let bars = steps.map(|step| {
        let text = format!("{}, {}", step.action.word(), step.reason.word().replace('-', " "));
        Bar { class: class(step), text, from: step.from, to: step.to.unwrap_or(until).min(until) }
    });
    let writes = view.timeline.iter().filter(|moment| !moment.heartbeat).map(|moment| {
        let refused = moment.refused.as_ref().map(|why| format!(" failed: {why}")).unwrap_or_default();
        (moment.at, format!("{}{refused}", moment.what), moment.refused.is_some())
    });
    Lane { name: "decamp", bars: before(view).into_iter().chain(bars).collect(), writes: writes.collect() }
}

/// The time before this replica took over.
fn before(view: &View) -> Option<Bar> {
    let (from, first) = (view.began(), view.steps.all().first()?);
    (from < first.from).then(|| Bar { class: "before", text: "before this replica took over".to_owned(), from, to: first.from })
}

/// The colour of a step. A wait has the colour of the system that it waits for.
fn class(step: &Step) -> &'static str {
    match (step.reason.class(), step.action == ActionKind::Wait) {
        (ReasonClass::Delay, true) => "delay",
        (ReasonClass::Stopping, true) => "stopping",
        (ReasonClass::Discovery, true) => "discovery",
        (ReasonClass::Blocked | ReasonClass::NeedsAPerson, _) => "block",
        (ReasonClass::Own, _) | (ReasonClass::Delay | ReasonClass::Stopping | ReasonClass::Discovery, false) => "own",
    }
}

/// One row.
struct Lane {
    name: &'static str,
    bars: Vec<Bar>,
    /// The time and text of each write, and whether it was refused.
    writes: Vec<(Time, String, bool)>,
}

/// One bar.
struct Bar {
    class: &'static str,
    text: String,
    from: Time,
    to: Time,
}

impl Bar {
    fn describe(&self, began: Time) -> String {
        format!("{} from {} to {}", self.text, Seconds(self.from.since(began)), Seconds(self.to.since(began)))
    }
}

impl Lane {
    fn draw(&self, svg: &mut String, scale: &Scale, top: u32) {
        let (text, bar) = (top + TEXT, top + TEXT + 4);
        put(svg, format_args!("<text x=\"0\" y=\"{text}\">{}</text>", Escaped(self.name)));
        for one in &self.bars {
            let from = scale.percent(one.from).min(100.0 - NARROWEST);
            let wide = (scale.percent(one.to) - from).max(NARROWEST);
            put(
                svg,
                format_args!(
                    "<rect class=\"{}\" x=\"{from:.2}%\" y=\"{bar}\" width=\"{wide:.2}%\" height=\"{BAR}\"><title>{}</title></rect>",
                    one.class,
                    Escaped(&one.describe(scale.began)),
                ),
            );
        }
        for (at, what, refused) in &self.writes {
            let (at, seconds) = (scale.percent(*at), Seconds(at.since(scale.began)));
            let class = if *refused { "write refused" } else { "write" };
            put(
                svg,
                format_args!(
                    "<line class=\"{class}\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"{}\" y2=\"{}\"><title>{seconds}: {}</title></line>",
                    bar - 3,
                    bar + BAR + 3,
                    Escaped(what),
                ),
            );
        }
    }
}

/// The time from a departure's beginning to the right edge of the chart.
struct Scale {
    began: Time,
    whole: Duration,
}

impl Scale {
    /// At least a second, so that a departure that ended at once has a width.
    fn new(began: Time, until: Time) -> Self {
        Self { began, whole: until.since(began).max(Duration::from_secs(1)) }
    }

    /// A time's position in per cent of the width.
    fn percent(&self, at: Time) -> f64 {
        (at.since(self.began).as_secs_f64() / self.whole.as_secs_f64() * 100.0).min(100.0)
    }

    fn axis(&self, svg: &mut String, height: u32) {
        let whole = self.whole.as_secs();
        let between = BETWEEN.into_iter().find(|between| whole / between < MOST_MARKS).unwrap_or(86_400);
        let between = usize::try_from(between).unwrap_or(usize::MAX);
        for second in (0..=whole).step_by(between) {
            let at = self.percent(self.began + Duration::from_secs(second));
            let anchor = match at {
                ..5.0 => "start",
                90.0.. => "end",
                _ => "middle",
            };
            put(
                svg,
                format_args!(
                    "<line class=\"grid\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"{height}\"/>\
                     <text class=\"axis\" x=\"{at:.2}%\" y=\"{}\" text-anchor=\"{anchor}\">{second} s</text>",
                    height + AXIS - 5,
                ),
            );
        }
    }
}

/// A duration in seconds, to a tenth.
pub(super) struct Seconds(pub(super) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} s", self.0.as_secs_f64())
    }
}

fn put(svg: &mut String, text: fmt::Arguments<'_>) {
    svg.write_fmt(text).expect("writing to a string does not fail");
}

#[cfg(test)]
mod tests {
    use super::super::leaving::tests::{EVIL, evil};
    use super::*;
    use crate::view::{Moment, Stretch};
    use decamp_core::decide::{EffectKind, ReasonKind};

    /// A departure of 40 s: released at 3 s for 10 s, drained at 5 s until 25 s.
    fn past() -> View {
        let mut view = evil();
        for (action, reason, second) in [
            (ActionKind::Look, ReasonKind::NotKnownYet, 0),
            (ActionKind::Write(EffectKind::Deregister), ReasonKind::TakesRequests, 2),
            (ActionKind::Wait, ReasonKind::LoadBalancerDelay, 3),
            (ActionKind::Wait, ReasonKind::AllocationsLeft, 13),
            (ActionKind::Wait, ReasonKind::CannotSee, 25),
            (ActionKind::Write(EffectKind::Complete), ReasonKind::NothingLeft, 39),
        ] {
            view.steps.next(action, reason, Time(second * 1_000));
        }
        view.steps.end(Time(40_000));
        let stretch = |what, from, to| Stretch { what, from: Time(from), to: Time(to) };
        view.floor = vec![stretch("deregistration-delay", 3_000, 13_000), stretch("stopping", 5_000, 25_000)];
        let moment = |at, heartbeat, refused| Moment { at: Time(at), what: EVIL.to_owned(), heartbeat, refused };
        view.timeline = vec![moment(3_000, false, None), moment(9_000, true, None), moment(39_000, false, Some(EVIL.to_owned()))];
        view
    }

    #[test]
    fn every_step_has_a_bar_at_its_time_and_the_floor_has_rows_of_its_own() {
        let svg = render(&past(), Time(40_000)).expect("it was seen");
        let bar = |class: &str, x: &str, width: &str| format!("<rect class=\"{class}\" x=\"{x}%\" y=\"__\" width=\"{width}%\"");
        let without_y: String = svg
            .split(" y=\"")
            .map(|part| part.split_once('"').map_or(part, |(_, rest)| rest))
            .collect::<Vec<_>>()
            .join(" y=\"__\"");
        for (class, x, width) in [
            // The floor's own rows.
            ("delay", "7.50", "25.00"),
            ("stopping", "12.50", "50.00"),
            // The steps.
            ("own", "0.00", "5.00"),
            ("delay", "7.50", "25.00"),
            ("stopping", "32.50", "30.00"),
            ("block", "62.50", "35.00"),
            ("own", "97.50", "2.50"),
        ] {
            assert!(without_y.contains(&bar(class, x, width)), "{class} at {x}: {svg}");
        }
        assert_eq!(
            (svg.matches("<rect").count(), svg.matches("class=\"write").count()),
            (8, 2),
            "heartbeats are not drawn: {svg}"
        );
        assert!(!svg.contains("class=\"before\""), "this replica saw it from the beginning");
        for second in ["0 s", "10 s", "20 s", "30 s", "40 s"] {
            assert!(svg.contains(&format!(">{second}</text>")), "{second}: {svg}");
        }
    }

    #[test]
    fn it_has_a_description_and_no_style_script_or_foreign_markup() {
        let svg = render(&past(), Time(40_000)).expect("it was seen");
        let label = svg.split("aria-label=\"").nth(1).and_then(|rest| rest.split('"').next()).expect("it has a description");
        assert!(label.contains("took 40s") && label.contains("wait, cannot see from 25.0 s to 39.0 s"), "{label}");
        assert!(svg.contains("role=\"img\"") && svg.contains("<title>"));
        for forbidden in ["style=", "<script", "<style", "alert('", "onload"] {
            assert!(!svg.contains(forbidden), "{forbidden}: {svg}");
        }
    }

    #[test]
    fn the_time_before_this_replica_took_over_has_a_bar_of_its_own() {
        let mut view = evil();
        view.steps.next(ActionKind::Wait, ReasonKind::AllocationsLeft, Time(10_000));
        let svg = render(&view, Time(40_000)).expect("it was seen");
        assert!(svg.contains("<rect class=\"before\" x=\"0.00%\"") && svg.contains("width=\"25.00%\""), "{svg}");
    }

    #[test]
    fn every_position_is_within_the_width() {
        assert_eq!(render(&evil(), Time(40_000)), None, "this replica saw nothing of it");
        let mut view = past();
        view.taken_up = Time(30_000);
        for until in [0, 30_000, 30_001, 172_800_000] {
            let svg = render(&view, Time(until)).expect("it was seen");
            for place in svg.split('"').filter_map(|word| word.strip_suffix('%')) {
                let place: f64 = place.parse().expect("a percentage");
                assert!((0.0..=100.0).contains(&place), "{until}: {place}");
            }
            assert!(svg.matches("class=\"axis\"").count() <= 6, "{until}: {svg}");
        }
    }
}
