//! The way into the page: a form that asks for the admin token, and the session that it opens.

use std::sync::Arc;

use axum::extract::rejection::FormRejection;
use axum::extract::{Form, State};
use axum::http::header;
use axum::response::{Html, IntoResponse, Redirect, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{Page, document, session};
use crate::serve::http::problem::Problem;
use crate::world::World;

const FORM: &str = "<main><h1>decamp</h1><form method=\"post\" action=\"/login\"><label for=\"token\">Admin token</label> \
                    <input id=\"token\" name=\"token\" type=\"password\" autocomplete=\"current-password\" required autofocus> \
                    <button>Open</button></form></main>";

/// Asks for the admin token.
#[utoipa::path(get, path = "/login", tag = "admin", security(()), responses((status = 200, description = "HTML.", content_type = "text/html", body = String)))]
pub(in crate::serve::http) async fn login() -> Html<String> {
    Html(document("decamp: log in", FORM))
}

#[derive(Deserialize, ToSchema)]
pub(in crate::serve::http) struct Given {
    /// The admin token.
    token: String,
}

/// Opens a session for a browser that shows the admin token.
#[utoipa::path(
    post, path = "/login", tag = "admin", security(()),
    request_body(content = Given, content_type = "application/x-www-form-urlencoded"),
    responses((status = 303, description = "It is open; the page is at `/`."))
)]
pub(in crate::serve::http) async fn log_in(
    State(page): State<Arc<Page>>,
    given: Result<Form<Given>, FormRejection>,
) -> Result<Response, Problem> {
    let Form(Given { token }) = given.map_err(|_| Problem::unauthorized())?;
    let token = token.trim();
    if page.token.place(token).await.is_none() {
        return Err(Problem::unauthorized());
    }
    let cookie = session::cookie(token, page.service.live.now());
    Ok(([(header::SET_COOKIE, cookie)], Redirect::to("/")).into_response())
}
