//! `decamp serve`: runs the HTTP service until a signal ends it.

mod signals;

use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use decamp_aws::Aws;
use decamp_config::{LogLevel, Settings};
use decamp_live::Live;
use decamp_service::{About, Addresses, check, serve as serve_until};
use tracing::{error, warn};

use self::signals::Signals;
use super::connect::settings;
use super::logging;
use super::out::say;

const HELP: &str = "It listens on two addresses: webhooks (DECAMP_WEBHOOKS_LISTEN) receives events, admin (DECAMP_ADMIN_LISTEN) has the page, \
the API and the metrics. Off loopback, admin needs a certificate and a token. On SIGTERM, SIGINT or SIGQUIT it takes no new work, stops each \
departure at its next decision, returns its messages to the queue and exits within 10 s. Another replica, or the next sweep, \
continues.";

/// Run as a service: events and queues, a page, an API and metrics.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(crate) struct Arguments {
    /// A TOML file with settings by the names of their variables; environment variables override it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Validate the settings and exit
    #[arg(long)]
    check: bool,
}

pub(crate) async fn serve(arguments: Arguments) -> Result<u8> {
    let settings = match &arguments.config {
        Some(file) => Settings::from_file_and_environment(file)?,
        None => settings().await?,
    };
    if arguments.config.is_some() && settings.document.is_some() {
        bail!("--config and DECAMP_CONFIG exclude each other; set only one of them");
    }
    let _flush = logging::begin_non_blocking(&settings.logging, LogLevel::Info);
    let warnings = settings.serve.check()?;
    check(&settings)?;
    for warning in settings.warnings.iter().chain(&warnings) {
        warn!("{warning}");
    }
    if let Some(why) = settings.names_no_group() {
        error!("{why}");
    }
    let mut signals = Signals::new()?;
    let aws = Aws::load(&settings.aws, None).await;
    let region = match aws.region() {
        Some(region) if settings.allowed.region(region) => region.to_owned(),
        Some(region) => bail!("DECAMP_REGIONS does not allow the Region {region}; add it, or set AWS_REGION"),
        None => bail!("no AWS Region is known; set AWS_REGION, or AWS_PROFILE to a profile with a region"),
    };
    if arguments.check {
        let groups = if settings.allowed.groups.is_empty() { "none".to_owned() } else { settings.allowed.groups.join(", ") };
        let mode = if settings.only_observes() { "observe" } else { "act" };
        let (webhooks, admin) = (settings.serve.webhooks.address, settings.serve.admin.address);
        say(format!("settings OK: groups {groups}, mode {mode}, webhooks {webhooks}, admin {admin}"));
        for cluster in settings.clusters.all() {
            if let Some(name) = &cluster.name {
                say(format!(
                    "cluster {name}: groups {}, Nomad {}",
                    cluster.groups.join(", "),
                    cluster.nomad.addresses.join(", ")
                ));
            }
        }
        return Ok(0);
    }
    let live = Live::new(&settings, &aws).context("connect")?;
    let ready = |Addresses { webhooks, admin }: Addresses| {
        say(format!("webhooks on {webhooks}, admin on {admin}"));
    };
    let stop = async {
        signals.stop().await;
    };
    let about = About { version: super::VERSION, region };
    serve_until(settings, about, live, ready, stop).await?;
    Ok(0)
}
