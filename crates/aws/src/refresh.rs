//! Starts a refresh, or adopts the one in progress, so that repeated and concurrent requests get the same refresh.

use std::sync::Arc;

use crate::{AutoScaling, Template};
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::refresh::{NotDone, Preferences, Refresh, newest};

/// The refresh that a request got.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// A refresh was started.
    Started(
        /// Its id.
        Arc<str>,
    ),
    /// A refresh was in progress.
    Adopted(Refresh),
}

impl Begun {
    /// The refresh's id.
    #[must_use]
    pub fn id(&self) -> &Arc<str> {
        match self {
            Self::Started(id) => id,
            Self::Adopted(refresh) => &refresh.id,
        }
    }

    /// The word for it in logs and JSON.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Adopted(_) => "adopted",
        }
    }
}

/// Starts a refresh of a group, or adopts the one in progress. A refresh that is being cancelled or rolled back is not adopted, because it
/// would not reach the requested result.
///
/// # Errors
///
/// No refresh was started or adopted. If no answer came, one may have started anyway; another request then adopts it.
pub async fn begin(
    auto_scaling: &AutoScaling,
    asg: &Arc<str>,
    preferences: &Preferences,
    to: Option<&Template>,
) -> Result<Begun, NotDone> {
    match auto_scaling.start_refresh(asg, preferences, to).await {
        Ok(id) => return Ok(Begun::Started(id)),
        Err(NotDone::UnderWay) => {}
        Err(other) => return Err(other),
    }
    let listed = auto_scaling.refreshes(asg).await.map_err(|why| NotDone::Refused(as_refusal(why)))?;
    match newest(listed).filter(|refresh| !refresh.status.is_over()) {
        Some(refresh) if refresh.status.goes_forward() => Ok(Begun::Adopted(refresh)),
        Some(refresh) => Err(NotDone::BeingUndone(refresh.status)),
        // It ended between the two calls, so a new one can start.
        None => auto_scaling.start_refresh(asg, preferences, to).await.map(Begun::Started),
    }
}

/// The refusal for a failed look that a write needed.
fn as_refusal(why: Unseen) -> Refusal {
    match why {
        Unseen::Throttled => Refusal::Throttled,
        Unseen::Denied(why) => Refusal::Denied(why),
        Unseen::Away(_) | Unseen::Stale => Refusal::Away(why.to_string().into()),
    }
}
