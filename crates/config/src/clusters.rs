//! Which Nomad cluster has which Auto Scaling groups: one cluster has all, or each table `[clusters.NAME]` of a document lists its
//! own (ADR 0043).

use std::collections::HashMap;
use std::sync::Arc;

use super::connection::{self, Connection};
use super::reader::Reader;
use super::table::{self, Unknown};
use super::{Policy, Refused};
use decamp_core::decide::is_named_by;

/// The shared setting that a table may also have.
const USES_CONSUL: &str = "DECAMP_CONSUL";

/// One Nomad cluster with its Consul, and the Auto Scaling groups whose instances are its nodes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cluster {
    /// Its name in the document; `None`: it is the only one.
    pub name: Option<Arc<str>>,
    /// Its Auto Scaling groups, by name; a `*` at the end matches any rest.
    pub groups: Vec<Arc<str>>,
    /// The connection to its Nomad.
    pub nomad: Connection,
    /// The connection to its Consul; `None` if services are not registered there (`DECAMP_CONSUL=false`).
    pub consul: Option<Connection>,
}

impl Cluster {
    /// Whether the cluster has a group of this name.
    #[must_use]
    pub fn has(&self, group: &str) -> bool {
        self.groups.iter().any(|pattern| is_named_by(pattern, group))
    }
}

/// All clusters: at least one. No group belongs to two of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clusters(Vec<Cluster>);

impl Clusters {
    /// The cluster of a group; `None` if no table of the document has the group.
    #[must_use]
    pub fn of(&self, group: &str) -> Option<&Cluster> {
        self.0.iter().find(|cluster| cluster.has(group))
    }

    /// The cluster of a group that a person or an event names.
    ///
    /// # Errors
    ///
    /// Returns an error that says what to set if no table of the document has the group.
    pub fn known(&self, group: &str) -> Result<&Cluster, Refused> {
        let why = || {
            Refused(format!("no cluster in the settings has the group {group}; add it to the groups of the one it belongs to"))
        };
        self.of(group).ok_or_else(why)
    }

    /// All of them, by name.
    #[must_use]
    pub fn all(&self) -> &[Cluster] {
        &self.0
    }

    /// Whether a document names them. Otherwise there is one cluster, which has all groups.
    #[must_use]
    pub fn are_named(&self) -> bool {
        self.0.iter().any(|cluster| cluster.name.is_some())
    }

    /// The policy of a group if it differs from the shared one, by whether its cluster registers services in Consul.
    pub(super) fn policy(&self, group: &str, shared: &Policy) -> Option<Policy> {
        let consul = self.of(group)?.consul.is_some();
        (consul != shared.consul).then(|| Policy { consul, ..shared.clone() })
    }

    /// The part of the allow-list that belongs to a cluster. An empty list allows the groups of all clusters.
    pub(super) fn narrow(
        &self,
        allowed: Vec<Arc<str>>,
        unknown: Unknown,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Arc<str>>, Refused> {
        if !self.are_named() {
            return Ok(allowed);
        }
        let claimed = || self.0.iter().flat_map(|cluster| &cluster.groups);
        if allowed.is_empty() {
            return Ok(claimed().cloned().collect());
        }
        let mut narrowed: Vec<Arc<str>> = Vec::new();
        for pattern in &allowed {
            let before = narrowed.len();
            narrowed.extend(claimed().filter_map(|groups| narrower(pattern, groups).cloned()));
            if narrowed.len() == before {
                let why = format!("DECAMP_GROUPS: no cluster has {pattern}; add it to the groups of one, or take it out");
                match unknown {
                    Unknown::Refused => return Err(Refused(why)),
                    Unknown::Warned => warnings.push(why),
                }
            }
        }
        narrowed.sort_unstable();
        narrowed.dedup();
        if narrowed.is_empty() {
            return Err(Refused("DECAMP_GROUPS: no cluster has any of these groups; add them to the groups of one".to_owned()));
        }
        Ok(narrowed)
    }
}

/// The pattern for the names that both patterns match. It is always one of the two.
fn narrower<'a>(one: &'a Arc<str>, other: &'a Arc<str>) -> Option<&'a Arc<str>> {
    let start = |pattern: &'a str| pattern.strip_suffix('*');
    match (start(one), start(other)) {
        (Some(short), Some(long)) if long.starts_with(short) => Some(other),
        (Some(long), Some(short)) if long.starts_with(short) => Some(one),
        (Some(_), Some(_)) => None,
        (Some(_), None) => is_named_by(one, other).then_some(other),
        (None, _) => is_named_by(other, one).then_some(one),
    }
}

/// A table `[clusters.NAME]` as it was written.
#[derive(Debug, Clone)]
pub(super) struct Written {
    pub(super) name: Arc<str>,
    pub(super) groups: Vec<Arc<str>>,
    /// Its settings, by the names of the variables.
    pub(super) rows: HashMap<String, String>,
}

impl Written {
    /// A setting of this name: the table's own, else the shared one. The connections to Nomad and Consul are never shared.
    fn get(&self, shared: &dyn Fn(&str) -> Option<String>, name: &str) -> Option<String> {
        let own = self.rows.get(name).cloned();
        if is_of_one_cluster(name) { own } else { own.or_else(|| shared(name)) }
    }

