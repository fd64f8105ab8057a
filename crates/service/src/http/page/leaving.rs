//! What is leaving now: a card for each departure, with what it waits for, what blocks it, and how much of its time is used.

use std::time::Duration;

use super::{Escaped, gantt};
use crate::view::{Elsewhere, Stage, Times, View};
use decamp_aws::Origin;
use decamp_core::decide::ActionKind;
use decamp_core::ids::InstanceId;
use decamp_core::runbook;
use decamp_core::time::{Time, plain};

/// A reason that lasts longer than this is shown as a block.
const LONG: Duration = Duration::from_secs(120);

/// Pictures of what leaves: of a thousand departures the page would be drawn for longer than it is looked at.
const MOST_PICTURES: usize = 50;

/// Where an instance stands and what it was launched from, as far as that is known.
type Origins<'a> = &'a dyn Fn(InstanceId) -> Option<Origin>;

/// All that is leaving.
pub(super) fn drawn(under_way: &[View], now: Time, origins: Origins<'_>) -> String {
    let mut html = format!("<h2>Leaving now ({})</h2>", under_way.len());
    if under_way.is_empty() {
        html.push_str("<p class=\"empty\">No instance is on its way out.</p>");
    }
    let mut pictures = 0;
    for view in under_way {
        let picture = if is_seen(view) && pictures < MOST_PICTURES { gantt::drawn(view, now) } else { None };
        pictures += usize::from(picture.is_some());
        let origin = view.instance.parse().ok().and_then(origins);
        html.push_str(&card(view, origin.as_ref(), &picture.unwrap_or_default(), now));
    }
    html
}

/// What this replica does not walk is seen for a moment now and then, which makes no picture.
fn is_seen(view: &View) -> bool {
    view.walked_here && !view.steps.all().is_empty()
}

/// Whether any of them has a picture that needs a legend.
pub(super) fn has_pictures(under_way: &[View]) -> bool {
    under_way.iter().any(is_seen)
}

/// Whether a person should look at it.
pub(super) fn is_blocked(view: &View, now: Time) -> bool {
    let is_late = || match &view.wait {
        // A deregistration delay of five minutes is no block, and neither is a task that may take its time to stop.
        Some(wait) => wait.due.max(wait.since + LONG) <= now,
        None => LONG <= now.since(view.since),
    };
    view.reason.class().is_blocked() || view.action == ActionKind::Wait && is_late()
}

