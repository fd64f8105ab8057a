//! `decamp init`: reads a group and writes the files that install decamp for it. It changes nothing in AWS, Nomad or Consul.

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
use super::out::{say, say_raw};

const HELP: &str = "It reads the group, its hooks and its target groups, and needs no access to Nomad or Consul. It applies nothing: read the files, \
then run them. It overwrites no file.

Examples:
  decamp init --asg web                              print everything
  decamp init --asg web --to decamp-web              write a folder: a Terraform call, policies, commands
  decamp init --asg web --to decamp-web --with aws-cli";

/// Write the files that install decamp for a group: policies, the hook, and a Terraform module call or commands.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// The Auto Scaling group
    #[arg(long, value_name = "NAME")]
    asg: String,
    /// Write the files into this folder, which is created if necessary; by default they are printed
    #[arg(long, value_name = "FOLDER")]
    to: Option<PathBuf>,
    /// The tool that installs decamp
    #[arg(long, value_name = "HOW", default_value = "terraform")]
    with: With,
}

/// The tool that installs decamp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum With {
    /// Terraform, with decamp's module
    Terraform,
    /// Commands of the AWS CLI
    AwsCli,
}

/// The facts about the group that the files need.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// The group's name.
    asg: String,
    /// `aws`, `aws-cn`, …
    partition: String,
    region: String,
    account: String,
    /// Attached target groups. Auto Scaling itself deregisters from these.
    attached: Vec<TargetGroupArn>,
    /// Other target groups that the group's hooks or the settings name.
    named: Vec<TargetGroupArn>,
    /// The group's terminating hooks.
    hooks: Vec<Arc<str>>,
    /// The addresses of Nomad and Consul in the settings.
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
                say_raw(&file.text);
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
        bail!("the ARN of the group {asg} is invalid: {arn:?}");
    };
    // The adapter reads a group for a departure. The instance makes no difference for the group's settings.
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

/// Writes all files, or none if one of them exists already.
fn write(folder: &Path, files: &[File]) -> Result<()> {
    if let Some(existing) = files.iter().map(|file| folder.join(file.name)).find(|path| path.exists()) {
        bail!("{} exists already, and decamp overwrites no file; choose another folder", existing.display());
    }
    fs::create_dir_all(folder).with_context(|| format!("create the folder {}", folder.display()))?;
    for file in files {
        let path = folder.join(file.name);
        let created = fs::OpenOptions::new().write(true).create_new(true).open(&path);
        let written = created.and_then(|mut created| created.write_all(file.text.as_bytes()));
        written.with_context(|| format!("write {}", path.display()))?;
        say(path.display().to_string());
    }
    say(format!("Nothing was applied. Start with {}.", folder.join("README.md").display()));
    Ok(())
}
