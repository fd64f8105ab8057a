//! A service's process: it answers short, slow and streamed requests, takes uploads and keeps WebSockets, each in its nature's way.

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
use super::server::{Body, Hold, Life, Server, full, plain};

/// Between two parts of a stream.
const PART_EVERY: Duration = Duration::from_millis(100);
/// What one answers with, or one part of a stream.
const PART: &[u8] = &[b'.'; 512];
/// How much longer a slow process takes to answer, and to exit.
const SLOW: (Duration, Duration) = (Duration::from_millis(15), Duration::from_secs(1));

/// Starts a process of this nature.
///
/// # Errors
/// Its address cannot be listened on.
pub(super) async fn start(address: SocketAddr, nature: Nature) -> io::Result<Server> {
    Server::start(address, move |request, hold| answer(nature, request, hold)).await
}

/// How long a process of this nature takes to exit once it holds nothing.
pub(super) fn exits_in(nature: Nature) -> Duration {
    match nature {
        Nature::Obedient | Nature::Deaf => Duration::ZERO,
        Nature::Slow => SLOW.1,
    }
}

async fn answer(nature: Nature, request: Request<Incoming>, hold: Hold) -> Response<Body> {
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
        "socket" => socket(request, hold),
        _ => plain(StatusCode::NOT_FOUND, "no such thing".to_owned()),
    }
}

/// A body in parts, over so long.
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

/// A WebSocket that says back what it hears, and closes in order when the process is told to finish.
fn socket(request: Request<Incoming>, mut hold: Hold) -> Response<Body> {
    let Some(key) = request.headers().get(header::SEC_WEBSOCKET_KEY) else {
        return plain(StatusCode::BAD_REQUEST, "not a WebSocket".to_owned());
    };
    let accept = HeaderValue::try_from(derive_accept_key(key.as_bytes()));
    tokio::spawn(async move {
        let Ok(upgraded) = hyper::upgrade::on(request).await else { return };
        let mut socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
        let mut heard = hold.clone();
        loop {
            select! {
                life = heard.told_to_finish() => match life {
                    Life::Running | Life::Finishing => break,
                    Life::Dead => return,
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
        let going = CloseFrame { code: CloseCode::Away, reason: Utf8Bytes::from_static("going away") };
        select! {
            () = hold.death() => {}
            () = async {
                socket.close(Some(going)).await.ok();
                // The other side's own close ends it.
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
