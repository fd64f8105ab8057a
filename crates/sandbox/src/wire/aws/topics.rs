//! The simulated SNS: the certificate that signs its messages, and the confirmation of a subscription.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::query::Params;
use super::xml::Xml;
use super::{QueryError, unknown};
use crate::wire::Shared;

/// `GET /SimpleNotificationService-….pem`, as SNS serves it.
pub(super) async fn certificate(State(shared): State<Arc<Shared>>, Path(file): Path<String>) -> Response {
    let mut stores = shared.stores();
    stores.certificates_asked.push(file.clone());
    let certificate = stores.signing_certificate.clone();
    drop(stores);
    match certificate.filter(|_| file.starts_with("SimpleNotificationService-") && file.ends_with(".pem")) {
        Some(certificate) => certificate.into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Answers one call.
pub(super) fn answer(shared: &Shared, action: &str, params: &Params) -> Result<Xml, QueryError> {
    if action != "ConfirmSubscription" {
        return Err(unknown(action));
    }
    let (Some(topic), Some(token)) = (params.text("TopicArn"), params.text("Token")) else {
        return Err(QueryError { status: 400, code: "InvalidParameter", message: "Invalid parameter: Token".to_owned() });
    };
    shared.stores().confirmations.push((topic.to_owned(), token.to_owned()));
    let mut xml = Xml::default();
    xml.text("SubscriptionArn", format!("{topic}:00000000-0000-4000-8000-000000000001"));
    Ok(xml)
}
