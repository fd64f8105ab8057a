//! The past: the departures that this replica saw end, and the terminations in Auto Scaling's records.

use std::time::Duration;

use super::gantt::{self, Seconds};
use super::leaving::{compared, stopped, writes};
use super::{Escaped, table};
use crate::activity_history::{Row, Terminations};
use crate::view::View;
use decamp_core::runbook;
use decamp_core::time::plain;

/// The most rows of each table. The API has all.
pub(super) const SHOWN: usize = 50;

/// Renders the departures that this replica saw end, the latest first.
pub(super) fn render(past: &[View]) -> String {
    let mut html = String::from("<h2>Ended</h2><p class=\"note\">Departures that this replica saw end since it started.</p>");
    if past.is_empty() {
        html.push_str("<p class=\"empty\">None yet.</p>");
        return html;
    }
    let rows: String = past.iter().map(row).collect();
    html.push_str(&table("Ended departures", ["instance", "group", "outcome", "took", "ended"], &rows));
    let figures: String = past.iter().filter_map(figure).collect();
    if !figures.is_empty() {
        html.push_str(&format!("<h3>Second by second</h3><div class=\"figures\">{figures}</div>"));
    }
    html
}

/// Whether any of them has a chart that needs a legend.
pub(super) fn has_charts(past: &[View]) -> bool {
    past.iter().any(|view| view.outcome.is_some() && !view.steps.all().is_empty())
}

/// The chart of an ended departure, with its writes. An observed one has none.
fn figure(view: &View) -> Option<String> {
    let ended = view.outcome.as_ref()?;
    let svg = gantt::render(view, ended.at)?;
    let above = ended.seconds_above_floor.and_then(|above| Duration::try_from_secs_f64(above).ok());
    let own = above.map_or_else(String::new, |above| format!(", {} of it decamp's own", Seconds(above)));
    Some(format!(
        "<figure><figcaption><b>{}</b> {}: {} in {}{own}</figcaption>{svg}{}{}{}</figure>",
        Escaped(&view.instance),
        Escaped(&view.group),
        ended.word,
        plain(ended.at.since(view.began())),
        stopped(view),
        compared(view),
        writes(view),
    ))
}

/// An outcome, linked to its section of the runbook.
fn linked(word: &str) -> String {
    format!("<a rel=\"noreferrer\" href=\"{}\">{word}</a>", runbook::section("outcomes", word))
}

/// One ended departure.
fn row(view: &View) -> String {
    let (word, meaning, at) = match &view.outcome {
        Some(ended) => (linked(ended.word), ended.meaning.as_str(), Some(ended.at)),
        None => ("observed".to_owned(), "nothing was written", None),
    };
    format!(
        "<tr><td>{}</td><td>{}</td><td title=\"{}\">{word}</td><td>{}</td><td>{}</td></tr>",
        Escaped(&view.instance),
        Escaped(&view.group),
        Escaped(meaning),
        at.map_or_else(String::new, |at| plain(at.since(view.began()))),
        at.map_or_else(String::new, |at| at.to_string()),
    )
}

/// Renders the terminations in Auto Scaling's records.
pub(super) fn render_records(told: &Terminations) -> String {
    let mut html = String::from("<h2>Auto Scaling's records</h2><p class=\"note\">");
    html.push_str(&match told.at {
        Some(at) => {
            format!("The last terminations of these groups in Auto Scaling's records, as of {at}. They show when, not how.")
        }
        None => "Auto Scaling's records have not been read yet.".to_owned(),
    });
    html.push_str("</p>");
    if let Some(why) = &told.unseen {
        html.push_str(&format!("<p class=\"ill\">They could not be read since: {}</p>", Escaped(why)));
    }
    if told.terminated.is_empty() {
        html.push_str("<p class=\"empty\">None.</p>");
        return html;
    }
    let rows: String = told.terminated.iter().take(SHOWN).map(terminated).collect();
    html + &table("Terminations in Auto Scaling's records", ["instance", "group", "result", "took", "ended"], &rows)
}

/// One termination.
fn terminated(row: &Row) -> String {
    format!(
        "<tr><td>{}</td><td>{}</td><td title=\"{}\">{}</td><td>{}</td><td>{}</td></tr>",
        Escaped(&row.instance),
        Escaped(&row.group),
        Escaped(&row.cause),
        if row.successful { "terminated" } else { "not terminated" },
        row.ended.map_or_else(String::new, |ended| plain(ended.since(row.began))),
        row.ended.map_or_else(String::new, |ended| ended.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::super::leaving::tests::{EVIL, evil};
    use super::*;
    use crate::view::Ended;
    use decamp_core::decide::{ActionKind, ReasonKind};
    use decamp_core::time::Time;

    #[test]
    fn nothing_of_an_ended_departure_becomes_markup() {
        let mut view = evil();
        view.outcome = Some(Ended { at: Time(0), word: "departed", meaning: EVIL.to_owned(), seconds_above_floor: Some(3.25) });
        view.steps.next(ActionKind::Wait, ReasonKind::AllocationsLeft, Time(0));
        let html = render(&[view]);
        assert!(html.contains("&lt;script&gt;") && !html.contains("<script") && !html.contains("alert('"), "{html}");
    }

    #[test]
    fn an_ended_departure_has_its_chart_with_decamps_own_seconds_if_known() {
        let mut view = evil();
        let ended =
            |seconds_above_floor| Ended { at: Time(9_000), word: "departed", meaning: String::new(), seconds_above_floor };
        view.outcome = Some(ended(None));
        assert!(!render(&[view.clone()]).contains("<svg"), "this replica saw nothing of it");
        view.steps.next(ActionKind::Wait, ReasonKind::AllocationsLeft, Time(0));
        let html = render(&[view.clone()]);
        assert!(html.contains("<svg") && html.contains("departed in 9s<"), "{html}");
        view.outcome = Some(ended(Some(3.25)));
        assert!(render(&[view]).contains("departed in 9s, 3.2 s of it decamp's own"));
    }

    #[test]
    fn nothing_of_auto_scalings_records_becomes_markup() {
        let (instance, group) = (EVIL.to_owned(), EVIL.into());
        let row = Row { instance, group, began: Time(0), ended: Some(Time(61_000)), successful: true, cause: EVIL.to_owned() };
        let told = Terminations { at: Some(Time(90_000)), unseen: Some(EVIL.to_owned()), terminated: vec![row] };
        let html = render_records(&told);
        assert_eq!(html.matches("&lt;script&gt;").count(), 4, "{html}");
        assert!(!html.contains("<script") && html.contains("Auto Scaling's records, as of 1970-01-01T00:01:30Z"), "{html}");
        assert!(render_records(&Terminations::default()).contains("have not been read yet"));
    }
}
