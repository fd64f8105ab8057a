//! The metadata that decamp stores with a drain. Nomad keeps it as a map of strings.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use decamp_core::decide::{Beginning, DrainMeta, Noted, Phase};
use decamp_core::time::Time;

/// The tool that sent the drain. A drain with another value of `tool`, or without one, is somebody else's.
const TOOL: &str = "decamp";

/// The metadata as Nomad stores it.
pub(super) fn write(meta: &DrainMeta) -> BTreeMap<&'static str, String> {
    let seconds = meta.longest_stop.as_millis().div_ceil(1000);
    BTreeMap::from([
        ("tool", TOOL.to_owned()),
        ("action", meta.action.to_string()),
        ("phase", meta.phase.word().to_owned()),
        ("until", stamp(meta.until)),
        // Rounded up, so that the next worker does not wait too short.
        ("longest_stop", seconds.to_string()),
        ("allocations", meta.allocations.to_string()),
        ("warm", meta.warm.to_string()),
        ("unproved", meta.unproved.to_string()),
    ])
}

/// Reads the metadata of a drain; `None` for somebody else's. Metadata of decamp that cannot be read completely counts as somebody else's.
pub(super) fn read(map: &HashMap<String, String>) -> Option<DrainMeta> {
    let get = |key: &str| map.get(key).map(String::as_str);
    if get("tool") != Some(TOOL) {
        return None;
    }
    Some(DrainMeta {
        action: get("action")?.into(),
        phase: Phase::read(get("phase")?)?,
        until: Time::read(get("until")?)?,
        longest_stop: Duration::from_secs(get("longest_stop")?.parse().ok()?),
        allocations: get("allocations")?.parse().ok()?,
        warm: get("warm").and_then(|text| text.parse().ok()).unwrap_or(false),
        unproved: get("unproved").and_then(|text| text.parse().ok()).unwrap_or(false),
    })
}

/// decamp's notes in a node's metadata.
pub(super) fn notes(meta: &HashMap<String, String>) -> Vec<Noted> {
    let note = |what: Beginning| Noted::read(what, meta.get(what.key())?);
    Beginning::ALL.into_iter().filter_map(note).collect()
}

/// RFC 3339 with milliseconds.
fn stamp(time: Time) -> String {
    match i64::try_from(time.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok()) {
        Some(stamp) => format!("{stamp:.3}"),
        None => "9999-12-30T00:00:00.000Z".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meta() -> DrainMeta {
        DrainMeta {
            action: "0123456789ab".into(),
            phase: Phase::Resent,
            until: Time(1_795_375_337_137),
            longest_stop: Duration::from_secs(35),
            allocations: 12,
            warm: true,
            unproved: true,
        }
    }

    fn as_nomad_keeps_it(meta: &DrainMeta) -> HashMap<String, String> {
        write(meta).into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }

    #[test]
    fn metadata_is_read_as_it_was_written() {
        for phase in [Phase::Services, Phase::All, Phase::Again, Phase::Resent, Phase::Forced] {
            let meta = DrainMeta { phase, ..meta() };
            assert_eq!(read(&as_nomad_keeps_it(&meta)), Some(meta));
        }
        assert_eq!(as_nomad_keeps_it(&meta())["until"], "2026-11-22T19:22:17.137Z");
    }

    #[test]
    fn the_longest_stop_is_never_rounded_down() {
        let meta = DrainMeta { longest_stop: Duration::from_millis(1_001), ..meta() };
        assert_eq!(read(&as_nomad_keeps_it(&meta)).map(|m| m.longest_stop), Some(Duration::from_secs(2)));
    }

    #[test]
    fn incomplete_metadata_is_somebody_elses() {
        for (key, value) in
            [("tool", "nomad"), ("phase", "some"), ("until", "soon"), ("longest_stop", "-1"), ("allocations", "many")]
        {
            let mut map = as_nomad_keeps_it(&meta());
            map.insert(key.to_owned(), value.to_owned());
            assert_eq!(read(&map), None, "{key}={value}");
        }
        assert_eq!(read(&HashMap::new()), None);
    }

    #[test]
    fn the_end_of_time_can_be_written() {
        let meta = DrainMeta { until: Time::NEVER, ..meta() };
        assert!(read(&as_nomad_keeps_it(&meta)).is_some());
    }
}
