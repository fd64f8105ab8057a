//! Traces of state changes in a recording or in the model. They are compared by states and their order, not by exact times.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::recording::Exchange;

/// A reader may miss a state that lasts less than this many milliseconds: clients report to their servers every 200 ms.
const SHORT: i64 = 320;

/// Two changes closer than this many milliseconds may come in any order.
const TOGETHER: i64 = 150;

/// For each object, the states that it was seen in, and since when.
#[derive(Default)]
pub(crate) struct Trace {
    objects: BTreeMap<String, Vec<(i64, String)>>,
    listed: BTreeMap<String, Vec<String>>,
}

impl Trace {
    /// Records that an object was seen in a state.
    pub(crate) fn record(&mut self, at: i64, object: String, state: String) {
        let states = self.objects.entry(object).or_default();
        if states.last().is_none_or(|(_, last)| *last != state) {
            states.push((at, state));
        }
    }

    /// Records what one list showed. An object that it showed before and no longer shows is gone.
    pub(crate) fn record_list(&mut self, at: i64, list: &str, now: Vec<(String, String)>) {
        let names = now.iter().map(|(object, _)| object.clone()).collect();
        let before = self.listed.insert(list.to_owned(), names).unwrap_or_default();
        for gone in before.into_iter().filter(|object| now.iter().all(|(t, _)| t != object)) {
            self.record(at, gone, "gone".to_owned());
        }
        for (object, state) in now {
            self.record(at, object, state);
        }
    }

    /// The trace of a recording. Drops answers that are older than a recorded one, because readers were started together with the first
    /// write.
    pub(crate) fn of_recording(exchanges: &[Exchange]) -> Self {
        let mut trace = Self::default();
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        for exchange in exchanges.iter().filter(|e| !e.is_write() && e.status == 200) {
            let (Some(at), path) = (exchange.at, exchange.path.trim_end_matches("?stale")) else { continue };
            if exchange.path.ends_with("?stale") || exchange.index < newest.get(path).copied().unwrap_or(0) {
                continue;
            }
            newest.insert(path, exchange.index);
            trace.record_list(at, path, objects_in(exchange));
        }
        trace
    }

    /// Drops the states of nodes before the first write made them ineligible, because those come from an earlier recording. Numbers the
    /// nodes' drains by their start times.
    pub(crate) fn settle_nodes(&mut self) {
        for (_, states) in self.objects.iter_mut().filter(|(object, _)| object.starts_with("node ")) {
            let first = states.iter().position(|(_, state)| state.contains("ineligible")).unwrap_or(states.len());
            states.drain(..first);
            let mut started: Vec<String> = Vec::new();
            for (_, state) in states.iter_mut() {
                let Some(drain) = state.split(' ').find(|word| word.starts_with("drain@")).map(str::to_owned) else { continue };
                if !started.contains(&drain) {
                    started.push(drain.clone());
                }
                *state = state.replace(&drain, &format!("drain{}", started.len()));
            }
        }
    }

    /// Gives allocations names that do not depend on ids: `app#1` is the allocation of the job that changed first.
    pub(crate) fn name_allocations(&mut self) {
        let mut by_job: BTreeMap<String, Vec<(i64, i64, String)>> = BTreeMap::new();
        for (object, states) in self.objects.iter().filter(|(object, _)| object.starts_with("alloc ")) {
            let mut words = object.split(' ').skip(1);
            let (job, id) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let changed = |(at, _): &&(i64, String)| 50 < *at;
            let first = states.iter().find(changed).map_or(i64::MAX, |s| s.0 / 100);
            let last = states.iter().rfind(changed).map_or(i64::MAX, |s| s.0);
            by_job.entry(job.to_owned()).or_default().push((first, last, id.to_owned()));
        }
        // Registrations of allocations on nodes that were not read.
        for (object, states) in self.objects.iter().filter(|(object, _)| !object.starts_with("alloc ")) {
            let words: Vec<&str> = object.split(' ').collect();
            let known = |id: &str| by_job.iter().any(|(job, ids)| !job.contains('?') && ids.iter().any(|i| i.2 == id));
            if let [_, service, id] = words[..]
                && !known(id)
            {
                let (first, last) = (states.first().map_or(0, |s| s.0 / 100), states.last().map_or(0, |s| s.0));
                by_job.entry(format!("{service}?")).or_default().push((first, last, id.to_owned()));
            }
        }
        let mut names = BTreeMap::new();
        for (job, mut ids) in by_job {
            ids.sort();
            for (place, (_, _, id)) in ids.into_iter().enumerate() {
                names.insert(id, format!("{job}#{}", place + 1));
            }
        }
        let objects = std::mem::take(&mut self.objects);
        for (object, states) in objects {
            let renamed: Vec<&str> = object.split(' ').map(|word| names.get(word).map_or(word, String::as_str)).collect();
            self.objects.insert(renamed.join(" "), states);
        }
    }

