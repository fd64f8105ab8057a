//! One listener: it bounds its connections in number and in time, and closes each in order when the service stops.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use futures_util::FutureExt as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, rt};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, unconstrained, yield_now};
use tokio::time::timeout;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt as _;

use super::connection::{Connection, until_sent};
use super::connection_limit::ConnectionLimit;
use super::first_head::read_first_head;
use super::tls::ServerCertificate;
use crate::Service;
use decamp_core::world::World as _;

/// The time limit for a request's head, also of the next request on an idle connection. Unauthenticated connections have less
/// ([`super::connection`]).
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// The time limit for a listed proxy. Load balancers keep a connection for the next client (an ALB for 60 s), and answer 502 for a request
/// that they send just when it is closed.
const PROXY_HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// The time limit for a TLS handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest head of a request, in bytes.
const LARGEST_HEAD: usize = 16 * 1024;
/// The most headers of a request.
const MOST_HEADERS: usize = 64;
/// A client that reads nothing of its answer for this long is disconnected.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the rest of a client's data is read after the last answer.
const LINGER: Duration = Duration::from_secs(1);
/// How long requests in progress have when the service stops.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// One listener.
pub(super) struct Listener {
    listener: TcpListener,
    router: Router,
    certificate: Option<Arc<ServerCertificate>>,
    service: Arc<Service>,
    name: &'static str,
    /// The most connections at once.
    most: usize,
}

impl Listener {
    /// Creates a listener. It accepts nothing yet.
    ///
    /// # Errors
    ///
    /// The certificate or its key cannot be used.
    pub(super) fn new(
        name: &'static str,
        listener: TcpListener,
        most: usize,
        router: Router,
        tls: Option<&(PathBuf, PathBuf)>,
        service: &Arc<Service>,
    ) -> Result<Self> {
        let certificate = tls.map(|(certificate, key)| ServerCertificate::read(certificate, key)).transpose()?;
        Ok(Self { listener, router, certificate, service: Arc::clone(service), name, most })
    }

    /// Serves until the service stops.
    pub(super) async fn serve(self) {
        let mut stopping = self.service.stopping.subscribe();
        let limit = ConnectionLimit::new(self.most);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.start(stream, peer, &limit, &mut connections);
                        self.accept_waiting(&limit, &mut connections);
                        // Evicted connections close before more are accepted.
                        yield_now().await;
                    }
                    // Out of file descriptors, or the client has already disconnected. The next connection may succeed.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                },
                Some(_) = connections.join_next() => {}
            }
            while connections.try_join_next().is_some() {}
        }
        drop(self.listener);
        let rest = async { while connections.join_next().await.is_some() {} };
        // Slower connections end with the process.
        timeout(LAST_ANSWERS, rest).await.ok();
    }

    /// Accepts all connections that wait in the kernel's queue. One at a time, the last in the queue would wait until every task of those
    /// before it had its turn.
    fn accept_waiting(&self, limit: &ConnectionLimit, connections: &mut JoinSet<()>) {
        for _ in 0..self.most {
            match unconstrained(self.listener.accept()).now_or_never() {
                Some(Ok((stream, peer))) => self.start(stream, peer, limit, connections),
                Some(Err(_)) | None => return,
            }
        }
    }

    /// Takes a slot for a connection and serves it in a task of its own.
    fn start(&self, stream: TcpStream, peer: SocketAddr, limit: &ConnectionLimit, connections: &mut JoinSet<()>) {
        let peer = peer.ip().to_canonical();
        let is_proxy = self.service.settings.serve.proxies.iter().any(|network| network.has(peer));
        let Some(slot) = limit.acquire(peer, is_proxy) else {
            tracing::debug!(listener = self.name, %peer, "closed a connection: too many are open");
            return;
        };
        stream.set_nodelay(true).ok();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(WRITE_TIMEOUT));
        let stream = Box::pin(stream);
        let router = self.router.clone();
        let stopping = self.service.stopping.clone();
        let service = Arc::clone(&self.service);
        let certificate = self.certificate.clone();
        connections.spawn_local(async move {
            let connection = Connection::new(peer, slot);
            let head_timeout = if is_proxy { PROXY_HEAD_TIMEOUT } else { HEAD_TIMEOUT };
            match certificate {
                None => {
                    let mut stop = stopping.subscribe();
                    let first_head = tokio::select! {
                        // Eviction comes first: an evicted connection reads nothing more.
                        biased;
                        () = connection.evicted() => return,
                        read = timeout(head_timeout, read_first_head(stream, LARGEST_HEAD)) => read,
                        () = connection.should_close() => return,
                        _ = stop.wait_for(|stop| *stop) => return,
                    };
                    if let Ok(Some(stream)) = first_head {
                        serve_connection(TokioIo::new(stream), connection, head_timeout, router, &stopping).await;
                    }
                }
                Some(certificate) => {
                    let now = service.live.now();
                    let secure = tokio::select! {
                        secure = timeout(HANDSHAKE_TIMEOUT, certificate.accept(stream, now)) => secure,
                        () = connection.evicted() => return,
                    };
                    if let Ok(Ok(secure)) = secure {
                        connection.reset_idle();
                        serve_connection(TokioIo::new(secure), connection, head_timeout, router, &stopping).await;
                    }
                }
            }
        });
    }
}

/// Answers the requests of one connection until it ends, should close, or the service stops.
async fn serve_connection<S>(
    stream: TokioIo<S>,
    connection: Arc<Connection>,
    head_timeout: Duration,
    router: Router,
    stopping: &tokio::sync::watch::Sender<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    TokioIo<S>: rt::Read + rt::Write,
{
    let ours = Arc::clone(&connection);
    let respond = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&ours));
        let active = ours.start_request();
        Box::pin(async move { router.oneshot(request).await.map(|response| until_sent(response, active)) })
    });
    let mut http = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(stream, respond);
    let mut stop = stopping.subscribe();
    // The result is ignored: a client may break off its connection in any way.
    let is_stopping = tokio::select! {
        // Reading comes first, so that a client whose request has arrived does not count as idle.
        biased;
        _ = poll_fn(|context| http.poll_without_shutdown(context)) => false,
        _ = stop.wait_for(|stop| *stop) => true,
        // Dropped at once: other connections wait for its slot.
        () = connection.should_close() => return,
    };
    if is_stopping {
        Pin::new(&mut http).graceful_shutdown();
        poll_fn(|context| http.poll_without_shutdown(context)).await.ok();
    }
    linger(http.into_parts().io.into_inner()).await;
}

/// Ends our side and reads the rest of the client's data. Closing a socket with unread data resets the connection, and the client would
/// lose the answer to a body that was refused unread.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut unread = [0; 4096];
    let rest = async {
        stream.shutdown().await?;
        while 0 < stream.read(&mut unread).await? {}
        std::io::Result::Ok(())
    };
    timeout(LINGER, rest).await.ok();
}
