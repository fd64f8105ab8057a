//! A refresh is started, or the one that is under way is adopted: whoever asks twice, or at the same time, gets one.

use std::sync::Arc;

use crate::{AutoScaling, Template};
use decamp_core::decide::{Refusal, Unseen};
use decamp_core::refresh::{NotDone, Preferences, Refresh, newest};

/// What became of the wish for a refresh.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It was started.
    Started(
        /// Its id.
        Arc<str>,
    ),
    /// One was under way.
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

    /// The word for it, to search by.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Started(_) => "started",
            Self::Adopted(_) => "adopted",
        }
    }
}

/// Starts a refresh of a group, or adopts the one that is under way. One that is being cancelled or taken back is not adopted: what was
/// wanted would never come of it.
///
/// # Errors
///
/// Why there is none. It may have begun all the same, where no answer came; whoever asks again adopts it then.
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
        // It ended between the two calls: now there is room.
        None => auto_scaling.start_refresh(asg, preferences, to).await.map(Begun::Started),
    }
}

/// A look that failed on the way to a write.
fn as_refusal(why: Unseen) -> Refusal {
    match why {
        Unseen::Throttled => Refusal::Throttled,
        Unseen::Denied(why) => Refusal::Denied(why),
        Unseen::Away(_) | Unseen::Stale => Refusal::Away(why.to_string().into()),
    }
}
