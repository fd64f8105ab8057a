//! The trace of one departure, as far as this replica runs it: which spans it has, and which of them are sent.
//!
//! An event is delivered at least once, to any replica. A run that starts too late looks once and ends, and would give the trace a
//! second end. So spans are held until the run has written or waited. The spans after its last write or wait are sent only by the
//! replica that completed the departure.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use super::{Event, Span, SpanError};
use decamp_core::decide::{Action, Blocker, Decision, Departure, Effect, Outcome, Part, Refusal, Snapshot};
use decamp_core::describe;
use decamp_core::ids::hex;
use decamp_core::time::Time;

/// The most writes and looks of one span.
const MOST_EVENTS: usize = 64;
/// The most spans that are held. A run with more has certainly done something.
const MOST_PENDING: usize = 64;

/// The trace of one departure.
#[derive(Debug)]
pub(crate) struct Trace {
    id: [u8; 16],
    root: [u8; 8],
    random: SystemRandom,
    /// When this run began.
    began: Option<Time>,
    /// The span of the current step.
    open: Option<OpenSpan>,
    /// Ended spans that are held until the run writes or waits.
    pending: Vec<Span>,
    /// Spans that may be sent.
    ready: Vec<Span>,
}

/// The span of the current step.
#[derive(Debug)]
struct OpenSpan {
    span: Span,
    /// Whether the step waits, or wrote anything beside heartbeats.
    matters: bool,
}

impl Trace {
    pub(super) fn of(departure: &Departure) -> Self {
        let hash = Sha256::digest([b"trace of ", departure.mark().as_bytes()].concat());
        let (mut id, mut root) = ([0; 16], [0; 8]);
        id.copy_from_slice(&hash[..16]);
        root.copy_from_slice(&hash[16..24]);
        Self { id, root, random: SystemRandom::new(), began: None, open: None, pending: Vec::new(), ready: Vec::new() }
    }

    /// The trace id in hexadecimal digits.
    pub(super) fn id_hex(&self) -> String {
        hex(&self.id)
    }

