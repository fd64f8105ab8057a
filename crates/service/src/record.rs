//! What Auto Scaling's own record tells of departures that are over, also of those that no replica saw (ADR 0027). Asked for now and then.

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

/// It is asked for no more often: a call for each group, of the bucket that departures need.
const EVERY: Duration = Duration::from_mins(5);
/// Rows that are kept.
const MOST: usize = 1_000;

/// The record as it was last told.
#[derive(Debug, Default)]
pub(super) struct Record {
    told: Mutex<Told>,
    /// When it was last asked for, whatever was answered.
    asked: Mutex<Option<Time>>,
}

/// What was told, and when.
#[derive(Debug, Clone, Default, Serialize, ToSchema)]
pub(super) struct Told {
    /// When Auto Scaling was last asked; nothing before the first answer.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) at: Option<Time>,
    /// Why it could not be seen since then.
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
    /// When that was over.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub(super) ended: Option<Time>,
    /// Whether the instance went.
    pub(super) successful: bool,
    /// Why, in Auto Scaling's words.
    pub(super) cause: String,
}

impl Record {
    /// The record as it was last told.
    pub(super) fn told(&self) -> Told {
        lock(&self.told).clone()
    }

    /// Asks for it again, if that was long ago.
    pub(super) async fn ask(&self, service: &Service) {
        let now = service.live.now();
        {
            let mut asked = lock(&self.asked);
            if asked.is_some_and(|asked| now.since(asked) < EVERY) {
                return;
            }
            *asked = Some(now);
        }
        let answer = service.live.auto_scaling().terminated(service.settings.allowed.named_groups()).await;
        let mut told = lock(&self.told);
        match answer {
            Ok(rows) => {
                let rows = rows.into_iter().filter(|row| service.settings.allowed.group(&row.asg)).take(MOST);
                *told = Told { at: Some(now), unseen: None, terminated: rows.map(Row::from).collect() };
            }
            Err(unseen) => {
                // It is only for people: there is no hurry to ask again.
                warn!(event = "sweep", why = %unseen, "Auto Scaling's record of activities cannot be seen: {unseen}");
                told.unseen = Some(unseen.to_string());
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
