//! The login: a form for the admin token, and the session that it opens.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Page, document, session};
use crate::http::problem::{Document, Problem};
use decamp_core::world::World;

/// Shown after a wrong token.
const WRONG: &str = "<p id=\"wrong\" class=\"ill\" role=\"alert\">Wrong admin token. The setting DECAMP_ADMIN_TOKEN has the \
                     current one.</p>";
/// Shown if the token could not be compared.
const UNKNOWN: &str = "<p id=\"wrong\" class=\"ill\" role=\"alert\">The admin token cannot be read now, so nobody can log in. The log has \
                       the reason. Try again in a minute.</p>";

/// The form, with a message above it.
fn form(message: &str) -> String {
    let described = if message.is_empty() { "" } else { " aria-invalid=\"true\" aria-describedby=\"wrong\"" };
    let body = format!(
        "<main><h1>decamp</h1>{message}<form method=\"post\" action=\"/login\"><label for=\"token\">Admin token</label> \
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus{described}> \
         <button>Log in</button></form></main>"
    );
    document("decamp: log in", &body)
}

/// The login form.
#[utoipa::path(get, path = "/login", tag = "admin", security(()), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(crate) async fn login() -> Html<String> {
    Html(form(""))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Given {
    /// The admin token.
    token: String,
}

/// Opens a session for a browser that sends the admin token.
#[utoipa::path(
    post, path = "/login", tag = "admin", security(()),
    request_body(content = Given, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "The session is open. The page is at `/`."),
        (
            status = 401, description = "Wrong token: the form again for a client that accepts HTML, otherwise a problem document.",
            content((String = "text/html"), (Document = "application/problem+json")),
        ),
    )
)]
pub(crate) async fn log_in(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    given: Result<Form<Given>, FormRejection>,
) -> Response {
    let Ok(Form(Given { token })) = given else { return refused(Problem::admin_unauthorized(), WRONG, &headers) };
    let token = token.trim();
    match page.token.index_of(token).await {
        Ok(Some(_)) => {
            let cookie = session::cookie(token, page.service.live.now());
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Ok(None) => refused(Problem::admin_unauthorized(), WRONG, &headers),
        Err(problem) => refused(problem, UNKNOWN, &headers),
    }
}

/// Ends the session in this browser. To end all sessions, change the admin token.
#[utoipa::path(
    post, path = "/logout", tag = "admin", security(("token" = [])),
    responses((status = 303, description = "The session has ended. The login is at `/login`."))
)]
pub(crate) async fn log_out() -> Response {
    ([(header::SET_COOKIE, session::no_cookie())], Redirect::to("/login")).into_response()
}

/// A refusal. A browser gets the form again, with a message.
fn refused(problem: Problem, message: &str, headers: &HeaderMap) -> Response {
    let problem = problem.into_response();
    let accepts_html =
        headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|kinds| kinds.contains("text/html"));
    if !accepts_html {
        return problem;
    }
    let (mut parts, _) = problem.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Response::from_parts(parts, Body::from(form(message)))
}
