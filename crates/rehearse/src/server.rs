//! A server with the life of a process: it runs, it finishes what it holds when it is told to, and it dies with whatever it holds.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::select;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;

use decamp_sandbox::wire::listen;

/// What breaks a body in the middle.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every request and answer here.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body that is there already.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer with nothing but a status and a sentence.
pub(super) fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut answer = Response::new(full(text));
    *answer.status_mut() = status;
    answer
}

/// Where the life of a process stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Life {
    /// It takes connections.
    Running,
    /// It was told to stop and obeys: no new connection, no second request on one, but what it holds is finished.
    Finishing,
    /// It is gone: every connection ends where it stands.
    Dead,
}

/// What keeps a process alive: whoever holds one has work of it in hand.
#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) life: watch::Receiver<Life>,
    _work: mpsc::Sender<()>,
}

impl Hold {
    /// Ends when the process is told to finish, or dies.
    pub(super) async fn told_to_finish(&mut self) -> Life {
        match self.life.wait_for(|life| *life != Life::Running).await {
            Ok(life) => *life,
            Err(_) => Life::Dead,
        }
    }

    /// Ends when the process dies.
    pub(super) async fn death(&mut self) {
        // Whoever held the process is gone: then so is it.
        self.life.wait_for(|life| *life == Life::Dead).await.ok();
    }
}

/// A running server. It dies when this is dropped.
#[derive(Debug)]
pub(super) struct Server {
    /// Where it listens.
    pub(super) address: SocketAddr,
    life: watch::Sender<Life>,
    ends: Option<JoinHandle<Ended>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It had finished what it held.
    ByItself,
    /// It was killed.
    Killed,
}

impl Server {
    /// Begins to listen.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(super) async fn start<S, F>(address: SocketAddr, respond: S) -> io::Result<Self>
    where
        S: Fn(Request<Incoming>, Hold) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let (life, heard) = watch::channel(Life::Running);
        let ends = tokio::spawn(run(listener, respond, heard));
        Ok(Self { address, life, ends: Some(ends) })
    }

    /// A process that `ends` stands for, which does as it is told by `life`.
    pub(super) fn of(address: SocketAddr, life: watch::Sender<Life>, ends: JoinHandle<Ended>) -> Self {
        Self { address, life, ends: Some(ends) }
    }

    /// Tells it to finish.
    pub(super) fn finish(&self) {
        self.life.send_if_modified(|life| {
            let runs = *life == Life::Running;
            if runs {
                *life = Life::Finishing;
            }
            runs
        });
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        self.life.send_replace(Life::Dead);
    }

    /// What tells when it has ended; `None` if that was asked for already.
    pub(super) fn end(&mut self) -> Option<JoinHandle<Ended>> {
        self.ends.take()
    }
}

async fn run<S, F>(listener: TcpListener, respond: S, mut life: watch::Receiver<Life>) -> Ended
where
    S: Fn(Request<Incoming>, Hold) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (work, mut held) = mpsc::channel(1);
    let hold = Hold { life: life.clone(), _work: work };
    loop {
        select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(converse(stream, respond.clone(), hold.clone()))),
                // Out of file descriptors, or a client that left at once: the next one may fare better.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            },
            changed = life.changed() => match (*life.borrow_and_update(), changed) {
                (Life::Running, Ok(())) => {}
                (Life::Finishing, Ok(())) => break,
                (Life::Dead, _) | (_, Err(_)) => return Ended::Killed,
            },
        }
    }
    drop((listener, hold));
    select! {
        // Nobody holds work any more.
        _ = held.recv() => Ended::ByItself,
        _ = life.wait_for(|life| *life == Life::Dead) => Ended::Killed,
    }
}

async fn converse<S, F>(stream: TcpStream, respond: S, hold: Hold)
where
    S: Fn(Request<Incoming>, Hold) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    stream.set_nodelay(true).ok();
    let mut heard = hold.clone();
    let service = service_fn(move |request| {
        let answer = respond(request, hold.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    select! {
        // How a connection ended is for its client to say.
        _ = connection.as_mut() => return,
        life = heard.told_to_finish() => match life {
            Life::Running | Life::Finishing => connection.as_mut().graceful_shutdown(),
            Life::Dead => return,
        },
    }
    select! {
        _ = connection.as_mut() => {}
        () = heard.death() => {}
    }
}
