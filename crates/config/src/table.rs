//! Every setting as data: the table in the documentation and in `--help`, and the list that misspelt names are compared with.

use super::Refused;

/// One setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting {
    /// Its variable.
    pub name: &'static str,
    /// Its form or unit.
    pub unit: &'static str,
    /// Its value if it is not set.
    pub default: &'static str,
    /// Its meaning, in a sentence.
    pub meaning: &'static str,
}

macro_rules! settings {
    ($($name:literal, $unit:literal, $default:literal, $meaning:literal;)*) => {
        &[$(Setting { name: $name, unit: $unit, default: $default, meaning: $meaning }),*]
    };
}

/// All settings, in the order a reader needs them.
pub const TABLE: &[Setting] = settings![
    "DECAMP_MODE", "act, observe", "act", "`observe` looks, decides and logs, and writes nothing.";
    "DECAMP_GROUPS", "names, separated by commas", "", "The Auto Scaling groups that decamp may change. A * at the end matches any rest. Empty: the Lambda and the service only observe.";
    "DECAMP_ACCOUNTS", "12 digits, separated by commas", "", "The AWS accounts whose events are accepted. Empty: all.";
    "DECAMP_REGIONS", "names, separated by commas", "", "The AWS Regions whose events are accepted. Empty: all.";
    "DECAMP_HOOKS", "names, separated by commas", "", "The lifecycle hooks that decamp completes. Empty: the terminating hook of an allowed group, if it has only one.";
    "DECAMP_TARGET_GROUPS", "ARNs, separated by commas", "", "Extra target groups and Classic Load Balancers to deregister from, besides those attached to the Auto Scaling group.";
    "DECAMP_SCAN", "true, false", "false", "Search every target group in the account for the instance.";
    "DECAMP_CONSUL", "true, false", "true", "Whether services are registered in Consul.";
    "DECAMP_CONFIG", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where a TOML document with settings by these names is kept in AWS. It is read at the start; environment variables override it.";
    "DECAMP_LOG", "error, warn, info, debug, trace", "", "How much is logged to standard error. Empty: warn; for decamp serve info.";
    "DECAMP_LOG_FORMAT", "text, json", "text", "The format of log lines.";

    "DECAMP_MAX_DEPARTURE", "time", "2h", "The longest time for a departure, from when the instance enters the hook; at most 48h.";
    "DECAMP_RESERVE", "time", "30s", "How long before the end of the hook decamp completes the action, so that the call still arrives in time.";
    "DECAMP_ON_TIMEOUT", "continue, abandon", "continue", "The result of the lifecycle action when the time is up.";
    "DECAMP_NEVER_FORCE", "true, false", "false", "Never force a drain. When the time is up, running allocations are left to the termination of the machine.";
    "DECAMP_IGNORE_SYSTEM_JOBS", "true, false", "false", "Leave system jobs running. Refused when one of them serves a target.";
    "DECAMP_OVERLAP", "true, false", "true", "Drain the services during the deregistration delay where that loses no request.";
    "DECAMP_GUARD_ALB", "time", "10s", "How long an Application Load Balancer may keep sending after a deregistration.";
    "DECAMP_GUARD_NLB", "time", "2m", "The same for Network and Gateway Load Balancers.";
    "DECAMP_NO_NODE_WAIT", "time", "30s", "How long to wait for the Nomad node of an instance that is younger than 15 min, or in a group without Nomad.";
    "DECAMP_WITHOUT_NOMAD", "patterns, separated by commas", "", "Groups that run no Nomad. In all other groups a missing node is an error, and decamp waits for it to the end.";
    "DECAMP_AGENT_DEAD_WAIT", "time", "5m", "How long to wait for a dead Nomad agent to come back. At least the longest stop.";
    "DECAMP_LEFTOVER_WAIT", "time", "10m", "How long to wait for a registration to disappear after its allocation is over.";
    "DECAMP_UNKNOWN_TARGET_WAIT", "time", "10m", "How long to wait for a target that may be the instance's because nothing else is known to have its address. The outcome is then unconfirmed.";
    "DECAMP_BY_HAND", "name, wait", "name", "What to do about services that somebody registered with the node's Consul agent by hand, such as a Traefik that is no Nomad job. Name: report them before anything moves and at the end. Wait: hold the instance until none of them is routable, at most until the time is up.";
    "DECAMP_BY_HAND_SERVICES", "patterns, with commas", "", "Which of them to wait for, by their names in Consul. Empty: all.";
    "DECAMP_ON_CANCEL", "respect, drain-again", "respect", "What to do when somebody cancels decamp's drain.";
    "DECAMP_LAST_TARGET", "warn, hold", "warn", "What to do when the instance is the last healthy target of a group, or of its zone where load balancing does not cross zones.";
    "DECAMP_LOCAL_DATA", "warn, hold", "warn", "What to do about data in host volumes, which stays on the machine. Warn: report it before anything moves. Hold: hold the instance until an operator lets the data go (`decamp.local_data = leave` in the node's metadata) or nothing uses it any more, at the latest until the instance must leave to be gone in order before its hook ends.";
    "DECAMP_REPLACE", "never, rebalance, scheduled, both", "never", "For which early warnings of AWS decamp asks Auto Scaling to replace the instance through its hook (the Lambda and the service).";
    "DECAMP_REPLACE_AHEAD", "time", "24h", "How long before a scheduled change decamp asks for the replacement. Until then the event stays on its queue.";
    "DECAMP_QUEUE_KEEPS", "time", "96h", "How long the queue keeps a message. If a change is later than that, decamp acts half a day before the message expires.";
    "DECAMP_FUNCTION_TIMEOUT", "time", "60s", "The Lambda's time-out, for `decamp check`; 0s where `decamp serve` does the work.";
    "DECAMP_REFUSE_WITHOUT_SIGHT", "true, false", "false", "Exit before the first write if the Nomad token cannot see enough, instead of waiting for a better token.";
    "DECAMP_MAX_KILL_TIMEOUT", "time", "30s", "The longest stop that one task may claim by its kill_timeout. Clients cap it too (max_kill_timeout).";
    "DECAMP_POSTSTOP", "time", "30s", "How long poststop tasks may take. Nomad sets no limit.";
    "DECAMP_LONGEST_REQUEST", "time", "5s", "The longest request of your clients. decamp reports settings that would cut it.";
    "DECAMP_INGRESS_FORGETS", "time", "17s", "How long the ingress routes to a service that left discovery, if no job on the node tells.";
    "DECAMP_INGRESS_MARGIN", "time", "3s", "Extra time for the ingress to forget a service, beyond the poll interval and throttle of its job. Load makes it longer.";
    "DECAMP_LOOK_BACK", "off, cloudwatch", "off", "Whether decamp run and decamp serve also compare their findings with the 5xx that Application Load Balancers counted around a departure. They read them from CloudWatch after the departure (cloudwatch:GetMetricData). The Lambda does not.";
    "DECAMP_LOOK_BACK_FOR", "time", "5m", "How long to wait after a departure for CloudWatch to publish those counts.";

    "DECAMP_CALL_TIMEOUT", "time", "5s", "How long one call of Nomad or Consul may take.";
    "DECAMP_CONNECT_TIMEOUT", "time", "2s", "How long connecting to Nomad or Consul may take.";
    "DECAMP_PROXY", "URL", "", "A proxy for AWS, Nomad and Consul. HTTP_PROXY and HTTPS_PROXY are not read.";
    "NO_PROXY", "hosts, separated by commas", "", "Hosts, domains and networks to call without the proxy. Addresses where AWS gives credentials are always called without it.";
    "DECAMP_AUTO_SCALING_RATE", "number", "15", "How many calls of Auto Scaling a second one process makes at most, after a burst of five times as many. Raise it only if your account's quota was raised.";

    "DECAMP_WEBHOOKS_LISTEN", "address:port", "127.0.0.1:8480", "The address for incoming events (decamp serve).";
    "DECAMP_WEBHOOKS_CERT", "path", "", "Its certificate with its chain; read again when it changes. Empty: plain HTTP.";
    "DECAMP_WEBHOOKS_KEY", "path", "", "The private key of that certificate.";
    "DECAMP_ADMIN_LISTEN", "address:port", "127.0.0.1:8481", "The address of the page, the API and the metrics. Any address but loopback needs a certificate and a token.";
    "DECAMP_ADMIN_CERT", "path", "", "Its certificate with its chain; read again when it changes.";
    "DECAMP_ADMIN_KEY", "path", "", "The private key of that certificate.";
    "DECAMP_ADMIN_TOKEN", "token", "", "The bearer token of the admin listener; at least 16 characters.";
    "DECAMP_ADMIN_TOKEN_FILE", "path", "", "A file with that token.";
    "DECAMP_ADMIN_TOKEN_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where that token is kept in AWS.";
    "DECAMP_HOSTS", "names, separated by commas", "", "Host names that requests may use, besides those of loopback.";
    "DECAMP_EVENTS_KEY", "keys, separated by commas", "", "The key that POST /v1/events requires, in a header or as the password of Basic authentication. Two keys are a rotation. Empty: the route is closed.";
    "DECAMP_EVENTS_KEY_FILE", "path", "", "A file with those keys. It is read again when an unknown key arrives.";
    "DECAMP_EVENTS_KEY_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where those keys are kept in AWS.";
    "DECAMP_EVENTS_HEADER", "name", "x-api-key", "The header that carries the key.";
    "DECAMP_QUEUES", "ARNs, separated by commas", "", "SQS queues that decamp serve consumes.";
    "DECAMP_QUEUE_HIDDEN", "time", "2m", "How long a message is hidden at a time while its departure runs. If a replica dies, another one receives the message after this time. The time is extended three times as often.";
    "DECAMP_SNS_TOPICS", "ARNs, separated by commas", "", "SNS topics whose messages POST /v1/sns accepts. Empty: the route is closed.";
    "DECAMP_SNS_SIGNATURE_1", "true, false", "false", "Accept SNS's first signature version (SHA-1) too.";
    "DECAMP_SNS_CACERT", "path", "", "The only authorities trusted for SNS's signing certificate. Empty: the system's.";
    "DECAMP_SNS_CERTIFICATES", "names, separated by commas", "", "Files of SNS's signing certificates to download at the start, such as SimpleNotificationService-0123456789abcdef0123456789abcdef.pem (the end of a message's SigningCertURL). Others are downloaded when a message names them, one at a time.";
    "DECAMP_SWEEP", "time", "1m", "How often decamp serve looks at every waiting instance. In the Lambda: how often the schedule starts a sweep.";
    "DECAMP_MOST_DEPARTURES", "number", "10000", "How many departures one replica has in progress at most. Further events are answered with 503.";
    "DECAMP_SOURCE_RATE", "number", "100", "How many requests a second one key, or one address without a key, may make.";
    "DECAMP_TRUSTED_PROXIES", "addresses or networks, separated by commas", "", "Proxies whose X-Forwarded-For is trusted, such as the subnets of a load balancer (10.0.0.0/24). Without them all clients behind a proxy are one source.";
    "DECAMP_STALLED_AFTER", "time", "5m", "How long a departure may wait for one thing before decamp serve reports a stall.";
    "DECAMP_TRACES", "URL", "", "Where to send traces of departures: an OTLP endpoint over HTTP in JSON, without /v1/traces. Empty: no traces.";
    "DECAMP_TRACES_HEADER", "name: value", "", "A header that the collector requires.";
    "DECAMP_TRACES_HEADER_FILE", "path", "", "A file with that header.";
    "DECAMP_TRACES_HEADER_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where that header is kept in AWS.";

    "NOMAD_ADDR", "URLs, separated by commas", "http://127.0.0.1:4646", "Nomad's servers or agents, tried in turn.";
    "NOMAD_TOKEN", "token", "", "The Nomad token: node write, and read-job in namespace *.";
    "NOMAD_TOKEN_FILE", "path", "", "A file with the Nomad token. It is read again when the token is refused.";
    "NOMAD_TOKEN_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where the Nomad token is kept in AWS.";
    "NOMAD_REGION", "name", "", "The Nomad region. Empty: that of the agent.";
    "NOMAD_CACERT", "path", "", "The only authorities trusted for Nomad's certificate. Empty: the system's.";
    "NOMAD_CACERT_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where those authorities are kept in AWS, as PEM text. They are fetched again when TLS fails.";
    "NOMAD_CAPATH", "path", "", "A directory of such files.";
    "NOMAD_CLIENT_CERT", "path", "", "The certificate shown to Nomad.";
    "NOMAD_CLIENT_CERT_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where that certificate is kept in AWS, as PEM text with its chain.";
    "NOMAD_CLIENT_KEY", "path", "", "Its private key.";
    "NOMAD_CLIENT_KEY_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where that private key is kept in AWS, as PEM text.";
    "NOMAD_TLS_SERVER_NAME", "name", "", "The name that Nomad's certificate must have, such as server.global.nomad.";
    "NOMAD_SKIP_VERIFY", "false", "false", "Not supported; `true` is rejected.";

    "CONSUL_HTTP_ADDR", "addresses, separated by commas", "127.0.0.1:8500", "Consul's servers or agents, tried in turn.";
    "CONSUL_HTTP_SSL", "true, false", "false", "Whether an address without a scheme is https.";
    "CONSUL_HTTP_TOKEN", "token", "", "The Consul token: read on every node and service.";
    "CONSUL_HTTP_TOKEN_FILE", "path", "", "A file with the Consul token. It is read again when the token is refused.";
    "CONSUL_HTTP_TOKEN_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where the Consul token is kept in AWS.";
    "CONSUL_NAMESPACE", "name", "", "The Consul namespace (Enterprise).";
    "CONSUL_PARTITION", "name", "", "The Consul admin partition (Enterprise).";
    "CONSUL_DATACENTER", "name", "", "The Consul datacenter. Empty: that of the agent.";
    "CONSUL_CACERT", "path", "", "The only authorities trusted for Consul's certificate. Empty: the system's.";
    "CONSUL_CACERT_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where those authorities are kept in AWS, as PEM text. They are fetched again when TLS fails.";
    "CONSUL_CAPATH", "path", "", "A directory of such files.";
    "CONSUL_CLIENT_CERT", "path", "", "The certificate shown to Consul.";
    "CONSUL_CLIENT_CERT_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where that certificate is kept in AWS, as PEM text with its chain.";
    "CONSUL_CLIENT_KEY", "path", "", "Its private key.";
    "CONSUL_CLIENT_KEY_SECRET", "ssm:NAME, secretsmanager:NAME, ARN", "", "Where that private key is kept in AWS, as PEM text.";
    "CONSUL_TLS_SERVER_NAME", "name", "", "The name that Consul's certificate must have.";
    "CONSUL_HTTP_SSL_VERIFY", "true", "true", "Not supported; `false` is rejected.";

    "AWS_REGION", "name", "", "The AWS Region.";
    "AWS_DEFAULT_REGION", "name", "", "The AWS Region if AWS_REGION is not set.";
    "AWS_ENDPOINT_URL", "URL", "", "Another endpoint for all of AWS.";
    "AWS_ENDPOINT_URL_AUTO_SCALING", "URL", "", "Another endpoint for Auto Scaling.";
    "AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", "URL", "", "Another endpoint for Elastic Load Balancing.";
    "AWS_ENDPOINT_URL_SSM", "URL", "", "Another endpoint for Systems Manager.";
    "AWS_ENDPOINT_URL_SECRETS_MANAGER", "URL", "", "Another endpoint for Secrets Manager.";
    "AWS_ENDPOINT_URL_SQS", "URL", "", "Another endpoint for SQS.";
    "AWS_ENDPOINT_URL_SNS", "URL", "", "Another endpoint for SNS.";
    "AWS_ENDPOINT_URL_CLOUDWATCH", "URL", "", "Another endpoint for CloudWatch.";

    "AWS_LAMBDA_LOG_LEVEL", "trace, debug, info, warn, error", "info", "How much the Lambda logs. Its logging configuration sets this.";
];