    /// Takes the spans that may be sent.
    pub(crate) fn take(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.ready)
    }

    /// A decision begins a span and ends the one before.
    pub(crate) fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        self.close(now);
        self.began.get_or_insert(now);
        let mut attributes = vec![
            ("host.id", departure.instance.to_string()),
            ("decamp.group", departure.asg.to_string()),
            ("decamp.action", decision.action.title(now)),
            ("decamp.reason", decision.reason.word().to_owned()),
            ("decamp.because", describe::because(decision, seen)),
        ];
        let mut events = Vec::new();
        match &decision.action {
            Action::Wait { .. } => {
                let Blocker { kind, name, id } = Blocker::of(&decision.reason, departure, seen);
                attributes.extend([("decamp.blocked_by.kind", kind.word().to_owned()), ("decamp.blocked_by.name", name)]);
                attributes.extend(id.map(|id| ("decamp.blocked_by.id", id)));
            }
            Action::Look(parts) => {
                let look = |part: &Part| Event { at: now, name: "look", detail: part.title().to_owned(), failed: None };
                events = parts.iter().map(look).collect();
            }
            Action::Do(_) | Action::End(_) => {}
        }
        let span = Span {
            trace: self.id,
            id: self.random_id(),
            parent: Some(self.root),
            name: decision.action.kind().word(),
            from: now,
            to: now,
            attributes,
            events,
            dropped_events: 0,
            failed: None,
        };
        self.open = Some(OpenSpan { span, matters: matches!(decision.action, Action::Wait { .. }) });
    }

    /// Adds an answered write to the current span.
    pub(crate) fn wrote(&mut self, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        let Some(OpenSpan { span, matters }) = &mut self.open else { return };
        *matters |= !matches!(effect, Effect::Heartbeat(_));
        let failed = answer.as_ref().err().map(|refusal| SpanError { word: refusal.word(), why: refusal.to_string() });
        if span.failed.is_none() {
            span.failed.clone_from(&failed);
        }
        if span.events.len() < MOST_EVENTS {
            let (name, detail) = (effect.kind().word(), effect.title());
            span.events.push(Event { at: now, name, detail, failed });
        } else {
            span.dropped_events += 1;
        }
    }

    /// Ends the current span.
    fn close(&mut self, now: Time) {
        let Some(OpenSpan { span, matters }) = self.open.take() else { return };
        let to = now.max(span.from);
        self.pending.push(Span { to, ..span });
        if matters || MOST_PENDING <= self.pending.len() {
            self.ready.append(&mut self.pending);
        }
    }

    /// This run ends without completing the departure. Spans up to its last write or wait are sent. The spans after it are dropped.
    pub(crate) fn released(&mut self, now: Time) {
        self.close(now);
        self.pending.clear();
    }

    /// This run completed the departure. Adds the root span around all steps. `began` is when the instance entered its hook, if
    /// that is known.
    pub(crate) fn ended(&mut self, departure: &Departure, outcome: &Outcome, began: Option<Time>, now: Time) {
        self.close(now);
        self.ready.append(&mut self.pending);
        let word = outcome.word();
        let failed = matches!(outcome, Outcome::TimedOut | Outcome::DataLeft { .. } | Outcome::Refused { .. });
        // By another clock the instance may have entered its hook after our first look. The root span must contain all others.
        let first = self.began.unwrap_or(now);
        self.ready.push(Span {
            trace: self.id,
            id: self.root,
            parent: None,
            name: "departure",
            from: began.map_or(first, |began| began.min(first)),
            to: now.max(first),
            attributes: vec![
                ("host.id", departure.instance.to_string()),
                ("decamp.group", departure.asg.to_string()),
                ("decamp.outcome", word.to_owned()),
            ],
            events: Vec::new(),
            dropped_events: 0,
            failed: failed.then(|| SpanError { word, why: outcome.meaning().into_owned() }),
        });
    }

    fn random_id(&self) -> [u8; 8] {
        let mut drawn = [0; 8];
        span_id(self.random.fill(&mut drawn).ok().map(|()| drawn))
    }
}

