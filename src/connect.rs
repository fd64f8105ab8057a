//! Connects to the live systems by the settings of the environment, and makes a departure of the instance that a person names.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use decamp_aws::{Aws, NO_CREDENTIALS};
use decamp_config::{LogLevel, Settings, kept_document};
use decamp_core::decide::{Cause, Departure, LifecycleAction, Unseen};
use decamp_core::ids::InstanceId;
use decamp_live::{Cluster, Live, document};
use tracing::warn;

use super::logging;
use super::nearest::nearest;

/// The settings, and the live systems that they name.
pub(crate) struct Connected {
    pub(crate) settings: Settings,
    pub(crate) live: Live,
    pub(crate) region: String,
}

/// Reads the settings, starts the log and makes the clients. It sends no request, except for the credentials of AWS.
pub(crate) async fn connect() -> Result<Connected> {
    let settings = settings().await?;
    logging::begin(&settings.logging, LogLevel::Warn);
    for warning in &settings.warnings {
        warn!("{warning}");
    }
    let aws = Aws::load(&settings.aws, None).await;
    let Some(region) = aws.region().map(str::to_owned) else {
        bail!("no AWS Region is known; set AWS_REGION, or AWS_PROFILE to a profile with a region");
    };
    if !settings.allowed.region(&region) {
        bail!("DECAMP_REGIONS does not allow the Region {region}; add it, or set AWS_REGION");
    }
    let live = Live::new(&settings, &aws).context("connect")?;
    Ok(Connected { settings, live, region })
}

/// The settings of the environment and of the stored document, if the environment names one.
pub(crate) async fn settings() -> Result<Settings> {
    Ok(match kept_document()? {
        None => Settings::from_environment()?,
        Some((stored, aws)) => {
            let text = document(&stored, &aws).await?;
            Settings::from_document_and_environment(&stored.to_string(), text.expose())?
        }
    })
}

impl Connected {
    /// The departure of an instance that a person named. Without a group, Auto Scaling is queried for it.
    pub(crate) async fn departure(&self, instance: InstanceId, asg: Option<&str>, cause: Cause) -> Result<Departure> {
        let asg: Arc<str> = match asg {
            Some(asg) => asg.into(),
            None => match self.group_of(instance).await {
                Ok(Some(asg)) => asg,
                Ok(None) => return Err(self.no_such_instance(instance)),
                Err(why) => return Err(self.cannot_ask(&why)),
            },
        };
        self.departure_from(instance, asg, cause)
    }

    /// The departure of an instance from a group, if the allow-list names the group.
    pub(crate) fn departure_from(&self, instance: InstanceId, asg: Arc<str>, cause: Cause) -> Result<Departure> {
        self.may_touch(&asg)?;
        Ok(Departure { instance, asg, cause })
    }

    /// The group of an instance; `None` if Auto Scaling does not list the instance.
    pub(crate) async fn group_of(&self, instance: InstanceId) -> Result<Option<Arc<str>>, Unseen> {
        Ok(self.live.auto_scaling().instance(instance).await?.map(|listed| listed.asg))
    }

    /// The error about an instance that Auto Scaling does not list.
    pub(crate) fn no_such_instance(&self, instance: InstanceId) -> anyhow::Error {
        anyhow::anyhow!(
            "Auto Scaling lists no instance {instance} in {}; check the id and AWS_REGION (terminated instances are not listed)",
            self.region
        )
    }

    /// The error about a group that does not exist, with the most similar name that does.
    pub(crate) async fn no_such_group(&self, asg: &str) -> anyhow::Error {
        let all = self.live.auto_scaling().names().await.unwrap_or_default();
        let allowed = all.iter().filter(|name| self.settings.allowed.group(name)).map(|name| &**name);
        let near = nearest(asg, allowed)
            .map_or_else(|| "check the name and AWS_REGION".to_owned(), |near| format!("did you mean {near}?"));
        anyhow::anyhow!("there is no Auto Scaling group {asg} in {}; {near}", self.region)
    }

    /// Fails for a group that the allow-list does not name.
    pub(crate) fn may_touch(&self, asg: &str) -> Result<()> {
        self.settings.clusters.known(asg)?;
        if !self.settings.allowed.group(asg) {
            bail!("DECAMP_GROUPS does not allow the group {asg}; add it if decamp may drain its instances");
        }
        Ok(())
    }

    /// The cluster of a group that the allow-list names.
    pub(crate) fn cluster(&self, asg: &str) -> Result<&Cluster> {
        self.may_touch(asg)?;
        self.live.cluster(asg).context("the settings have no cluster for the group")
    }

    /// The error about a failed query of Auto Scaling, with advice.
    pub(crate) fn cannot_ask(&self, why: &Unseen) -> anyhow::Error {
        let what_to_do = match why {
            Unseen::Denied(_) => {
                "check the credentials (`aws sts get-caller-identity` shows whose they are) and their policy (`decamp init --asg NAME` \
                 prints the policy that decamp needs)"
            }
            Unseen::Throttled => "try again in a minute",
            Unseen::Away(why) if **why == *NO_CREDENTIALS => {
                "set AWS_PROFILE to a profile that `aws configure list-profiles` lists, or set AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY; `aws sts get-caller-identity` shows whether they are found"
            }
            Unseen::Away(_) | Unseen::Stale => {
                "check the network, the credentials, AWS_REGION and AWS_ENDPOINT_URL, and try again"
            }
        };
        anyhow::anyhow!("{}; {what_to_do}", self.cannot_ask_because(why))
    }

    /// The same without advice.
    pub(crate) fn cannot_ask_because(&self, why: &Unseen) -> String {
        format!("cannot query Auto Scaling in {}: {why}", self.region)
    }
}

/// The cause of a departure that a person asked for. Nothing else is known of its lifecycle action.
pub(crate) fn named_by_a_person() -> Cause {
    Cause::Lifecycle(LifecycleAction::default())
}
