//! The departures in progress: a card for each, with what it waits for, what blocks it, and how much of its time budget is used.

use std::time::Duration;

use super::{Escaped, gantt};
use crate::view::{Elsewhere, Stage, Times, View};
use decamp_aws::Origin;
use decamp_core::decide::{ActionKind, Match};
use decamp_core::ids::InstanceId;
use decamp_core::runbook;
use decamp_core::time::{Time, plain};

/// A wait that lasts longer than this is shown as blocked.
const LONG: Duration = Duration::from_secs(120);

/// The most charts: with a thousand departures, the page would take too long to render.
const MOST_CHARTS: usize = 50;

/// An instance's zone and launch template, as far as they are known.
type Origins<'a> = &'a dyn Fn(InstanceId) -> Option<Origin>;

/// Renders the part.
pub(super) fn render(in_progress: &[View], now: Time, origins: Origins<'_>) -> String {
    let mut html = format!("<h2>Leaving now ({})</h2>", in_progress.len());
    if in_progress.is_empty() {
        html.push_str("<p class=\"empty\">No instance is leaving.</p>");
    }
    let mut charts = 0;
    for view in in_progress {
        let chart = if has_steps(view) && charts < MOST_CHARTS { gantt::render(view, now) } else { None };
        charts += usize::from(chart.is_some());
        let origin = view.instance.parse().ok().and_then(origins);
        html.push_str(&card(view, origin.as_ref(), &chart.unwrap_or_default(), now));
    }
    html
}

/// Whether this replica works on it and saw steps. Departures of other workers are read only now and then, which makes no chart.
fn has_steps(view: &View) -> bool {
    view.walked_here && !view.steps.all().is_empty()
}

/// Whether any of them has a chart that needs a legend.
pub(super) fn has_charts(in_progress: &[View]) -> bool {
    in_progress.iter().any(has_steps)
}

/// Whether a person should look at it.
pub(super) fn is_blocked(view: &View, now: Time) -> bool {
    let is_late = || match &view.wait {
        // A deregistration delay of five minutes does not block, and neither does a task within its own time to stop.
        Some(wait) => wait.due.max(wait.since + LONG) <= now,
        None => LONG <= now.since(view.since),
    };
    view.reason.class().is_blocked() || view.action == ActionKind::Wait && is_late()
}

/// One departure in progress.
fn card(view: &View, origin: Option<&Origin>, chart: &str, now: Time) -> String {
    let waited = now.since(view.since);
    let blocked = is_blocked(view, now);
    // What a sweep read once is soon out of date, and a time in it would be in the past.
    let title = if view.walked_here { view.title.as_str() } else { "read by the last sweep" };
    let class = match (blocked, view.walked_here) {
        (true, _) => "blocked",
        (false, true) => "moving",
        (false, false) => "elsewhere",
    };
    let mut html = format!(
        "<article class=\"{}\"><h3>{} <small>{}</small></h3>{}{}<p><b>{}</b>: {}, because {}. \
         <a rel=\"noreferrer\" href=\"{}\">What this means</a></p>",
        class,
        Escaped(&view.instance),
        Escaped(&view.group),
        whereabouts(view, origin),
        stages(view),
        view.phase,
        Escaped(title),
        Escaped(&view.because),
        runbook::section("reasons", view.reason.word()),
    );
    if blocked {
        let by = view.wait.as_ref().map(|wait| format!("{} ", wait.blocker.sentence()));
        let by = by.unwrap_or_default();
        let runbook = runbook::section("reasons", view.reason.word());
        html.push_str(&format!(
            "<p class=\"ill\">{}It has lasted for {}. <a rel=\"noreferrer\" href=\"{runbook}\">What to do</a></p>",
            Escaped(&by),
            plain(waited)
        ));
    }
    for denied in &view.denied {
        html.push_str(&format!("<p class=\"ill\">Denied until a policy is changed: {}</p>", Escaped(denied)));
    }
    html.push_str(&also(view));
    html.push_str(&stopped(view));
    if !view.walked_here {
        html.push_str("<p class=\"note\">This replica does not work on it. Its last sweep read it.");
        if let Some(Elsewhere { last_written, taken_up_at }) = view.elsewhere {
            html.push_str(&format!(
                " The last write for it was at <time>{last_written}</time>. Without another one before <time>{taken_up_at}</time>, this \
                 replica takes over."
            ));
        }
        html.push_str("</p>");
    }
    if let Some(times) = &view.budget {
        html.push_str(&time_left(times, now));
    }
    html.push_str(chart);
    html.push_str(&writes(view));
    if !view.evidence.is_empty() {
        html.push_str(&details(view, "Seen"));
        html.push_str("<ul>");
        for evidence in &view.evidence {
            let at = evidence.at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            html.push_str(&format!("<li><time>{at}</time> {}</li>", Escaped(&evidence.what)));
        }
        html.push_str("</ul></details>");
    }
    html.push_str("</article>");
    html
}

