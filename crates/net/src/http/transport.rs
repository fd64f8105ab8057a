//! The HTTP client of one system, made anew when its certificates change: rotated hourly or daily, they must not need a restart.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::time::Instant;
use tracing::{info, warn};

use super::through;
use crate::tls;
use decamp_config::{Connection, Proxy, Tls};

/// The files are looked at no more often than this.
const LOOKED_AT: Duration = Duration::from_secs(1);

/// An idle connection is dropped after this: load balancers in between forget theirs after a minute.
const IDLE: Duration = Duration::from_secs(30);

/// Idle connections that are kept: enough for what departures ask between two blocking queries, while a thousand that have just ended
/// one give theirs back.
const MOST_IDLE: usize = 16;

/// What tells whether a file has changed: its time and its length; `None` if it is not there.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// An HTTP client and the files that it was made of.
#[derive(Debug)]
pub(super) struct Transport {
    tls: Tls,
    /// Whether any address is `https`: else no file is read at all.
    secure: bool,
    proxy: Option<Proxy>,
    connect_timeout: Duration,
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    client: reqwest::Client,
    stamp: Stamp,
    looked: Instant,
}

impl Transport {
    /// A client by these settings.
    ///
    /// # Errors
    ///
    /// If a certificate or key cannot be used.
    pub(super) fn new(connection: &Connection) -> Result<Self> {
        let secure = connection.addresses.iter().any(|address| address.starts_with("https://"));
        let (tls, proxy, connect_timeout) = (connection.tls.clone(), connection.proxy.clone(), connection.connect_timeout);
        let stamp = if secure { stamp(&tls) } else { Stamp::new() };
        let client = make(&tls, secure, proxy.as_ref(), connect_timeout)?;
        let held = Mutex::new(Held { client, stamp, looked: Instant::now() });
        Ok(Self { tls, secure, proxy, connect_timeout, held })
    }

    /// The client of now.
    pub(super) fn client(&self) -> reqwest::Client {
        let mut held = self.lock();
        if self.secure && LOOKED_AT <= held.looked.elapsed() {
            self.look(&mut held, false);
        }
        held.client.clone()
    }

    /// Reads the files again because TLS failed, whether or not they look different. Answers whether there is a new client to try with.
    pub(super) fn renew(&self) -> bool {
        let mut held = self.lock();
        // Many requests fail at the same time: the first has them read.
        if !self.secure || held.looked.elapsed() < LOOKED_AT {
            return false;
        }
        self.look(&mut held, true)
    }

    fn look(&self, held: &mut Held, at_any_rate: bool) -> bool {
        held.looked = Instant::now();
        let stamp = stamp(&self.tls);
        if stamp == held.stamp && !at_any_rate {
            return false;
        }
        let changed = stamp != held.stamp;
        match make(&self.tls, true, self.proxy.as_ref(), self.connect_timeout) {
            Ok(client) => {
                held.client = client;
                held.stamp = stamp;
                if changed {
                    info!("certificates have changed and were read again");
                }
                true
            }
            Err(why) => {
                // The certificate may be there before its key is: until both fit, what was read before stays.
                warn!("certificates have changed and cannot be used yet: {why:#}");
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(tls: &Tls, secure: bool, proxy: Option<&Proxy>, connect_timeout: Duration) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config(tls, secure)?)
        .user_agent(concat!("decamp/", env!("CARGO_PKG_VERSION")))
        // Neither Nomad nor Consul redirects; whoever does would get our token.
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(connect_timeout)
        .pool_idle_timeout(IDLE)
        .pool_max_idle_per_host(MOST_IDLE)
        .no_proxy();
    if let Some(proxy) = proxy {
        builder = through(builder, &proxy.url, &proxy.except)?;
    }
    builder.build().context("make an HTTP client")
}

/// The files that are named, a folder's included.
fn stamp(tls: &Tls) -> Stamp {
    let mut files: Vec<PathBuf> = [&tls.ca, &tls.certificate, &tls.key].into_iter().flatten().cloned().collect();
    if let Some(folder) = &tls.ca_path {
        let mut inside: Vec<PathBuf> = std::fs::read_dir(folder)
            .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
            .unwrap_or_default();
        inside.sort();
        files.extend(inside);
    }
    let of = |file: PathBuf| {
        let seen = std::fs::metadata(&file).and_then(|data| Ok((data.modified()?, data.len()))).ok();
        (file, seen)
    };
    files.into_iter().map(of).collect()
}
