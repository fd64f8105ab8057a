//! The results of this run's writes: which were accepted, and which failed and how often.

use serde::Serialize;

use super::history::History;
use super::nomad::Phase;
use crate::decide::EffectKind;
use crate::decide::action::{Effect, Refusal};
use crate::ids::NodeId;
use crate::time::Time;

/// A drain that this run sent, whether or not it was answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SentDrain {
    /// The node.
    pub node: NodeId,
    /// The phase.
    pub phase: Phase,
    /// When.
    pub at: Time,
    /// Whether it was certainly accepted.
    pub accepted: bool,
}

/// A series of failed writes of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failures {
    /// When the last one was sent.
    pub last: Time,
    /// How many there were.
    pub count: u32,
    /// Why the last one failed.
    pub why: Refusal,
}

impl History {
    /// The series of failures of a kind of write, if its last one failed.
    #[must_use]
    pub fn failures(&self, kind: EffectKind) -> Option<&Failures> {
        self.failures.iter().find(|(k, _)| *k == kind).map(|(_, f)| f)
    }

    /// The last drain of that phase that this run sent to that node.
    #[must_use]
    pub fn sent(&self, node: NodeId, phase: Phase) -> Option<&SentDrain> {
        self.drains.iter().rev().find(|d| d.node == node && d.phase == phase)
    }

    /// Whether this run forced a drain.
    #[must_use]
    pub fn has_forced(&self) -> bool {
        self.drains.iter().any(|drain| drain.phase == Phase::Forced)
    }

    pub(super) fn did(&mut self, sent: Time, answered: Time, effect: &Effect, answer: &Result<(), Refusal>) {
        let kind = effect.kind();
        match answer {
            Ok(()) => self.failures.retain(|(k, _)| *k != kind),
            Err(why) => match self.failures.iter_mut().find(|(k, _)| *k == kind) {
                Some((_, row)) => *row = Failures { last: sent, count: row.count.saturating_add(1), why: why.clone() },
                None => self.failures.push((kind, Failures { last: sent, count: 1, why: why.clone() })),
            },
        }
        match effect {
            Effect::Heartbeat(of) => match answer {
                // It counts from when it was sent: the server's timer restarted then at the earliest.
                Ok(()) => self.heartbeat = Some(sent),
                Err(Refusal::NoActiveAction) => self.refuse(of.token.is_some(), answered),
                Err(_) => {}
            },
            Effect::Drain { node, meta, .. } => {
                self.drains.push(SentDrain { node: *node, phase: meta.phase, at: sent, accepted: answer.is_ok() });
            }
            Effect::Complete { of, verdict, .. } => {
                // A completion that was certainly refused says nothing about how the departure ended.
                if answer.as_ref().err().is_none_or(Refusal::may_have_worked) {
                    self.verdict = Some(verdict.clone());
                }
                match answer {
                    Ok(()) => self.completed = Some(answered),
                    Err(Refusal::NoActiveAction) => self.refuse(of.token.is_some(), answered),
                    Err(_) => {}
                }
            }
            Effect::MakeIneligible(_) => self.made_ineligible = Some(answered).filter(|_| answer.is_ok()),
            Effect::Deregister { .. } => {}
            Effect::Note { notes, .. } if answer.is_ok() => self.notes_sent.extend(notes.iter().cloned()),
            Effect::Note { .. } => {}
        }
    }

    /// "No active lifecycle action": with a token, doubt the token first. By instance id, it is a verdict that a look has to confirm.
    fn refuse(&mut self, by_token: bool, at: Time) {
        if by_token && !self.token_refused {
            self.token_refused = true;
        } else {
            self.no_active_action.get_or_insert(at);
        }
    }
}
