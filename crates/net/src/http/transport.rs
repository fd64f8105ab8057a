//! The HTTP client of one system. It is made again when its certificates change, because certificates that rotate hourly or daily
//! must not need a restart. They are in files, or kept in AWS and fetched with the first request.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use tokio::time::Instant;
use tracing::{info, warn};

use super::through;
use crate::secrets::{Fetch, Token};
use crate::tls::{self, Fetched};
use decamp_config::{Connection, Proxy, Secret, Stored, StoredTls, Tls, TokenSource};
use decamp_core::decide::Unseen;

/// The shortest time between two checks of the files.
const CHECK_EVERY: Duration = Duration::from_secs(1);

/// How long an idle connection is kept. Load balancers in between drop theirs after a minute.
const IDLE: Duration = Duration::from_secs(30);

/// The most idle connections: enough for the requests between two blocking queries. A thousand departures that have just ended one
/// close the rest.
const MOST_IDLE: usize = 16;

/// Shows whether a file has changed: its time and its length; `None` if it does not exist.
type Stamp = Vec<(PathBuf, Option<(SystemTime, u64)>)>;

/// An HTTP client, and the files that it was made from.
#[derive(Debug)]
pub(super) struct Transport {
    tls: Tls,
    /// Whether any address is `https`. If not, no file is read.
    secure: bool,
    proxy: Option<Proxy>,
    connect_timeout: Duration,
    /// The parts that are kept in AWS; `None` if there are none.
    kept: Option<Kept>,
    /// `None` until the parts in AWS have been fetched.
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    client: reqwest::Client,
    fetched: Fetched,
    stamp: Stamp,
    checked: Instant,
    /// When everything was last read again because TLS failed. The regular check of the files does not count.
    renewed: Option<Instant>,
}

/// The parts that are kept in AWS. Each is fetched, and fetched again, like a token.
#[derive(Debug)]
struct Kept {
    ca: Option<(Stored, Token)>,
    certificate: Option<(Stored, Token)>,
    key: Option<(Stored, Token)>,
}

impl Kept {
    fn new(stored: &StoredTls, store: &Arc<dyn Fetch>) -> Self {
        let part = |stored: &Option<Stored>| {
            let stored = stored.clone()?;
            Some((stored.clone(), Token::new(TokenSource::Stored(stored), Arc::clone(store))))
        };
        Self { ca: part(&stored.ca), certificate: part(&stored.certificate), key: part(&stored.key) }
    }

    async fn get(&self) -> Result<Fetched, Unseen> {
        Ok(Fetched { ca: part(&self.ca).await?, certificate: part(&self.certificate).await?, key: part(&self.key).await? })
    }

    /// The current parts, fetched again where they may have changed.
    async fn instead_of(&self, before: &Fetched) -> Fetched {
        Fetched {
            ca: newer(&self.ca, &before.ca).await,
            certificate: newer(&self.certificate, &before.certificate).await,
            key: newer(&self.key, &before.key).await,
        }
    }
}

async fn part(part: &Option<(Stored, Token)>) -> Result<Option<Secret>, Unseen> {
    let Some((stored, token)) = part else { return Ok(None) };
    match token.get().await? {
        Some(text) => Ok(Some(text)),
        None => Err(Unseen::Away(format!("there is nothing in {stored}").into())),
    }
}

async fn newer(part: &Option<(Stored, Token)>, before: &Option<Secret>) -> Option<Secret> {
    let (_, token) = part.as_ref()?;
    token.instead_of(before.as_ref()).await.filter(|text| !text.is_blank()).or_else(|| before.clone())
}

