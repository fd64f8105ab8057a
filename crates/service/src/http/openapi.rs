//! `GET /v1/openapi.json`: the routes of both listeners as OpenAPI 3.1, generated from the handlers' signatures and comments.
//!
//! A new route needs `#[utoipa::path(…)]` at its handler, and the handler's name in the list below. A test compares routes and list.

use std::sync::LazyLock;

use axum::Router;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::openapi::{ContentBuilder, Ref, RefOr, Response, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::{admin, events, page, problem, refreshes, sns, stream, terraform, webhooks};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "decamp serve",
        description = "Takes Nomad nodes out of service when AWS decides that their instances must go. The operations tagged `webhooks` \
                       are answered on the webhooks listener (DECAMP_WEBHOOKS_LISTEN), all others on the admin listener \
                       (DECAMP_ADMIN_LISTEN). The answer to a refused request is a problem document (RFC 9457)."
    ),
    paths(
        admin::alive,
        admin::ready,
        admin::metrics,
        admin::departures,
        admin::departure,
        refreshes::refreshes,
        stream::stream,
        page::whole,
        page::live,
        page::login::login,
        page::login::log_in,
        page::login::log_out,
        page::style,
        page::script,
        page::icon,
        openapi,
        events::events,
        sns::sns,
        terraform::notified,
        webhooks::webhook,
    ),
    components(schemas(problem::Document)),
    modifiers(&Problems, &Keys),
)]
struct Document;

/// Adds the problem document to every operation.
struct Problems;

impl Modify for Problems {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let schema = RefOr::Ref(Ref::from_schema_name("Problem"));
        let content = ContentBuilder::new().schema(Some(schema)).build();
        let refused: Response = ResponseBuilder::new()
            .description("Refused: what is wrong and what to do.")
            .content("application/problem+json", content)
            .build();
        for item in document.paths.paths.values_mut() {
            for operation in [&mut item.get, &mut item.post].into_iter().flatten() {
                operation.responses.responses.entry("default".to_owned()).or_insert(RefOr::T(refused.clone()));
            }
        }
    }
}

/// Adds the credentials.
struct Keys;

impl Modify for Keys {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        let http = |scheme, description: &str| {
            SecurityScheme::Http(HttpBuilder::new().scheme(scheme).description(Some(description)).build())
        };
        let header = |name, description| SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, description)));
        let components = document.components.get_or_insert_default();
        components.add_security_schemes_from_iter([
            ("token", http(HttpAuthScheme::Bearer, "DECAMP_ADMIN_TOKEN, if it is set. A browser logs in with it at /login.")),
            ("basic", http(HttpAuthScheme::Basic, "A key of DECAMP_EVENTS_KEY as the password.")),
            ("key", header("x-api-key", "A key of DECAMP_EVENTS_KEY, in the header that DECAMP_EVENTS_HEADER names.")),
        ]);
    }
}

/// The document's text. It does not change while the process runs.
static TEXT: LazyLock<String> = LazyLock::new(|| Document::openapi().to_json().unwrap_or_default());

/// The document, as JSON.
#[must_use]
pub fn api_document() -> &'static str {
    &TEXT
}

/// The route.
pub(super) fn router() -> Router {
    Router::new().route("/v1/openapi.json", get(openapi))
}

