//! The log as text: names in it cannot forge a line.

use decamp_sandbox::serve;

use crate::refreshes::{WEBHOOK, hook_of, seconds};
use crate::replica::{Replica, quick};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_newline_in_a_name_forges_no_line_of_the_log() {
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let file = tempfile::NamedTempFile::new().expect("a file");
    let text = format!(
        "[webhooks.deploy]\nscheme = \"standard\"\naction = \"refresh\"\nsecret = \"{WEBHOOK}\"\n\
         group = \"web\\n2026-01-01T00:00:00Z  INFO forged\\u001b[2J\"\n"
    );
    std::fs::write(file.path(), text).expect("it is ours");
    let settings = [("DECAMP_LOG_FORMAT", "text"), ("DECAMP_GROUPS", "web*")];
    let replica = Replica::start_with(&sandbox, &["--config", &file.path().display().to_string()], &settings).await;
    hook_of(&replica, "deploy", "one", seconds(), "{}").await;
    replica.says("a webhook asks for a refresh").await;
    replica.says("INFO forged").await;
    let printed = replica.printed();
    assert!(!printed.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z  INFO forged")), "{printed}");
    assert!(!printed.contains('\u{1b}') && printed.contains("web\\n2026-01-01"), "{printed}");
}
