//! The account of every request: what became of it, how long it took from the moment it was due, and which service went without.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;
use tokio::time::Instant;

use super::processes::Names;

/// What kind of request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// At most 50 ms.
    Short,
    /// Up to three seconds.
    Slow,
    /// An answer in parts.
    Stream,
    /// A body in parts.
    Upload,
    /// A WebSocket.
    Socket,
}

/// How a request failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Failed {
    /// 502.
    BadGateway,
    /// 503.
    NoTarget,
    /// 504.
    GatewayTimeout,
    /// 404: the ingress did not know the service at all.
    NotFound,
    /// Another status than 200.
    OtherStatus,
    /// The connection could not be made, or broke before an answer.
    Connection,
    /// The answer broke off, or was not what was asked for.
    Truncated,
    /// No answer in time.
    TimedOut,
    /// A WebSocket ended without a close.
    Cut,
}

impl Failed {
    /// What a person calls it.
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

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fared {
    /// As it should.
    Well,
    /// It was closed in order, or by the load balancer at the end of its delay, and came back within a second (ADR 0024).
    Moved,
    /// It failed, and who says why.
    Failed(Failed, String),
}

/// A failed request.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Failure {
    /// Seconds since the load began.
    pub at: f64,
    /// What kind of request.
    pub class: Class,
    /// How it failed.
    pub how: Failed,
    /// For which service.
    pub service: String,
    /// Who says why.
    pub cause: String,
}

/// What happened in one second.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Second {
    /// Requests that fared well, or moved.
    pub ok: u32,
    /// Requests that failed.
    pub failed: u32,
}

/// The longest latency that is told apart.
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
    failures: Vec<Failure>,
    seconds: Vec<Second>,
    /// Latencies of short requests, in microseconds: in the calm, and during the refresh.
    short: [Histogram<u64>; 2],
    kept: Option<Kept>,
    all: Histogram<u64>,
    late: Histogram<u64>,
    refreshing: bool,
    /// The last success of each service, and the longest time without one.
    gaps: BTreeMap<Arc<str>, (Instant, Duration)>,
}

/// Requests over connections that had carried others before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// All of them.
    pub requests: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those that were sent again on another connection: theirs was closed in order before any of the answer came.
    pub again: u64,
}

/// What a ledger says in the end.
#[derive(Debug, Clone, Serialize)]
pub struct Account {
    /// Requests.
    pub requests: u64,
    /// Streams and WebSockets that were closed in order and came back.
    pub moved: u64,
    /// Those over connections that clients kept through a Network Load Balancer; `None`: there was none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
    /// Failed requests.
    pub failed: usize,
    /// The same by kind.
    pub failed_by_kind: BTreeMap<&'static str, usize>,
    /// Each of them.
    pub failures: Vec<Failure>,
    /// What happened in each second.
    pub seconds: Vec<Second>,
    /// Milliseconds that short requests took in the calm.
    pub calm: Latency,
    /// The same from the beginning of the refresh.
    pub short: Latency,
    /// The same for all requests, over the whole run.
    pub all: Latency,
    /// Bounds (milliseconds) and counts of the short class's latencies during the refresh.
    pub spread: Vec<(f64, u64)>,
    /// Milliseconds that requests left after they were due (p99).
    pub late_p99: f64,
    /// The longest time that a service went without a success, in seconds.
    pub longest_gap: BTreeMap<String, f64>,
}

impl Account {
    /// Puts the names of processes in the place of their addresses, which are all that an ingress of its own process knows of them.
    pub(super) fn name_processes(&mut self, names: &Names) {
        let names = names.lock().unwrap_or_else(PoisonError::into_inner);
        for Failure { cause, .. } in &mut self.failures {
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
    /// Half of them are below.
    pub p50: f64,
    /// All but a hundredth are below.
    pub p99: f64,
    /// The longest.
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
    /// An account that begins now.
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

    /// Since when it is kept.
    pub(super) fn began(&self) -> Instant {
        self.began
    }

    /// From now on the refresh is under way.
    pub(super) fn refresh_begins(&self) {
        self.lock().refreshing = true;
    }

    /// A request leaves, so long after it was due.
    pub(super) fn leaves(&self, due: Instant) {
        let late = due.elapsed();
        let mut inner = self.lock();
        inner.sent += 1;
        inner.late.saturating_record(microseconds(late));
    }

    /// A request is over.
    pub(super) fn over(&self, class: Class, service: &Arc<str>, due: Instant, fared: Fared) {
        let (now, took) = (Instant::now(), microseconds(due.elapsed()));
        let second = usize::try_from(self.began.elapsed().as_secs()).unwrap_or(0);
        let mut inner = self.lock();
        if inner.seconds.len() <= second {
            inner.seconds.resize(second + 1, Second::default());
        }
        match fared {
            Fared::Failed(how, cause) => {
                inner.seconds[second].failed += 1;
                let at = self.began.elapsed().as_secs_f64();
                inner.failures.push(Failure { at, class, how, service: service.to_string(), cause });
                return;
            }
            Fared::Moved => inner.moved += 1,
            Fared::Well => {}
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

    /// A request is over whose client keeps its connections: whether it went over a kept one, and whether it was sent again.
    pub(super) fn over_kept(&self, kept: bool, again: bool) {
        let mut inner = self.lock();
        let all = inner.kept.get_or_insert_default();
        all.requests += u64::from(kept);
        all.again += u64::from(again);
    }

    /// One of those over a kept connection failed, and did not move.
    pub(super) fn failed_on_a_kept_one(&self) {
        self.lock().kept.get_or_insert_default().failed += 1;
    }

    /// Requests that were sent and that failed so far.
    pub(super) fn so_far(&self) -> (u64, usize) {
        let inner = self.lock();
        (inner.sent, inner.failures.len())
    }

    /// What it says in the end.
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
