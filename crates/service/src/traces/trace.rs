//! The trace of one departure, as far as this replica walks it: which spans are made of it, and which of them are worth sending.
//!
//! An event comes at least once, and to any replica. A walk that comes too late looks, sees that, and ends: it would give the trace a
//! second end. So steps are held back until the walk has written or waited; what follows on the last of that is sent only by whoever
//! brought the departure to its end.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use super::{Event, Failure, Span};
use decamp_core::decide::{Action, Blocker, Decision, Departure, Effect, Outcome, Part, Refusal, Snapshot};
use decamp_core::ids::hex;
use decamp_core::telling;
use decamp_core::time::Time;

/// Writes and looks of one step.
const MOST_EVENTS: usize = 64;
/// Steps that are held back: a walk of more is one that does something.
const MOST_HELD: usize = 64;

/// The trace of one departure.
#[derive(Debug)]
pub(crate) struct Trace {
    id: [u8; 16],
    whole: [u8; 8],
    random: SystemRandom,
    /// When this walk began.
    began: Option<Time>,
    /// The step that is under way.
    step: Option<Step>,
    /// Steps that are over, and of which it is not known yet whether they led to anything.
    held: Vec<Span>,
    /// What may be sent.
    ready: Vec<Span>,
}

/// A step of a walk.
#[derive(Debug)]
struct Step {
    span: Span,
    /// Whether it waits, or wrote anything beside heartbeats.
    matters: bool,
}

impl Trace {
    pub(super) fn of(departure: &Departure) -> Self {
        let hash = Sha256::digest([b"trace of ", departure.mark().as_bytes()].concat());
        let (mut id, mut whole) = ([0; 16], [0; 8]);
        id.copy_from_slice(&hash[..16]);
        whole.copy_from_slice(&hash[16..24]);
        Self { id, whole, random: SystemRandom::new(), began: None, step: None, held: Vec::new(), ready: Vec::new() }
    }

    /// Its id, as what shows traces looks for it.
    pub(super) fn digits(&self) -> String {
        hex(&self.id)
    }

    /// What may be sent by now, once.
    pub(crate) fn take(&mut self) -> Vec<Span> {
        std::mem::take(&mut self.ready)
    }

    /// A decision begins a step, and ends the one before.
    pub(crate) fn decided(&mut self, departure: &Departure, decision: &Decision, seen: &Snapshot, now: Time) {
        self.close(now);
        self.began.get_or_insert(now);
        let mut attributes = vec![
            ("host.id", departure.instance.to_string()),
            ("decamp.group", departure.asg.to_string()),
            ("decamp.action", decision.action.title(now)),
            ("decamp.reason", decision.reason.word().to_owned()),
            ("decamp.because", telling::because(decision, seen)),
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
            id: self.draw(),
            parent: Some(self.whole),
            name: decision.action.kind().word(),
            from: now,
            to: now,
            attributes,
            events,
            dropped_events: 0,
            failed: None,
        };
        self.step = Some(Step { span, matters: matches!(decision.action, Action::Wait { .. }) });
    }

    /// A write was answered within the step.
    pub(crate) fn wrote(&mut self, effect: &Effect, answer: &Result<(), Refusal>, now: Time) {
        let Some(Step { span, matters }) = &mut self.step else { return };
        *matters |= !matches!(effect, Effect::Heartbeat(_));
        let failed = answer.as_ref().err().map(|refusal| Failure { word: refusal.word(), why: refusal.to_string() });
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

    /// The step that is under way ends.
    fn close(&mut self, now: Time) {
        let Some(Step { span, matters }) = self.step.take() else { return };
        let to = now.max(span.from);
        self.held.push(Span { to, ..span });
        if matters || MOST_HELD <= self.held.len() {
            self.ready.append(&mut self.held);
        }
    }

    /// The walk is over here, and somebody else goes on or had gone before: what it did is sent, and not that it saw so.
    pub(crate) fn left(&mut self, now: Time) {
        self.close(now);
        self.held.clear();
    }

    /// The departure is over, and it ended here: the span around all its steps. `began` is when it entered its hook, if that is known.
    pub(crate) fn ended(&mut self, departure: &Departure, outcome: &Outcome, began: Option<Time>, now: Time) {
        self.close(now);
        self.ready.append(&mut self.held);
        let word = outcome.word();
        let failed = matches!(outcome, Outcome::TimedOut | Outcome::Refused { .. });
        // By another's clock it may have entered its hook after we looked; nothing lies outside of the whole.
        let first = self.began.unwrap_or(now);
        self.ready.push(Span {
            trace: self.id,
            id: self.whole,
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
            failed: failed.then(|| Failure { word, why: outcome.meaning().into_owned() }),
        });
    }

    fn draw(&self) -> [u8; 8] {
        let mut drawn = [0; 8];
        span_id(self.random.fill(&mut drawn).ok().map(|()| drawn))
    }
}

/// The id of a span. One of zeros is none, by OpenTelemetry's word: where nothing can be drawn they are counted.
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

