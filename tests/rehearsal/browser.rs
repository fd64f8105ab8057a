//! The report in a real browser: it renders without console messages, and nothing is wider than the page.

use std::path::Path;
use std::process::Command;

use super::{SHORT, alone, complaint, on_the_path, rehearse, text};

/// A script that is appended to a copy of the page. It reports the width of the page, and the elements that overflow it without scrolling.
const PROBE: &str = "<script>addEventListener('load', () => {
  const wide = document.documentElement.clientWidth, out = [];
  if (wide < document.documentElement.scrollWidth) out.push('the page scrolls sideways');
  for (const one of document.querySelectorAll('body *')) {
    if (one.parentElement.closest('.wide, pre')) continue;
    const right = one.getBoundingClientRect().right;
    if (wide + 1 < right) out.push(one.tagName + ' reaches ' + right);
  }
  const table = document.querySelector('table').getBoundingClientRect();
  if (wide + 1 < table.right) out.push('the comparison reaches ' + table.right);
  for (const one of document.querySelectorAll('svg text')) {
    if (one.getBoundingClientRect().height < 6) out.push('too small to read: ' + one.textContent.trim());
  }
  parent.postMessage(wide + ' wide; ' + (out.join('; ') || 'nothing overflows'), '*');
});</script>";

/// A page with a frame of this width around another page, because a browser window cannot be as narrow as a phone.
fn frame(page: &Path, wide: u32) -> String {
    format!(
        "<!doctype html><script>addEventListener('message', e => document.documentElement.dataset.probe = e.data)</script>\
         <iframe src=\"file://{}\" style=\"border: 0; width: {wide}px; height: 900px\"></iframe>",
        page.display()
    )
}

/// The DOM of a page after rendering, and its console messages.
fn render(chromium: &Path, page: &Path, profile: &Path, more: &[&str]) -> (String, String) {
    let output = Command::new(chromium)
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
            "--hide-scrollbars",
            "--no-first-run",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(more)
        .arg("--dump-dom")
        .arg(format!("file://{}", page.display()))
        .output()
        .expect("it starts");
    (text(&output.stdout), text(&output.stderr))
}

#[test]
fn the_report_renders_without_console_messages_and_without_overflow() {
    let _alone = alone();
    let Some(chromium) = on_the_path("chromium") else { return };
    let folder = tempfile::tempdir().expect("there is room for one");
    let report = folder.path().join("report.html");
    let drivers = ["--driver", "terminate-at-once", "--report"];
    let output = rehearse(18_121, &SHORT).args(drivers).arg(&report).output().expect("the binary starts");
    assert_eq!(output.status.code(), Some(0), "{}", complaint(&output));
    let page = std::fs::read_to_string(&report).expect("it was written");
    let probed = folder.path().join("probed.html");
    std::fs::write(&probed, page.replace("</body>", &format!("{PROBE}</body>"))).expect("there is room");
    for (wide, scheme) in [(1_280, 1), (1_280, 0), (400, 1), (400, 0)] {
        let framed = folder.path().join("framed.html");
        std::fs::write(&framed, frame(&probed, wide)).expect("there is room");
        let scheme = format!("--blink-settings=preferredColorScheme={scheme}");
        let (dom, messages) = render(&chromium, &framed, &folder.path().join("profile"), &["--window-size=1400,1000", &scheme]);
        let probe = dom.split("data-probe=\"").nth(1).and_then(|rest| rest.split('"').next());
        assert_eq!(probe, Some(&*format!("{wide} wide; nothing overflows")), "{scheme}\n{messages}");
        let complaints: Vec<&str> = messages.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(complaints.is_empty(), "{wide}, {scheme}: {complaints:?}");
    }
}
