//! The settings of an operator: read once from the environment, checked, and passed on whole or in parts.

mod aws;
mod clusters;
mod connection;
#[cfg(feature = "document")]
mod document;
pub mod duration;
#[cfg(feature = "service")]
mod file;
mod keys;
mod logging;
mod network;
#[cfg(feature = "service")]
mod notify;
mod policy;
mod reader;
#[cfg(feature = "service")]
mod refreshes;
mod secret;
mod serve;
mod table;
#[cfg(feature = "service")]
mod webhooks;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

pub use self::aws::Aws;
pub use self::clusters::{Cluster, Clusters};
pub use self::connection::{Connection, Proxy, StoredTls, Tls};
#[cfg(feature = "document")]
pub use self::document::kept_document;
pub use self::keys::keys;
pub use self::logging::{LogFormat, Logging, may_be_logged};
pub use self::network::Network;
pub use self::secret::{Secret, Stored, TokenSource};
pub use self::serve::{Listen, Notify, NotifyKind, Serve, Terraform, Traces, Webhook, WebhookAction, WebhookScheme};
pub use self::table::{Setting, TABLE, distance, setting};
use decamp_core::decide::{Policy, is_named_by};
use reader::Reader;
use table::Unknown;

/// All settings. `TABLE` has each variable with its unit, default and meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Whether decamp writes anything.
    pub mode: Mode,
    /// For which early warnings Auto Scaling is asked to replace the instance.
    pub replace: Replace,
    /// How long before a scheduled change its instance is replaced. `DECAMP_REPLACE_AHEAD`.
    pub replace_ahead: Duration,
    /// How long a queue keeps a message that is not deleted. `DECAMP_QUEUE_KEEPS`.
    pub queue_keeps: Duration,
    /// The Lambda's time-out, for `check`; zero if no function runs departures. `DECAMP_FUNCTION_TIMEOUT`.
    pub function_timeout: Duration,
    /// How long after a departure the load balancers' counts are waited for; `None` if they are not read. `DECAMP_LOOK_BACK`,
    /// `DECAMP_LOOK_BACK_FOR`.
    pub look_back: Option<Duration>,
    /// The settings of the rules.
    pub policy: Policy,
    /// The allow-lists.
    pub allowed: Allowed,
    /// The clusters, each with the connections to its Nomad and Consul.
    pub clusters: Clusters,
    /// The connection to AWS.
    pub aws: Aws,
    /// The settings of `decamp serve`.
    pub serve: Serve,
    /// The logging of the command line.
    pub logging: Logging,
    /// How much the Lambda logs. `AWS_LAMBDA_LOG_LEVEL`, which Lambda itself sets.
    pub log_level: LogLevel,
    /// Where the document of settings is kept, if there is one. `DECAMP_CONFIG`.
    pub document: Option<Stored>,
    /// Warnings about accepted settings.
    pub warnings: Vec<String>,
}

/// Whether decamp writes anything. `DECAMP_MODE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Look, decide and act.
    Act,
    /// Look, decide and log; write nothing (ADR 0015).
    Observe,
}

/// For which early warnings Auto Scaling is asked to replace an instance in service (ADR 0014). `DECAMP_REPLACE`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replace {
    /// For none. They are logged and counted.
    Never,
    /// For EC2's rebalance recommendations for spot instances.
    Rebalance,
    /// For AWS's scheduled changes.
    Scheduled,
    /// For both.
    Both,
}

impl Replace {
    /// Whether a rebalance recommendation leads to a replacement.
    #[must_use]
    pub fn on_rebalance(self) -> bool {
        matches!(self, Self::Rebalance | Self::Both)
    }

    /// Whether a scheduled change leads to a replacement.
    #[must_use]
    pub fn on_scheduled_change(self) -> bool {
        matches!(self, Self::Scheduled | Self::Both)
    }
}

