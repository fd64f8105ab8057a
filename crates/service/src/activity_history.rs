//! The terminations in Auto Scaling's activity history, including those that no replica saw (ADR 0027). It is read every few
//! minutes.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

use super::Service;
use super::departures::lock;
use decamp_aws::Terminated;
use decamp_core::time::Time;
use decamp_core::world::World;

/// The shortest time between two reads. Each makes a call for each group and uses the rate limit that departures need.
const EVERY: Duration = Duration::from_mins(5);
/// The most rows that are kept.
const MOST: usize = 1_000;

/// The activity history as it was last read.
#[derive(Debug, Default)]
pub(super) struct ActivityHistory {
    latest: Mutex<Terminations>,
    /// When it was last requested, successful or not.
    asked: Mutex<Option<Time>>,
}

/// The terminations, and when they were read.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct Terminations {
    /// When Auto Scaling last answered; `null` before the first answer.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) at: Option<Time>,
    /// Why the reads since then failed.
    pub(super) unseen: Option<String>,
    /// The terminations, the latest first.
    pub(super) terminated: Vec<Row>,
}

/// One termination.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(super) struct Row {
    /// The instance's id.
    pub(super) instance: String,
    /// Its Auto Scaling group.
    #[schema(value_type = String)]
    pub(super) group: Arc<str>,
    /// When it began to leave.
    #[schema(value_type = String, format = DateTime)]
    pub(super) began: Time,
    /// When that ended.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) ended: Option<Time>,
    /// Whether the instance was terminated.
    pub(super) successful: bool,
    /// Why, in Auto Scaling's words.
    pub(super) cause: String,
}

impl ActivityHistory {
    /// The terminations of the last read.
    pub(super) fn latest(&self) -> Terminations {
        lock(&self.latest).clone()
    }

    /// Reads it again if the last request was long ago.
    pub(super) async fn refresh(&self, service: &Service) {
        let now = service.live.now();
        {
            let mut asked = lock(&self.asked);
            if asked.is_some_and(|asked| now.since(asked) < EVERY) {
                return;
            }
            *asked = Some(now);
        }
        let answer = service.live.auto_scaling().terminated(service.settings.allowed.named_groups()).await;
        let mut latest = lock(&self.latest);
        match answer {
            Ok(rows) => {
                let rows = rows.into_iter().filter(|row| service.settings.allowed.group(&row.asg)).take(MOST);
                *latest = Terminations { at: Some(now), unseen: None, terminated: rows.map(Row::from).collect() };
            }
            Err(unseen) => {
                // Only people read it, so there is no hurry to ask again.
                warn!(event = "sweep", why = %unseen, "Auto Scaling's activity history cannot be read: {unseen}");
                latest.unseen = Some(unseen.to_string());
            }
        }
    }
}

impl From<Terminated> for Row {
    fn from(one: Terminated) -> Self {
        let Terminated { asg, instance, began, ended, successful, cause } = one;
        Self { instance: instance.to_string(), group: asg, began, ended, successful, cause }
    }
}
