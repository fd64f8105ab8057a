//! A server that behaves like a process: it runs, it finishes its requests when it is asked to stop, and a kill drops all of them.

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

/// An error in the middle of a body.
pub(super) type BodyError = Box<dyn std::error::Error + Send + Sync>;
/// The body of every request and answer of the rehearsal.
pub(super) type Body = UnsyncBoxBody<Bytes, BodyError>;

/// A body with these bytes.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An answer with a status and a sentence.
pub(super) fn plain(status: StatusCode, text: String) -> Response<Body> {
    let mut answer = Response::new(full(text));
    *answer.status_mut() = status;
    answer
}

/// The state of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ProcessState {
    /// It accepts connections.
    Running,
    /// It stops in order: it accepts no connection and no further request on one, and finishes the requests in progress.
    Finishing,
    /// It is gone. Every connection is broken.
    Dead,
}

/// A token for work in progress. A process that finishes ends when all its tokens are dropped.
#[derive(Debug, Clone)]
pub(super) struct WorkToken {
    pub(super) state: watch::Receiver<ProcessState>,
    _work: mpsc::Sender<()>,
}

impl WorkToken {
    /// Resolves when the process is asked to stop, or dies.
    pub(super) async fn stop_requested(&mut self) -> ProcessState {
        match self.state.wait_for(|state| *state != ProcessState::Running).await {
            Ok(state) => *state,
            Err(_) => ProcessState::Dead,
        }
    }

    /// Resolves when the process dies.
    pub(super) async fn death(&mut self) {
        // If the sender is gone, the process is gone as well.
        self.state.wait_for(|state| *state == ProcessState::Dead).await.ok();
    }
}

/// A running server. Dropping it kills the server.
#[derive(Debug)]
pub(super) struct Server {
    /// The address that it listens on.
    pub(super) address: SocketAddr,
    state: watch::Sender<ProcessState>,
    ends: Option<JoinHandle<Ended>>,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// It finished its requests.
    ByItself,
    /// It was killed.
    Killed,
}

impl Server {
    /// Starts to listen.
    ///
    /// # Errors
    /// The address is in use or not local.
    pub(super) async fn start<S, F>(address: SocketAddr, respond: S) -> io::Result<Self>
    where
        S: Fn(Request<Incoming>, WorkToken) -> F + Clone + Send + 'static,
        F: Future<Output = Response<Body>> + Send + 'static,
    {
        let listener = listen(address)?;
        let address = listener.local_addr()?;
        let (state, states) = watch::channel(ProcessState::Running);
        let ends = tokio::spawn(run(listener, respond, states));
        Ok(Self { address, state, ends: Some(ends) })
    }

    /// A process that is controlled by `state`, and whose task is `ends`.
    pub(super) fn of(address: SocketAddr, state: watch::Sender<ProcessState>, ends: JoinHandle<Ended>) -> Self {
        Self { address, state, ends: Some(ends) }
    }

    /// Asks it to finish its requests and stop.
    pub(super) fn finish(&self) {
        self.state.send_if_modified(|state| {
            let runs = *state == ProcessState::Running;
            if runs {
                *state = ProcessState::Finishing;
            }
            runs
        });
    }

    /// Kills it.
    pub(super) fn kill(&self) {
        self.state.send_replace(ProcessState::Dead);
    }

    /// A handle that resolves when the server has ended. `None` if it was taken before.
    pub(super) fn end(&mut self) -> Option<JoinHandle<Ended>> {
        self.ends.take()
    }
}

async fn run<S, F>(listener: TcpListener, respond: S, mut state: watch::Receiver<ProcessState>) -> Ended
where
    S: Fn(Request<Incoming>, WorkToken) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let (work, mut work_done) = mpsc::channel(1);
    let token = WorkToken { state: state.clone(), _work: work };
    loop {
        select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => drop(tokio::spawn(serve_connection(stream, respond.clone(), token.clone()))),
                // There was no file descriptor, or the client left at once. The next connection may succeed.
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(5)).await,
            },
            changed = state.changed() => match (*state.borrow_and_update(), changed) {
                (ProcessState::Running, Ok(())) => {}
                (ProcessState::Finishing, Ok(())) => break,
                (ProcessState::Dead, _) | (_, Err(_)) => return Ended::Killed,
            },
        }
    }
    drop((listener, token));
    select! {
        // All work is done.
        _ = work_done.recv() => Ended::ByItself,
        _ = state.wait_for(|state| *state == ProcessState::Dead) => Ended::Killed,
    }
}

async fn serve_connection<S, F>(stream: TcpStream, respond: S, token: WorkToken)
where
    S: Fn(Request<Incoming>, WorkToken) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    stream.set_nodelay(true).ok();
    let mut process = token.clone();
    let service = service_fn(move |request| {
        let answer = respond(request, token.clone());
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    select! {
        // The client reports how its connection ended.
        _ = connection.as_mut() => return,
        state = process.stop_requested() => match state {
            ProcessState::Running | ProcessState::Finishing => connection.as_mut().graceful_shutdown(),
            ProcessState::Dead => return,
        },
    }
    select! {
        _ = connection.as_mut() => {}
        () = process.death() => {}
    }
}
