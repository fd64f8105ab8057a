//! The page: the departures in progress with what they wait for, and those that ended. The server renders it, and a small script updates
//! the parts that change.

mod about;
mod gantt;
mod leaving;
pub(super) mod login;
mod past;
mod refreshes;
pub(super) mod session;

use std::fmt::{self, Display, Write as _};
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse};
use axum::routing::{get, post};

use super::keys::Keys;
use crate::Service;
use crate::health::{Health, Ill};
use crate::view::View;
use decamp_core::world::World;

/// It shares its colours with the rehearsal's report.
const STYLE: &str = concat!(include_str!("../../../colours.css"), include_str!("page/style.css"));
const SCRIPT: &str = include_str!("page/page.js");

/// Shown by the script when the service does not answer, or the session has ended. The rest of the page is old then.
const LOST: &str = "<p id=\"lost\" class=\"ill\" role=\"alert\" hidden><b>This replica cannot be reached</b> (<span></span>). The rest \
                    of this page is old. The other replicas' pages show whether one has taken over its departures.</p>\
                    <p id=\"over\" class=\"ill\" role=\"alert\" hidden><b>Your session has ended</b>. The rest of this page is old. \
                    <a href=\"/login\">Log in again</a>.</p>";

/// Ends the session.
const LOG_OUT: &str = "<form method=\"post\" action=\"/logout\"><button>Log out</button></form>";

/// Shown in observe mode, in which this replica writes nothing.
const OBSERVES: &str = "<p class=\"observes\"><b>This replica only observes</b> (DECAMP_MODE is observe, or DECAMP_GROUPS names no \
                        group). It logs what it would do, and writes nothing.</p>";

/// A node with an arrow out of it, in colours that are visible on light and dark tabs.
const ICON: &str = "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 16 16\"><rect x=\"1\" y=\"3\" width=\"9\" height=\"10\" rx=\"2\" \
                    fill=\"none\" stroke=\"#3f7fbf\" stroke-width=\"2\"/><path d=\"M6 8h8m-3-3 3 3-3 3\" fill=\"none\" stroke=\"#d0743c\" \
                    stroke-width=\"2\"/></svg>";

/// The state of the page's routes.
pub(super) struct Page {
    service: Arc<Service>,
    token: Arc<Keys>,
}

/// The routes of the page, its parts and the login.
pub(super) fn router(service: &Arc<Service>, token: &Arc<Keys>) -> Router {
    let page = Arc::new(Page { service: Arc::clone(service), token: Arc::clone(token) });
    Router::new()
        .route("/", get(whole))
        .route("/live", get(live))
        .route("/login", get(login::login).post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/style.css", get(style))
        .route("/page.js", get(script))
        .route("/favicon.svg", get(icon))
        .with_state(page)
}

/// The page.
#[utoipa::path(get, path = "/", tag = "admin", security(("token" = [])), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(super) async fn whole(State(page): State<Arc<Page>>) -> Html<String> {
    // Without a token there is no session to end.
    let log_out = if page.token.are_set() { LOG_OUT } else { "" };
    let body =
        format!("<h1>decamp</h1>{log_out}{LOST}<main>{}</main><script src=\"/page.js\" defer></script>", render(&page.service));
    Html(document(&title(&page.service), &body))
}

/// The parts of the page that change.
#[utoipa::path(get, path = "/live", tag = "admin", security(("token" = [])), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(super) async fn live(State(page): State<Arc<Page>>) -> Html<String> {
    Html(render(&page.service))
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

/// The page's icon.
#[utoipa::path(
    get, path = "/favicon.svg", tag = "admin", security(()),
    responses((status = 200, description = "A picture.", content_type = "image/svg+xml", body = String))
)]
pub(super) async fn icon() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "image/svg+xml")], ICON)
}

fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"><link rel=\"icon\" href=\"/favicon.svg\" type=\"image/svg+xml\"><link rel=\"stylesheet\" href=\"/style.css\">\
         <noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript></head><body>{body}</body></html>"
    )
}

/// Escapes text from the cluster, which may contain markup.
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

