//! The JSON calls that decamp makes: parameters and secrets. Those of SQS are in `queues`, and that of CloudWatch is
//! in `metrics`.

use axum::body::Bytes;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::{check_signature, metrics, queues};
use crate::wire::Shared;

/// Answers one call.
pub(super) async fn answer(shared: &Shared, service: &str, operation: &str, headers: &HeaderMap, body: &Bytes) -> Response {
    let signed_as = match service {
        "AmazonSSM" => "ssm",
        "secretsmanager" => "secretsmanager",
        "AmazonSQS" => "sqs",
        metrics::SERVICE => "monitoring",
        _ => return refuse(400, "UnknownOperationException", "no such service"),
    };
    if let Err(refused) = check_signature(headers, signed_as) {
        return refuse(400, refused.code, &refused.message);
    }
    let Ok(input) = serde_json::from_slice::<Value>(body) else {
        return refuse(400, "SerializationException", "the body is not JSON");
    };
    match (service, operation) {
        ("AmazonSSM", "GetParameter") => parameter(shared, &input),
        ("secretsmanager", "GetSecretValue") => secret(shared, &input),
        (metrics::SERVICE, "GetMetricData") => metrics::answer(shared, &input),
        ("AmazonSQS", _) => queues::answer(shared, operation, &input).await,
        (_, _) => refuse(400, "UnknownOperationException", "no such operation"),
    }
}

/// An error in the format of the JSON protocols.
pub(super) fn refuse(status: u16, code: &str, message: &str) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    send(status, &json!({ "__type": code, "message": message }))
}

pub(super) fn send(status: StatusCode, body: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/x-amz-json-1.1")], body.to_string()).into_response()
}

fn parameter(shared: &Shared, input: &Value) -> Response {
    let name = input["Name"].as_str().unwrap_or_default();
    let Some(value) = shared.stores().parameters.get(name).cloned() else {
        return refuse(400, "ParameterNotFound", "");
    };
    let decrypted = input["WithDecryption"].as_bool().unwrap_or(false);
    let arn = format!("arn:aws:ssm:{}:{}:parameter{name}", shared.account.region, shared.account.id);
    // Without `WithDecryption` SSM returns the ciphertext.
    let value = if decrypted { value } else { "AQICAHh=".to_owned() };
    let parameter = json!({ "Name": name, "Type": "SecureString", "Value": value, "Version": 1, "ARN": arn, "DataType": "text", "LastModifiedDate": 1_767_225_600.0 });
    send(StatusCode::OK, &json!({ "Parameter": parameter }))
}

fn secret(shared: &Shared, input: &Value) -> Response {
    let id = input["SecretId"].as_str().unwrap_or_default();
    let Some(value) = shared.stores().secrets.get(id).cloned() else {
        return refuse(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.");
    };
    if shared.stores().marked_for_deletion.contains(id) {
        let why = "You can't perform this operation on the secret because it was marked for deletion.";
        return refuse(400, "InvalidRequestException", why);
    }
    let name = id.rsplit(":secret:").next().unwrap_or(id);
    let arn = format!("arn:aws:secretsmanager:{}:{}:secret:{name}", shared.account.region, shared.account.id);
    let version = "00000000-0000-4000-8000-000000000001";
    let answer = json!({ "ARN": arn, "Name": name, "SecretString": value, "VersionId": version, "VersionStages": ["AWSCURRENT"], "CreatedDate": 1_767_225_600.0 });
    send(StatusCode::OK, &answer)
}