/// The other reasons that hold the decision.
fn also(view: &View) -> String {
    let others: Vec<&str> = view.reasons.iter().skip(1).map(|other| other.because.as_str()).collect();
    if others.is_empty() { String::new() } else { format!("<p class=\"note\">Also because {}.</p>", Escaped(&others.join("; "))) }
}

/// The tasks that did not stop in order.
pub(super) fn stopped(view: &View) -> String {
    let each = view.stopped.iter().map(|finding| format!("<p class=\"ill\">{}</p>", Escaped(finding)));
    each.collect()
}

/// What was foreseen, compared with what was seen.
pub(super) fn compared(view: &View) -> String {
    let class = |result| if result == Match::SeenNotForeseen { "ill" } else { "note" };
    let each = view.compared.iter();
    each.map(|one| format!("<p class=\"{}\">{}</p>", class(one.result), Escaped(&one.to_string()))).collect()
}

/// The node's name, the zone, and the launch template.
fn whereabouts(view: &View, origin: Option<&Origin>) -> String {
    let mut parts = Vec::new();
    parts.extend(view.node.as_ref().map(|node| format!("node <b>{}</b>", Escaped(node))));
    parts.extend(origin.map(|origin| Escaped(&origin.zone).to_string()));
    parts.extend(origin.and_then(|origin| origin.launched_from.as_ref()).map(|from| format!("launched from {}", Escaped(from))));
    if parts.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>", parts.join(", ")) }
}

/// The stages as a row: done, in progress, to come.
fn stages(view: &View) -> String {
    let each = view.stages.each().map(|(name, stage)| {
        let (class, text) = match stage {
            Stage::Done => ("done", "done"),
            Stage::Now => ("now", "in progress"),
            Stage::ToCome => ("to-come", "to come"),
        };
        format!("<li class=\"{class}\">{name}<span class=\"unseen\">: {text}</span></li>")
    });
    format!("<ol class=\"stages\" aria-label=\"Steps\">{}</ol>", each.collect::<String>())
}

/// The writes as a list.
pub(super) fn writes(view: &View) -> String {
    if view.timeline.is_empty() {
        return String::new();
    }
    let mut html = format!("{}<ol>", details(view, "Written"));
    for moment in &view.timeline {
        let refused = moment.refused.as_ref().map(|why| format!(" failed: {why}")).unwrap_or_default();
        html.push_str(&format!("<li><time>{}</time> {}{}</li>", moment.at, Escaped(&moment.what), Escaped(&refused)));
    }
    html + "</ol></details>"
}

/// The start of a `details` element. The script finds it by its name, and keeps it open when the page changes.
fn details(view: &View, what: &str) -> String {
    let (instance, began) = (Escaped(&view.instance), view.taken_up.0);
    format!(
        "<details data-name=\"{what} {instance} {began}\"><summary>{what}<span class=\"unseen\"> of {instance}</span></summary>"
    )
}

/// Up to this many seconds the scale is linear, above it is logarithmic: of an hour, 20 s would be half a per cent.
const LINEAR: f64 = 10.0;
/// Marks of the scale, in seconds.
const MARKS: [u64; 6] = [20, 120, 600, 3_600, 21_600, 86_400];

/// A time's position on the scale, in per cent of the width.
fn position(times: &Times, at: Time) -> f64 {
    let scaled = |span: Duration| (1.0 + span.as_secs_f64() / LINEAR).ln();
    let whole = times.end.since(times.began).max(Duration::from_secs(1));
    (scaled(at.since(times.began)) / scaled(whole) * 100.0).min(100.0)
}