/// This document.
#[utoipa::path(
    get, path = "/v1/openapi.json", tag = "admin", security(("token" = [])),
    responses((status = 200, description = "OpenAPI 3.1.", content_type = "application/json", body = Object))
)]
async fn openapi() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use serde_json::Value;

    use super::*;

    /// The routes in the sources: every `.route("PATH", METHOD(…)…)` under `http`, outside of tests.
    fn routes(folder: &Path, all: &mut BTreeSet<(String, &'static str)>) {
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            if entry.path().is_dir() {
                routes(&entry.path(), all);
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).expect("it is text");
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            for route in code.split(".route(").skip(1) {
                let (path, rest) =
                    route.trim_start().strip_prefix('"').and_then(|rest| rest.split_once('"')).expect("a path in quotes");
                let rest = rest.split('\n').next().unwrap_or_default();
                for method in ["get", "post", "put", "delete", "patch"] {
                    if rest.contains(&format!("{method}(")) {
                        all.insert((path.to_owned(), method));
                    }
                }
            }
        }
    }

    #[test]
    fn the_document_has_the_routes_of_the_routers_and_no_others() {
        let mut routed = BTreeSet::new();
        routes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src/http"), &mut routed);
        assert!(15 < routed.len(), "the routes are found: {routed:?}");
        let document: Value = serde_json::from_str(&TEXT).expect("it is JSON");
        let paths = document["paths"].as_object().expect("there are paths");
        let methods = |(path, item): (&String, &Value)| -> Vec<(String, String)> {
            item.as_object().expect("an item").keys().map(|method| (path.clone(), method.clone())).collect()
        };
        let documented: BTreeSet<(String, String)> = paths.iter().flat_map(methods).collect();
        let routed: BTreeSet<(String, String)> = routed.into_iter().map(|(path, method)| (path, method.to_owned())).collect();
        assert_eq!(routed, documented);
    }

    /// The names of the schemas: every type of this crate that derives `ToSchema`.
    fn schemas(folder: &Path, all: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("it is there").flatten() {
            if entry.path().is_dir() {
                schemas(&entry.path(), all);
                continue;
            }
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            for derived in text.split("ToSchema)]").skip(1) {
                let words: Vec<&str> = derived.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
                let name = words.iter().position(|word| ["struct", "enum"].contains(word)).and_then(|place| words.get(place + 1));
                all.extend(name.map(|name| (*name).to_owned()));
            }
        }
    }

    #[test]
    fn every_schema_has_a_name_of_its_own() {
        let mut all = Vec::new();
        schemas(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut all);
        assert!(10 < all.len(), "{all:?}");
        let names: BTreeSet<&String> = all.iter().collect();
        assert_eq!(names.len(), all.len(), "{all:?}");
    }

    #[test]
    fn the_document_has_the_schema_of_an_event() {
        let document: Value = serde_json::from_str(&TEXT).expect("it is JSON");
        let body = &document["paths"]["/v1/events"]["post"]["requestBody"]["content"]["application/json"]["schema"];
        assert_eq!(body["$ref"], "#/components/schemas/Sent", "{body:#}");
        let schemas = &document["components"]["schemas"];
        assert_eq!(schemas["Sent"]["oneOf"].as_array().map(Vec::len), Some(3), "{:#}", schemas["Sent"]);
        let event = &schemas["EventBridgeEvent"];
        assert_eq!(event["required"], serde_json::json!(["detail-type", "source", "detail"]), "{event:#}");
        assert_eq!(schemas["Sweep"]["properties"]["decamp"]["pattern"], "^sweep$");
    }

    #[test]
    fn every_operation_has_a_summary_its_security_and_its_refusals() {
        let document: Value = serde_json::from_str(&TEXT).expect("it is JSON");
        assert_eq!(document["openapi"], "3.1.0");
        assert!(document["components"]["schemas"]["Problem"]["properties"]["detail"].is_object(), "{document:#}");
        for (path, item) in document["paths"].as_object().expect("there are paths") {
            for (method, operation) in item.as_object().expect("an item") {
                let name = format!("{method} {path}");
                assert!(operation["summary"].as_str().is_some_and(|summary| summary.ends_with('.')), "{name}: {operation:#}");
                assert!(operation["tags"][0] == "admin" || operation["tags"][0] == "webhooks", "{name}");
                assert!(operation["security"].is_array(), "{name} says who may call it");
                assert!(operation["responses"]["default"]["content"]["application/problem+json"].is_object(), "{name}");
            }
        }
    }
}
