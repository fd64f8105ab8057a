//! A WebSocket that a client keeps open: it sends messages and expects each one back. When it is closed in order, it is opened again.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use hyper::header::{self, HeaderValue};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::select;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::protocol::Role;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::request::refused;
use super::{BALANCER, Clients, PATIENCE};
use crate::ledger::{Class, FailureKind, RequestOutcome};
use crate::proxy::{self, NUMBER};
use crate::server::full;

/// How often a message is sent.
const SEND_EVERY: Duration = Duration::from_millis(200);
/// How soon a closed WebSocket must be open again (ADR 0024).
const REOPENED_WITHIN: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// How a WebSocket ended.
enum SocketEnd {
    /// The client closed it, because the run is over.
    ByClient,
    /// The server closed it in order.
    Closed,
    /// It ended without a close frame.
    Broke(String),
}

/// Keeps a WebSocket open until `stop` is set. Each WebSocket counts as one request when it ends.
pub(super) async fn keep(clients: Arc<Clients>, front: SocketAddr, service: Arc<str>, mut stop: watch::Receiver<bool>) {
    let mut due = Instant::now();
    let mut opened = open(&clients, front, &service).await;
    loop {
        clients.ledger.sent(due);
        let (socket, number) = match opened {
            Ok(socket) => socket,
            Err((how, cause)) => {
                clients.ledger.ended(Class::Socket, &service, due, RequestOutcome::Failed(how, cause));
                if *stop.borrow() {
                    return;
                }
                sleep(REOPENED_WITHIN).await;
                due = Instant::now();
                opened = open(&clients, front, &service).await;
                continue;
            }
        };
        let ended = talk(socket, &mut stop).await;
        let began = std::mem::replace(&mut due, Instant::now());
        let outcome = match ended {
            SocketEnd::ByClient => {
                clients.ledger.ended(Class::Socket, &service, began, RequestOutcome::Succeeded);
                return;
            }
            SocketEnd::Broke(why) if !clients.was_cut(number) => {
                opened = open(&clients, front, &service).await;
                RequestOutcome::Failed(FailureKind::Cut, why)
            }
            SocketEnd::Closed | SocketEnd::Broke(_) => match timeout(REOPENED_WITHIN, open(&clients, front, &service)).await {
                Ok(again) => {
                    // If it cannot be opened again, that attempt counts as a failed request of its own.
                    let moved = again.is_ok();
                    opened = again;
                    if moved { RequestOutcome::Moved } else { RequestOutcome::Succeeded }
                }
                Err(_) => {
                    opened = open(&clients, front, &service).await;
                    RequestOutcome::Failed(FailureKind::Cut, "closed, and not open again within a second".to_owned())
                }
            },
        };
        clients.ledger.ended(Class::Socket, &service, began, outcome);
    }
}

async fn open(clients: &Clients, front: SocketAddr, service: &str) -> Result<(Socket, u64), (FailureKind, String)> {
    let number = clients.number();
    let impossible = |why: String| (FailureKind::Connection, why);
    let request = Request::get(format!("http://{front}/{service}/socket"))
        .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(NUMBER, number)
        .body(full(""))
        .map_err(|why| impossible(why.to_string()))?;
    let answer = timeout(PATIENCE, clients.pool.request(request)).await;
    let answer = answer.map_err(|_| (FailureKind::TimedOut, "no answer".to_owned()))?;
    let answer = answer.map_err(|why| impossible(format!("{BALANCER}{}", proxy::why(&why))))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(&answer));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(|why| impossible(why.to_string()))?;
    Ok((WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await, number))
}

async fn stop_requested(stop: &mut watch::Receiver<bool>) {
    // If the sender is gone, the run is over as well.
    stop.wait_for(|stop| *stop).await.ok();
}

/// Sends a message now and then, and expects it back.
async fn talk(mut socket: Socket, stop: &mut watch::Receiver<bool>) -> SocketEnd {
    let mut unanswered: Option<Instant> = None;
    loop {
        select! {
            () = stop_requested(stop) => {
                // It does not matter whether the server still answers.
                timeout(REOPENED_WITHIN, socket.close(None)).await.ok();
                return SocketEnd::ByClient;
            }
            message = socket.next() => match message {
                Some(Ok(Message::Close(_))) => {
                    timeout(REOPENED_WITHIN, socket.close(None)).await.ok();
                    return SocketEnd::Closed;
                }
                Some(Ok(_)) => unanswered = None,
                Some(Err(why)) => return SocketEnd::Broke(why.to_string()),
                None => return SocketEnd::Broke("it ended without a close frame".to_owned()),
            },
            () = sleep(SEND_EVERY) => {
                let waits = unanswered.get_or_insert_with(Instant::now).elapsed();
                if PATIENCE < waits {
                    return SocketEnd::Broke(format!("no message came back for {} s", PATIENCE.as_secs()));
                }
                if let Err(why) = socket.send(Message::Text(Utf8Bytes::from_static("still there?"))).await {
                    return SocketEnd::Broke(why.to_string());
                }
            }
        }
    }
}
