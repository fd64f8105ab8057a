//! The page: what is leaving now and what it waits for, what is over, drawn on the server; a small script draws it again when told.

mod refreshes;
pub(super) mod session;

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use axum::Router;
use axum::extract::{Form, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use serde::Deserialize;
use utoipa::ToSchema;

use super::keys::Keys;
use super::problem::Problem;
use crate::serve::Service;
use crate::serve::health::Health;
use crate::serve::record::Told;
use crate::serve::view::{Times, View};
use crate::time::{Time, plain};
use crate::world::World;

const STYLE: &str = include_str!("page/style.css");
const SCRIPT: &str = include_str!("page/page.js");
/// How many past departures the page shows; the API has all that are kept.
const PAST_SHOWN: usize = 50;
/// A reason that lasts longer than this is shown as a block.
const LONG: std::time::Duration = std::time::Duration::from_secs(120);

/// What the page needs.
pub(super) struct Page {
    service: Arc<Service>,
    token: Arc<Keys>,
}

/// The page, its parts, and the way in.
pub(super) fn router(service: &Arc<Service>, token: &Arc<Keys>) -> Router {
    let page = Arc::new(Page { service: Arc::clone(service), token: Arc::clone(token) });
    Router::new()
        .route("/", get(whole))
        .route("/live", get(live))
        .route("/login", get(login).post(log_in))
        .route("/style.css", get(style))
        .route("/page.js", get(script))
        .with_state(page)
}

/// The page.
#[utoipa::path(get, path = "/", tag = "admin", security(("token" = [])), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(super) async fn whole(State(page): State<Arc<Page>>) -> Html<String> {
    // Shown by the script when the service does not answer any more: what stands below it is old then.
    let lost = "<p id=\"lost\" class=\"ill\" role=\"alert\" hidden><b>This replica cannot be reached</b> (<span></span>): what follows is \
                what it said last. Another replica has the departures in hand.</p>";
    let body = format!(
        "{lost}<main id=\"live\" aria-live=\"polite\">{}</main><script src=\"/page.js\" defer></script>",
        drawn(&page.service)
    );
    Html(document("decamp", &body))
}

/// What changes on the page.
#[utoipa::path(get, path = "/live", tag = "admin", security(("token" = [])), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(super) async fn live(State(page): State<Arc<Page>>) -> Html<String> {
    Html(drawn(&page.service))
}

/// Asks for the admin token.
#[utoipa::path(get, path = "/login", tag = "admin", security(()), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(super) async fn login() -> Html<String> {
    let form = "<main><h1>decamp</h1><form method=\"post\" action=\"/login\"><label for=\"token\">Admin token</label> \
                <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus> \
                <button>Open</button></form></main>";
    Html(document("decamp: log in", form))
}

/// The page's style.
#[utoipa::path(
    get, path = "/style.css", tag = "admin", security(()),
    responses((status = 200, description = "A style sheet.", content_type = "text/css", body = String))
)]
pub(super) async fn style() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8")], STYLE)
}

/// The page's script.
#[utoipa::path(
    get, path = "/page.js", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "A script.", content_type = "text/javascript", body = String))
)]
pub(super) async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], SCRIPT)
}

#[derive(Deserialize, ToSchema)]
pub(super) struct Given {
    /// The admin token.
    token: String,
}

/// Opens a session for a browser that shows the admin token.
#[utoipa::path(
    post, path = "/login", tag = "admin", security(()),
    request_body(content = Given, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "It is open; the page is at `/`."))
)]
pub(super) async fn log_in(
    State(page): State<Arc<Page>>,
    given: Result<Form<Given>, axum::extract::rejection::FormRejection>,
) -> Result<Response, Problem> {
    let Form(Given { token }) = given.map_err(|_| Problem::unauthorized())?;
    let token = token.trim();
    if page.token.place(token).await?.is_none() {
        return Err(Problem::unauthorized());
    }
    let cookie = session::cookie(token, page.service.live.now());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"stylesheet\" href=\"/style.css\">\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript></head><body>{body}</body></html>"
    )
}

/// Text from the cluster, which may hold anything.
struct Escaped<'a>(&'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for letter in self.0.chars() {
            match letter {
                '&' => f.write_str("&amp;")?,
                '<' => f.write_str("&lt;")?,
                '>' => f.write_str("&gt;")?,
                '"' => f.write_str("&quot;")?,
                '\'' => f.write_str("&#39;")?,
                other => f.write_char(other)?,
            }
        }
        Ok(())
    }
}