impl Transport {
    /// A client with these settings.
    ///
    /// # Errors
    ///
    /// If a certificate or key cannot be used.
    pub(super) fn new(connection: &Connection, store: &Arc<dyn Fetch>) -> Result<Self> {
        let secure = connection.addresses.iter().any(|address| address.starts_with("https://"));
        let stored = &connection.tls.stored;
        let kept = (secure && !stored.is_empty()).then(|| Kept::new(stored, store));
        let (tls, proxy, connect_timeout) = (connection.tls.clone(), connection.proxy.clone(), connection.connect_timeout);
        let made = Self { tls, secure, proxy, connect_timeout, kept, held: Mutex::default() };
        if made.kept.is_none() {
            made.hold(Fetched::default())?;
        }
        Ok(made)
    }

    /// The current client.
    ///
    /// # Errors
    ///
    /// Returns an error if a certificate or key that is kept in AWS cannot be fetched or used.
    pub(super) async fn client(&self) -> Result<reqwest::Client, Unseen> {
        if let Some(held) = self.lock().as_mut() {
            if self.secure && CHECK_EVERY <= held.checked.elapsed() {
                self.check_files(held, false);
            }
            return Ok(held.client.clone());
        }
        let fetched = match &self.kept {
            Some(kept) => kept.get().await?,
            None => Fetched::default(),
        };
        self.hold(fetched).map_err(|why| Unseen::Away(format!("the certificates cannot be used: {why:#}").into()))
    }

    /// Reads the files again because TLS failed, even if they look unchanged, and fetches the parts in AWS. Returns whether there
    /// is a new client to try.
    pub(super) async fn renew(&self) -> bool {
        let before = {
            let mut held = self.lock();
            // Many requests fail at the same time. The first one triggers the read.
            let is_due = |held: &&mut Held| self.secure && held.renewed.is_none_or(|at| CHECK_EVERY <= at.elapsed());
            let Some(held) = held.as_mut().filter(is_due) else { return false };
            held.renewed = Some(Instant::now());
            if self.kept.is_none() {
                return self.check_files(held, true);
            }
            held.fetched.clone()
        };
        let Some(kept) = &self.kept else { return false };
        let fetched = kept.instead_of(&before).await;
        let changed = fetched != before;
        let mut held = self.lock();
        let Some(held) = held.as_mut() else { return false };
        held.fetched = fetched;
        let renewed = self.check_files(held, true);
        if !renewed {
            held.fetched = before;
        } else if changed {
            info!("certificates that are kept in AWS have changed and were fetched again");
        }
        renewed
    }

    /// Makes a client and keeps it.
    fn hold(&self, fetched: Fetched) -> Result<reqwest::Client> {
        let stamp = if self.secure { stamp(&self.tls) } else { Stamp::new() };
        let client = make(&self.tls, &fetched, self.secure, self.proxy.as_ref(), self.connect_timeout)?;
        *self.lock() = Some(Held { client: client.clone(), fetched, stamp, checked: Instant::now(), renewed: None });
        Ok(client)
    }

    fn check_files(&self, held: &mut Held, even_if_unchanged: bool) -> bool {
        held.checked = Instant::now();
        let stamp = stamp(&self.tls);
        if stamp == held.stamp && !even_if_unchanged {
            return false;
        }
        let changed = stamp != held.stamp;
        match make(&self.tls, &held.fetched, true, self.proxy.as_ref(), self.connect_timeout) {
            Ok(client) => {
                held.client = client;
                held.stamp = stamp;
                if changed {
                    info!("certificates have changed and were read again");
                }
                true
            }
            Err(why) => {
                // The certificate may be written before its key. Until both match, the previous ones stay.
                warn!("certificates have changed and cannot be used yet: {why:#}");
                false
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make(tls: &Tls, fetched: &Fetched, secure: bool, proxy: Option<&Proxy>, connect_timeout: Duration) -> Result<reqwest::Client> {
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls::config_with(tls, fetched, secure)?)
        .user_agent(concat!("decamp/", env!("CARGO_PKG_VERSION")))
        // Neither Nomad nor Consul redirects. Another server that does would get our token.
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

/// The stamps of the files in the settings, including those in a folder.
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