/// The parts of the page. The script replaces only those that changed.
fn render(service: &Service) -> String {
    let now = service.live.now();
    let (in_progress, ended) = service.departures.summaries(View::clone);
    let past = service.departures.last(past::SHOWN);
    let not_ready = Health::not_ready(service).into_iter().map(|ill| (ill, ""));
    let ills: Vec<_> = not_ready.chain(service.health.unseen().into_iter().map(|ill| (ill, " cannot be read"))).collect();
    let blocked = in_progress.iter().filter(|view| leaving::is_blocked(view, now)).count();
    format!(
        "<p data-part=\"status\" data-title=\"{}\" role=\"status\">{}</p><p data-part=\"as-of\" class=\"note\">As of <time>{now}</time>.</p>\
         <div data-part=\"about\">{}</div><div data-part=\"ills\">{}{}</div><div data-part=\"legend\">{}</div><section data-part=\"refreshes\">{}</section><section data-part=\"leaving\">{}</section>\
         <section data-part=\"over\">{}</section><section data-part=\"record\">{}</section>",
        counted(in_progress.len(), blocked),
        status(in_progress.len(), blocked, ended, &ills),
        about::render(service, now),
        if service.settings.only_observes() { OBSERVES } else { "" },
        ills.iter().map(problem).collect::<String>(),
        // One legend for the charts of departures in progress and of ended ones.
        if leaving::has_charts(&in_progress) || past::has_charts(&past) { gantt::LEGEND } else { "" },
        refreshes::render(&service.refreshes.shown(), now),
        leaving::render(&in_progress, now, &|instance| service.live.auto_scaling().origin(instance)),
        past::render(&past),
        past::render_records(&service.activity_history.latest()),
    )
}

/// The tab's title.
fn title(service: &Service) -> String {
    let now = service.live.now();
    let (in_progress, _) = service.departures.summaries(View::clone);
    counted(in_progress.len(), in_progress.iter().filter(|view| leaving::is_blocked(view, now)).count())
}

/// How many departures are blocked and in progress. The worse comes first, because a tab shows little of its title.
fn counted(leaving: usize, blocked: usize) -> String {
    match (leaving, blocked) {
        (0, _) => "decamp".to_owned(),
        (leaving, 0) => format!("{leaving} leaving - decamp"),
        (leaving, blocked) => format!("{blocked} blocked, {leaving} leaving - decamp"),
    }
}

/// The state in one sentence, which screen readers read out when it changes.
fn status(leaving: usize, blocked: usize, ended: usize, ills: &[(Ill, &str)]) -> String {
    let leaving = match leaving {
        0 => "No instance is leaving".to_owned(),
        1 => "1 instance is leaving".to_owned(),
        many => format!("{many} instances are leaving"),
    };
    let blocked = if blocked == 0 { String::new() } else { format!(", <b class=\"ill\">{blocked} blocked</b>") };
    let ills: String = ills.iter().map(|(ill, _)| format!(" <b class=\"ill\">Check {}.</b>", Escaped(ill.what))).collect();
    format!("{leaving}{blocked}; {ended} ended.{ills}")
}

/// A problem of the replica or of a system.
fn problem((ill, is): &(Ill, &str)) -> String {
    format!("<p class=\"ill\"><b>{}</b>{is}: {}</p>", Escaped(ill.what), Escaped(&ill.why))
}

/// A table. In a narrow window it scrolls by itself, also by keyboard.
fn table(name: &str, heads: [&str; 5], rows: &str) -> String {
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    format!(
        "<div class=\"wide\" data-name=\"{name}\" tabindex=\"0\" role=\"region\" aria-label=\"{name}\"><table><thead><tr>{heads}</tr></thead>\
         <tbody>{rows}</tbody></table></div>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tab_counts_departures_in_progress_and_blocked_ones() {
        let titles = [counted(0, 0), counted(2, 0), counted(3, 1)];
        assert_eq!(titles, ["decamp", "2 leaving - decamp", "1 blocked, 3 leaving - decamp"]);
    }

    #[test]
    fn the_status_counts_departures_and_names_what_to_check() {
        assert_eq!(status(0, 0, 0, &[]), "No instance is leaving; 0 ended.");
        assert!(status(1, 0, 7, &[]).starts_with("1 instance is leaving; 7 ended"));
        let ill = (Ill { what: "Nomad", why: "no answer in time".to_owned() }, " cannot be read");
        let text = status(3, 2, 0, &[ill]);
        assert!(
            text.starts_with("3 instances are leaving, ") && text.contains(">2 blocked<") && text.contains("Check Nomad."),
            "{text}"
        );
    }
}
