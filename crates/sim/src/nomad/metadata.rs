//! Dynamic node metadata (Nomad 1.5): a server passes the call on to the node's agent, which registers anew some seconds later.

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
    /// From now on `POST /v1/client/metadata` is denied, as by a proxy that lets no more through than it must.
    pub fn refuse_metadata(&mut self) {
        self.metadata_refused = true;
    }

    /// `POST /v1/client/metadata`: these keys are set, or taken out where there is no value. Answers all that the agent has now; the
    /// servers show it up to 10 s later.
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
        // The agent waits for so long before it registers anew, and takes all that changed meanwhile.
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

    /// `GET /v1/client/metadata`: what the node's agent has now.
    ///
    /// # Errors
    /// Where there is no such node, or no connection to its agent.
    pub fn agents_metadata(&self, node: NodeId) -> Result<Metadata, ApiError> {
        let state = self.node(self.node_number(node).ok_or(ApiError::UnknownNode)?);
        if state.agent_alive { Ok(state.agents_metadata.clone()) } else { Err(ApiError::NoPathToNode) }
    }

    /// The agent registers its node anew, with the metadata that it has.
    pub(super) fn metadata_comes(&mut self, node: NodeNumber, epoch: u32) {
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
    /// What decamp noted, as the rules see it.
    #[must_use]
    pub fn notes(&self) -> Vec<Noted> {
        let value = |what: Beginning| self.metadata.iter().find(|(key, _)| **key == *what.key()).map(|(_, value)| value);
        Beginning::ALL.into_iter().filter_map(|what| Noted::read(what, value(what)?)).collect()
    }
}
