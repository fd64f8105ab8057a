//! The rehearsal with a real Consul: no request is lost, decamp uses the real agents, and no agent outlives the run.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{SHORT, alone, complaint, on_the_path, rehearse, text};

/// Consul agents that were started with a file in a rehearsal's temporary folder.
fn agents() -> Vec<String> {
    let output = Command::new("ps").args(["-eo", "pid,args"]).output().expect("ps is there");
    let ours = |line: &&str| line.contains("agent -config-file") && line.contains("decamp-rehearsal-");
    text(&output.stdout).lines().filter(ours).map(str::to_owned).collect()
}

/// The number of rehearsal folders in this folder.
fn folders(temporary: &std::path::Path) -> usize {
    std::fs::read_dir(temporary).expect("it is there").count()
}

#[test]
fn with_a_real_consul_decamp_loses_nothing_and_no_agent_outlives_the_run() {
    let _alone = alone();
    let Some(consul) = on_the_path("consul") else { return };
    let temporary = tempfile::tempdir().expect("there is room for one");
    let output = rehearse(18_111, &SHORT)
        .env("TMPDIR", temporary.path())
        .env("PATH", "/usr/bin:/bin")
        .args(["--driver", "decamp", "--json", "--consul"])
        .arg(&consul)
        .output()
        .expect("the binary starts");
    let run: Value = text(&output.stdout).lines().last().and_then(|line| serde_json::from_str(line).ok()).expect("a run");
    assert_eq!(output.status.code(), Some(0), "{}\n{}", complaint(&output), run["account"]["failures"]);
    assert_eq!(run["account"]["failed"], 0);
    let real = run["real"][0].as_str().expect("its name and version");
    assert!(real.starts_with("Consul v"), "{real}");
    let stories = run["stories"].as_array().expect("a list");
    assert_eq!(stories.len(), 2);
    for story in stories {
        let outcome = story[1]["outcome"].as_str().expect("it ended");
        assert!(outcome.starts_with("departed"), "{outcome}");
    }
    assert_eq!(agents().iter().filter(|line| line.contains(&temporary.path().display().to_string())).count(), 0);
    assert_eq!(folders(temporary.path()), 0);
}

#[test]
fn an_interrupted_and_a_killed_rehearsal_leave_no_agent() {
    let _alone = alone();
    let Some(consul) = on_the_path("consul") else { return };
    for (signal, code) in [("INT", Some(130)), ("KILL", None)] {
        let temporary = tempfile::tempdir().expect("there is room for one");
        let here = temporary.path().display().to_string();
        let mut child = rehearse(18_112, &SHORT)
            .env("TMPDIR", temporary.path())
            .env("PATH", "/usr/bin:/bin")
            .args(["--driver", "decamp", "--consul"])
            .arg(&consul)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let ours = || agents().iter().filter(|line| line.contains(&here)).count();
        let wait = |what: &str, is: &dyn Fn() -> bool| {
            let began = Instant::now();
            while !is() {
                assert!(began.elapsed() < Duration::from_secs(60), "{what}");
                std::thread::sleep(Duration::from_millis(100));
            }
        };
        wait("the server and an agent never ran", &|| 3 < ours());
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
        assert_eq!(child.wait().expect("it ends").code(), code);
        wait("an agent outlived the rehearsal", &|| ours() == 0);
        wait("a folder outlived the rehearsal", &|| folders(temporary.path()) == 0);
    }
}
