//! Every setting there is, as data: what the README and `--help` show, and what a misspelt name is compared with.

use super::Refused;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its variable.
    pub name: &'static str,
    /// What it is written in.
    pub unit: &'static str,
    /// What it is if it is not set.
    pub default: &'static str,
    /// What it means, in a sentence.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($name:literal, $unit:literal, $default:literal, $meaning:literal;)*) => {
        &[$(Setting { name: $name, unit: $unit, default: $default, meaning: $meaning }),*]
    };
}

/// All of them, in the order a reader wants them.
pub const TABLE: &[Setting] = settings![
    "DECAMP_MODE", "act, observe", "act", "Observe looks, decides and logs, and writes nothing.";
    "DECAMP_GROUPS", "names, with commas", "", "The Auto Scaling groups that may be touched; a * at the end stands for any rest. Empty: the Lambda and the service only observe.";
    "DECAMP_ACCOUNTS", "12 digits, with commas", "", "The AWS accounts whose events are believed. Empty: all.";
    "DECAMP_REGIONS", "names, with commas", "", "The AWS Regions whose events are believed. Empty: all.";
    "DECAMP_HOOKS", "names, with commas", "", "The lifecycle hooks that are decamp's. Empty: every terminating hook of an allowed group.";
    "DECAMP_TARGET_GROUPS", "ARNs, with commas", "", "Target groups to leave besides those attached to the Auto Scaling group.";
    "DECAMP_SCAN", "true, false", "false", "Find target groups by looking through all of them.";
    "DECAMP_CONSUL", "true, false", "true", "Whether services are registered in Consul.";
    "DECAMP_LOG", "error, warn, info, debug, trace", "", "How much is logged on standard error. Empty: warn; info for decamp serve.";
    "DECAMP_LOG_FORMAT", "text, json", "text", "The form of those lines.";

    "DECAMP_MAX_DEPARTURE", "time", "2h", "The longest that a departure may take, from its entry into the hook; at most 48h.";
    "DECAMP_RESERVE", "time", "30s", "Give up this long before the hook ends, so that the last call still lands.";
    "DECAMP_ON_TIMEOUT", "continue, abandon", "continue", "What the lifecycle action is completed with when the time is up.";
    "DECAMP_NEVER_FORCE", "true, false", "false", "Never force a drain; what is left when the time is up is left.";
    "DECAMP_IGNORE_SYSTEM_JOBS", "true, false", "false", "Leave system jobs running. Refused when one of them serves a target.";
    "DECAMP_OVERLAP", "true, false", "true", "Drain beside the deregistration delay where that loses nothing.";
    "DECAMP_GUARD_ALB", "time", "10s", "How long an Application Load Balancer may still send after a deregistration.";
    "DECAMP_GUARD_NLB", "time", "2m", "The same for Network and Gateway Load Balancers.";
    "DECAMP_NO_NODE_WAIT", "time", "30s", "How long to wait for the Nomad node of an instance that is younger than 15 min, or in a group without Nomad.";
    "DECAMP_WITHOUT_NOMAD", "patterns, with commas", "", "Groups that run no Nomad. In any other a missing node is an error, and waited for to the end.";
    "DECAMP_AGENT_DEAD_WAIT", "time", "5m", "How long to wait for a dead Nomad agent to come back; at least the longest stop.";
    "DECAMP_LEFTOVER_WAIT", "time", "10m", "How long to wait for a leftover registration of an allocation that is over.";
    "DECAMP_UNKNOWN_TARGET_WAIT", "time", "10m", "How long to wait for a target that may be the instance's: nobody is known to have its address. The outcome is then unconfirmed.";
    "DECAMP_ON_CANCEL", "respect, drain-again", "respect", "What to do when somebody cancels decamp's drain.";
    "DECAMP_LAST_TARGET", "warn, hold", "warn", "What to do when the instance is the last healthy target of a group.";
    "DECAMP_REPLACE", "never, rebalance, scheduled, both", "never", "Which early warnings of AWS have Auto Scaling replace the instance, through its hook (the Lambda and the service).";
    "DECAMP_REPLACE_AHEAD", "time", "24h", "How long before a scheduled change its instance is replaced; until then the event waits on its queue.";
    "DECAMP_QUEUE_KEEPS", "time", "96h", "How long the queue keeps a message. A change that comes later is acted on half a day before its message is lost.";
    "DECAMP_REFUSE_WITHOUT_SIGHT", "true, false", "false", "End before the first write when the Nomad token cannot see enough, instead of waiting for a better one.";
    "DECAMP_MAX_KILL_TIMEOUT", "time", "30s", "What one task may claim of the time for a stop by its kill_timeout; clients cap it (max_kill_timeout).";
    "DECAMP_POSTSTOP", "time", "30s", "What poststop tasks may take; Nomad sets them no limit.";
    "DECAMP_LONGEST_REQUEST", "time", "5s", "The longest request that clients make; settings that would cut it are reported.";
    "DECAMP_INGRESS_FORGETS", "time", "17s", "How long the ingress routes to a service that left discovery, where no job on the node tells.";
    "DECAMP_INGRESS_MARGIN", "time", "3s", "How long an ingress may take beyond what its job promises (poll interval and throttle) to forget a service: its own work, which load makes longer.";

    "DECAMP_CALL_TIMEOUT", "time", "5s", "How long one call of Nomad or Consul may take.";
    "DECAMP_CONNECT_TIMEOUT", "time", "2s", "How long a connection to Nomad or Consul may take to be made.";
    "DECAMP_PROXY", "URL", "", "A proxy for AWS, Nomad and Consul. HTTP_PROXY and HTTPS_PROXY are not read.";
    "NO_PROXY", "hosts, with commas", "", "Hosts, domains and networks that are called without that proxy. The addresses where AWS gives an instance or a task its credentials always are.";
    "DECAMP_AUTO_SCALING_RATE", "number", "15", "How many calls of Auto Scaling a second one process makes at most, after a burst of five times as many. More is for accounts whose quota was raised.";

    "DECAMP_WEBHOOKS_LISTEN", "address:port", "127.0.0.1:8480", "Where decamp serve takes events in.";
    "DECAMP_WEBHOOKS_CERT", "path", "", "Its certificate with its chain; read again when it changes. Empty: plain HTTP.";
    "DECAMP_WEBHOOKS_KEY", "path", "", "The private key of that certificate.";
    "DECAMP_ADMIN_LISTEN", "address:port", "127.0.0.1:8481", "Where its page, API and metrics are. Off loopback it needs a certificate and a token.";
    "DECAMP_ADMIN_CERT", "path", "", "Its certificate with its chain; read again when it changes.";
    "DECAMP_ADMIN_KEY", "path", "", "The private key of that certificate.";
    "DECAMP_ADMIN_TOKEN", "token", "", "The bearer token that opens it; 16 characters at least.";
    "DECAMP_ADMIN_TOKEN_FILE", "path", "", "A file with that token.";
    "DECAMP_ADMIN_TOKEN_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where in AWS that token is kept.";
    "DECAMP_HOSTS", "names, with commas", "", "The names that requests may be addressed to, beside those of loopback.";
    "DECAMP_EVENTS_KEY", "keys, with commas", "", "What POST /v1/events asks for, in a header or as the password of Basic; two keys are a rotation. Empty: it is closed.";
    "DECAMP_EVENTS_KEY_FILE", "path", "", "A file with those keys, read again when an unknown key comes.";
    "DECAMP_EVENTS_KEY_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where in AWS those keys are kept.";
    "DECAMP_EVENTS_HEADER", "name", "x-api-key", "The header that carries the key.";
    "DECAMP_QUEUES", "ARNs, with commas", "", "SQS queues that decamp serve consumes.";
    "DECAMP_QUEUE_HIDDEN", "time", "2m", "How long a message is hidden at a time while it is held: after this long another replica has what a dead one had in hand. It is hidden again three times as often.";
    "DECAMP_SNS_TOPICS", "ARNs, with commas", "", "SNS topics whose messages POST /v1/sns believes. Empty: it is closed.";
    "DECAMP_SNS_SIGNATURE_1", "true, false", "false", "Believe SNS's first signature version (SHA-1) as well.";
    "DECAMP_SNS_CACERT", "path", "", "The only authorities believed for SNS's signing certificate. Empty: the system's.";
    "DECAMP_SNS_CERTIFICATES", "names, with commas", "", "Files of SNS's signing certificates that are fetched at the start, such as SimpleNotificationService-0123456789abcdef0123456789abcdef.pem (the end of a message's SigningCertURL). Others are fetched when a message names them, one at a time.";
    "DECAMP_SWEEP", "time", "1m", "How often decamp serve looks after everything that waits. In the Lambda: how often the schedule invokes its sweep.";
    "DECAMP_MOST_DEPARTURES", "number", "10000", "How many departures one replica has in hand at most; then events are answered with 503.";
    "DECAMP_SOURCE_RATE", "number", "100", "How many requests a second one credential, or else one address, may make.";
    "DECAMP_TRUSTED_PROXIES", "addresses or networks, with commas", "", "Proxies whose X-Forwarded-For is believed, such as the subnets of a load balancer (10.0.0.0/24). Without them everybody behind it is one source.";
    "DECAMP_STALLED_AFTER", "time", "5m", "How long a departure may wait for one thing until that counts as a stall, of which decamp serve notifies.";
    "DECAMP_TRACES", "URL", "", "Where traces of departures go, by OTLP over HTTP in JSON, without /v1/traces. Empty: nowhere.";
    "DECAMP_TRACES_HEADER", "name: value", "", "A header that the collector asks for.";
    "DECAMP_TRACES_HEADER_FILE", "path", "", "A file with that header.";
    "DECAMP_TRACES_HEADER_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where in AWS that header is kept.";

    "NOMAD_ADDR", "URLs, with commas", "http://127.0.0.1:4646", "Nomad's servers or agents, tried in turn.";
    "NOMAD_TOKEN", "token", "", "The Nomad token: node write, and read-job in namespace *.";
    "NOMAD_TOKEN_FILE", "path", "", "A file with the Nomad token, read again when it is refused.";
    "NOMAD_TOKEN_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where in AWS the Nomad token is kept.";
    "NOMAD_REGION", "name", "", "The Nomad region. Empty: that of the agent asked.";
    "NOMAD_CACERT", "path", "", "The only authorities believed for Nomad's certificate. Empty: the system's.";
    "NOMAD_CAPATH", "path", "", "A folder of such files.";
    "NOMAD_CLIENT_CERT", "path", "", "The certificate shown to Nomad.";
    "NOMAD_CLIENT_KEY", "path", "", "Its private key.";
    "NOMAD_TLS_SERVER_NAME", "name", "", "The name that Nomad's certificate must have, such as server.global.nomad.";
    "NOMAD_SKIP_VERIFY", "false", "false", "Refused when true: certificates are always checked.";

    "CONSUL_HTTP_ADDR", "addresses, with commas", "127.0.0.1:8500", "Consul's servers or agents, tried in turn.";
    "CONSUL_HTTP_SSL", "true, false", "false", "Whether an address without a scheme is https.";
    "CONSUL_HTTP_TOKEN", "token", "", "The Consul token: read on every node and service.";
    "CONSUL_HTTP_TOKEN_FILE", "path", "", "A file with the Consul token, read again when it is refused.";
    "CONSUL_HTTP_TOKEN_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where in AWS the Consul token is kept.";
    "CONSUL_NAMESPACE", "name", "", "The Consul namespace (Enterprise).";
    "CONSUL_PARTITION", "name", "", "The Consul admin partition (Enterprise).";
    "CONSUL_DATACENTER", "name", "", "The Consul datacenter. Empty: that of the agent asked.";
    "CONSUL_CACERT", "path", "", "The only authorities believed for Consul's certificate. Empty: the system's.";
    "CONSUL_CAPATH", "path", "", "A folder of such files.";
    "CONSUL_CLIENT_CERT", "path", "", "The certificate shown to Consul.";
    "CONSUL_CLIENT_KEY", "path", "", "Its private key.";
    "CONSUL_TLS_SERVER_NAME", "name", "", "The name that Consul's certificate must have.";
    "CONSUL_HTTP_SSL_VERIFY", "true", "true", "Refused when false: certificates are always checked.";

    "AWS_REGION", "name", "", "The AWS Region.";
    "AWS_DEFAULT_REGION", "name", "", "The same, if AWS_REGION is not set.";
    "AWS_ENDPOINT_URL", "URL", "", "Another endpoint for all of AWS.";
    "AWS_ENDPOINT_URL_AUTO_SCALING", "URL", "", "Another endpoint for Auto Scaling.";
    "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "URL", "", "Another endpoint for Elastic Load Balancing.";
    "AWS_ENDPOINT_URL_SSM", "URL", "", "Another endpoint for Systems Manager.";
    "AWS_ENDPOINT_URL_SECRETS_MANAGER", "URL", "", "Another endpoint for Secrets Manager.";
    "AWS_ENDPOINT_URL_SQS", "URL", "", "Another endpoint for SQS.";
    "AWS_ENDPOINT_URL_SNS", "URL", "", "Another endpoint for SNS.";

    "AWS_LAMBDA_LOG_LEVEL", "trace, debug, info, warn, error", "info", "How much the Lambda logs; set by its logging configuration.";
];

/// The setting of this name.
#[must_use]
pub fn setting(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|row| row.name == name)
}

/// Refuses a `DECAMP_` variable that is none of ours, with the one that was probably meant.
pub(super) fn refuse_unknown(names: &[&str]) -> Result<(), Refused> {
    let mut unknown: Vec<&&str> = names.iter().filter(|name| name.starts_with("DECAMP_") && setting(name).is_none()).collect();
    unknown.sort_unstable();
    let Some(name) = unknown.first() else { return Ok(()) };
    Err(Refused(format!("{name} is not a setting of decamp; unset it, or write {} if that is meant", nearest(name))))
}

/// The setting of decamp's own that was probably meant.
pub(super) fn nearest(name: &str) -> &'static str {
    let ours = TABLE.iter().map(|row| row.name).filter(|known| known.starts_with("DECAMP_"));
    ours.min_by_key(|known| distance(name, known)).unwrap_or("DECAMP_MODE")
}

/// How many letters have to be put in, left out or changed to make one of the other.
#[must_use]
pub fn distance(one: &str, other: &str) -> usize {
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = before + usize::from(a != *b);
            before = row[j + 1];
            row[j + 1] = changed.min(before + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}
