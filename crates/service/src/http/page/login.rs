//! The way into the page: a form that asks for the admin token, and the session that it opens.

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

/// Said of whatever was given that is not the token.
const WRONG: &str = "<p id=\"wrong\" class=\"ill\" role=\"alert\">That is not the admin token, or not any more. It is what DECAMP_ADMIN_TOKEN \
                     names.</p>";
/// Said where it could not be compared.
const UNKNOWN: &str = "<p id=\"wrong\" class=\"ill\" role=\"alert\">The admin token cannot be read now, so that nobody can be let in; the log \
                       says why. Try again in a minute.</p>";

/// The form, and what is to be said above it.
fn form(said: &str) -> String {
    let described = if said.is_empty() { "" } else { " aria-invalid=\"true\" aria-describedby=\"wrong\"" };
    let body = format!(
        "<main><h1>decamp</h1>{said}<form method=\"post\" action=\"/login\"><label for=\"token\">Admin token</label> \
         <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus{described}> \
         <button>Open</button></form></main>"
    );
    document("decamp: log in", &body)
}

/// Asks for the admin token.
#[utoipa::path(get, path = "/login", tag = "admin", security(()), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(crate) async fn login() -> Html<String> {
    Html(form(""))
}

#[derive(Deserialize, ToSchema)]
pub(crate) struct Given {
    /// The admin token.
    token: String,
}

/// Opens a session for a browser that shows the admin token.
#[utoipa::path(
    post, path = "/login", tag = "admin", security(()),
    request_body(content = Given, content_type = "application/x-www-form-urlencoded"),
    responses(
        (status = 303, description = "It is open; the page is at `/`."),
        (
            status = 401, description = "That is not the token: the form again for who takes HTML, else a problem document.",
            content((String = "text/html"), (Document = "application/problem+json")),
        ),
    )
)]
pub(crate) async fn log_in(
    State(page): State<Arc<Page>>,
    headers: HeaderMap,
    given: Result<Form<Given>, FormRejection>,
) -> Response {
    let Ok(Form(Given { token })) = given else { return refused(Problem::closed(), WRONG, &headers) };
    let token = token.trim();
    match page.token.place(token).await {
        Ok(Some(_)) => {
            let cookie = session::cookie(token, page.service.live.now());
            ([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response()
        }
        Ok(None) => refused(Problem::closed(), WRONG, &headers),
        Err(problem) => refused(problem, UNKNOWN, &headers),
    }
}

/// Takes the session out of the browser. To end all sessions everywhere, change the admin token.
#[utoipa::path(
    post, path = "/logout", tag = "admin", security(("token" = [])),
    responses((status = 303, description = "It is over; the way in is at `/login`."))
)]
pub(crate) async fn log_out() -> Response {
    ([(header::SET_COOKIE, session::no_cookie())], Redirect::to("/login")).into_response()
}

/// A refusal. A person gets the form again, with a sentence.
fn refused(problem: Problem, said: &str, headers: &HeaderMap) -> Response {
    let problem = problem.into_response();
    let takes_html =
        headers.get(header::ACCEPT).and_then(|kinds| kinds.to_str().ok()).is_some_and(|kinds| kinds.contains("text/html"));
    if !takes_html {
        return problem;
    }
    let (mut parts, _) = problem.into_parts();
    parts.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Response::from_parts(parts, Body::from(form(said)))
}