/// How much of the time budget is used, and what happens at its points.
fn time_left(times: &Times, now: Time) -> String {
    let percent = |at: Time| position(times, at);
    let (used, left) = (plain(now.since(times.began)), plain(times.end.since(now)));
    let assumed = if times.began_is_known { "" } else { " (assumed)" };
    let mut html = format!(
        "<svg class=\"budget\" role=\"img\" aria-label=\"{used} of its {} are used\" width=\"100%\" height=\"30\">\
         <rect class=\"whole\" y=\"3\" width=\"100%\" height=\"10\"/><rect class=\"used\" y=\"3\" width=\"{:.2}%\" height=\"10\"/>",
        plain(times.end.since(times.began)),
        percent(now),
    );
    for mark in MARKS.map(Duration::from_secs) {
        let at = percent(times.began + mark);
        // A mark near the end would cover the end's text.
        if at < 80.0 {
            html.push_str(&format!(
                "<line class=\"grid\" x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"3\" y2=\"17\"/><text class=\"axis\" x=\"{at:.2}%\" y=\"28\" \
                 text-anchor=\"middle\">{}</text>",
                plain(mark)
            ));
        }
    }
    html.push_str(&format!(
        "<text class=\"axis\" x=\"100%\" y=\"28\" text-anchor=\"end\">{}</text>",
        plain(times.end.since(times.began))
    ));
    let points = [
        (times.drain_until, "remaining allocations are stopped"),
        (times.force_at, "a drain is forced"),
        (times.end, "decamp completes the action"),
    ];
    for (at, what) in points {
        let (at, after) = (percent(at), plain(at.since(times.began)));
        html.push_str(&format!(
            "<line x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"16\"><title>after {after} {what}</title></line>"
        ));
    }
    let texts = points.map(|(at, what)| format!("after {} {what}", plain(at.since(times.began)))).join(", ");
    html + &format!("</svg><p>{used} since it entered its hook{assumed}, {left} left; <small>{texts}.</small></p>")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::notify::Wait;
    use crate::view::{Comparison, Evidence, Moment, NamedReason};
    use decamp_core::decide::{Blocker, BlockerKind, Cause, Departure, LifecycleAction, ReasonKind};
    use decamp_core::ids::InstanceId;
    use strum::IntoEnumIterator as _;

    pub(in super::super) const EVIL: &str = "<script>alert('1')</script>&\"";

    pub(in super::super) fn evil() -> View {
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance: InstanceId::from_number(1), asg: EVIL.into(), cause };
        let mut view = View::begin(&departure, "event", Time(0));
        view.title = EVIL.to_owned();
        view.because = EVIL.to_owned();
        view.timeline = vec![Moment { at: Time(0), what: EVIL.to_owned(), heartbeat: false, refused: Some(EVIL.to_owned()) }];
        view.evidence = vec![Evidence { at: None, what: EVIL.to_owned() }];
        view.stopped = vec![EVIL.to_owned()];
        let (result, finding) = (Match::SeenNotForeseen, "disk-cut");
        view.compared = vec![Comparison { result, finding, object: EVIL.into(), seen: EVIL.to_owned(), at: None }];
        view.reasons = vec![NamedReason { reason: ReasonKind::WorkLeft, because: EVIL.to_owned() }; 2];
        view
    }

    #[test]
    fn nothing_from_the_cluster_becomes_markup() {
        let html = card(&evil(), None, "", Time(0));
        assert_eq!(html.matches("&lt;script&gt;").count(), 8, "{html}");
        assert!(!html.contains("<script") && !html.contains("alert('"), "{html}");
    }

    #[test]
    fn departures_of_this_replica_have_charts_up_to_a_limit() {
        let mut view = evil();
        view.steps.next(ActionKind::Wait, ReasonKind::AllocationsLeft, Time(0));
        let charts = |views: &[View]| render(views, Time(9_000), &|_| None).matches("class=\"gantt\"").count();
        assert_eq!((charts(&[view.clone()]), charts(&vec![view.clone(); 1_000])), (1, MOST_CHARTS));
        view.walked_here = false;
        assert_eq!(charts(&[view.clone()]), 0);
        assert!(!has_charts(&[view]), "no chart needs a legend");
    }

    #[test]
    fn the_time_budget_is_drawn_with_its_points() {
        let at = |seconds: u64| Time(seconds * 1_000);
        let (began, began_is_known, drain_until, force_at, end, hook_ends) =
            (at(0), true, at(500), at(750), at(1_000), at(1_100));
        let html = time_left(&Times { began, began_is_known, drain_until, force_at, end, hook_ends }, at(250));
        // ln(1 + 250/10) / ln(1 + 1000/10), and so on.
        assert!(html.contains("class=\"used\" y=\"3\" width=\"70.60%\""), "{html}");
        for place in ["85.19%", "93.84%", "100.00%"] {
            assert!(html.contains(&format!("<line x1=\"{place}\"")), "{place}: {html}");
        }
        // 20 s of these 1,000 would be 2 hundredths on an even scale.
        assert!(html.contains("x=\"23.80%\" y=\"28\" text-anchor=\"middle\">20s<"), "{html}");
        assert!(html.contains("4m 10s since it entered its hook, 12m 30s left") && !html.contains("style"), "{html}");
        assert!(html.contains("after 8m 20s remaining allocations are stopped"), "{html}");
    }

    #[test]
    fn a_long_wait_is_shown_as_blocked() {
        let mut view = evil();
        view.action = ActionKind::Wait;
        assert!(!card(&view, None, "", Time(119_000)).contains("class=\"blocked\""));
        assert!(card(&view, None, "", Time(120_000)).contains("class=\"blocked\""));
        // Not within the time that the wait may take by its own settings, such as a load balancer's five minutes.
        let blocker = Blocker { kind: BlockerKind::TargetGroup, name: "web".to_owned(), id: None };
        let (reason, because) = (ReasonKind::LoadBalancerDelay, String::new());
        view.wait = Some(Wait { reason, blocker, because, since: Time(0), due: Time(300_000), reported: false });
        assert!(!card(&view, None, "", Time(299_000)).contains("class=\"blocked\""));
        assert!(card(&view, None, "", Time(300_000)).contains("class=\"blocked\""));
    }

    #[test]
    fn a_wait_that_does_not_end_by_itself_is_shown_as_blocked_at_once() {
        let mut view = evil();
        for reason in ReasonKind::iter() {
            view.reason = reason;
            let blocked = card(&view, None, "", Time(1)).contains("class=\"blocked\"");
            assert_eq!(blocked, reason.class().is_blocked(), "{reason:?}");
        }
        assert!(ReasonKind::CannotSee.class().is_blocked() && !ReasonKind::LoadBalancerDelay.class().is_blocked());
    }
}
