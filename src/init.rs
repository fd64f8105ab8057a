//! `decamp init`: reads a group and writes what is needed to install decamp for it. It changes nothing in AWS, Nomad or Consul.

mod files;
mod policies;

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use clap::{Args, ValueEnum};
use decamp_core::decide::{Cause, Departure, LifecycleAction};
use decamp_core::ids::{InstanceId, TargetGroupArn};

use self::files::files;
use super::connect::{Connected, connect};
use super::out::{say, say_as_it_is};

const HELP: &str = "It reads the group, its hooks and its target groups, and needs no access to Nomad and Consul. It applies nothing: read the files, \
then run them. It overwrites no file.

Examples:
  decamp init --asg web                              print everything
  decamp init --asg web --to decamp-web              write a folder: a Terraform call, policies, commands
  decamp init --asg web --to decamp-web --with aws-cli";

/// Write what is needed to install decamp for a group: policies, hook, and a Terraform call or commands.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The Auto Scaling group
    #[arg(long, value_name = "NAME")]
    asg: String,
    /// Write files into this folder, which is made if it is not there; without it everything is printed
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// How decamp is to be installed
    #[arg(long, value_name = "HOW", default_value = "terraform")]
    with: With,
}

/// How decamp is to be installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// A call of the Terraform module
    Terraform,
    /// Commands of the AWS command line
    AwsCli,
}

/// What was read of the group.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Its name.
    asg: String,
    /// `aws`, `aws-cn`, …
    partition: String,
    region: String,
    account: String,
    /// Attached target groups: Auto Scaling deregisters from these itself.
    attached: Vec<TargetGroupArn>,
    /// Others that its hooks or the settings name.
    named: Vec<TargetGroupArn>,
    /// Its terminating hooks.
    hooks: Vec<Arc<str>>,
    /// Where Nomad and Consul are, as the settings have it.
    nomad: Vec<String>,
    consul: Option<Vec<String>>,
}

/// One file to write.
#[derive(Debug)]
pub(super) struct File {
    name: &'static str,
    text: String,
}

pub(crate) async fn init(arguments: Arguments) -> Result<u8> {
    let at = connect().await?;
    let found = find(&at, &arguments.asg).await?;
    let files = files(&found, arguments.with);
    match &arguments.to {
        None => {
            for file in &files {
                say(format!("# ==> {}", file.name));
                say_as_it_is(&file.text);
            }
        }
        Some(folder) => write(folder, &files)?,
    }
    Ok(0)
}

async fn find(at: &Connected, asg: &str) -> Result<Found> {
    let auto_scaling = at.live.auto_scaling();
    let arn = auto_scaling.arn(asg).await.map_err(|why| at.cannot_ask(&why))?;
    let Some(arn) = arn else {
        return Err(at.no_such_group(asg).await);
    };
    // arn:PARTITION:autoscaling:REGION:ACCOUNT:autoScalingGroup:ID:autoScalingGroupName/NAME
    let [_, partition, _, region, account, ..] = arn.split(':').collect::<Vec<_>>()[..] else {
        bail!("AWS names the group {asg} by {arn:?}, which is not an ARN");
    };
    // What a group is set to is asked for as of a departure; which instance leaves makes no difference.
    let cause = Cause::Lifecycle(LifecycleAction::default());
    let departure = Departure { instance: InstanceId::from_number(0), asg: asg.into(), cause };
    let group = auto_scaling.group(&departure, false).await.map_err(|why| at.cannot_ask(&why))?;
    let settings = &at.settings;
    let cluster = settings.clusters.known(asg)?;
    let mut named: Vec<TargetGroupArn> = Vec::new();
    for other in group.hooks.iter().flat_map(|hook| &hook.target_groups).chain(&settings.policy.target_groups) {
        if !group.attached.contains(other) && !named.contains(other) {
            named.push(other.clone());
        }
    }
    Ok(Found {
        asg: asg.to_owned(),
        partition: partition.to_owned(),
        region: region.to_owned(),
        account: account.to_owned(),
        named,
        hooks: group.hooks.iter().map(|hook| Arc::clone(&hook.name)).collect(),
        attached: group.attached,
        nomad: cluster.nomad.addresses.clone(),
        consul: cluster.consul.as_ref().map(|consul| consul.addresses.clone()),
    })
}

/// Writes all of them, or none if one is there already.
fn write(folder: &Path, files: &[File]) -> Result<()> {
    if let Some(there) = files.iter().map(|file| folder.join(file.name)).find(|path| path.exists()) {
        bail!("{} is there already, and decamp overwrites no file; choose another folder", there.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("make the folder {}", folder.display()))?;
    for file in files {
        let path = folder.join(file.name);
        let made = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let written = made.and_then(|mut made| made.write_all(file.text.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))?;
        say(path.display().to_string());
    }
    say(format!("Nothing was applied. Begin with {}.", folder.join("README.md").display()));
    Ok(())
}
