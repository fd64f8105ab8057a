//! A server on loopback whose answers a test defines byte by byte.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use decamp_config::{Connection, Secret, Tls, TokenSource};
use decamp_core::decide::Unseen;
use decamp_core::time::Time;
use decamp_hashicorp::consul;
use decamp_hashicorp::nomad;
use decamp_hashicorp::nomad::Clock;
use decamp_net::secrets::NoStore;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A request to the server.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    /// Path and query, decoded.
    pub(crate) path: String,
    pub(crate) headers: HashMap<String, String>,
    pub(crate) body: String,
}

/// The server's reaction to a request.
pub(crate) enum Reply {
    /// A status, a content type, more headers and a body.
    Whole(u16, &'static str, Vec<(&'static str, String)>, String),
    /// Sends these bytes and closes the connection.
    Bytes(String),
    /// Resets the connection.
    Reset,
    /// Never answers.
    Silence,
    /// Sends the head of an answer, then one byte at this interval.
    Drip(Duration),
}

impl Reply {
    pub(crate) fn json(body: impl Into<String>) -> Self {
        Self::Whole(200, "application/json", Vec::new(), body.into())
    }

    pub(crate) fn text(status: u16, body: &str) -> Self {
        Self::Whole(status, "text/plain; charset=utf-8", Vec::new(), body.to_owned())
    }

    pub(crate) fn with(self, header: &'static str, value: impl ToString) -> Self {
        match self {
            Self::Whole(status, kind, mut headers, body) => {
                headers.push((header, value.to_string()));
                Self::Whole(status, kind, headers, body)
            }
            Self::Bytes(_) | Self::Reset | Self::Silence | Self::Drip(_) => panic!("it has no headers"),
        }
    }
}

/// A running server. It ends with the test's runtime.
pub(crate) struct Server {
    pub(crate) address: String,
    requests: Arc<Mutex<Vec<Request>>>,
}

impl Server {
    pub(crate) async fn start(answer: impl FnMut(&Request) -> Reply + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port on loopback");
        let address = format!("http://{}", listener.local_addr().expect("it is bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let answer = Arc::new(Mutex::new(answer));
        let log = Arc::clone(&requests);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&answer), Arc::clone(&log)));
            }
        });
        Self { address, requests }
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.requests.lock().expect("no test panics in it").clone()
    }
}

async fn serve<A: FnMut(&Request) -> Reply>(mut stream: TcpStream, answer: Arc<Mutex<A>>, log: Arc<Mutex<Vec<Request>>>) {
    while let Some(request) = receive(&mut stream).await {
        log.lock().expect("no test panics in it").push(request.clone());
        let reply = (answer.lock().expect("no test panics in it"))(&request);
        match reply {
            Reply::Whole(status, kind, headers, body) => {
                let more: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
                let head = format!("HTTP/1.1 {status} X\r\nContent-Type: {kind}\r\n{more}Content-Length: {}\r\n\r\n", body.len());
                if stream.write_all(format!("{head}{body}").as_bytes()).await.is_err() {
                    return;
                }
            }
            Reply::Bytes(bytes) => {
                let _ = stream.write_all(bytes.as_bytes()).await;
                return;
            }
            Reply::Reset => {
                stream.set_zero_linger().expect("a socket option");
                return;
            }
            Reply::Silence => std::future::pending().await,
            Reply::Drip(pause) => {
                let _ =
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n").await;
                while stream.write_all(b" ").await.is_ok() {
                    tokio::time::sleep(pause).await;
                }
                return;
            }
        }
    }
}

async fn receive(stream: &mut TcpStream) -> Option<Request> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let mut first = lines.next()?.split(' ');
    let (method, path) = (first.next()?.to_owned(), decoded(first.next()?));
    let headers: HashMap<String, String> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.get("content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    while bytes.len() < head + 4 + length {
        if stream.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
    let body = String::from_utf8_lossy(&bytes[head + 4..head + 4 + length]).into_owned();
    Some(Request { method, path, headers, body })
}

fn decoded(path: &str) -> String {
    let mut out = Vec::new();
    let mut bytes = path.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'%' => {
                let hex: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&hex, 16).expect("two digits"));
            }
            b'+' => out.push(b' '),
            other => out.push(other),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A connection with short time-outs.
pub(crate) fn connection(addresses: &[&str], token: Option<&str>) -> Connection {
    Connection {
        addresses: addresses.iter().map(|a| (*a).to_owned()).collect(),
        token: token.map_or(TokenSource::None, |token| TokenSource::Literal(Secret::new(token))),
        tls: Tls::default(),
        query: Vec::new(),
        proxy: None,
        connect_timeout: Duration::from_millis(300),
        timeout: Duration::from_millis(600),
    }
}

pub(crate) fn clock() -> Clock {
    Arc::new(|| Time(u64::try_from(jiff::Timestamp::now().as_millisecond()).expect("it is past 1970")))
}

pub(crate) fn nomad(addresses: &[&str], token: Option<&str>) -> nomad::Client {
    nomad::Client::new(&connection(addresses, token), Arc::new(NoStore), clock()).expect("there is nothing wrong with it")
}

pub(crate) fn consul(addresses: &[&str], token: Option<&str>) -> consul::Client {
    consul::Client::new(&connection(addresses, token), Arc::new(NoStore)).expect("there is nothing wrong with it")
}

/// Whether a look failed because the system does not answer, and not for another reason.
pub(crate) fn is_away<T>(look: &Result<T, Unseen>) -> bool {
    matches!(look, Err(Unseen::Away(_)))
}