/// What changes.
fn drawn(service: &Service) -> String {
    let now = service.live.now();
    let (under_way, past) = service.departures.shown();
    let mut html = String::from("<h1>decamp</h1>");
    let ills = Health::not_ready(service).into_iter().map(|ill| (ill, ""));
    for (ill, is) in ills.chain(service.health.unseen().into_iter().map(|ill| (ill, " cannot be seen"))) {
        html.push_str(&format!("<p class=\"ill\" role=\"alert\"><b>{}</b>{is}: {}</p>", Escaped(ill.what), Escaped(&ill.why)));
    }
    html.push_str(&refreshes::drawn(&service.refreshes.shown(), now));
    html.push_str(&format!("<h2>Leaving now ({})</h2>", under_way.len()));
    if under_way.is_empty() {
        html.push_str("<p class=\"empty\">No instance is on its way out.</p>");
    }
    under_way.iter().for_each(|view| html.push_str(&card(view, now)));
    html.push_str("<h2>Over</h2><p class=\"note\">Departures that this replica saw end since it started.</p>");
    if past.is_empty() {
        html.push_str("<p class=\"empty\">None yet.</p>");
    } else {
        html.push_str(
            "<table><thead><tr><th>instance</th><th>group</th><th>outcome</th><th>took</th><th>ended</th></tr></thead><tbody>",
        );
        past.iter().take(PAST_SHOWN).for_each(|view| html.push_str(&row(view)));
        html.push_str("</tbody></table>");
    }
    html.push_str(&recorded(&service.record.told()));
    html.push_str(&format!("<p class=\"note\">As of {now}.</p>"));
    html
}

/// What Auto Scaling's own record tells.
fn recorded(told: &Told) -> String {
    let mut html = String::from("<h2>As Auto Scaling tells</h2><p class=\"note\">");
    html.push_str(&match told.at {
        Some(at) => {
            format!("The last terminations of these groups in Auto Scaling's own record, as of {at}: it knows when, not how.")
        }
        None => "Auto Scaling's own record has not been seen yet.".to_owned(),
    });
    html.push_str("</p>");
    if let Some(why) = &told.unseen {
        html.push_str(&format!("<p class=\"ill\">It could not be seen since: {}</p>", Escaped(why)));
    }
    if told.terminated.is_empty() {
        html.push_str("<p class=\"empty\">None.</p>");
        return html;
    }
    html.push_str(
        "<table><thead><tr><th>instance</th><th>group</th><th>result</th><th>took</th><th>ended</th></tr></thead><tbody>",
    );
    for row in told.terminated.iter().take(PAST_SHOWN) {
        html.push_str(&format!(
            "<tr><td>{}</td><td>{}</td><td title=\"{}\">{}</td><td>{}</td><td>{}</td></tr>",
            Escaped(&row.instance),
            Escaped(&row.group),
            Escaped(&row.cause),
            if row.successful { "terminated" } else { "not terminated" },
            row.ended.map_or_else(String::new, |ended| plain(ended.since(row.began))),
            row.ended.map_or_else(String::new, |ended| ended.to_string()),
        ));
    }
    html.push_str("</tbody></table>");
    html
}

/// Reasons that waiting alone does not end: somebody has to look.
const BLOCKS: [&str; 7] = ["agent-dead", "cannot-see", "drain-cancelled", "drain-hangs", "held", "no-sight", "write-failed"];

/// One departure under way.
fn card(view: &View, now: Time) -> String {
    let waited = now.since(view.since);
    let blocked = BLOCKS.contains(&view.reason) || view.action == "wait" && LONG <= waited;
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
        let by = view.wait.as_ref().map(|wait| match (wait.blocker.kind, &wait.blocker.name) {
            ("system", name) => format!("Blocked: {name} cannot be seen. "),
            (kind, name) => format!("Blocked by {kind} {name}. "),
        });
        let by = by.unwrap_or_default();
        html.push_str(&format!("<p class=\"ill\">{}That has been so for {}.</p>", Escaped(&by), plain(waited)));
    }
    if !view.walked_here {
        html.push_str("<p class=\"note\">Another replica seems to walk it; this one saw it in its last sweep.</p>");
    }
    if let Some(times) = &view.budget {
        html.push_str(&time_left(times, now));
    }
    if !view.timeline.is_empty() {
        html.push_str("<details><summary>Written</summary><ol>");
        for moment in &view.timeline {
            let refused = moment.refused.as_ref().map(|why| format!(" did not succeed: {why}")).unwrap_or_default();
            html.push_str(&format!("<li><time>{}</time> {}{}</li>", moment.at, Escaped(&moment.what), Escaped(&refused)));
        }
        html.push_str("</ol></details>");
    }
    if !view.evidence.is_empty() {
        html.push_str("<details><summary>Seen</summary><ul>");
        for evidence in &view.evidence {
            let at = evidence.at.map_or_else(|| "never".to_owned(), |at| at.to_string());
            html.push_str(&format!("<li><time>{at}</time> {}</li>", Escaped(&evidence.what)));
        }
        html.push_str("</ul></details>");
    }
    html.push_str("</article>");
    html
}

