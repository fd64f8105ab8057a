//! The rehearsal with a real Nomad and a real Consul: no request is lost, decamp uses the real servers, and no process outlives the run.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{SHORT, alone, complaint, on_the_path, rehearse, text};

/// The binaries of Nomad and Consul, if both exist and the test runs as root. Each node needs its own process and mount namespaces.
fn programs() -> Option<(PathBuf, PathBuf)> {
    let both = (on_the_path("nomad")?, on_the_path("consul")?);
    let root = Command::new("unshare").args(["--mount", "--pid", "--fork", "true"]).status().is_ok_and(|status| status.success());
    if !root {
        println!("skipped: process and mount namespaces need root");
    }
    root.then_some(both)
}

/// Processes of agents, executors and tasks whose arguments contain this folder, or ingresses with this port.
fn processes(folder: &Path, port: u16) -> Vec<String> {
    let output = Command::new("ps").args(["-eo", "pid,args"]).output().expect("ps is there");
    let (folder, port) = (folder.display().to_string(), format!(":{port} "));
    let ours = |line: &&str| line.contains(&folder) || (line.contains(" part ingress ") && line.contains(&port));
    text(&output.stdout).lines().filter(ours).map(str::to_owned).collect()
}

/// The number of folders and mounts that are left in this folder.
fn leftovers(folder: &Path) -> usize {
    let mounts = std::fs::read_to_string("/proc/mounts").expect("it is there");
    let mounts = mounts.lines().filter(|line| line.contains(&folder.display().to_string())).count();
    mounts + std::fs::read_dir(folder).expect("it is there").count()
}

fn wait(what: &str, is: &dyn Fn() -> bool) {
    let began = Instant::now();
    while !is() {
        assert!(began.elapsed() < Duration::from_secs(120), "{what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
fn with_a_real_nomad_decamp_loses_nothing_and_nothing_outlives_the_run() {
    let _alone = alone();
    let Some((nomad, consul)) = programs() else { return };
    let temporary = tempfile::tempdir().expect("there is room for one");
    let output = rehearse(18_121, &SHORT)
        .env("TMPDIR", temporary.path())
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["--driver", "decamp", "--json", "--consul"])
        .arg(&consul)
        .arg("--nomad")
        .arg(&nomad)
        .output()
        .expect("the binary starts");
    let run: Value = text(&output.stdout).lines().last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default();
    assert_eq!(output.status.code(), Some(0), "{}\n{}", complaint(&output), run["account"]["failures"]);
    assert_eq!(run["account"]["failed"], 0);
    let real: Vec<&str> = run["real"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    assert!(real[0].starts_with("Consul v") && real[1].starts_with("Nomad v"), "{real:?}");
    let stories = run["stories"].as_array().expect("a list");
    assert_eq!(stories.len(), 2);
    for story in stories {
        let outcome = story[1]["outcome"].as_str().expect("it ended");
        assert!(outcome.starts_with("departed"), "{outcome}");
    }
    // The phases of each node were observed on the real servers.
    for strip in run["strips"].as_array().expect("a list").iter().filter(|strip| !strip["departure"].is_null()) {
        let seen: Vec<&str> = strip["spans"].as_array().expect("a list").iter().filter_map(|span| span[0].as_str()).collect();
        assert!(["drain", "stopping", "discovery"].iter().all(|phase| seen.contains(phase)), "{seen:?}");
    }
    assert_eq!(processes(temporary.path(), 18_121), Vec::<String>::new());
    assert_eq!(leftovers(temporary.path()), 0);
}

#[test]
fn a_port_in_use_by_another_program_is_reported_at_the_beginning() {
    let _alone = alone();
    let Some((nomad, consul)) = programs() else { return };
    let _taken = std::net::TcpListener::bind("127.0.0.12:18123").expect("it is free");
    let output = rehearse(18_123, &SHORT)
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["--driver", "decamp", "--consul"])
        .arg(&consul)
        .arg("--nomad")
        .arg(&nomad)
        .output()
        .expect("the binary starts");
    assert_eq!(output.status.code(), Some(3));
    let complaint = complaint(&output);
    assert!(complaint.contains("node-2 cannot listen on 127.0.0.12:18123") && complaint.contains("--port"), "{complaint}");
}

#[test]
fn an_interrupted_and_a_killed_rehearsal_leave_no_process_no_mount_and_no_folder() {
    let _alone = alone();
    let Some((nomad, consul)) = programs() else { return };
    for (signal, code) in [("INT", Some(130)), ("KILL", None)] {
        let temporary = tempfile::tempdir().expect("there is room for one");
        let mut child = rehearse(18_122, &SHORT)
            .env("TMPDIR", temporary.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .args(["--driver", "decamp", "--consul"])
            .arg(&consul)
            .arg("--nomad")
            .arg(&nomad)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let tasks = || processes(temporary.path(), 18_122).iter().filter(|line| line.contains(" part ingress ")).count();
        wait("no ingress ever ran", &|| 2 <= tasks());
        let sent = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).status().expect("kill is there");
        assert!(sent.success());
        assert_eq!(child.wait().expect("it ends").code(), code);
        wait("a process outlived the rehearsal", &|| processes(temporary.path(), 18_122).is_empty());
        wait("a folder or a mount outlived the rehearsal", &|| leftovers(temporary.path()) == 0);
    }
}