/// A day leaves time for a replacement that finds no capacity at first, and for a person to act.
const REPLACE_AHEAD: Duration = Duration::from_hours(24);
/// The default of SQS.
const QUEUE_KEEPS: Duration = Duration::from_hours(96);
/// CloudWatch publishes the minutes of a load balancer a minute or two late, and sometimes later.
const LOOK_BACK_FOR: Duration = Duration::from_mins(5);
/// The default of the Terraform module.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(60);

/// How much is logged: a level and all more severe ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Trace,
    /// Details for debugging decamp.
    Debug,
    /// Decisions and outcomes.
    Info,
    /// Problems that decamp works around.
    Warn,
    /// Problems that a person should act on.
    Error,
}

/// As Lambda writes them.
const LOG_LEVELS: &[(&str, LogLevel)] = &[
    ("trace", LogLevel::Trace),
    ("debug", LogLevel::Debug),
    ("info", LogLevel::Info),
    ("warn", LogLevel::Warn),
    ("error", LogLevel::Error),
    ("fatal", LogLevel::Error),
];

/// The allow-lists. An empty list allows everything, except that with an empty list of groups decamp changes only groups that a
/// person names and observes all others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Auto Scaling groups, by name; a `*` at the end matches any rest. `DECAMP_GROUPS`.
    pub groups: Vec<Arc<str>>,
    /// AWS accounts, twelve digits each. `DECAMP_ACCOUNTS`.
    pub accounts: Vec<Arc<str>>,
    /// AWS Regions. `DECAMP_REGIONS`.
    pub regions: Vec<Arc<str>>,
}

/// An invalid setting, described by a sentence that says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refused(
    /// The sentence.
    pub String,
);

impl Allowed {
    /// Whether a group of this name is allowed.
    #[must_use]
    pub fn group(&self, name: &str) -> bool {
        self.groups.is_empty() || self.groups.iter().any(|allowed| is_named_by(allowed, name))
    }

    /// The allowed groups by name; empty if all are allowed or a name has a star, so that all groups have to be listed.
    #[must_use]
    pub fn named_groups(&self) -> &[Arc<str>] {
        if self.groups.iter().all(|group| !group.ends_with('*')) { &self.groups } else { &[] }
    }

    /// Whether this account is allowed.
    #[must_use]
    pub fn account(&self, account: &str) -> bool {
        self.accounts.is_empty() || self.accounts.iter().any(|allowed| **allowed == *account)
    }

    /// Whether this Region is allowed.
    #[must_use]
    pub fn region(&self, region: &str) -> bool {
        self.regions.is_empty() || self.regions.iter().any(|allowed| **allowed == *region)
    }
}

impl Settings {
    /// Whether the service and the function write nothing and only observe the instances that events and sweeps report (ADR 0013).
    #[must_use]
    pub fn only_observes(&self) -> bool {
        self.mode == Mode::Observe || self.allowed.groups.is_empty()
    }