/// How much of its time is used.
fn time_left(times: &Times, now: Time) -> String {
    let (whole, used) = (times.end.since(times.began), now.since(times.began));
    let assumed = if times.began_is_known { "" } else { " (assumed)" };
    format!(
        "<p><progress max=\"{}\" value=\"{}\"></progress> {} since it entered its hook{assumed}, {} left</p>",
        whole.as_secs().max(1),
        used.as_secs().min(whole.as_secs()),
        plain(used),
        plain(times.end.since(now)),
    )
}

/// One departure that is over.
fn row(view: &View) -> String {
    let (word, meaning, at) = match &view.outcome {
        Some(ended) => (ended.word, ended.meaning.as_str(), Some(ended.at)),
        None => ("observed", "nothing was written", None),
    };
    let began = view.budget.as_ref().map_or(view.taken_up, |times| times.began);
    format!(
        "<tr class=\"{word}\"><td>{}</td><td>{}</td><td title=\"{}\">{word}</td><td>{}</td><td>{}</td></tr>",
        Escaped(&view.instance),
        Escaped(&view.group),
        Escaped(meaning),
        at.map_or_else(String::new, |at| plain(at.since(began))),
        at.map_or_else(String::new, |at| at.to_string()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decide::{Cause, Departure, LifecycleAction, Reason, System};
    use crate::ids::InstanceId;
    use crate::serve::record::Row;
    use crate::serve::view::{Ended, Evidence, Moment};

    const EVIL: &str = "<script>alert('1')</script>&\"";

    fn evil() -> View {
        let cause = Cause::Lifecycle(LifecycleAction::default());
        let departure = Departure { instance: InstanceId::from_number(1), asg: EVIL.into(), cause };
        let mut view = View::begin(&departure, "event", Time(0));
        view.title = EVIL.to_owned();
        view.because = EVIL.to_owned();
        view.timeline = vec![Moment { at: Time(0), what: EVIL.to_owned(), refused: Some(EVIL.to_owned()) }];
        view.evidence = vec![Evidence { at: None, what: EVIL.to_owned() }];
        view
    }

    #[test]
    fn nothing_from_the_cluster_becomes_markup() {
        let mut view = evil();
        let drawn = card(&view, Time(0));
        assert_eq!(drawn.matches("&lt;script&gt;").count(), 6, "{drawn}");
        view.outcome = Some(Ended { at: Time(0), word: "departed", meaning: EVIL.to_owned() });
        let row = row(&view);
        for html in [drawn, row] {
            assert!(!html.contains("<script") && !html.contains("alert('"), "{html}");
        }
    }

    #[test]
    fn nothing_of_auto_scalings_record_becomes_markup_and_it_says_whose_it_is() {
        let (instance, group) = (EVIL.to_owned(), EVIL.into());
        let row = Row { instance, group, began: Time(0), ended: Some(Time(61_000)), successful: true, cause: EVIL.to_owned() };
        let told = Told { at: Some(Time(90_000)), unseen: Some(EVIL.to_owned()), terminated: vec![row] };
        let html = recorded(&told);
        assert_eq!(html.matches("&lt;script&gt;").count(), 4, "{html}");
        assert!(!html.contains("<script") && html.contains("Auto Scaling's own record, as of 1970-01-01T00:01:30Z"), "{html}");
        assert!(recorded(&Told::default()).contains("has not been seen yet"));
    }

    #[test]
    fn a_wait_that_lasts_is_shown_as_a_block() {
        let mut view = evil();
        view.action = "wait";
        assert!(!card(&view, Time(119_000)).contains("class=\"blocked\""));
        assert!(card(&view, Time(120_000)).contains("class=\"blocked\""));
    }

    #[test]
    fn what_waiting_alone_does_not_end_is_a_block_at_once() {
        let mut view = evil();
        for reason in BLOCKS {
            view.reason = reason;
            assert!(card(&view, Time(1)).contains("class=\"blocked\""), "{reason}");
        }
        view.reason = "load-balancer-delay";
        assert!(!card(&view, Time(1)).contains("class=\"blocked\""));
        // Each is a word that reasons have.
        let known = [
            Reason::AgentDead { until: Time(0) },
            Reason::CannotSee(System::Nomad),
            Reason::DrainCancelled,
            Reason::DrainHangs,
            Reason::Held,
            Reason::NoSight("why".into()),
            Reason::WriteFailed("why".into()),
        ];
        assert_eq!(known.map(|reason| reason.word()), BLOCKS);
    }
}