    /// A walk that makes a decision each second: what it may send is in its trace.
    struct Walk {
        trace: Trace,
        seen: Snapshot,
        now: Time,
    }

    impl Walk {
        fn begin(at: u64) -> Self {
            let departure = departure();
            Self { trace: Trace::of(&departure), seen: Snapshot::begin(departure.instance, Time(at)), now: Time(at) }
        }

        fn decides(&mut self, action: Action) -> &mut Self {
            self.now = self.now + Duration::from_secs(1);
            self.trace.decided(&departure(), &Decision { action, reason: Reason::MustLook }, &self.seen, self.now);
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
    fn a_walk_that_comes_too_late_leaves_nothing() {
        let mut walk = Walk::begin(0);
        walk.writes(&beat(), Err(Refusal::NoActiveAction)).looks().decides(Action::End(Outcome::AlreadyPast));
        assert_eq!(walk.names(), [""; 0]);
        walk.trace.left(walk.now);
        assert_eq!(walk.names(), [""; 0]);
    }

    #[test]
    fn a_walk_that_wrote_or_waited_leaves_its_steps_but_not_that_another_ended_it() {
        let mut walk = Walk::begin(0);
        walk.writes(&beat(), Ok(())).looks().waits().looks();
        assert_eq!(walk.names(), ["heartbeat", "look", "wait"]);
        walk.writes(&complete(), denied()).looks().decides(Action::End(Outcome::Expired));
        assert_eq!(walk.names(), ["look", "complete"]);
        walk.trace.left(walk.now);
        assert_eq!(walk.names(), [""; 0]);
    }

    #[test]
    fn whoever_brings_it_to_its_end_sends_the_whole_with_every_step_inside_of_it() {
        for (began, from) in [(None, 11_000), (Some(Time(4_000)), 4_000), (Some(Time(13_000)), 11_000)] {
            let mut walk = Walk::begin(10_000);
            walk.looks().writes(&complete(), Ok(())).decides(Action::End(Outcome::NoNode));
            walk.trace.ended(&departure(), &Outcome::NoNode, began, walk.now);
            let spans = walk.trace.take();
            let whole = spans.last().expect("it is there");
            assert_eq!(
                (spans.len(), whole.name, whole.parent, whole.from, whole.to),
                (4, "departure", None, Time(from), walk.now)
            );
            for span in &spans[..3] {
                assert_eq!((span.trace, span.parent), (whole.trace, Some(whole.id)));
                assert!(whole.from <= span.from && span.from <= span.to && span.to <= whole.to, "{span:?} in {whole:?}");
            }
        }
    }

    #[test]
    fn a_step_with_too_many_writes_counts_the_rest_and_still_says_that_one_failed() {
        let mut walk = Walk::begin(0);
        walk.writes(&beat(), Ok(()));
        (0..70).for_each(|_| walk.trace.wrote(&complete(), &Ok(()), walk.now));
        walk.trace.wrote(&complete(), &denied(), walk.now);
        walk.trace.left(walk.now);
        let spans = walk.trace.take();
        assert_eq!((spans[0].events.len(), spans[0].dropped_events), (MOST_EVENTS, 72 - MOST_EVENTS));
        let why = "denied: not allowed".to_owned();
        assert_eq!(spans[0].failed, Some(Failure { word: "denied", why }));
    }

    #[test]
    fn a_walk_that_never_waits_holds_no_more_than_so_many() {
        let mut walk = Walk::begin(0);
        (0..=MOST_HELD).for_each(|_| _ = walk.looks());
        assert_eq!((walk.names().len(), walk.trace.held.len()), (MOST_HELD, 0));
    }

    #[test]
    fn an_id_is_never_of_zeros_alone_and_never_twice_the_same() {
        let ids = [span_id(None), span_id(Some([0; 8])), span_id(None)];
        assert!(ids.iter().all(|id| *id != [0; 8]) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
        assert_eq!(span_id(Some([7; 8])), [7; 8]);
    }
}