/// One departure under way.
fn card(view: &View, origin: Option<&Origin>, picture: &str, now: Time) -> String {
    let waited = now.since(view.since);
    let blocked = is_blocked(view, now);
    // What a sweep saw once is over soon: a time until which it waited then would stand there in the past.
    let title = if view.walked_here { view.title.as_str() } else { "seen by the last sweep" };
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
            "<p class=\"ill\">{}That has been so for {}. <a rel=\"noreferrer\" href=\"{runbook}\">What to do</a></p>",
            Escaped(&by),
            plain(waited)
        ));
    }
    for denied in &view.denied {
        html.push_str(&format!("<p class=\"ill\">Denied, until a policy is changed: {}</p>", Escaped(denied)));
    }
    if !view.walked_here {
        html.push_str("<p class=\"note\">This replica does not walk it, and saw it in its last sweep.");
        if let Some(Elsewhere { last_written, taken_up_at }) = view.elsewhere {
            html.push_str(&format!(
                " Somebody last wrote something for it at <time>{last_written}</time>; if nobody does before <time>{taken_up_at}</time>, \
                 this replica takes it up then."
            ));
        }
        html.push_str("</p>");
    }
    if let Some(times) = &view.budget {
        html.push_str(&time_left(times, now));
    }
    html.push_str(picture);
    html.push_str(&written(view));
    if !view.evidence.is_empty() {
        html.push_str(&opened(view, "Seen"));
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

/// The node's name, the zone, and what it was launched from.
fn whereabouts(view: &View, origin: Option<&Origin>) -> String {
    let mut parts = Vec::new();
    parts.extend(view.node.as_ref().map(|node| format!("node <b>{}</b>", Escaped(node))));
    parts.extend(origin.map(|origin| Escaped(&origin.zone).to_string()));
    parts.extend(origin.and_then(|origin| origin.launched_from.as_ref()).map(|from| format!("launched from {}", Escaped(from))));
    if parts.is_empty() { String::new() } else { format!("<p class=\"note\">{}</p>", parts.join(", ")) }
}

/// The steps of it as a row: done, under way, to come.
fn stages(view: &View) -> String {
    let each = view.stages.each().map(|(name, stage)| {
        let (class, said) = match stage {
            Stage::Done => ("done", "done"),
            Stage::Now => ("now", "under way"),
            Stage::ToCome => ("to-come", "to come"),
        };
        format!("<li class=\"{class}\">{name}<span class=\"unseen\">: {said}</span></li>")
    });
    format!("<ol class=\"stages\" aria-label=\"Steps\">{}</ol>", each.collect::<String>())
}

/// What was written, in words.
pub(super) fn written(view: &View) -> String {
    if view.timeline.is_empty() {
        return String::new();
    }
    let mut html = format!("{}<ol>", opened(view, "Written"));
    for moment in &view.timeline {
        let refused = moment.refused.as_ref().map(|why| format!(" did not succeed: {why}")).unwrap_or_default();
        html.push_str(&format!("<li><time>{}</time> {}{}</li>", moment.at, Escaped(&moment.what), Escaped(&refused)));
    }
    html + "</ol></details>"
}

/// The begin of what can be opened. It has a name, by which it stays open when the page is drawn again.
fn opened(view: &View, what: &str) -> String {
    let (instance, began) = (Escaped(&view.instance), view.taken_up.0);
    format!(
        "<details data-name=\"{what} {instance} {began}\"><summary>{what}<span class=\"unseen\"> of {instance}</span></summary>"
    )
}

/// Of a time budget of an hour 20 s are half a hundredth: up to here its scale is even, and above each tenfold takes the same width.
const EVEN: f64 = 10.0;
/// Marks of the scale, in seconds.
const MARKS: [u64; 6] = [20, 120, 600, 3_600, 21_600, 86_400];

/// A time's place on the scale, in hundredths of the width.
fn place(times: &Times, at: Time) -> f64 {
    let scaled = |span: Duration| (1.0 + span.as_secs_f64() / EVEN).ln();
    let whole = times.end.since(times.began).max(Duration::from_secs(1));
    (scaled(at.since(times.began)) / scaled(whole) * 100.0).min(100.0)
}

/// How much of its time is used, and what happens at which of its points.
fn time_left(times: &Times, now: Time) -> String {
    let percent = |at: Time| place(times, at);
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
        // One that is near the end would be drawn over it.
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
        (times.drain_until, "what is left is told to stop"),
        (times.force_at, "a drain is forced"),
        (times.end, "decamp ends it"),
    ];
    for (at, what) in points {
        let (at, after) = (percent(at), plain(at.since(times.began)));
        html.push_str(&format!(
            "<line x1=\"{at:.2}%\" x2=\"{at:.2}%\" y1=\"0\" y2=\"16\"><title>after {after} {what}</title></line>"
        ));
    }
    let told = points.map(|(at, what)| format!("after {} {what}", plain(at.since(times.began)))).join(", ");
    html + &format!("</svg><p>{used} since it entered its hook{assumed}, {left} left; <small>{told}.</small></p>")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::notify::Wait;
    use crate::view::{Evidence, Moment};
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
        view
    }

    #[test]
    fn nothing_from_the_cluster_becomes_markup() {
        let drawn = card(&evil(), None, "", Time(0));
        assert_eq!(drawn.matches("&lt;script&gt;").count(), 6, "{drawn}");
        assert!(!drawn.contains("<script") && !drawn.contains("alert('"), "{drawn}");
    }

    #[test]
    fn what_is_walked_here_has_a_picture_and_a_thousand_have_no_thousand() {
        let mut view = evil();
        view.steps.next(ActionKind::Wait, ReasonKind::AllocationsLeft, Time(0));
        let pictures = |views: &[View]| drawn(views, Time(9_000), &|_| None).matches("class=\"gantt\"").count();
        assert_eq!((pictures(&[view.clone()]), pictures(&vec![view.clone(); 1_000])), (1, MOST_PICTURES));
        view.walked_here = false;
        assert_eq!(pictures(&[view.clone()]), 0);
        assert!(!has_pictures(&[view]), "there is nothing to explain");
    }

    #[test]
    fn its_budget_is_drawn_with_the_points_at_which_something_happens() {
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
        assert!(html.contains("after 8m 20s what is left is told to stop"), "{html}");
    }

    #[test]
    fn a_wait_that_lasts_is_shown_as_a_block() {
        let mut view = evil();
        view.action = ActionKind::Wait;
        assert!(!card(&view, None, "", Time(119_000)).contains("class=\"blocked\""));
        assert!(card(&view, None, "", Time(120_000)).contains("class=\"blocked\""));
        // As long as its own settings say that it may take it is none, such as the five minutes of a load balancer.
        let blocker = Blocker { kind: BlockerKind::TargetGroup, name: "web".to_owned(), id: None };
        let (reason, because) = (ReasonKind::LoadBalancerDelay, String::new());
        view.wait = Some(Wait { reason, blocker, because, since: Time(0), due: Time(300_000), reported: false });
        assert!(!card(&view, None, "", Time(299_000)).contains("class=\"blocked\""));
        assert!(card(&view, None, "", Time(300_000)).contains("class=\"blocked\""));
    }

    #[test]
    fn what_waiting_alone_does_not_end_is_a_block_at_once() {
        let mut view = evil();
        for reason in ReasonKind::iter() {
            view.reason = reason;
            let blocked = card(&view, None, "", Time(1)).contains("class=\"blocked\"");
            assert_eq!(blocked, reason.class().is_blocked(), "{reason:?}");
        }
        assert!(ReasonKind::CannotSee.class().is_blocked() && !ReasonKind::LoadBalancerDelay.class().is_blocked());
    }
}
