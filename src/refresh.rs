//! `decamp refresh`: an instance refresh from a command line: start, watch, cancel, roll back. Exit code by result.

mod showing;
mod watching;

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

use self::watching::{Followed, follow};
use super::connect::{Connected, connect};
use super::exit::{self, Wish};
use super::out::{complain, say, say_json};

const EXAMPLES: &str = "Examples:
  decamp refresh start --asg web                                  replace what is not as it should be, and wait for the result
  decamp refresh start --asg web --min-healthy 100 --max-healthy 110 --warm-up 2m
  decamp refresh start --asg web --launch-template-version 7      to this version, which can be taken back
  decamp refresh watch --asg web --json                           follow whatever refresh there is, a JSON object a look
  decamp refresh cancel --asg web

decamp walks the instances out as their hooks tell: by its Lambda, by decamp serve, or by decamp run. This command only orders the \
refresh and follows it; ended by a signal it leaves the refresh going.";

/// Replace the instances of a group by an instance refresh.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = format!("{EXAMPLES}\n\n{}", exit::help("refresh")))]
pub(crate) struct Arguments {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Start a refresh, or adopt the one that is under way, and follow it
    #[command(after_help = exit::help("refresh"))]
    Start(Start),
    /// Follow the refresh that is under way, else say how the last one ended
    #[command(after_help = exit::help("refresh"))]
    Watch(Of),
    /// Stop the refresh that is under way: what was replaced stays so, and hooks are waited for
    #[command(after_help = exit::help("refresh"))]
    Cancel(Order),
    /// Take back the refresh that is under way; it must have been started with a launch template's version
    #[command(after_help = exit::help("refresh"))]
    Rollback(Order),
}

/// Which group, and how it is told.
#[derive(Debug, Args)]
struct Of {
    /// The Auto Scaling group
    #[arg(long, value_name = "NAME")]
    asg: String,
    /// How often to look
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = pace)]
    every: Duration,
    /// One JSON object per line instead of text
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct Order {
    #[command(flatten)]
    of: Of,
    /// Order it, and do not wait for the result
    #[arg(long)]
    no_wait: bool,
}

#[derive(Debug, Args)]
struct Start {
    #[command(flatten)]
    order: Order,
    /// The least share of instances that are healthy all the while; else the group's maintenance policy, else 90
    #[arg(long, value_name = "PERCENT")]
    min_healthy: Option<u32>,
    /// The most instances there may be, of what is desired; above 100, new ones come before old ones go
    #[arg(long, value_name = "PERCENT")]
    max_healthy: Option<u32>,
    /// How long a new instance serves until it counts; else the group's default
    #[arg(long, value_name = "TIME", value_parser = duration::read)]
    warm_up: Option<Duration>,
    /// Pause when this share is replaced; several, separated by commas
    #[arg(long, value_name = "PERCENT", value_delimiter = ',')]
    checkpoint: Vec<u32>,
    /// How long to pause there (1h)
    #[arg(long, value_name = "TIME", value_parser = duration::read)]
    checkpoint_delay: Option<Duration>,
    /// How long to wait at the end, whether all goes well
    #[arg(long, value_name = "TIME", value_parser = duration::read)]
    bake: Option<Duration>,
    /// Replace instances too that are as they should be already
    #[arg(long)]
    replace_all: bool,
    /// Take it back if it fails; needs --launch-template-version
    #[arg(long, requires = "launch_template_version")]
    auto_rollback: bool,
    /// Go to this version of the group's launch template; on success the group is set to it
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    launch_template_version: Option<u32>,
}

/// AWS throttles all of Auto Scaling together.
fn pace(text: &str) -> Result<Duration, String> {
    let pace = duration::read(text)?;
    if pace < Duration::from_secs(1) { Err("look once a second at most".to_owned()) } else { Ok(pace) }
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
    match arguments.what {
        What::Start(start) => begin_one(start).await,
        What::Watch(of) => watch(of).await,
        What::Cancel(order) => stop(order, Wish::Cancelled).await,
        What::Rollback(order) => stop(order, Wish::TakenBack).await,
    }
}

async fn begin_one(start: Start) -> Result<u8> {
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
                format!("refresh {} of {asg} is under way, with preferences of its own, and is followed", refresh.id)
            }
        });
    }
    if *no_wait {
        return Ok(0);
    }
    follow(&at, &Followed { asg, id: Arc::clone(begun.id()), every: of.every, json: of.json, wish: Wish::Replaced }).await
}

async fn watch(of: Of) -> Result<u8> {
    let at = connect().await?;
    let asg = group(&at, &of)?;
    let listed = at.live.auto_scaling().refreshes(&asg).await.map_err(|why| at.cannot_ask(&why))?;
    let Some(refresh) = newest(listed) else {
        complain(format!("{asg} was not refreshed in the last six weeks; `decamp refresh start --asg {asg}` does it"));
        return Ok(exit::NO_REFRESH);
    };
    follow(&at, &Followed { asg, id: refresh.id, every: of.every, json: of.json, wish: Wish::Replaced }).await
}

async fn stop(order: Order, wish: Wish) -> Result<u8> {
    let Order { of, no_wait } = order;
    let at = connect().await?;
    let asg = group(&at, &of)?;
    let what = if wish == Wish::Cancelled { "cancelled" } else { "rolled back" };
    if at.settings.mode == Mode::Observe {
        return Ok(observed(&of, what));
    }
    let ordered = match wish {
        Wish::Cancelled | Wish::Replaced => at.live.auto_scaling().cancel_refresh(&asg).await,
        Wish::TakenBack => at.live.auto_scaling().roll_back_refresh(&asg).await,
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
        say(format!("refresh {id} of {asg} is being {what}; instances that already wait in a hook still leave"));
    }
    if no_wait {
        return Ok(0);
    }
    follow(&at, &Followed { asg, id, every: of.every, json: of.json, wish }).await
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
            "{asg} is no group in {} with a launch template, its own or that of a mixed instances policy; check the name and AWS_REGION",
            at.region
        ),
        Err(why) => Err(at.cannot_ask(&why)),
    }
}

/// What AWS did not do, why, and what to do about it.
fn not_done(at: &Connected, asg: &str, what: &str, why: &NotDone) -> anyhow::Error {
    let watch = format!("`decamp refresh watch --asg {asg}` says how the last one ended");
    let what_to_do = match why {
        NotDone::UnderWay => "try again: another one began at the same moment".to_owned(),
        NotDone::BeingUndone(_) => {
            format!("wait until it is over (`decamp refresh watch --asg {asg}` does), and start this one again")
        }
        NotDone::NoneUnderWay => watch,
        NotDone::Irreversible => {
            "only one that was started with --launch-template-version can be; stop it with `decamp refresh cancel`, set the group back \
             and start another"
                .to_owned()
        }
        NotDone::Refused(Refusal::Denied(_)) => {
            "let the role of whoever runs this do autoscaling:StartInstanceRefresh, CancelInstanceRefresh and RollbackInstanceRefresh on \
             the group"
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