    fn read(&self, shared: &dyn Fn(&str) -> Option<String>, warnings: &mut Vec<String>) -> Result<Cluster, Refused> {
        let get = |name: &str| self.get(shared, name);
        let reader = Reader::new(&get);
        let uses_consul = reader.flag(USES_CONSUL, Policy::default().consul)?;
        for (address, wanted) in [("NOMAD_ADDR", true), ("CONSUL_HTTP_ADDR", uses_consul)] {
            if wanted && reader.text(address).is_none() {
                let or = if address == "NOMAD_ADDR" { "" } else { ", or DECAMP_CONSUL = false" };
                return Err(Refused(format!("{address} is missing; write this cluster's{or}")));
            }
        }
        let nomad = connection::nomad(&reader, warnings)?;
        let consul = if uses_consul { Some(connection::consul(&reader, warnings)?) } else { None };
        Ok(Cluster { name: Some(Arc::clone(&self.name)), groups: self.groups.clone(), nomad, consul })
    }
}

/// Whether a setting is about the connection to Nomad or Consul.
fn is_of_one_cluster(name: &str) -> bool {
    name.starts_with("NOMAD_") || name.starts_with("CONSUL_")
}

/// The clusters of a document's tables, or the one of the settings if there are no tables.
pub(super) fn read(
    get: &dyn Fn(&str) -> Option<String>,
    tables: &[Written],
    uses_consul: bool,
    warnings: &mut Vec<String>,
) -> Result<Clusters, Refused> {
    if tables.is_empty() {
        let reader = Reader::new(get);
        let nomad = connection::nomad(&reader, warnings)?;
        let consul = if uses_consul { Some(connection::consul(&reader, warnings)?) } else { None };
        return Ok(Clusters(vec![Cluster { name: None, groups: vec!["*".into()], nomad, consul }]));
    }
    // Nomad itself sets NOMAD_REGION for each of its tasks, such as `decamp serve`.
    let unused =
        |name: &&str| is_of_one_cluster(name) && *name != "NOMAD_REGION" && get(name).is_some_and(|text| !text.is_empty());
    let unused: Vec<&str> = table::TABLE.iter().map(|row| row.name).filter(unused).collect();
    if !unused.is_empty() {
        warnings.push(format!("not used, because each table of clusters has its own: {}", unused.join(", ")));
    }
    let mut all = Vec::new();
    for written in tables {
        let named = |why: String| format!("clusters.{}: {why}", written.name);
        let mut own = Vec::new();
        all.push(written.read(get, &mut own).map_err(|Refused(why)| Refused(named(why)))?);
        warnings.extend(own.into_iter().map(named));
    }
    for (place, one) in tables.iter().enumerate() {
        for other in &tables[place + 1..] {
            let pairs = one.groups.iter().flat_map(|a| other.groups.iter().map(move |b| (a, b)));
            if let Some((a, b)) = pairs.into_iter().find(|(a, b)| narrower(a, b).is_some()) {
                return Err(Refused(format!(
                    "clusters.{} has the group {a} and clusters.{} has {b}: a group belongs to one cluster; take it out of the other",
                    one.name, other.name
                )));
            }
        }
    }
    Ok(Clusters(all))
}

/// Reads the tables of a document, each with its groups and settings. Adds a warning for each unknown name.
#[cfg(feature = "document")]
pub(super) fn tables(value: toml::Value, unknown: Unknown, warnings: &mut Vec<String>) -> Result<Vec<Written>, Refused> {
    let toml::Value::Table(named) = value else {
        return Err(Refused("clusters: write a table for each, such as [clusters.blue]".to_owned()));
    };
    let mut tables = Vec::new();
    for (name, value) in named {
        let refused = |why: String| Refused(format!("clusters.{name}: {why}"));
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(Refused("clusters: a name is not made of letters, digits, - and _".to_owned()));
        }
        let toml::Value::Table(mut table) = value else {
            return Err(refused("write a table with groups and NOMAD_ADDR".to_owned()));
        };
        let groups = groups(table.remove("groups")).ok_or_else(|| {
            refused(
                "groups is missing or not a list of names; write the Auto Scaling groups, such as [\"web\", \"batch-*\"]"
                    .to_owned(),
            )
        })?;
        if let Some(shared) =
            table.keys().find(|key| table::setting(key).is_some_and(|_| !is_of_one_cluster(key) && **key != USES_CONSUL))
        {
            return Err(refused(format!("{shared} is for all clusters; write it above the tables")));
        }
        let (rows, unknown) = super::document::rows(table, unknown).map_err(|Refused(why)| refused(why))?;
        warnings.extend(unknown.into_iter().map(|why| format!("clusters.{name}: {why}")));
        tables.push(Written { name: name.into(), groups, rows });
    }
    Ok(tables)
}

/// At least one name, each without a comma.
#[cfg(feature = "document")]
fn groups(value: Option<toml::Value>) -> Option<Vec<Arc<str>>> {
    let toml::Value::Array(all) = value? else { return None };
    let name =
        |one: &toml::Value| one.as_str().map(str::trim).filter(|name| !name.is_empty() && !name.contains(',')).map(Arc::from);
    all.iter().map(name).collect::<Option<Vec<Arc<str>>>>().filter(|names| !names.is_empty())
}

#[cfg(all(test, feature = "document"))]
mod tests;
