//! The instance refreshes: the progress of each, and how the last ones ended.

use super::Escaped;
use crate::refreshes::Shown;
use decamp_core::refresh::{Refresh, Status};
use decamp_core::time::{Time, plain};

/// Renders the part. It is empty without refreshes.
pub(super) fn render(all: &[Shown], now: Time) -> String {
    if all.is_empty() {
        return String::new();
    }
    let (ended, in_progress): (Vec<&Shown>, Vec<&Shown>) = all.iter().partition(|one| one.refresh.status.is_over());
    let mut html = format!("<h2>Refreshes ({})</h2>", in_progress.len());
    in_progress.iter().for_each(|one| html.push_str(&card(one, now)));
    if in_progress.is_empty() {
        html.push_str("<p class=\"empty\">No group is being refreshed.</p>");
    }
    if !ended.is_empty() {
        html.push_str("<ul class=\"note\">");
        ended.iter().for_each(|one| html.push_str(&line(&one.refresh)));
        html.push_str("</ul>");
    }
    html
}

fn card(one: &Shown, now: Time) -> String {
    let Shown { refresh, asked_by, .. } = one;
    let (group, name) = (Escaped(&refresh.group), refresh.status.name());
    let percentage = refresh.percentage.unwrap_or(0);
    let began = refresh.began.map_or_else(String::new, |began| format!(", for {}", plain(now.since(began))));
    let left = match refresh.to_update {
        None => String::new(),
        Some(1) => ", 1 instance still to be replaced".to_owned(),
        Some(left) => format!(", {left} instances still to be replaced"),
    };
    let asked = asked_by.map_or_else(String::new, |way| format!(" <small>asked for by a {way} notification</small>"));
    format!(
        "<article class=\"{}\"><h3>{group}{asked}</h3><p><b>{name}</b>: {}{began}{left}.{}</p>\
         <p><progress max=\"100\" value=\"{percentage}\" aria-label=\"the part of {group} that is replaced\"></progress> {percentage} %</p></article>",
        if is_ill(refresh.status) { "blocked" } else { "moving" },
        refresh.status.meaning(),
        why(refresh),
    )
}

fn line(refresh: &Refresh) -> String {
    let ill = if is_ill(refresh.status) { " class=\"ill\"" } else { "" };
    let ended = refresh.ended.map_or_else(String::new, |ended| format!(" at <time>{ended}</time>"));
    let (group, name) = (Escaped(&refresh.group), refresh.status.name());
    format!("<li{ill}>{group}: {name}{ended}, {}.{}</li>", refresh.status.meaning(), why(refresh))
}

fn why(refresh: &Refresh) -> String {
    refresh.why.as_ref().map_or_else(String::new, |why| format!(" <q>{}</q>", Escaped(why)))
}

/// Whether a person should look at it.
fn is_ill(status: Status) -> bool {
    match status {
        Status::Failed | Status::RollbackInProgress | Status::RollbackFailed | Status::RollbackSuccessful | Status::Unknown => {
            true
        }
        Status::Pending | Status::InProgress | Status::Baking | Status::Successful | Status::Cancelling | Status::Cancelled => {
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(status: Status) -> Shown {
        let evil = "<script>alert('1')</script>";
        let refresh = Refresh {
            id: evil.into(),
            group: evil.into(),
            status,
            why: Some(evil.into()),
            began: Some(Time(0)),
            ended: status.is_over().then_some(Time(60_000)),
            percentage: Some(33),
            to_update: Some(2),
        };
        Shown { refresh, asked_by: Some("terraform"), seen: Time(0) }
    }

    #[test]
    fn nothing_of_aws_becomes_markup_with_any_status() {
        for &status in Status::ALL {
            let html = render(&[shown(status)], Time(60_000));
            assert!(html.contains("&lt;script&gt;") && html.contains(status.name()), "{html}");
            assert!(!html.contains("<script") && !html.contains("alert('"), "{html}");
        }
        assert_eq!(render(&[], Time(0)), "");
    }

    #[test]
    fn a_refresh_in_progress_shows_its_progress_and_a_failed_one_stands_out() {
        let html = render(&[shown(Status::InProgress), shown(Status::Failed)], Time(62_000));
        assert!(html.contains("value=\"33\"") && html.contains("for 62s") && html.contains("2 instances still"), "{html}");
        assert!(html.contains("Refreshes (1)") && html.contains("<li class=\"ill\">"), "{html}");
    }
}
