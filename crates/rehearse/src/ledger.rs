//! The account of every request: its outcome, how long it took from its due time, and how long each service had no success.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::processes::Names;

/// The kind of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It takes at most 50 ms.
    Short,
    /// It takes up to three seconds.
    Slow,
    /// Its answer comes in parts.
    Stream,
    /// Its body comes in parts.
    Upload,
    /// A WebSocket.
    Socket,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// A 502.
    BadGateway,
    /// A 503.
    NoTarget,
    /// A 504.
    GatewayTimeout,
    /// A 404: the ingress did not know the service.
    NotFound,
    /// Another status that is not 200.
    OtherStatus,
    /// The connection could not be made, or broke before an answer.
    Connection,
    /// The answer broke off, or was not the expected one.
    Truncated,
    /// No answer in time.
    TimedOut,
    /// A WebSocket ended without a close frame.
    Cut,
}

impl FailureKind {
    /// The words for a person.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BadGateway => "502",
            Self::NoTarget => "503",
            Self::GatewayTimeout => "504",
            Self::NotFound => "404",
            Self::OtherStatus => "other status",
            Self::Connection => "connection",
            Self::Truncated => "truncated",
            Self::TimedOut => "time-out",
            Self::Cut => "cut WebSocket",
        }
    }
}

/// The outcome of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// It was answered as expected.
    Succeeded,
    /// It was closed in order, or by the load balancer at the end of its delay, and was open again within a second (ADR 0024).
    Moved,
    /// It failed: the kind, and the cause.
    Failed(FailureKind, String),
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FailedRequest {
    /// Seconds since the load began.
    pub at: f64,
    /// The kind of request.
    pub class: Class,
    /// How it failed.
    pub how: FailureKind,
    /// The service that it was for.
    pub service: String,
    /// Which component failed it, and why.
    pub cause: String,
}

/// The requests of one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Requests that succeeded or moved.
    pub ok: u32,
    /// Requests that failed.
    pub failed: u32,
}

/// The longest latency that the histograms distinguish, in microseconds.
const LONGEST: u64 = 60_000_000;

fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, LONGEST, 3).expect("these bounds and three digits fit")
}

/// The account of one run.
pub(super) struct Ledger {
    began: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    sent: u64,
    moved: u64,
    failures: Vec<FailedRequest>,
    seconds: Vec<Second>,
    /// Latencies of short requests, in microseconds: before the refresh, and during it.
    short: [Histogram<u64>; 2],
    kept: Option<Kept>,
    all: Histogram<u64>,
    late: Histogram<u64>,
    refreshing: bool,
    /// The last success of each service, and its longest time without one.
    gaps: BTreeMap<Arc<str>, (Instant, Duration)>,
}

/// Requests over connections that had carried other requests before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// All such requests.
    pub requests: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many were sent again on another connection, because theirs was closed in order before the answer began.
    pub again: u64,
}

/// The final account of a ledger.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    /// All requests.
    pub requests: u64,
    /// Streams and WebSockets that were closed in order and opened again.
    pub moved: u64,
    /// Requests over connections that clients kept through a Network Load Balancer. `None` if there were no such connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Failed requests.
    pub failed: usize,
    /// Failed requests by kind.
    pub failed_by_kind: BTreeMap<&'static str, usize>,
    /// Every failed request.
    pub failures: Vec<FailedRequest>,
    /// The requests of each second.
    pub seconds: Vec<Second>,
    /// The latency of short requests before the refresh.
    pub calm: Latency,
    /// The latency of short requests since the refresh began.
    pub short: Latency,
    /// The latency of all requests over the whole run.
    pub all: Latency,
    /// The latencies of short requests during the refresh: upper bounds in milliseconds, and counts.
    pub spread: Vec<(f64, u64)>,
    /// How many milliseconds after its due time a request was sent (p99).
    pub late_p99: f64,
    /// The longest time without a success of each service, in seconds.
    pub longest_gap: BTreeMap<String, f64>,
}

impl Account {
    /// Replaces addresses in causes by the names of processes. An ingress in a separate process knows only addresses.
    pub(super) fn name_processes(&mut self, names: &Names) {
        let names = names.lock().unwrap_or_else(PoisonError::into_inner);
        for FailedRequest { cause, .. } in &mut self.failures {
            let named = |word: &str| names.get(&word.trim_end_matches(':').parse().ok()?).cloned();
            let name = cause.split(' ').find_map(|word| Some((word.trim_end_matches(':').to_owned(), named(word)?)));
            if let Some((address, name)) = name {
                *cause = cause.replace(&address, &name);
            }
        }
    }
}

/// Latencies, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Latency {
    /// Half of the requests are faster.
    pub p50: f64,
    /// 99 % of the requests are faster.
    pub p99: f64,
    /// The slowest request.
    pub max: f64,
}

