//! The reverse proxy that the load balancer and the ingress share: it forwards a request and reports what went wrong.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::header::{self, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::copy_bidirectional;
use tokio::select;
use tokio::sync::watch;

use super::server::{Body, BodyError, ProcessState, full};

/// Header of an answer that a proxy made itself: which proxy, and why.
pub(super) const CAUSE: HeaderName = HeaderName::from_static("x-rehearsal-cause");
/// Header of an answer whose server was chosen from an outdated catalog.
pub(super) const OLDER: HeaderName = HeaderName::from_static("x-rehearsal-older");
/// Header with the number of a request, so that its fate can be recorded.
pub(super) const NUMBER: HeaderName = HeaderName::from_static("x-rehearsal-number");

/// A client with a pool of connections.
pub(super) type Pool = Client<HttpConnector, Body>;

/// A pool. With `retries`, a request that was not sent because a pooled connection had been closed is sent again. Go's clients do that,
/// load balancers do not.
pub(super) fn pool(connect_timeout: Duration, retries: bool) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(1024).retry_canceled_requests(retries).build(connector)
}

/// A pool that keeps no connection.
pub(super) fn pool_without_keep_alive(connect_timeout: Duration) -> Pool {
    let mut connector = HttpConnector::new();
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build(connector)
}

/// An answer that a proxy makes itself.
pub(super) fn made_up(status: StatusCode, cause: &str) -> Response<Body> {
    let mut answer = Response::new(full(status.to_string()));
    *answer.status_mut() = status;
    if let Ok(cause) = HeaderValue::try_from(cause) {
        answer.headers_mut().insert(CAUSE, cause);
    }
    answer
}

/// The cause of an error, as far as a client can know it.
pub(super) fn why(error: &Error) -> String {
    if error.is_connect() {
        return "it did not accept the connection".to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    format!("the connection broke ({cause})")
}

/// Resolves when a request must be cut.
pub(super) type Cut = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Why the server behind a proxy did not answer a request.
#[derive(Debug)]
pub(super) enum Stopped {
    /// The proxy cut it.
    Cut,
    /// There was no answer.
    Failed(Error),
}

/// Forwards a request to the server at `to`, and returns its answer: a body, a stream or an upgraded connection.
///
/// # Errors
/// The request was cut, or there was no answer. An error after the head of the answer breaks off its body instead.
pub(super) async fn forward(
    pool: &Pool,
    to: SocketAddr,
    mut request: Request<Incoming>,
    state: watch::Receiver<ProcessState>,
    mut cut: Option<Cut>,
) -> Result<Response<Body>, Stopped> {
    let client_side = request.headers().contains_key(header::UPGRADE).then(|| hyper::upgrade::on(&mut request));
    let sent = pool.request(onwards(request, to));
    let mut answer = match &mut cut {
        None => sent.await,
        Some(cut) => select! {
            answer = sent => answer,
            () = cut.as_mut() => return Err(Stopped::Cut),
        },
    }
    .map_err(Stopped::Failed)?;
    if answer.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(client_side) = client_side
    {
        let server_side = hyper::upgrade::on(&mut answer);
        tokio::spawn(tunnel(client_side, server_side, state, cut));
        return Ok(answer.map(|_| full("")));
    }
    for name in [header::CONNECTION, header::TRANSFER_ENCODING] {
        answer.headers_mut().remove(name);
    }
    Ok(answer.map(|body| match cut {
        None => body.map_err(BodyError::from).boxed_unsync(),
        Some(cut) => Cuttable { body, cut }.boxed_unsync(),
    }))
}

/// The same request for the server at this address, without the headers that concern one connection.
fn onwards(request: Request<Incoming>, to: SocketAddr) -> Request<Body> {
    let (mut head, body) = request.into_parts();
    let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
    head.uri = Uri::builder().scheme("http").authority(to.to_string()).path_and_query(path).build().unwrap_or_default();
    let upgrade = head.headers.get(header::UPGRADE).cloned();
    for name in [header::CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING, header::TE, header::TRAILER] {
        head.headers.remove(name);
    }
    if let Some(protocol) = upgrade {
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        head.headers.insert(header::UPGRADE, protocol);
    }
    // hyper's extensions belong to the old connection.
    head.extensions.clear();
    Request::from_parts(head, body.map_err(BodyError::from).boxed_unsync())
}

/// Copies bytes in both directions until one side ends, the proxy dies, or the request is cut.
async fn tunnel(client_side: OnUpgrade, server_side: OnUpgrade, mut state: watch::Receiver<ProcessState>, cut: Option<Cut>) {
    let (Ok(client_side), Ok(server_side)) = tokio::join!(client_side, server_side) else { return };
    let (mut client_side, mut server_side) = (TokioIo::new(client_side), TokioIo::new(server_side));
    let cut = async {
        match cut {
            Some(cut) => cut.await,
            None => std::future::pending().await,
        }
    };
    select! {
        // When either side ends the connection, the other side sees it.
        _ = copy_bidirectional(&mut client_side, &mut server_side) => {}
        _ = state.wait_for(|state| *state == ProcessState::Dead) => {}
        () = cut => {}
    }
}

/// A body that breaks off when its request is cut.
struct Cuttable {
    body: Incoming,
    cut: Cut,
}

impl hyper::body::Body for Cuttable {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.cut.as_mut().poll(cx).is_ready() {
            return Poll::Ready(Some(Err("cut by the load balancer".into())));
        }
        Pin::new(&mut self.body).poll_frame(cx).map_err(BodyError::from)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