    /// The advice for a person, if decamp observes although the mode is `act`.
    #[must_use]
    pub fn names_no_group(&self) -> Option<&'static str> {
        (self.mode == Mode::Act && self.allowed.groups.is_empty()).then_some(
            "DECAMP_GROUPS is not set: nothing is written, because the hooks that are seen may be other tools'; name the Auto Scaling \
             groups that are decamp's, or set it to *",
        )
    }

    /// The policy of a group: the shared one, except for whether its cluster registers services in Consul.
    #[must_use]
    pub fn policy_of(&self, group: &str) -> Cow<'_, Policy> {
        self.clusters.policy(group, &self.policy).map_or(Cow::Borrowed(&self.policy), Cow::Owned)
    }

    /// Reads the process's environment.
    ///
    /// # Errors
    ///
    /// Returns the first invalid setting.
    pub fn from_environment() -> Result<Self, Refused> {
        let all = environment();
        let names: Vec<&str> = all.keys().map(String::as_str).collect();
        Self::read(&|name| all.get(name).cloned(), &names)
    }

    /// Reads settings through `get`. `names` are all variables that are set, so that a misspelt one is noticed.
    ///
    /// # Errors
    ///
    /// Returns the first invalid setting.
    pub fn read(get: &dyn Fn(&str) -> Option<String>, names: &[&str]) -> Result<Self, Refused> {
        Self::read_with(get, names, &[], Unknown::Refused)
    }

    fn read_with(
        get: &dyn Fn(&str) -> Option<String>,
        names: &[&str],
        clusters: &[clusters::Written],
        unknown: Unknown,
    ) -> Result<Self, Refused> {
        let mut warnings = table::check_unknown(names, unknown)?;
        let reader = Reader::new(get);
        let mode = reader.choice("DECAMP_MODE", &[("act", Mode::Act), ("observe", Mode::Observe)])?.unwrap_or(Mode::Act);
        let replaces = [
            ("never", Replace::Never),
            ("rebalance", Replace::Rebalance),
            ("scheduled", Replace::Scheduled),
            ("both", Replace::Both),
        ];
        let replace = reader.choice("DECAMP_REPLACE", &replaces)?.unwrap_or(Replace::Never);
        let replace_ahead = reader.span("DECAMP_REPLACE_AHEAD", REPLACE_AHEAD)?;
        let queue_keeps = reader.span("DECAMP_QUEUE_KEEPS", QUEUE_KEEPS)?;
        let function_timeout = reader.span("DECAMP_FUNCTION_TIMEOUT", FUNCTION_TIMEOUT)?;
        let looks_back = reader.choice("DECAMP_LOOK_BACK", &[("off", false), ("cloudwatch", true)])?.unwrap_or(false);
        let look_back_for = reader.span("DECAMP_LOOK_BACK_FOR", LOOK_BACK_FOR)?;
        let mut allowed = Allowed {
            groups: reader.list("DECAMP_GROUPS"),
            accounts: reader.list("DECAMP_ACCOUNTS"),
            regions: reader.list("DECAMP_REGIONS"),
        };
        for account in &allowed.accounts {
            if account.len() != 12 || !account.bytes().all(|b| b.is_ascii_digit()) {
                return Err(Refused(format!("DECAMP_ACCOUNTS: {account:?} is not an AWS account; write its twelve digits")));
            }
        }
        let policy = policy::read(&reader)?;
        for group in &policy.target_groups {
            if !allowed.account(group.account()) || !allowed.region(group.region()) {
                return Err(Refused(format!(
                    "DECAMP_TARGET_GROUPS: {group} is of an account or Region that DECAMP_ACCOUNTS and DECAMP_REGIONS do not allow; \
                     take it out, or add them"
                )));
            }
        }
        let log_level = reader.choice("AWS_LAMBDA_LOG_LEVEL", LOG_LEVELS)?.unwrap_or(LogLevel::Info);
        let document = reader.text("DECAMP_CONFIG").map(|text| Stored::read("DECAMP_CONFIG", &text)).transpose()?;
        let clusters = clusters::read(get, clusters, policy.consul, &mut warnings)?;
        allowed.groups = clusters.narrow(allowed.groups, unknown, &mut warnings)?;
        policy::check_fit(&reader, &policy, connection::timeout(&reader)?)?;
        let serve = serve::read(&reader)?;
        let logging = logging::read(&reader)?;
        let aws = aws::read(&reader)?;
        Ok(Self {
            mode,
            replace,
            replace_ahead,
            queue_keeps,
            function_timeout,
            look_back: looks_back.then_some(look_back_for),
            policy,
            allowed,
            clusters,
            aws,
            serve,
            logging,
            log_level,
            document,
            warnings,
        })
    }
}

/// The process's environment variables that are valid text.
fn environment() -> HashMap<String, String> {
    std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?))).collect()
}

#[cfg(test)]
mod tests;
