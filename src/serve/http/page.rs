//! The page: what is leaving now and what it waits for, what is over, drawn on the server; a small script draws it again when told.

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
use axum::routing::get;

use super::guard::Keys;
use crate::serve::Service;
use crate::serve::health::Health;
use crate::world::World;

/// The colours are those of the rehearsal's report.
const STYLE: &str = concat!(include_str!("../../colours.css"), include_str!("page/style.css"));
const SCRIPT: &str = include_str!("page/page.js");

/// What the page needs.
pub(super) struct Page {
    service: Arc<Service>,
    token: Arc<Keys>,
}

/// The page, its parts, and the way in.
pub(super) fn router(service: &Arc<Service>) -> Router {
    let token = Keys::new(&service.settings.serve.admin_token, &service.live);
    let page = Arc::new(Page { service: Arc::clone(service), token });
    Router::new()
        .route("/", get(whole))
        .route("/live", get(live))
        .route("/login", get(login::login).post(login::log_in))
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
    html.push_str(&leaving::drawn(&under_way, now));
    html.push_str(&past::drawn(&past));
    html.push_str(&past::recorded(&service.record.told()));
    html.push_str(&format!("<p class=\"note\">As of {now}.</p>"));
    html
}
