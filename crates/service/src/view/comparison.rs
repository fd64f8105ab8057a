//! What was foreseen of a departure, compared with what was seen.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;

use decamp_core::decide::{Compared, Match};
use decamp_core::time::Time;

/// One finding, compared with what was seen of it.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Comparison {
    /// The result: `foreseen-and-seen`, `foreseen-not-seen`, `foreseen-cannot-be-seen`, `seen-not-foreseen`,
    /// `seen-shown-by-no-setting` or `seen-begun-by-another`.
    #[serde(rename = "match")]
    #[schema(rename = "match", value_type = String)]
    pub(crate) result: Match,
    /// The finding's rule, or the rule that should have found it; `load-balancer-errors` if there is none.
    pub(crate) finding: &'static str,
    /// The object of the finding.
    #[schema(value_type = String)]
    pub(crate) object: Arc<str>,
    /// What was seen, or why nothing could be.
    pub(crate) seen: String,
    /// When it was seen to happen, if that is known.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(crate) at: Option<Time>,
}

impl From<&Compared> for Comparison {
    fn from(one: &Compared) -> Self {
        Self { result: one.result, finding: one.finding(), object: Arc::clone(&one.object), seen: one.seen.clone(), at: one.at }
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { result, finding, object, seen, .. } = self;
        write!(f, "{}: {finding}: {object}: {seen}", result.title())
    }
}
