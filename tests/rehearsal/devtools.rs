//! A browser that a test inspects while its page is open: Chromium, with a minimal client of its DevTools protocol.

use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio_tungstenite::tungstenite::{Message, WebSocket, client};

/// The longest time to wait for an answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// The browser on the PATH. Without it the test prints that it is skipped.
pub(super) fn chromium() -> Option<PathBuf> {
    let output = Command::new("sh").args(["-c", "command -v chromium"]).output().ok()?;
    let path = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    if path.is_empty() {
        println!("skipped: no chromium on the path");
        return None;
    }
    Some(path.into())
}

/// An open page, which is closed when this is dropped.
pub(super) struct Browser {
    child: Child,
    socket: WebSocket<TcpStream>,
    session: Option<String>,
    calls: u64,
    /// Errors of the page's own scripts. A server that went away is not an error.
    pub(super) complaints: Vec<String>,
    _profile: TempDir,
}

impl Drop for Browser {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

impl Browser {
    /// Opens the page at this address.
    pub(super) fn open(chromium: &Path, address: &str) -> Self {
        let profile = tempfile::tempdir().expect("there is room for one");
        let mut child = Command::new(chromium)
            .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-port=0"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut lines = BufReader::new(child.stderr.take().expect("it is piped")).lines().map_while(Result::ok);
        let url = lines.find_map(|line| line.strip_prefix("DevTools listening on ").map(ToOwned::to_owned));
        let url = url.expect("it prints the DevTools address");
        // Read its other messages, so that the pipe does not fill up.
        std::thread::spawn(move || lines.for_each(drop));
        let host = url.strip_prefix("ws://").and_then(|rest| rest.split('/').next()).expect("a WebSocket");
        let stream = TcpStream::connect(host).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("it has a clock");
        let (socket, _) = client(url.as_str(), stream).expect("it is a WebSocket");
        let mut browser = Self { child, socket, session: None, calls: 0, complaints: Vec::new(), _profile: profile };
        let target = browser.call("Target.createTarget", &json!({ "url": "about:blank" }));
        let attached = browser.call("Target.attachToTarget", &json!({ "targetId": target["targetId"], "flatten": true }));
        browser.session = attached["sessionId"].as_str().map(ToOwned::to_owned);
        browser.call("Runtime.enable", &json!({}));
        browser.call("Page.navigate", &json!({ "url": address }));
        browser
    }

    /// The current text of the page.
    pub(super) fn text(&mut self) -> String {
        self.evaluate("document.body ? document.body.innerText : ''").as_str().unwrap_or_default().to_owned()
    }

    /// The value of an expression on the page, after its promise has settled.
    pub(super) fn evaluate(&mut self, expression: &str) -> Value {
        let wanted = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let answer = self.call("Runtime.evaluate", &wanted);
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {}", answer["exceptionDetails"]);
        answer["result"]["value"].clone()
    }

    fn call(&mut self, method: &str, parameters: &Value) -> Value {
        self.calls += 1;
        let mut call = json!({ "id": self.calls, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            call["sessionId"] = json!(session);
        }
        self.socket.send(Message::text(call.to_string())).expect("it listens");
        loop {
            let Message::Text(message) = self.socket.read().expect("it answers") else { continue };
            let message: Value = serde_json::from_str(&message).expect("it is JSON");
            if message["method"] == "Runtime.exceptionThrown" {
                self.complaints.push(message["params"]["exceptionDetails"].to_string());
            }
            if message["id"] == self.calls {
                assert!(message["error"].is_null(), "{method}: {}", message["error"]);
                return message["result"].clone();
            }
        }
    }
}
