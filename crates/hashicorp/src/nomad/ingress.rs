//! Recognises Traefik in a job, and reads how it is configured to follow service discovery.

use serde_json::Value;

use super::wire;
use decamp_config::duration;
use decamp_core::decide::{Ingress, Traefik};

/// The task as an ingress that follows service discovery; `None` if it is no ingress that decamp recognises.
pub(super) fn of(task: &wire::Task) -> Option<Ingress> {
    let mut configuration = Configuration::default();
    for text in strings(task.config.get("args")) {
        configuration.argument(text);
    }
    for (name, value) in &task.env {
        if let Some(key) = name.to_ascii_lowercase().strip_prefix("traefik_") {
            configuration.set(&key.replace('_', "."), value);
        }
    }
    for template in &task.templates {
        configuration.file(&template.embedded);
    }
    configuration.0.ingress()
}

fn strings(value: Option<&Value>) -> Vec<&str> {
    match value {
        Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
        // Some drivers take all arguments as one string.
        Some(Value::String(text)) => text.split_whitespace().collect(),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => Vec::new(),
    }
}

/// The configuration of the providers that was read so far.
#[derive(Default)]
struct Configuration(Traefik);

impl Configuration {
    /// One argument, such as `--providers.consulCatalog.watch=true`.
    fn argument(&mut self, text: &str) {
        let Some(text) = text.strip_prefix("--") else { return };
        let (key, value) = text.split_once('=').unwrap_or((text, "true"));
        self.set(&key.to_ascii_lowercase(), value);
    }

    /// One setting. Its key is in lower case and has dots.
    fn set(&mut self, key: &str, value: &str) {
        let value = value.trim().trim_matches(['"', '\'']);
        let Some(rest) = key.strip_prefix("providers.") else { return };
        if rest == "providersthrottleduration" {
            self.0.throttle = duration::read(value).ok();
            return;
        }
        let (provider, rest) = rest.split_once('.').unwrap_or((rest, ""));
        let follows = match provider {
            "consulcatalog" => &mut self.0.consul,
            "nomad" => &mut self.0.nomad,
            _ => return,
        };
        if rest.is_empty() && value == "false" {
            return;
        }
        let follows = follows.get_or_insert_default();
        match rest {
            "watch" => follows.watch = value == "true",
            "refreshinterval" => follows.refresh = duration::read(value).ok(),
            _ => {}
        }
    }

    /// A configuration file in TOML or YAML, read line by line. A section is known by its header or its indentation.
    fn file(&mut self, text: &str) {
        let mut path: Vec<(usize, String)> = Vec::new();
        for line in text.lines() {
            let indent = line.len() - line.trim_start().len();
            let line = line.split(" #").next().unwrap_or_default().trim();
            if let Some(header) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) {
                let header = header.trim_matches(['[', ']']).trim().to_ascii_lowercase();
                self.set(&header, "true");
                path = vec![(0, header)];
                continue;
            }
            let toml = line.split_once('=').filter(|(key, _)| !key.contains(':'));
            let Some((key, value)) = toml.or_else(|| line.split_once(':')) else { continue };
            let key = key.trim().trim_matches('"').to_ascii_lowercase();
            if toml.is_none() {
                path.retain(|(depth, _)| *depth < indent);
            }
            let whole: Vec<&str> = path.iter().map(|(_, part)| part.as_str()).chain([key.as_str()]).collect();
            let value = value.trim();
            if value.is_empty() || value == "{}" {
                self.set(&whole.join("."), "true");
                path.push((indent, key));
            } else {
                self.set(&whole.join("."), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_arguments(arguments: &[&str]) -> Option<Ingress> {
        let json = serde_json::json!({ "Config": { "args": arguments } });
        of(&serde_json::from_value(json).expect("a task"))
    }

    fn with_file(text: &str) -> Option<Ingress> {
        let json = serde_json::json!({ "Templates": [{ "EmbeddedTmpl": text }] });
        of(&serde_json::from_value(json).expect("a task"))
    }

    fn seconds(ingress: Option<Ingress>) -> Option<u64> {
        ingress.map(|i| i.forgets_after.as_secs())
    }

    #[test]
    fn traefik_is_recognised_by_its_arguments() {
        let cases: &[(&[&str], Option<u64>)] = &[
            (&["--providers.consulcatalog.endpoint.address=127.0.0.1:8500", "--providers.consulcatalog.watch=true"], Some(2)),
            (&["--providers.consulCatalog=true"], Some(17)),
            (&["--providers.consulcatalog.watch=false"], Some(17)),
            (&["--providers.consulcatalog.watch"], Some(2)),
            (&["--providers.consulcatalog.refreshInterval=30s"], Some(32)),
            (&["--providers.consulcatalog.refreshInterval=5"], Some(7)),
            (&["--providers.nomad=true"], Some(17)),
            (&["--providers.nomad.refreshInterval=5s", "--providers.providersThrottleDuration=0s"], Some(5)),
            (&["--providers.nomad.watch=true", "--providers.consulcatalog=true"], Some(17)),
            (&["--providers.consulcatalog=false"], None),
            (&["--providers.file.watch=true"], None),
            (&["--port", "8080"], None),
        ];
        for (arguments, forgets) in cases {
            assert_eq!(seconds(with_arguments(arguments)), *forgets, "{arguments:?}");
        }
    }

    #[test]
    fn traefik_is_recognised_by_its_environment() {
        let json = serde_json::json!({ "Env": { "TRAEFIK_PROVIDERS_CONSULCATALOG_WATCH": "true", "PATH": "/bin" } });
        let task: wire::Task = serde_json::from_value(json).expect("a task");
        assert_eq!(of(&task).map(|i| i.how), Some("Traefik watches Consul".into()));
    }

    #[test]
    fn traefik_is_recognised_by_a_file_in_a_template() {
        let toml = "[entryPoints]\n[providers.consulCatalog]\n  prefix = \"traefik\"\n  refreshInterval = \"20s\" # slow\n\
                    [providers.consulCatalog.endpoint]\n  address = \"127.0.0.1:8500\"\n";
        assert_eq!(seconds(with_file(toml)), Some(22));
        let yaml =
            "entryPoints:\n  web:\n    address: :80\nproviders:\n  file:\n    watch: true\n  nomad:\n    refreshInterval: 10s\n";
        assert_eq!(seconds(with_file(yaml)), Some(12));
        let yaml = "providers:\n  consulCatalog:\n    watch: true\n    endpoint:\n      address: x\n";
        assert_eq!(seconds(with_file(yaml)), Some(2));
        assert_eq!(seconds(with_file("watch: true\nlevel = INFO\n")), None);
    }

    #[test]
    fn a_file_may_be_a_template_that_nomad_has_not_rendered() {
        // Quotes within quotes are not valid TOML, and a template's own lines are neither TOML nor YAML.
        let toml = "{{ range service \"consul\" }}\n[providers.consulCatalog]\n  refreshInterval = \"20s\"\n\
                    [providers.consulCatalog.endpoint]\n  address = \"{{ env \"attr.unique.network.ip-address\" }}:8500\"\n{{ end }}\n";
        assert_eq!(seconds(with_file(toml)), Some(22));
        let yaml = "providers:\n  nomad:\n    refreshInterval: 10s\n    endpoint:\n      address: {{ env \"NOMAD_ADDR\" }}\n";
        assert_eq!(seconds(with_file(yaml)), Some(12));
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,200}", argument in ".{0,40}") {
            let _ = (with_file(&text), with_arguments(&[&argument]));
        }
    }
}