fn milliseconds(microseconds: u64) -> f64 {
    f64::from(u32::try_from(microseconds).unwrap_or(u32::MAX)) / 1000.0
}

impl Latency {
    fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| milliseconds(histogram.value_at_quantile(quantile));
        Self { p50: at(0.5), p99: at(0.99), max: milliseconds(histogram.max()) }
    }
}

fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(LONGEST).clamp(1, LONGEST)
}

impl Ledger {
    /// A ledger that begins now.
    pub(super) fn begin(services: impl Iterator<Item = Arc<str>>) -> Arc<Self> {
        let began = Instant::now();
        let inner = Inner {
            sent: 0,
            moved: 0,
            kept: None,
            failures: Vec::new(),
            seconds: Vec::new(),
            short: [histogram(), histogram()],
            all: histogram(),
            late: histogram(),
            refreshing: false,
            gaps: services.map(|service| (service, (began, Duration::ZERO))).collect(),
        };
        Arc::new(Self { began, inner: Mutex::new(inner) })
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When it began.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// Notes that the refresh begins now.
    pub(super) fn refresh_begins(&self) {
        self.lock().refreshing = true;
    }

    /// Counts a request that is sent now, and how late that is.
    pub(super) fn sent(&self, due: Instant) {
        let late = due.elapsed();
        let mut inner = self.lock();
        inner.sent += 1;
        inner.late.saturating_record(microseconds(late));
    }

    /// Counts a request that has ended.
    pub(super) fn ended(&self, class: Class, service: &Arc<str>, due: Instant, outcome: RequestOutcome) {
        let (now, took) = (Instant::now(), microseconds(due.elapsed()));
        let second = usize::try_from(self.began.elapsed().as_secs()).unwrap_or(0);
        let mut inner = self.lock();
        if inner.seconds.len() <= second {
            inner.seconds.resize(second + 1, Second::default());
        }
        match outcome {
            RequestOutcome::Failed(how, cause) => {
                inner.seconds[second].failed += 1;
                let at = self.began.elapsed().as_secs_f64();
                inner.failures.push(FailedRequest { at, class, how, service: service.to_string(), cause });
                return;
            }
            RequestOutcome::Moved => inner.moved += 1,
            RequestOutcome::Succeeded => {}
        }
        inner.seconds[second].ok += 1;
        if class != Class::Socket {
            inner.all.saturating_record(took);
        }
        if class == Class::Short {
            let phase = usize::from(inner.refreshing);
            inner.short[phase].saturating_record(took);
        }
        let (last, longest) = inner.gaps.entry(Arc::clone(service)).or_insert((now, Duration::ZERO));
        *longest = (*longest).max(now.duration_since(*last));
        *last = now;
    }

    /// Counts a request of a client that keeps its connections: whether it used a kept one, and whether it was sent again.
    pub(super) fn ended_with_keep_alive(&self, kept: bool, again: bool) {
        let mut inner = self.lock();
        let all = inner.kept.get_or_insert_default();
        all.requests += u64::from(kept);
        all.again += u64::from(again);
    }

    /// Counts a request that failed on a kept connection and did not move.
    pub(super) fn failed_on_kept_connection(&self) {
        self.lock().kept.get_or_insert_default().failed += 1;
    }

    /// How many requests were sent and failed so far.
    pub(super) fn so_far(&self) -> (u64, usize) {
        let inner = self.lock();
        (inner.sent, inner.failures.len())
    }

    /// The final account.
    pub(super) fn account(&self) -> Account {
        let inner = self.lock();
        let mut failed_by_kind = BTreeMap::new();
        for failure in &inner.failures {
            *failed_by_kind.entry(failure.how.word()).or_default() += 1;
        }
        let now = Instant::now();
        let gap = |(service, (last, longest)): (&Arc<str>, &(Instant, Duration))| {
            (service.to_string(), now.duration_since(*last).max(*longest).as_secs_f64())
        };
        let bounds = inner.short[1].iter_log(1_000, 1.25);
        Account {
            requests: inner.sent,
            moved: inner.moved,
            kept: inner.kept,
            failed: inner.failures.len(),
            failed_by_kind,
            failures: inner.failures.clone(),
            seconds: inner.seconds.clone(),
            calm: Latency::of(&inner.short[0]),
            short: Latency::of(&inner.short[1]),
            all: Latency::of(&inner.all),
            spread: bounds.map(|step| (milliseconds(step.value_iterated_to()), step.count_since_last_iteration())).collect(),
            late_p99: milliseconds(inner.late.value_at_quantile(0.99)),
            longest_gap: inner.gaps.iter().map(gap).collect(),
        }
    }
}