/// The setting of this name.
#[must_use]
pub fn setting(name: &str) -> Option<&'static Setting> {
    TABLE.iter().find(|row| row.name == name)
}

/// How to treat an unknown `DECAMP_` variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unknown {
    /// Refuse it, so that a person who misspelt a name notices at once.
    Refused,
    #[cfg_attr(not(feature = "document"), expect(dead_code, reason = "only the function's settings are read so"))]
    /// Warn and continue. A function's code may be older or newer than its environment during an upgrade.
    Warned,
}

/// Refuses an unknown `DECAMP_` variable, with the name that was probably meant, or returns a warning for each.
pub(super) fn check_unknown(names: &[&str], unknown: Unknown) -> Result<Vec<String>, Refused> {
    let mut all: Vec<&&str> = names.iter().filter(|name| name.starts_with("DECAMP_") && setting(name).is_none()).collect();
    all.sort_unstable();
    match (all.first(), unknown) {
        (Some(name), Unknown::Refused) => {
            Err(Refused(format!("{name} is not a setting of decamp; unset it, or write {} if that is meant", nearest(name))))
        }
        (None, _) | (Some(_), Unknown::Warned) => Ok(all.into_iter().map(|name| self::unknown(name)).collect()),
    }
}

/// The warning for an unknown setting that is ignored.
pub(super) fn unknown(name: &str) -> String {
    format!(
        "{name} is not a setting of this version of decamp, and is ignored; if it is misspelt, {} may be meant",
        nearest(name)
    )
}

/// The setting that was probably meant: one of Nomad's or Consul's if it has their prefix, else one of decamp's.
pub(super) fn nearest(name: &str) -> &'static str {
    let start = ["NOMAD_", "CONSUL_"].into_iter().find(|start| name.starts_with(start)).unwrap_or("DECAMP_");
    let alike = TABLE.iter().map(|row| row.name).filter(|known| known.starts_with(start));
    alike.min_by_key(|known| distance(name, known)).unwrap_or("DECAMP_MODE")
}

/// The edit distance: how many letters have to be inserted, removed or changed to make one text from the other.
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
