//! The connections to Nomad and Consul: addresses, token, TLS. The variables are those of their own command lines.

use std::path::PathBuf;
use std::time::Duration;

use super::Refused;
use super::reader::Reader;
use super::secret::{Stored, TokenSource, source};

/// The connection to one of the two systems.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// The addresses of its servers or agents, `http://…` or `https://…`, tried in turn.
    pub addresses: Vec<String>,
    /// The source of the token.
    pub token: TokenSource,
    /// How its certificate is checked, and our own certificate.
    pub tls: Tls,
    /// The query parameters of every request: `region`, or `ns`, `partition` and `dc`.
    pub query: Vec<(&'static str, String)>,
    /// A proxy. The usual proxy variables are not read.
    pub proxy: Option<Proxy>,
    /// The time-out of connecting. `DECAMP_CONNECT_TIMEOUT`.
    pub connect_timeout: Duration,
    /// The time-out of one request, including the body of its answer. `DECAMP_CALL_TIMEOUT`.
    pub timeout: Duration,
}

/// A proxy for AWS, Nomad and Consul.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its address. `DECAMP_PROXY`.
    pub url: String,
    /// The hosts, domains and networks that are called without it, separated by commas. `NO_PROXY`.
    pub except: String,
}

pub(super) fn proxy(from: &Reader<'_>) -> Result<Option<Proxy>, Refused> {
    let (url, except) = (from.text("DECAMP_PROXY"), from.text("NO_PROXY").unwrap_or_default());
    let Some(url) = url else { return Ok(None) };
    Ok(Some(Proxy { url: address("DECAMP_PROXY", &url, None)?, except }))
}

/// How a server's certificate is checked, and our own certificate. All paths are PEM files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// The only trusted authorities. Without this and `ca_path`: those of the system.
    pub ca: Option<PathBuf>,
    /// A folder of such files.
    pub ca_path: Option<PathBuf>,
    /// Our certificate, with its chain.
    pub certificate: Option<PathBuf>,
    /// Its private key.
    pub key: Option<PathBuf>,
    /// The name that the server's certificate must have, if it is not that of the address.
    pub server_name: Option<String>,
    /// The parts that are kept in AWS.
    pub stored: StoredTls,
}

/// Certificates and keys that are kept in AWS instead of files, as PEM text, for a function, which has only the files of its
/// layers. They are fetched with the first request, and again when TLS fails.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredTls {
    /// The only trusted authorities.
    pub ca: Option<Stored>,
    /// Our certificate, with its chain.
    pub certificate: Option<Stored>,
    /// Its private key.
    pub key: Option<Stored>,
}

