//! The process of a service: it answers short, slow and streamed requests, receives uploads and keeps WebSockets open. Its [`Nature`]
//! says how it behaves.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{SinkExt, StreamExt, stream};
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::header::{self, HeaderValue};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::select;
use tokio::time::sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::plan::Nature;
use super::server::{Body, ProcessState, Server, WorkToken, full, plain};

/// The pause between two parts of a stream.
const PART_EVERY: Duration = Duration::from_millis(100);
/// The body of an answer, or one part of a stream.
const PART: &[u8] = &[b'.'; 512];
/// How much longer a slow process takes to answer, and to exit.
const SLOW: (Duration, Duration) = (Duration::from_millis(15), Duration::from_secs(1));

/// Starts a process of this nature.
///
/// # Errors
/// It cannot listen on this address.
pub(super) async fn start(address: SocketAddr, nature: Nature) -> io::Result<Server> {
    Server::start(address, move |request, token| answer(nature, request, token)).await
}

/// How long a process of this nature takes to exit after its last request.
pub(super) fn exits_in(nature: Nature) -> Duration {
    match nature {
        Nature::Obedient | Nature::Deaf | Nature::Abrupt => Duration::ZERO,
        Nature::Slow => SLOW.1,
    }
}

async fn answer(nature: Nature, request: Request<Incoming>, token: WorkToken) -> Response<Body> {
    let path = request.uri().path();
    let what = path.rsplit('/').next().unwrap_or(path).to_owned();
    let query = request.uri().query().unwrap_or_default();
    let ms = query.strip_prefix("ms=").and_then(|ms| ms.parse().ok()).unwrap_or(0);
    let mut takes = Duration::from_millis(ms);
    if nature == Nature::Slow {
        takes += SLOW.0;
    }
    match what.as_str() {
        "work" => {
            sleep(takes).await;
            Response::new(full(PART))
        }
        "stream" => Response::new(parts(takes)),
        "upload" => match request.into_body().collect().await {
            Ok(body) => Response::new(full(body.to_bytes().len().to_string())),
            Err(why) => plain(StatusCode::BAD_REQUEST, format!("the upload broke off: {why}")),
        },
        "socket" => socket(request, token),
        _ => plain(StatusCode::NOT_FOUND, "no such thing".to_owned()),
    }
}

/// A body that is sent in parts over this time.
fn parts(over: Duration) -> Body {
    let many = (over.as_millis() / PART_EVERY.as_millis()).max(1);
    let parts = stream::unfold(0, move |sent| async move {
        if sent == many {
            return None;
        }
        sleep(PART_EVERY).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(PART))), sent + 1))
    });
    StreamBody::new(parts).map_err(|never| match never {}).boxed_unsync()
}

/// A WebSocket that echoes messages, and closes in order when the process is asked to stop.
fn socket(request: Request<Incoming>, mut token: WorkToken) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return plain(StatusCode::BAD_REQUEST, "not a WebSocket".to_owned());
    };
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut process = token.clone();
        loop {
            select! {
                state = process.stop_requested() => match state {
                    ProcessState::Running | ProcessState::Finishing => break,
                    ProcessState::Dead => return,
                },
                message = socket.next() => match message {
                    Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) => {
                        if socket.send(message).await.is_err() {
                            return;
                        }
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return,
                },
            }
        }
        let going_away = CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::from_static("going away") };
        select! {
            () = token.death() => {}
            () = async {
                socket.close(Some(going_away)).await.ok();
                // Wait for the close of the other side.
                while let Some(Ok(_)) = socket.next().await {}
            } => {}
        }
    });
    let mut answer = Response::new(full(""));
    *answer.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    if let Ok(accept) = accept {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    answer
}
