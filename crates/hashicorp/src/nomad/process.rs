//! Reads from a job how a task's process is started and told to stop.

use serde_json::Value;

use super::wire;
use decamp_core::decide::Process;

/// Shells by the name of their program.
const SHELLS: [&str; 7] = ["sh", "bash", "ash", "dash", "ksh", "zsh", "busybox"];

/// The longest part of a command that is shown.
const SHOWN: usize = 60;

/// The process of a task. What an image itself starts (`ENTRYPOINT`) is not in the job, so it stays unknown.
pub(super) fn of(task: &wire::Task) -> Process {
    let words = words(task);
    let signal = Some(task.kill_signal.as_str()).filter(|signal| !signal.is_empty());
    Process {
        driver: task.driver.as_str().into(),
        kill_signal: signal.map(Into::into),
        shell: words.first().filter(|first| is_shell(first)).filter(|_| !runs_with_exec(&words)).map(|_| shown(&words).into()),
        init: task.config.get("init").is_some_and(|init| init == &Value::Bool(true)),
    }
}

/// The command that the configuration shows: `entrypoint`, then `command`, then `args`.
fn words(task: &wire::Task) -> Vec<&str> {
    let mut words = Vec::new();
    for key in ["entrypoint", "command", "args"] {
        match task.config.get(key) {
            Some(Value::String(text)) => words.push(text.as_str()),
            Some(Value::Array(values)) => words.extend(values.iter().filter_map(Value::as_str)),
            Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)) | None => {}
        }
    }
    words
}

/// Whether a program is a shell or a shell script.
fn is_shell(program: &str) -> bool {
    let first = program.split_whitespace().next().unwrap_or_default();
    let name = first.rsplit('/').next().unwrap_or_default();
    SHELLS.contains(&name) || name.ends_with(".sh") || name.ends_with(".bash")
}

/// Whether the shell replaces itself by the server (`sh -c "exec server"`), or has a trap. The text of a script is not in the job.
fn runs_with_exec(words: &[&str]) -> bool {
    let script = words.iter().skip_while(|word| **word != "-c").nth(1);
    let has = |script: &str, word: &str| script.split([' ', ';', '&', '|', '\n', '\t']).any(|part| part == word);
    script.is_some_and(|script| has(script, "exec") || has(script, "trap"))
}

/// The beginning of the command: the shell, and its option or its script. Arguments after them may be long, and may be secret.
fn shown(words: &[&str]) -> String {
    let program = |words: &str| words.split_whitespace().next().unwrap_or_default().to_owned();
    let named = program(words.first().copied().unwrap_or_default());
    let is_option = |word: &str| word.strip_prefix('-').is_some_and(|letters| letters.chars().all(char::is_alphabetic));
    let second = words.get(1).filter(|word| is_option(word) || is_shell(word));
    let text = second.map_or_else(|| named.clone(), |second| format!("{named} {}", program(second)));
    text.chars().take(SHOWN).filter(|letter| !letter.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn process(task: Value) -> Process {
        of(&serde_json::from_value(task).expect("a task"))
    }

    #[test]
    fn a_shell_in_front_of_the_server_is_seen_in_the_configuration() {
        let shell = |config: Value| process(json!({ "Driver": "docker", "Config": config })).shell.map(|shell| shell.to_string());
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(shell(json!({ "image": "a", "command": "/bin/sh", "args": ["-c", "server & wait"] })), some("/bin/sh -c"));
        assert_eq!(
            shell(json!({ "entrypoint": ["/docker-entrypoint.sh"], "args": ["--password=secret"] })),
            some("/docker-entrypoint.sh")
        );
        assert_eq!(shell(json!({ "command": "bash", "args": ["/start.sh"] })), some("bash /start.sh"));
        assert_eq!(shell(json!({ "entrypoint": "/start.sh" })), some("/start.sh"));
        assert_eq!(shell(json!({ "command": "/usr/bin/server" })), None);
        assert_eq!(shell(json!({ "args": ["sh"] })), some("sh"));
        assert_eq!(shell(json!({ "image": "a" })), None, "what the image starts is unknown");
        assert_eq!(shell(json!({ "command": 7, "args": null })), None);
    }

    #[test]
    fn a_shell_that_replaces_itself_or_has_a_trap_is_no_hint() {
        let shell = |script: &str| process(json!({ "Config": { "command": "sh", "args": ["-c", script] } })).shell;
        assert_eq!(shell("exec server --port 80"), None);
        assert_eq!(shell("setup; exec server"), None);
        assert_eq!(shell("trap 'kill $p' TERM; server & p=$!; wait"), None);
        assert!(shell("executable").is_some());
    }

    #[test]
    fn the_signal_is_the_jobs_or_the_drivers() {
        let signal = |task: Value| process(task).signal().to_owned();
        assert_eq!(signal(json!({ "Driver": "docker" })), "SIGTERM");
        assert_eq!(signal(json!({ "Driver": "raw_exec", "KillSignal": "" })), "SIGINT");
        assert_eq!(signal(json!({ "Driver": "exec", "KillSignal": "SIGQUIT" })), "SIGQUIT");
        assert_eq!(signal(json!({ "Driver": "nspawn" })), "its kill signal");
    }

    #[test]
    fn an_init_is_seen() {
        assert!(process(json!({ "Config": { "init": true } })).init);
        assert!(!process(json!({ "Config": { "init": "yes" } })).init);
    }
}
