//! One listener: connections are bounded in number, in time and by peer, and each ends in order when the service stops.

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

use super::arrival::arrived;
use super::connection::{Connection, until_sent};
use super::crowd::Crowd;
use super::tls::Certificate;
use crate::Service;
use decamp_core::world::World as _;

/// A request's head has to be there by then, also the next one on an idle connection. Strangers have less ([`super::connection`]).
const HEAD: Duration = Duration::from_secs(5);
/// The same of a listed proxy: load balancers keep a connection for the next client, an ALB for 60 s, and answer 502 for what comes when
/// it is closed just then.
const PROXYS_HEAD: Duration = Duration::from_secs(75);
/// A TLS handshake has to be done by then.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// The largest head of a request.
const LARGEST_HEAD: usize = 16 * 1024;
/// The most headers of a request.
const MOST_HEADERS: usize = 64;
/// A client has to take some of its answer within this.
const TAKES: Duration = Duration::from_secs(10);
/// What a client still sends is read for so long after the last answer.
const LINGERS: Duration = Duration::from_secs(1);
/// When the service stops, what is being answered has so long.
const LAST_ANSWERS: Duration = Duration::from_secs(3);

/// One listener.
pub(super) struct Door {
    listener: TcpListener,
    router: Router,
    certificate: Option<Arc<Certificate>>,
    service: Arc<Service>,
    name: &'static str,
    /// Connections at once.
    most: usize,
}

impl Door {
    /// Makes a listener; nothing is accepted yet.
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
        let certificate = tls.map(|(certificate, key)| Certificate::read(certificate, key)).transpose()?;
        Ok(Self { listener, router, certificate, service: Arc::clone(service), name, most })
    }

    /// Serves until the service stops.
    pub(super) async fn serve(self) {
        let mut stopping = self.service.stopping.subscribe();
        let open = Crowd::new(self.most);
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stop| *stop) => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, peer)) => {
                        self.take(stream, peer, &open, &mut connections);
                        self.take_all(&open, &mut connections);
                        // All that were made to leave leave before more are let in.
                        yield_now().await;
                    }
                    // Out of file descriptors, or a client that left at once: the next one may fare better.
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                },
                Some(_) = connections.join_next() => {}
            }
            while connections.try_join_next().is_some() {}
        }
        drop(self.listener);
        let rest = async { while connections.join_next().await.is_some() {} };
        // Whoever is slower than that is cut off with the process.
        timeout(LAST_ANSWERS, rest).await.ok();
    }

    /// Takes all that wait to be accepted. The kernel has them in one row: whoever is last in it would else wait until everybody before it
    /// has had a turn at everything.
    fn take_all(&self, open: &Crowd, connections: &mut JoinSet<()>) {
        for _ in 0..self.most {
            match unconstrained(self.listener.accept()).now_or_never() {
                Some(Ok((stream, peer))) => self.take(stream, peer, open, connections),
                Some(Err(_)) | None => return,
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr, open: &Crowd, connections: &mut JoinSet<()>) {
        let peer = peer.ip().to_canonical();
        let is_proxy = self.service.settings.serve.proxies.iter().any(|network| network.has(peer));
        let Some(spot) = open.enter(peer, is_proxy) else {
            tracing::debug!(listener = self.name, %peer, "a connection was closed: too many are open");
            return;
        };
        stream.set_nodelay(true).ok();
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(TAKES));
        let stream = Box::pin(stream);
        let router = self.router.clone();
        let stopping = self.service.stopping.clone();
        let service = Arc::clone(&self.service);
        let certificate = self.certificate.clone();
        connections.spawn_local(async move {
            let connection = Connection::new(peer, spot);
            let head = if is_proxy { PROXYS_HEAD } else { HEAD };
            match certificate {
                None => {
                    let mut stop = stopping.subscribe();
                    let arrived = tokio::select! {
                        // First: who has to leave for another reads nothing more.
                        biased;
                        () = connection.to_be_left() => return,
                        arrived = timeout(head, arrived(stream, LARGEST_HEAD)) => arrived,
                        () = connection.to_be_closed() => return,
                        _ = stop.wait_for(|stop| *stop) => return,
                    };
                    if let Ok(Some(stream)) = arrived {
                        converse(TokioIo::new(stream), connection, head, router, &stopping).await;
                    }
                }
                Some(certificate) => {
                    let now = service.live.now();
                    let secure = tokio::select! {
                        secure = timeout(HANDSHAKE, certificate.accept(stream, now)) => secure,
                        () = connection.to_be_left() => return,
                    };
                    if let Ok(Ok(secure)) = secure {
                        connection.begin();
                        converse(TokioIo::new(secure), connection, head, router, &stopping).await;
                    }
                }
            }
        });
    }
}

async fn converse<S>(
    stream: TokioIo<S>,
    with: Arc<Connection>,
    head: Duration,
    router: Router,
    stopping: &tokio::sync::watch::Sender<bool>,
) where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    TokioIo<S>: rt::Read + rt::Write,
{
    let asked = Arc::clone(&with);
    let respond = service_fn(move |request: Request<Incoming>| {
        let router = router.clone();
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(Arc::clone(&asked));
        let answering = asked.answering();
        Box::pin(async move { router.oneshot(request).await.map(|response| until_sent(response, answering)) })
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(MOST_HEADERS)
        .serve_connection(stream, respond);
    let mut stop = stopping.subscribe();
    // How a connection ended is for its client to say.
    let told_to_stop = tokio::select! {
        // First, so that what has come is read before its sender counts as idle.
        biased;
        _ = poll_fn(|context| connection.poll_without_shutdown(context)) => false,
        _ = stop.wait_for(|stop| *stop) => true,
        // It is dropped as it is: what would be read or written first is what others wait for.
        () = with.to_be_closed() => return,
    };
    if told_to_stop {
        Pin::new(&mut connection).graceful_shutdown();
        poll_fn(|context| connection.poll_without_shutdown(context)).await.ok();
    }
    linger(connection.into_parts().io.into_inner()).await;
}

/// Says that no more comes, and reads what was on its way: to close before that resets the connection, and the answer to a body that
/// was refused unread would be lost with it.
async fn linger<S: AsyncRead + AsyncWrite + Unpin>(mut stream: S) {
    let mut unread = [0; 4096];
    let rest = async {
        stream.shutdown().await?;
        while 0 < stream.read(&mut unread).await? {}
        std::io::Result::Ok(())
    };
    timeout(LINGERS, rest).await.ok();
}
