//! The page in a real browser: ended departures have their charts, unchanged parts keep the focus, and old answers are not shown.

use std::path::Path;
use std::time::{Duration, Instant};

use decamp_sandbox::serve;
use serde_json::json;

use crate::devtools::{Browser, chromium};
use crate::replica::{Replica, quick, terminate};

/// The charts of ended departures: their descriptions, their bars' classes, and whether the style sheet has coloured every bar.
const CHARTS: &str = "(() => {
  const all = [...document.querySelectorAll('figure svg[role=img]')];
  const bars = all.flatMap((svg) => [...svg.querySelectorAll('rect')]);
  return {
    words: all.map((svg) => svg.getAttribute('aria-label')),
    classes: [...new Set(bars.map((bar) => bar.getAttribute('class')))],
    drawn: bars.every((bar) => 0 < bar.getBoundingClientRect().width && getComputedStyle(bar).fill !== 'rgb(0, 0, 0)'),
  };
})()";

/// Opens the details of the first chart, puts the focus on them, and marks the element.
const FOCUS: &str = "(() => {
  const summary = document.querySelector('figure summary');
  summary.click();
  summary.focus();
  summary.mark = 1;
})()";

/// Where the focus is, and whether it is on the marked element.
const FOCUSED: &str = "({
  summary: document.activeElement.localName === 'summary' && document.activeElement.closest('figure') !== null,
  same: document.activeElement.mark === 1,
  open: document.activeElement.closest('details')?.open,
})";

/// The text at the top of the page, and how many elements are too wide for a phone.
const ABOUT: &str = "(async () => {
  const icon = await fetch(document.querySelector('link[rel=icon]').href);
  document.body.style.width = '390px';
  const edge = document.body.getBoundingClientRect().right + 1;
  const scrolls = (one) => one.closest('.wide') !== null;
  const wide = [...document.querySelectorAll('body *')].filter((one) => !scrolls(one) && edge < one.getBoundingClientRect().right);
  document.body.style.width = '';
  return {
    title: document.title,
    icon: icon.status,
    said: document.querySelector('.about').textContent,
    reached: [...document.querySelectorAll('.reached li')].map((one) => one.textContent),
    cut: wide.filter((one) => !one.hidden && one.getClientRects().length).length,
  };
})()";

/// Requests the parts twice. The first answer arrives last, and is old.
const OVERTAKEN: &str = "(async () => {
  const real = window.fetch;
  let first = true;
  window.fetch = async (...what) => {
    if (!first) return real(...what);
    first = false;
    await new Promise((done) => setTimeout(done, 700));
    return new Response('<p data-part=\"status\">old news</p>');
  };
  await Promise.all([draw(), draw()]);
  window.fetch = real;
  return document.querySelector('[data-part=status]').textContent;
})()";

/// The page's alerts after the session has ended, and after a new login.
const OVER: &str = "(async () => {
  const real = window.fetch;
  const said = () => [...document.querySelectorAll('[role=alert]')].filter((one) => !one.hidden);
  window.fetch = async () => new Response('{}', { status: 401 });
  await draw();
  const [over] = said();
  window.fetch = real;
  const told = [over.textContent, over.querySelector('a').getAttribute('href'), said().length];
  await draw();
  return [...told, said().length];
})()";

fn look(chromium: &Path, address: &str, instance: &str) {
    let mut browser = Browser::open(chromium, address);
    let began = Instant::now();
    while !browser.text().contains(instance) {
        assert!(began.elapsed() < Duration::from_secs(20), "{}", browser.text());
        std::thread::sleep(Duration::from_millis(100));
    }
    // The text is there before the style sheet.
    let mut pictures = browser.evaluate(CHARTS);
    while pictures["drawn"] != true {
        assert!(began.elapsed() < Duration::from_secs(20), "{pictures:#}");
        std::thread::sleep(Duration::from_millis(100));
        pictures = browser.evaluate(CHARTS);
    }
    let words = pictures["words"][0].as_str().expect("it has a description");
    assert!(words.starts_with(&format!("{instance} took ")) && words.contains("allocations stop: "), "{words}");
    let classes = pictures["classes"].as_array().expect("a list");
    assert!(["delay", "stopping", "own"].iter().all(|class| classes.contains(&json!(class))), "{pictures:#}");

    browser.evaluate(FOCUS);
    browser.evaluate("draw()");
    let focused = browser.evaluate(FOCUSED);
    assert_eq!(focused, json!({ "summary": true, "same": true, "open": true }), "an unchanged part was not replaced");
    browser.evaluate("shown.set('over', 'something else'), draw()");
    let focused = browser.evaluate(FOCUSED);
    assert_eq!(focused, json!({ "summary": true, "same": false, "open": true }), "a replaced part has the focus again");

    let about = browser.evaluate(ABOUT);
    assert_eq!((&about["title"], &about["icon"], &about["cut"]), (&json!("decamp"), &json!(200), &json!(0)), "{about:#}");
    let reached = about["reached"].as_array().expect("a list");
    assert!(
        4 <= reached.len() && reached.iter().all(|one| one.as_str().is_some_and(|one| one.ends_with(" reached"))),
        "{about:#}"
    );
    let said = about["said"].as_str().expect("text");
    assert!(
        ["groups", "web", "Region", "eu-west-1", "mode", "act", "last sweep", "version"].iter().all(|word| said.contains(word)),
        "{said}"
    );

    let status = browser.evaluate(OVERTAKEN);
    assert_eq!(status, "No instance is leaving; 1 ended.");
    let said = browser.evaluate(OVER);
    assert!(said[0].as_str().is_some_and(|told| told.contains("Your session has ended")), "{said}");
    assert_eq!((&said[1], &said[2], &said[3]), (&json!("/login"), &json!(1), &json!(0)), "{said}");
    assert_eq!(browser.complaints, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ended_departure_has_its_chart_and_unchanged_parts_are_not_replaced() {
    let Some(chromium) = chromium() else { return };
    let sandbox = serve(&quick()).await.expect("loopback is there");
    let replica = Replica::start(&sandbox, &[]).await;
    let event = terminate(&sandbox, sandbox.instances[0]).await;
    assert_eq!(replica.send(&event).await.status(), 202);
    let past = replica.past().await;
    assert!(past["steps"].as_array().is_some_and(|steps| 3 <= steps.len()), "{past:#}");
    assert!(past["outcome"]["seconds_above_floor"].as_f64().is_some_and(|own| 0.0 < own && own < 20.0), "{past:#}");
    let (address, instance) = (format!("{}/", replica.admin), sandbox.instances[0].to_string());
    let looked = tokio::task::spawn_blocking(move || look(&chromium, &address, &instance)).await;
    looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()));
}
