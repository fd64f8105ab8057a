//! A WebSocket that a client keeps: whatever it says comes back, and when it is closed in order it comes back as well.

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
use crate::ledger::{Class, Failed, Fared};
use crate::proxy::{self, NUMBER};
use crate::server::full;

/// How often something is said.
const SAYS_EVERY: Duration = Duration::from_millis(200);
/// One that was closed must be back within this (ADR 0024).
const BACK_WITHIN: Duration = Duration::from_secs(1);

type Socket = WebSocketStream<TokioIo<hyper::upgrade::Upgraded>>;

/// How a WebSocket ended.
enum Ended {
    /// We closed it, because the run is over.
    ByUs,
    /// It was closed in order.
    Closed,
    /// It ended without a close.
    Broke(String),
}

/// Keeps one open until told to stop. Each that was opened counts as one request, when it ends.
pub(super) async fn keep(clients: Arc<Clients>, front: SocketAddr, service: Arc<str>, mut stop: watch::Receiver<bool>) {
    let mut due = Instant::now();
    let mut opened = open(&clients, front, &service).await;
    loop {
        clients.ledger.leaves(due);
        let (socket, number) = match opened {
            Ok(socket) => socket,
            Err((how, cause)) => {
                clients.ledger.over(Class::Socket, &service, due, Fared::Failed(how, cause));
                if *stop.borrow() {
                    return;
                }
                sleep(BACK_WITHIN).await;
                due = Instant::now();
                opened = open(&clients, front, &service).await;
                continue;
            }
        };
        let ended = talk(socket, &mut stop).await;
        let began = std::mem::replace(&mut due, Instant::now());
        let fared = match ended {
            Ended::ByUs => {
                clients.ledger.over(Class::Socket, &service, began, Fared::Well);
                return;
            }
            Ended::Broke(why) if !clients.was_cut(number) => {
                opened = open(&clients, front, &service).await;
                Fared::Failed(Failed::Cut, why)
            }
            Ended::Closed | Ended::Broke(_) => match timeout(BACK_WITHIN, open(&clients, front, &service)).await {
                Ok(again) => {
                    // If it could not be opened again, that attempt is a request of its own, and a failed one.
                    let moved = again.is_ok();
                    opened = again;
                    if moved { Fared::Moved } else { Fared::Well }
                }
                Err(_) => {
                    opened = open(&clients, front, &service).await;
                    Fared::Failed(Failed::Cut, "closed, and not back within a second".to_owned())
                }
            },
        };
        clients.ledger.over(Class::Socket, &service, began, fared);
    }
}

async fn open(clients: &Clients, front: SocketAddr, service: &str) -> Result<(Socket, u64), (Failed, String)> {
    let number = clients.number();
    let impossible = |why: String| (Failed::Connection, why);
    let request = Request::get(format!("http://{front}/{service}/socket"))
        .header(header::CONNECTION, HeaderValue::from_static("Upgrade"))
        .header(header::UPGRADE, HeaderValue::from_static("websocket"))
        .header(header::SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"))
        .header(header::SEC_WEBSOCKET_KEY, generate_key())
        .header(NUMBER, number)
        .body(full(""))
        .map_err(|why| impossible(why.to_string()))?;
    let answer = timeout(PATIENCE, clients.pool.request(request)).await;
    let answer = answer.map_err(|_| (Failed::TimedOut, "no answer".to_owned()))?;
    let answer = answer.map_err(|why| impossible(format!("{BALANCER}{}", proxy::why(&why))))?;
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(refused(&answer));
    }
    let upgraded = hyper::upgrade::on(answer).await.map_err(|why| impossible(why.to_string()))?;
    Ok((WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await, number))
}

async fn told_to_stop(stop: &mut watch::Receiver<bool>) {
    // Whoever could tell is gone: then it is over too.
    stop.wait_for(|stop| *stop).await.ok();
}

/// Says something now and then, which must come back.
async fn talk(mut socket: Socket, stop: &mut watch::Receiver<bool>) -> Ended {
    let mut said: Option<Instant> = None;
    loop {
        select! {
            () = told_to_stop(stop) => {
                // Whether the other side still answers is of no matter now.
                timeout(BACK_WITHIN, socket.close(None)).await.ok();
                return Ended::ByUs;
            }
            heard = socket.next() => match heard {
                Some(Ok(Message::Close(_))) => {
                    timeout(BACK_WITHIN, socket.close(None)).await.ok();
                    return Ended::Closed;
                }
                Some(Ok(_)) => said = None,
                Some(Err(why)) => return Ended::Broke(why.to_string()),
                None => return Ended::Broke("it ended without a close".to_owned()),
            },
            () = sleep(SAYS_EVERY) => {
                let waits = said.get_or_insert_with(Instant::now).elapsed();
                if PATIENCE < waits {
                    return Ended::Broke(format!("nothing came back for {} s", PATIENCE.as_secs()));
                }
                if let Err(why) = socket.send(Message::Text(Utf8Bytes::from_static("still there?"))).await {
                    return Ended::Broke(why.to_string());
                }
            }
        }
    }
}
