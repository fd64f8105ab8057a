//! Dynamic node metadata (Nomad 1.5): a server forwards the call to the node's agent, which registers again some seconds later.

use std::sync::Arc;

use super::acl::{NodeRule, Token};
use super::api::ApiError;
use super::state::{NodeNumber, NodeState};
use super::{Due, Nomad};
use decamp_core::decide::snapshot::{Beginning, Noted};
use decamp_core::ids::NodeId;

/// Keys and values, in the order they were first written.
pub type Metadata = Vec<(Arc<str>, Arc<str>)>;

impl Nomad {
    /// From now on `POST /v1/client/metadata` is denied, as by a strict proxy.
    pub fn refuse_metadata(&mut self) {
        self.metadata_refused = true;
    }

    /// `POST /v1/client/metadata`: sets these keys, or removes those without a value. The answer has all keys that the agent has now. The
    /// servers show them up to 10 s later.
    ///
    /// # Errors
    /// Without a leader, without `node:write`, where there is no such node or no connection to its agent, and before 1.5.
    pub fn apply_metadata(
        &mut self,
        token: &Token,
        node: NodeId,
        keys: &[(Arc<str>, Option<Arc<str>>)],
    ) -> Result<Metadata, ApiError> {
        if !self.version.has_dynamic_metadata() {
            return Err(ApiError::NoSuchRoute);
        }
        self.leader_answers(token)?;
        if token.node() < NodeRule::Write || self.metadata_refused {
            return Err(ApiError::PermissionDenied);
        }
        let number = self.node_number(node).ok_or(ApiError::UnknownNode)?;
        // The agent waits for 5 to 10 s before it registers again, with all changes until then.
        let at = self.soon(5_000, 10_000);
        let state = &mut self.nodes[number.index()];
        if !state.agent_alive {
            return Err(ApiError::NoPathToNode);
        }
        for (key, value) in keys {
            state.agents_metadata.retain(|(known, _)| known != key);
            if let Some(value) = value {
                state.agents_metadata.push((Arc::clone(key), Arc::clone(value)));
            }
        }
        if !std::mem::replace(&mut state.metadata_due, true) {
            let epoch = state.agent_epoch;
            self.queue.put(at, Due::Metadata { node: number, epoch });
        }
        Ok(self.nodes[number.index()].agents_metadata.clone())
    }

    /// `GET /v1/client/metadata`: the metadata that the node's agent has now.
    ///
    /// # Errors
    /// Where there is no such node, or no connection to its agent.
    pub fn agents_metadata(&self, node: NodeId) -> Result<Metadata, ApiError> {
        let state = self.node(self.node_number(node).ok_or(ApiError::UnknownNode)?);
        if state.agent_alive { Ok(state.agents_metadata.clone()) } else { Err(ApiError::NoPathToNode) }
    }

    /// The agent registers its node again, with its current metadata.
    pub(super) fn register_metadata(&mut self, node: NodeNumber, epoch: u32) {
        let now = self.now;
        let index = self.write();
        let state = &mut self.nodes[node.index()];
        state.metadata_due = false;
        if state.agent_epoch == epoch && state.registered && state.agent_alive {
            state.metadata.clone_from(&state.agents_metadata);
            state.status_since = now;
            state.index = index;
        }
    }
}

impl NodeState {
    /// decamp's notes, as the rules see them.
    #[must_use]
    pub fn notes(&self) -> Vec<Noted> {
        let value = |what: Beginning| self.metadata.iter().find(|(key, _)| **key == *what.key()).map(|(_, value)| value);
        Beginning::ALL.into_iter().filter_map(|what| Noted::read(what, value(what)?)).collect()
    }
}