impl StoredTls {
    /// Whether nothing is kept in AWS.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Reads the TLS variables of one system: `NOMAD` or `CONSUL`.
fn tls(from: &Reader<'_>, system: &str) -> Result<Tls, Refused> {
    let path = |end: &str| from.text(&format!("{system}_{end}")).map(PathBuf::from);
    let stored = |end: &str| {
        let name = format!("{system}_{end}_SECRET");
        from.text(&name).map(|text| Stored::read(&name, &text)).transpose()
    };
    let read = Tls {
        ca: path("CACERT"),
        ca_path: path("CAPATH"),
        certificate: path("CLIENT_CERT"),
        key: path("CLIENT_KEY"),
        server_name: from.text(&format!("{system}_TLS_SERVER_NAME")),
        stored: StoredTls { ca: stored("CACERT")?, certificate: stored("CLIENT_CERT")?, key: stored("CLIENT_KEY")? },
    };
    let twice = [
        ("CACERT", read.ca.is_some() || read.ca_path.is_some(), read.stored.ca.is_some()),
        ("CLIENT_CERT", read.certificate.is_some(), read.stored.certificate.is_some()),
        ("CLIENT_KEY", read.key.is_some(), read.stored.key.is_some()),
    ];
    if let Some((end, ..)) = twice.iter().find(|(_, in_a_file, in_aws)| *in_a_file && *in_aws) {
        return Err(Refused(format!("{system}_{end} and {system}_{end}_SECRET exclude one another; set one of them")));
    }
    let has = |file: &Option<PathBuf>, stored: &Option<Stored>| file.is_some() || stored.is_some();
    if has(&read.certificate, &read.stored.certificate) != has(&read.key, &read.stored.key) {
        return Err(Refused(format!(
            "a client certificate ({system}_CLIENT_CERT or {system}_CLIENT_CERT_SECRET) and its key ({system}_CLIENT_KEY or \
             {system}_CLIENT_KEY_SECRET) belong together; set both or neither"
        )));
    }
    Ok(read)
}

pub(super) fn nomad(from: &Reader<'_>, warnings: &mut Vec<String>) -> Result<Connection, Refused> {
    if from.flag("NOMAD_SKIP_VERIFY", false)? {
        return Err(Refused(
            "NOMAD_SKIP_VERIFY: decamp always checks Nomad's certificate; unset it, and set NOMAD_CACERT".to_owned(),
        ));
    }
    let addresses = match from.list("NOMAD_ADDR") {
        none if none.is_empty() => vec!["http://127.0.0.1:4646".to_owned()],
        some => some.iter().map(|a| address("NOMAD_ADDR", a, None)).collect::<Result<_, _>>()?,
    };
    let tls = tls(from, "NOMAD")?;
    let token = source(from, "NOMAD_TOKEN", "NOMAD_TOKEN_FILE", "NOMAD_TOKEN_SECRET")?;
    let query = from.text("NOMAD_REGION").map(|region| ("region", region)).into_iter().collect();
    finish(from, "NOMAD_ADDR", addresses, token, tls, query, warnings)
}

pub(super) fn consul(from: &Reader<'_>, warnings: &mut Vec<String>) -> Result<Connection, Refused> {
    if !from.flag("CONSUL_HTTP_SSL_VERIFY", true)? {
        return Err(Refused(
            "CONSUL_HTTP_SSL_VERIFY: decamp always checks Consul's certificate; unset it, and set CONSUL_CACERT".to_owned(),
        ));
    }
    let scheme = if from.flag("CONSUL_HTTP_SSL", false)? { "https" } else { "http" };
    let addresses = match from.list("CONSUL_HTTP_ADDR") {
        none if none.is_empty() => vec![format!("{scheme}://127.0.0.1:8500")],
        some => some.iter().map(|a| address("CONSUL_HTTP_ADDR", a, Some(scheme))).collect::<Result<_, _>>()?,
    };
    let tls = tls(from, "CONSUL")?;
    let token = source(from, "CONSUL_HTTP_TOKEN", "CONSUL_HTTP_TOKEN_FILE", "CONSUL_HTTP_TOKEN_SECRET")?;
    let asked = [("ns", "CONSUL_NAMESPACE"), ("partition", "CONSUL_PARTITION"), ("dc", "CONSUL_DATACENTER")];
    let query = asked.into_iter().filter_map(|(key, name)| Some((key, from.text(name)?))).collect();
    finish(from, "CONSUL_HTTP_ADDR", addresses, token, tls, query, warnings)
}

fn finish(
    from: &Reader<'_>,
    variable: &str,
    addresses: Vec<String>,
    token: TokenSource,
    tls: Tls,
    query: Vec<(&'static str, String)>,
    warnings: &mut Vec<String>,
) -> Result<Connection, Refused> {
    let bare = |a: &&String| a.starts_with("http://") && !is_loopback(a);
    if let Some(address) = addresses.iter().find(bare).filter(|_| token != TokenSource::None) {
        warnings.push(format!("{variable}: the token goes to {address} in the clear; use https"));
    }
    let proxy = proxy(from)?;
    let connect_timeout = from.span("DECAMP_CONNECT_TIMEOUT", Duration::from_secs(2))?;
    let timeout = timeout(from)?;
    for (name, span) in [("DECAMP_CONNECT_TIMEOUT", connect_timeout), ("DECAMP_CALL_TIMEOUT", timeout)] {
        if span < Duration::from_millis(100) {
            return Err(Refused(format!("{name}: no call is answered so fast; set at least 100ms")));
        }
    }
    Ok(Connection { addresses, token, tls, query, proxy, connect_timeout, timeout })
}

/// The time-out of one request, including the body of its answer.
pub(super) fn timeout(from: &Reader<'_>) -> Result<Duration, Refused> {
    from.span("DECAMP_CALL_TIMEOUT", Duration::from_secs(5))
}

/// Checks an address. It gets a scheme, and must have nothing that is secret, because it appears in logs.
fn address(variable: &str, text: &str, scheme: Option<&str>) -> Result<String, Refused> {
    let refuse = |why: &str| Err(Refused(format!("{variable}: {why}")));
    let (scheme, rest) = match (text.split_once("://"), scheme) {
        (Some(("http" | "https", rest)), _) => (&text[..text.len() - rest.len() - 3], rest),
        (Some(("unix", _)), _) => return refuse("a Unix socket cannot be used; set http:// or https:// and an address"),
        (Some((other, _)), _) => return refuse(&format!("{other:?} is no scheme that is understood; write http:// or https://")),
        (None, Some(scheme)) => (scheme, text),
        (None, None) => return refuse(&format!("{text:?} has no scheme; write http://{text} or https://{text}")),
    };
    if rest.contains('@') {
        return refuse("there is a user name or password in the address; take it out, and use a token");
    }
    let host = rest.split('/').next().unwrap_or_default();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if host.is_empty() || !host.chars().all(fits) || rest.contains(['?', '#', ' ']) {
        return refuse(&format!("{text:?} is not an address such as http://10.0.0.1:4646"));
    }
    Ok(format!("{scheme}://{}", rest.trim_end_matches('/')))
}

fn is_loopback(address: &str) -> bool {
    ["http://127.", "http://localhost", "http://[::1]"].iter().any(|start| address.starts_with(start))
}