    /// Compares the model's trace with a recording's. They must have the same objects, each with the same sequence of states. A change
    /// that clearly came first in the recording must not come later in the model.
    pub(crate) fn compare(&self, model: &Self) -> Result<(), String> {
        let (ours, theirs): (Vec<_>, Vec<_>) = (model.objects.keys().collect(), self.objects.keys().collect());
        if ours != theirs {
            return Err(format!("objects recorded: {theirs:?}\nobjects modelled: {ours:?}"));
        }
        let mut matched = Vec::new();
        for (object, recorded) in &self.objects {
            let modelled = &model.objects[object];
            let pairs = aligned(recorded, modelled)
                .ok_or_else(|| format!("{object}\n  recorded: {}\n  modelled: {}", as_text(recorded), as_text(modelled)))?;
            matched.extend(pairs.into_iter().map(|(r, m)| (r, m, format!("{object} {}", recorded_state(recorded, r)))));
        }
        for (r1, m1, one) in &matched {
            for (r2, m2, other) in &matched {
                if r1 + TOGETHER < *r2 && m2 < m1 {
                    return Err(format!(
                        "recorded: {one} at {r1}, then {other} at {r2}\nmodelled the other way round: at {m1} and at {m2}"
                    ));
                }
            }
        }
        Ok(())
    }
}

fn recorded_state(states: &[(i64, String)], at: i64) -> &str {
    states.iter().find(|s| s.0 == at).map_or("", |s| &s.1)
}

fn as_text(states: &[(i64, String)]) -> String {
    states.iter().map(|(at, state)| format!("{at}: {state}")).collect::<Vec<_>>().join(", ")
}

/// The times of equal states in both traces, if both have the same states except short ones.
fn aligned(recorded: &[(i64, String)], modelled: &[(i64, String)]) -> Option<Vec<(i64, i64)>> {
    let short =
        |states: &[(i64, String)], place: usize| states.get(place + 1).is_some_and(|next| next.0 - states[place].0 < SHORT);
    let (mut r, mut m) = (0, 0);
    let mut pairs = Vec::new();
    loop {
        match (recorded.get(r), modelled.get(m)) {
            (None, None) => return Some(pairs),
            (Some(one), Some(other)) if one.1 == other.1 => {
                pairs.push((one.0, other.0));
                (r, m) = (r + 1, m + 1);
            }
            (Some(_), _) if short(recorded, r) => r += 1,
            (_, Some(_)) if short(modelled, m) => m += 1,
            (Some(_) | None, Some(_) | None) => return None,
        }
    }
}

/// The objects in one answer, with their states.
fn objects_in(exchange: &Exchange) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let body = &exchange.body;
    let mut seen = Vec::new();
    if exchange.path.ends_with("/allocations") {
        for a in list(body) {
            let id = text(&a["ID"]);
            let tasks = a["TaskStates"].as_object().cloned().unwrap_or_default();
            let states: BTreeMap<String, String> = tasks.into_iter().map(|(name, t)| (name, text(&t["State"]))).collect();
            let state = allocation_state(&text(&a["DesiredStatus"]), &text(&a["ClientStatus"]), &states);
            seen.push((format!("alloc {} {id}", text(&a["JobID"])), state));
        }
    } else if exchange.after("/v1/node/").is_some() {
        let draining = body["DrainStrategy"]["StartedAt"].as_str().map_or("-".to_owned(), |at| format!("drain@{at}"));
        let last = body["LastDrain"]["Status"].as_str().unwrap_or("-");
        let state = format!("{} {} {draining} {last}", text(&body["Status"]), text(&body["SchedulingEligibility"]));
        seen.push((format!("node {}", text(&body["Name"])), state));
    } else if exchange.after("/v1/catalog/node-services/").is_some() {
        for service in list(&body["Services"]) {
            if let Some((allocation, _)) = of_allocation(&text(&service["ID"])) {
                seen.push((format!("consul {} {allocation}", text(&service["Service"])), "listed".to_owned()));
            }
        }
    } else if let Some(node) = exchange.after("/v1/health/node/") {
        for check in list(body).iter().filter(|check| check["CheckID"] == "serfHealth") {
            seen.push((format!("serf {node}"), text(&check["Status"])));
        }
    } else if exchange.after("/v1/service/").is_some() {
        for service in list(body) {
            seen.push((format!("native {} {}", text(&service["ServiceName"]), text(&service["AllocID"])), "listed".to_owned()));
        }
    }
    seen
}

/// An allocation's state as text, in the same form for recordings and the model.
pub(crate) fn allocation_state(desired: &str, client: &str, tasks: &BTreeMap<String, String>) -> String {
    let tasks: Vec<String> = tasks.iter().map(|(name, state)| format!("{name}={state}")).collect();
    format!("{desired}/{client} {}", tasks.join(" "))
}

/// The allocation's id in the id of one of its registrations, and the rest.
pub(crate) fn of_allocation(id: &str) -> Option<(&str, &str)> {
    id.strip_prefix("_nomad-task-")?.split_at_checked(36)
}
