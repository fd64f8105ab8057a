//! `decamp refresh`: starts, follows, cancels or rolls back an instance refresh. The exit code is the result.

mod display;
mod follow;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use clap::{Args, Subcommand};
use decamp_aws::Template;
use decamp_aws::refresh::{Begun, begin};
use decamp_config::{Mode, duration};
use decamp_core::decide::Refusal;
use decamp_core::refresh::{NotDone, Preferences, newest};
use serde_json::json;

use self::follow::{Followed, follow};
use super::connect::{Connected, connect};
use super::exit::{self, Goal};
use super::out::{complain, say, say_json};

const EXAMPLES: &str = "Examples:
  decamp refresh start --asg web                                  replace the instances that differ
  decamp refresh start --asg web --min-healthy 100 --max-healthy 110 --warm-up 2m
  decamp refresh start --asg web --launch-template-version 7      to a version; can be rolled back
  decamp refresh watch --asg web --json                           follow it, as lines of JSON
  decamp refresh cancel --asg web

This command only starts the refresh and follows it. Its instances are drained by decamp's Lambda, decamp serve or decamp run. If a \
signal ends this command, the refresh continues.";

/// Replace the instances of a group by an instance refresh.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", exit::help("refresh")))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Start a refresh, or join the one in progress, and follow it
    #[command(after_help = exit::help("refresh"))]
    Start(Start),
    /// Follow the refresh in progress, or print how the last one ended
    #[command(after_help = exit::help("refresh"))]
    Watch(Of),
    /// Cancel the refresh in progress: new instances stay; instances that are already leaving finish
    #[command(after_help = exit::help("refresh"))]
    Cancel(Order),
    /// Roll back the refresh in progress; it must have been started with a launch template version
    #[command(after_help = exit::help("refresh"))]
    Rollback(Order),
}

/// The group, and how its refresh is followed.
#[derive(Debug, Args)]
struct Of {
    /// The Auto Scaling group
    #[arg(long, value_name = "NAME")]
    asg: String,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = interval)]
    every: Duration,
    /// Print one JSON object per line instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Order {
    #[command(flatten)]
    of: Of,
    /// Do not wait for the result
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
struct Start {
    #[command(flatten)]
    order: Order,
    /// The least share of instances that stay healthy; by default the group's maintenance policy, else 90
    #[arg(long, value_name = "PERCENT")]
    min_healthy: Option<u32>,
    /// The most instances, as a share of the desired capacity; above 100, new ones start before old ones leave
    #[arg(long, value_name = "PERCENT")]
    max_healthy: Option<u32>,
    /// How long a new instance must run before it counts; by default the group's setting
    #[arg(long, value_name = "TIME", value_parser = duration::read)]
    warm_up: Option<Duration>,
    /// Pause when this share is replaced; separate several with commas
    #[arg(long, value_name = "PERCENT", value_delimiter = ',')]
    checkpoint: Vec<u32>,
    /// How long to pause there (1h)
    #[arg(long, value_name = "TIME", value_parser = duration::read)]
    checkpoint_delay: Option<Duration>,
    /// How long to wait at the end before the refresh is Successful
    #[arg(long, value_name = "TIME", value_parser = duration::read)]
    bake: Option<Duration>,
    /// Also replace instances that match already
    #[arg(long)]
    replace_all: bool,
    /// Roll back if the refresh fails; needs --launch-template-version
    #[arg(long, requires = "launch_template_version")]
    auto_rollback: bool,
    /// Use this version of the group's launch template; on success the group is set to it
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    launch_template_version: Option<u32>,
}

/// The interval between looks. AWS throttles all calls of Auto Scaling together, so it is at least a second.
fn interval(text: &str) -> Result<Duration, String> {
    let interval = duration::read(text)?;
    if interval < Duration::from_secs(1) { Err("look at most once a second".to_owned()) } else { Ok(interval) }
}

impl Start {
    fn preferences(&self) -> Preferences {
        Preferences {
            min_healthy: self.min_healthy,
            max_healthy: self.max_healthy,
            warm_up: self.warm_up,
            checkpoints: self.checkpoint.clone(),
            checkpoint_delay: self.checkpoint_delay,
            bake: self.bake,
            skip_matching: !self.replace_all,
            auto_rollback: self.auto_rollback,
        }
    }
}

pub(crate) async fn refresh(arguments: Arguments) -> Result<u8> {
    match arguments.action {
        Action::Start(start) => start_or_join(start).await,
        Action::Watch(of) => watch(of).await,
        Action::Cancel(order) => stop(order, Goal::Cancelled).await,
        Action::Rollback(order) => stop(order, Goal::RolledBack).await,
    }
}