/// The id of a span. OpenTelemetry does not allow an id of zeros. Without randomness, ids are counted.
fn span_id(drawn: Option<[u8; 8]>) -> [u8; 8] {
    static COUNTED: AtomicU64 = AtomicU64::new(1);
    drawn.filter(|id| *id != [0; 8]).unwrap_or_else(|| COUNTED.fetch_add(1, Ordering::Relaxed).to_be_bytes())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use decamp_core::decide::{ActionRef, Cause, LifecycleAction, LifecycleResult, Part, Reason};
    use decamp_core::ids::InstanceId;

    fn departure() -> Departure {
        let cause = Cause::Lifecycle(LifecycleAction::default());
        Departure { instance: InstanceId::from_number(1), asg: "web".into(), cause }
    }

    fn action() -> ActionRef {
        ActionRef { hook: "ours".into(), token: None }
    }

    fn beat() -> Effect {
        Effect::Heartbeat(action())
    }

    fn complete() -> Effect {
        Effect::Complete { of: action(), result: LifecycleResult::Continue, verdict: Outcome::NoNode }
    }

    /// A run that makes a decision each second.
    struct Run {
        trace: Trace,
        seen: Snapshot,
        now: Time,
    }

    impl Run {
        fn begin(at: u64) -> Self {
            let departure = departure();
            Self { trace: Trace::of(&departure), seen: Snapshot::begin(departure.instance, Time(at)), now: Time(at) }
        }

        fn decides(&mut self, action: Action) -> &mut Self {
            self.now = self.now + Duration::from_secs(1);
            self.trace.decided(&departure(), &Decision { action, reason: Reason::NotKnownYet }, &self.seen, self.now);
            self
        }

        fn looks(&mut self) -> &mut Self {
            self.decides(Action::Look(vec![Part::Lifecycle]))
        }

        fn waits(&mut self) -> &mut Self {
            self.decides(Action::Wait { until: self.now, watch: Vec::new() })
        }

        fn writes(&mut self, effect: &Effect, answer: Result<(), Refusal>) -> &mut Self {
            self.decides(Action::Do(vec![effect.clone()]));
            self.trace.wrote(effect, &answer, self.now);
            self
        }

        fn names(&mut self) -> Vec<&'static str> {
            self.trace.take().iter().map(|span| span.name).collect()
        }
    }

    fn denied() -> Result<(), Refusal> {
        Err(Refusal::Denied("not allowed".into()))
    }

    #[test]
    fn a_run_that_starts_too_late_sends_nothing() {
        let mut walk = Run::begin(0);
        walk.writes(&beat(), Err(Refusal::NoActiveAction)).looks().decides(Action::End(Outcome::AlreadyPast));
        assert_eq!(walk.names(), [""; 0]);
        walk.trace.released(walk.now);
        assert_eq!(walk.names(), [""; 0]);
    }

    #[test]
    fn a_run_that_wrote_or_waited_sends_its_steps_but_not_that_another_worker_ended_it() {
        let mut walk = Run::begin(0);
        walk.writes(&beat(), Ok(())).looks().waits().looks();
        assert_eq!(walk.names(), ["heartbeat", "look", "wait"]);
        walk.writes(&complete(), denied()).looks().decides(Action::End(Outcome::Expired));
        assert_eq!(walk.names(), ["look", "complete"]);
        walk.trace.released(walk.now);
        assert_eq!(walk.names(), [""; 0]);
    }

    #[test]
    fn the_run_that_completes_the_departure_sends_the_root_with_every_step_inside() {
        for (began, from) in [(None, 11_000), (Some(Time(4_000)), 4_000), (Some(Time(13_000)), 11_000)] {
            let mut walk = Run::begin(10_000);
            walk.looks().writes(&complete(), Ok(())).decides(Action::End(Outcome::NoNode));
            walk.trace.ended(&departure(), &Outcome::NoNode, began, walk.now);
            let spans = walk.trace.take();
            let root = spans.last().expect("it is there");
            assert_eq!((spans.len(), root.name, root.parent, root.from, root.to), (4, "departure", None, Time(from), walk.now));
            for span in &spans[..3] {
                assert_eq!((span.trace, span.parent), (root.trace, Some(root.id)));
                assert!(root.from <= span.from && span.from <= span.to && span.to <= root.to, "{span:?} in {root:?}");
            }
        }
    }

    #[test]
    fn a_step_with_too_many_writes_counts_the_rest_and_still_records_a_failure() {
        let mut walk = Run::begin(0);
        walk.writes(&beat(), Ok(()));
        (0..70).for_each(|_| walk.trace.wrote(&complete(), &Ok(()), walk.now));
        walk.trace.wrote(&complete(), &denied(), walk.now);
        walk.trace.released(walk.now);
        let spans = walk.trace.take();
        assert_eq!((spans[0].events.len(), spans[0].dropped_events), (MOST_EVENTS, 72 - MOST_EVENTS));
        let why = "denied: not allowed".to_owned();
        assert_eq!(spans[0].failed, Some(SpanError { word: "denied", why }));
    }

    #[test]
    fn a_run_that_never_waits_holds_a_bounded_number_of_spans() {
        let mut walk = Run::begin(0);
        (0..=MOST_PENDING).for_each(|_| _ = walk.looks());
        assert_eq!((walk.names().len(), walk.trace.pending.len()), (MOST_PENDING, 0));
    }

    #[test]
    fn an_id_is_never_zero_and_never_repeated() {
        let ids = [span_id(None), span_id(Some([0; 8])), span_id(None)];
        assert!(ids.iter().all(|id| *id != [0; 8]) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
        assert_eq!(span_id(Some([7; 8])), [7; 8]);
    }
}
