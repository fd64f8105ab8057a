//! What is leaving now: a card for each departure, with what it waits for, what blocks it, and how much of its time is used.

use std::time::Duration;

use super::{Escaped, gantt};
use crate::view::{Elsewhere, Times, View};
use decamp_core::decide::ActionKind;
use decamp_core::runbook;
use decamp_core::time::{Time, plain};

/// A reason that lasts longer than this is shown as a block.
const LONG: Duration = Duration::from_secs(120);

/// Pictures of what leaves: of a thousand departures the page would be drawn for longer than it is looked at.
const MOST_PICTURES: usize = 50;

/// All that is leaving.
pub(super) fn drawn(under_way: &[View], now: Time) -> String {
    let mut html = format!("<h2>Leaving now ({})</h2>", under_way.len());
    if under_way.is_empty() {
        html.push_str("<p class=\"empty\">No instance is on its way out.</p>");
    }
    // What this replica does not walk is seen for a moment now and then, which makes no picture.
    let is_seen = |view: &View| view.walked_here && !view.steps.all().is_empty();
    if under_way.iter().any(is_seen) {
        html.push_str(gantt::LEGEND);
    }
    let mut pictures = 0;
    for view in under_way {
        let picture = if is_seen(view) && pictures < MOST_PICTURES { gantt::drawn(view, now) } else { None };
        pictures += usize::from(picture.is_some());
        html.push_str(&card(view, &picture.unwrap_or_default(), now));
    }
    html
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
fn card(view: &View, picture: &str, now: Time) -> String {
    let waited = now.since(view.since);
    let blocked = is_blocked(view, now);
    let mut html = format!(
        "<article class=\"{}\"><h3>{} <small>{}</small></h3><p><b>{}</b>: {}, because {}</p>",
        if blocked { "blocked" } else { "moving" },
        Escaped(&view.instance),
        Escaped(&view.group),
        view.phase,
        Escaped(&view.title),
        Escaped(&view.because),
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

/// How much of its time is used, and what happens at which of its points.
fn time_left(times: &Times, now: Time) -> String {
    let whole = times.end.since(times.began).as_secs_f64().max(1.0);
    let percent = |at: Time| (at.since(times.began).as_secs_f64() / whole * 100.0).min(100.0);
    let (used, left) = (plain(now.since(times.began)), plain(times.end.since(now)));
    let assumed = if times.began_is_known { "" } else { " (assumed)" };
    let mut html = format!(
        "<svg class=\"budget\" role=\"img\" aria-label=\"{used} of its {} are used\" width=\"100%\" height=\"16\">\
         <rect class=\"whole\" y=\"3\" width=\"100%\" height=\"10\"/><rect class=\"used\" y=\"3\" width=\"{:.2}%\" height=\"10\"/>",
        plain(times.end.since(times.began)),
        percent(now),
    );
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
        let drawn = card(&evil(), "", Time(0));
        assert_eq!(drawn.matches("&lt;script&gt;").count(), 6, "{drawn}");
        assert!(!drawn.contains("<script") && !drawn.contains("alert('"), "{drawn}");
    }

    #[test]
    fn what_is_walked_here_has_a_picture_and_a_thousand_have_no_thousand() {
        let mut view = evil();
        view.steps.next(ActionKind::Wait, ReasonKind::AllocationsLeft, Time(0));
        let pictures = |views: &[View]| drawn(views, Time(9_000)).matches("class=\"gantt\"").count();
        assert_eq!((pictures(&[view.clone()]), pictures(&vec![view.clone(); 1_000])), (1, MOST_PICTURES));
        view.walked_here = false;
        assert_eq!(pictures(&[view.clone()]), 0);
        assert!(!drawn(&[view], Time(9_000)).contains("class=\"legend\""), "there is nothing to explain");
    }

    #[test]
    fn its_budget_is_drawn_with_the_points_at_which_something_happens() {
        let at = |seconds: u64| Time(seconds * 1_000);
        let (began, began_is_known, drain_until, force_at, end, hook_ends) =
            (at(0), true, at(500), at(750), at(1_000), at(1_100));
        let html = time_left(&Times { began, began_is_known, drain_until, force_at, end, hook_ends }, at(250));
        assert!(html.contains("class=\"used\" y=\"3\" width=\"25.00%\""), "{html}");
        for place in ["50.00%", "75.00%", "100.00%"] {
            assert!(html.contains(&format!("<line x1=\"{place}\"")), "{place}: {html}");
        }
        assert!(html.contains("4m 10s since it entered its hook, 12m 30s left") && !html.contains("style"), "{html}");
        assert!(html.contains("after 8m 20s what is left is told to stop"), "{html}");
    }

    #[test]
    fn a_wait_that_lasts_is_shown_as_a_block() {
        let mut view = evil();
        view.action = ActionKind::Wait;
        assert!(!card(&view, "", Time(119_000)).contains("class=\"blocked\""));
        assert!(card(&view, "", Time(120_000)).contains("class=\"blocked\""));
        // As long as its own settings say that it may take it is none, such as the five minutes of a load balancer.
        let blocker = Blocker { kind: BlockerKind::TargetGroup, name: "web".to_owned(), id: None };
        let (reason, because) = (ReasonKind::LoadBalancerDelay, String::new());
        view.wait = Some(Wait { reason, blocker, because, since: Time(0), due: Time(300_000), told: false });
        assert!(!card(&view, "", Time(299_000)).contains("class=\"blocked\""));
        assert!(card(&view, "", Time(300_000)).contains("class=\"blocked\""));
    }

    #[test]
    fn what_waiting_alone_does_not_end_is_a_block_at_once() {
        let mut view = evil();
        for reason in ReasonKind::iter() {
            view.reason = reason;
            let blocked = card(&view, "", Time(1)).contains("class=\"blocked\"");
            assert_eq!(blocked, reason.class().is_blocked(), "{reason:?}");
        }
        assert!(ReasonKind::CannotSee.class().is_blocked() && !ReasonKind::LoadBalancerDelay.class().is_blocked());
    }
}