async fn start_or_join(start: Start) -> Result<u8> {
    let preferences = start.preferences();
    preferences.check().map_err(|why| anyhow!("AWS would refuse these preferences: {why}"))?;
    let Order { of, no_wait } = &start.order;
    let at = connect().await?;
    let asg = group(&at, of)?;
    if at.settings.mode == Mode::Observe {
        return Ok(observed(of, "started"));
    }
    let to = match start.launch_template_version {
        Some(version) => Some(template(&at, &asg, version).await?),
        None => None,
    };
    let begun = begin(at.live.auto_scaling(), &asg, &preferences, to.as_ref()).await;
    let begun = begun.map_err(|why| not_done(&at, &asg, "started", &why))?;
    if of.json {
        say_json(&json!({ "kind": begun.word(), "asg.name": asg, "refresh.id": begun.id() }));
    } else {
        say(match &begun {
            Begun::Started(id) => format!("refresh {id} of {asg} was started"),
            Begun::Adopted(refresh) => {
                format!("refresh {} of {asg} is in progress already, with its own preferences; following it", refresh.id)
            }
        });
    }
    if *no_wait {
        return Ok(0);
    }
    follow(&at, &Followed { asg, id: Arc::clone(begun.id()), every: of.every, json: of.json, goal: Goal::Replaced }).await
}

async fn watch(of: Of) -> Result<u8> {
    let at = connect().await?;
    let asg = group(&at, &of)?;
    let listed = at.live.auto_scaling().refreshes(&asg).await.map_err(|why| at.cannot_ask(&why))?;
    let Some(refresh) = newest(listed) else {
        complain(format!("{asg} had no refresh in the last six weeks; `decamp refresh start --asg {asg}` starts one"));
        return Ok(exit::NO_REFRESH);
    };
    follow(&at, &Followed { asg, id: refresh.id, every: of.every, json: of.json, goal: Goal::Replaced }).await
}

async fn stop(order: Order, goal: Goal) -> Result<u8> {
    let Order { of, no_wait } = order;
    let at = connect().await?;
    let asg = group(&at, &of)?;
    let what = if goal == Goal::Cancelled { "cancelled" } else { "rolled back" };
    if at.settings.mode == Mode::Observe {
        return Ok(observed(&of, what));
    }
    let ordered = match goal {
        Goal::Cancelled | Goal::Replaced => at.live.auto_scaling().cancel_refresh(&asg).await,
        Goal::RolledBack => at.live.auto_scaling().roll_back_refresh(&asg).await,
    };
    let id = match ordered {
        Ok(id) => id,
        Err(why @ (NotDone::NoneUnderWay | NotDone::Irreversible)) => {
            complain(format!("{:#}", not_done(&at, &asg, what, &why)));
            return Ok(if why == NotDone::NoneUnderWay { exit::NO_REFRESH } else { exit::IRREVERSIBLE });
        }
        Err(why) => return Err(not_done(&at, &asg, what, &why)),
    };
    if of.json {
        say_json(&json!({ "kind": "ordered", "asg.name": asg, "refresh.id": id, "order": what }));
    } else {
        say(format!("refresh {id} of {asg} is being {what}; instances that are already leaving finish"));
    }
    if no_wait {
        return Ok(0);
    }
    follow(&at, &Followed { asg, id, every: of.every, json: of.json, goal }).await
}

fn group(at: &Connected, of: &Of) -> Result<Arc<str>> {
    at.may_touch(&of.asg)?;
    Ok(of.asg.as_str().into())
}

fn observed(of: &Of, what: &str) -> u8 {
    if of.json {
        say_json(&json!({ "kind": "observed", "asg.name": of.asg }));
    } else {
        say(format!("DECAMP_MODE=observe: a refresh of {} would be {what} now, and was not", of.asg));
    }
    exit::OBSERVED
}

async fn template(at: &Connected, asg: &str, version: u32) -> Result<Template> {
    match at.live.auto_scaling().template(asg, version).await {
        Ok(Some(template)) => Ok(template),
        Ok(None) => bail!(
            "{asg} is not a group in {} with a launch template, directly or in a mixed instances policy; check the name and AWS_REGION",
            at.region
        ),
        Err(why) => Err(at.cannot_ask(&why)),
    }
}

/// The error about an order that AWS did not accept, with advice.
fn not_done(at: &Connected, asg: &str, what: &str, why: &NotDone) -> anyhow::Error {
    let watch = format!("`decamp refresh watch --asg {asg}` shows how the last one ended");
    let what_to_do = match why {
        NotDone::UnderWay => "try again: another one began at the same moment".to_owned(),
        NotDone::BeingUndone(_) => {
            format!("wait until it has ended (`decamp refresh watch --asg {asg}` does), and start this one again")
        }
        NotDone::NoneUnderWay => watch,
        NotDone::Irreversible => {
            "only a refresh that was started with --launch-template-version can be rolled back; stop it with `decamp refresh cancel`, \
             reset the group's launch template and start another"
                .to_owned()
        }
        NotDone::Refused(Refusal::Denied(_)) => {
            "allow autoscaling:StartInstanceRefresh, CancelInstanceRefresh and RollbackInstanceRefresh on the group to the role that runs \
             this command"
                .to_owned()
        }
        NotDone::Refused(Refusal::Throttled) => "try again in a minute".to_owned(),
        NotDone::Refused(Refusal::Rejected(_) | Refusal::Missing | Refusal::NoActiveAction) => {
            format!("check the group's name, its launch template and the preferences, in {}", at.region)
        }
        NotDone::Refused(Refusal::Away(_)) => {
            format!("check the network, the credentials and AWS_REGION; it may have worked: {watch}")
        }
    };
    anyhow!("the refresh of {asg} was not {what}: {why}; {what_to_do}")
}
