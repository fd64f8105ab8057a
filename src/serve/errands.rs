//! What was told of an instance and needs Auto Scaling's word before it is a departure: whose it is, and whether it is replaced.

use std::time::Duration;

use tokio::time::sleep;
use tracing::{error, info, warn};

use super::Service;
use super::departures::TakenUp;
use super::taking::take_up;
use crate::decide::{Cause, Departure};
use crate::ids::InstanceId;
use crate::replacing::{Asked, Replaces, replace};
use crate::time::Time;
use crate::world::World;

/// Between two tries: an interruption leaves two minutes in all.
const BETWEEN: Duration = Duration::from_secs(5);
/// How often a replacement is asked for: a quarter of an hour. AWS's warnings come hours before what they warn of.
const MOST_TRIES: u32 = 180;

/// Something to ask Auto Scaling.
#[derive(Debug, Clone, Copy)]
pub(super) enum Errand {
    /// EC2 takes a spot instance back. The event does not say whose it is.
    Interrupted {
        instance: InstanceId,
        /// When it is gone.
        at: Time,
    },
    /// AWS warned of it, and the settings say that it is to be replaced (D12).
    Replace(InstanceId),
}

/// Asks until Auto Scaling has answered, or it is no use any more.
pub(super) async fn run(service: &Service, errand: Errand) {
    let mut stopping = service.stopping.subscribe();
    let asking = async {
        match errand {
            Errand::Interrupted { instance, at } => interrupted(service, instance, at).await,
            Errand::Replace(instance) => replaced(service, instance).await,
        }
    };
    tokio::select! {
        () = asking => {}
        _ = stopping.wait_for(|stopping| *stopping) => warn!(?errand, "given up: this replica was told to stop"),
    }
}

/// Takes a spot instance out if it is one of ours.
async fn interrupted(service: &Service, instance: InstanceId, at: Time) {
    while service.live.now() < at {
        match service.live.group_of(instance).await {
            Ok(Some(asg)) if service.settings.allowed.group(&asg) => {
                let departure = Departure { instance, asg, cause: Cause::Interruption { at } };
                match take_up(service, departure, "event") {
                    TakenUp::InHand(_) => return,
                    TakenUp::Full => {
                        error!(instance.id = %instance, event = "interruption", "not taken up yet: as many departures are in hand as may be");
                    }
                    TakenUp::Stopping => return,
                }
            }
            Ok(_) => {
                info!(instance.id = %instance, event = "interruption", "EC2 takes back an instance that is in no group of ours");
                return;
            }
            Err(unseen) => {
                warn!(instance.id = %instance, event = "interruption", why = %unseen, "Auto Scaling cannot be seen: {unseen}");
            }
        }
        sleep(BETWEEN).await;
    }
    info!(instance.id = %instance, event = "interruption", "EC2 has taken the instance back already");
}

/// Has Auto Scaling replace an instance.
async fn replaced(service: &Service, instance: InstanceId) {
    for _ in 0..MOST_TRIES {
        match replace(&service.live, &service.settings, instance).await {
            Asked::Replaced => return service.numbers.replaced(),
            Asked::Refused => return service.numbers.rejected("replacement"),
            Asked::LeftAlone => return,
            Asked::Again => sleep(BETWEEN).await,
        }
    }
    error!(instance.id = %instance, action = "replace", "given up: Auto Scaling did not answer; ask it by `aws autoscaling set-instance-health`");
}
