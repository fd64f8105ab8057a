//! The report: one self-contained HTML page for a reader who does not know decamp.

mod charts;
mod file;

use std::fmt::Write as _;
use std::path::Path;

pub use self::file::Pending;
use super::{Chaos, Phase, Plan, Run, Verdict, is_decamp};
use decamp_core::time::plain;

/// The colours are the same as those of the service's page.
const STYLE: &str = concat!(include_str!("../../colours.css"), include_str!("report/page.css"));

/// Text that is safe anywhere in a page.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A number with a comma before every three digits.
#[must_use]
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if 0 < place && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A row of the comparison: its name, and the value for each driver.
pub type Row = (String, Vec<String>);

/// The page. `rows` is the comparison as the terminal shows it. `command` repeats the rehearsal.
#[must_use]
pub fn page(plan: &Plan, runs: &[Run], rows: &[Row], command: &str) -> String {
    let mut page = String::new();
    let (outcome, good) = outcome(plan, runs);
    let parts = [
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">",
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">",
        "<meta name=\"color-scheme\" content=\"light dark\"><title>decamp rehearsal</title><style>",
        STYLE,
        "</style></head><body><header><p class=\"kicker\">decamp rehearsal</p>",
    ];
    parts.iter().for_each(|part| page.push_str(part));
    let class = if good { "good" } else { "bad" };
    put(
        &mut page,
        format_args!("<h1 class=\"{class}\">{}</h1><p>{}.</p></header><main>", escaped(&outcome), escaped(&plan.to_string())),
    );
    page.push_str(INTRODUCTION);
    comparison(&mut page, runs, rows);
    page.push_str("<h2>The refresh, second by second</h2>");
    legend(&mut page);
    for run in runs {
        let (driver, took) = (run.driver, run.seconds);
        let (requests, failed) = (grouped(run.account.requests), grouped(u64::try_from(run.account.failed).unwrap_or(u64::MAX)));
        put(
            &mut page,
            format_args!(
                "<section><h3>{driver}</h3><p>{} {requests} requests in {took:.0} s, {failed} failed.</p>",
                escaped(description(driver))
            ),
        );
        if let Some(why) = &run.bottleneck {
            put(&mut page, format_args!("<p class=\"warning\">Warning: {}.</p>", escaped(why)));
        }
        page.push_str("<figure class=\"wide\">");
        page.push_str(&charts::timeline(run).unwrap_or_else(|why| escaped(&why)));
        page.push_str("</figure></section>");
    }
    page.push_str("<h2>How long short requests took during the refresh</h2><p>The share of requests (vertical) that was answered within a number of \
        milliseconds (horizontal). The time counts from the moment a request was due, so waiting behind other requests counts too.</p>\
        <figure class=\"wide\">");
    page.push_str(&charts::latency(runs).unwrap_or_else(|why| escaped(&why)));
    page.push_str("</figure>");
    findings(&mut page, runs);
    stories(&mut page, runs);
    failures(&mut page, runs);
    what_was_real(&mut page, runs);
    put(
        &mut page,
        format_args!(
            "<h2 id=\"again\">Run it again</h2><p>The same plan with the same seed:</p><pre>{}</pre></main></body></html>\n",
            escaped(command)
        ),
    );
    page
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("writing to a string cannot fail");
}

/// The result in a sentence, and whether it is good.
fn outcome(plan: &Plan, runs: &[Run]) -> (String, bool) {
    let instances = plan.nodes * plan.rounds;
    let of = |run: &Run| (run.account.failed, grouped(run.account.requests));
    let decamp = runs.iter().find(|run| is_decamp(run.driver));
    let others: Vec<String> = (runs.iter().filter(|run| !is_decamp(run.driver)))
        .map(|run| format!("{} with {}", grouped(u64::try_from(run.account.failed).unwrap_or(0)), run.driver))
        .collect();
    match decamp {
        Some(run) => {
            let (failed, requests) = of(run);
            let many = if failed == 0 { "none".to_owned() } else { failed.to_string() };
            let mut text =
                format!("{instances} instances were replaced under {requests} requests, and {many} failed with decamp");
            if !others.is_empty() {
                text.push_str(&format!("; {}", others.join(", ")));
            }
            text.push('.');
            if run.verdict == Verdict::Unfair {
                text.push_str(" This machine was too busy for a fair result: rehearse again when it is idle.");
            }
            (text, run.verdict == Verdict::Kept)
        }
        None => (format!("{instances} instances were replaced; failed requests: {}.", others.join(", ")), false),
    }
}

fn description(driver: &str) -> &'static str {
    match driver {
        "terminate-at-once" => "No tool acts: AWS terminates the instance as soon as it has left the attached target group.",
        "drain-only" => "A script drains the Nomad node and completes the hook when Nomad reports the drain as complete.",
        "drain-then-deregister" => "A script drains the Nomad node first, then deregisters the instance from its load balancers.",
        "naive-overlap" => "A script drains the Nomad node and deregisters the instance at the same time.",
        _ => {
            "decamp takes the instance out of load balancers, Nomad and discovery in an order that loses no request, and checks each step."
        }
    }
}

fn comparison(page: &mut String, runs: &[Run], rows: &[Row]) {
    page.push_str("<h2>Side by side</h2><div class=\"wide\"><table><thead><tr><th></th>");
    runs.iter().for_each(|run| put(page, format_args!("<th>{}</th>", run.driver)));
    page.push_str("</tr></thead><tbody>");
    for (name, cells) in rows {
        let class = if name.starts_with(' ') { " class=\"part\"" } else { "" };
        put(page, format_args!("<tr><th{class}>{}</th>", escaped(name.trim())));
        cells.iter().for_each(|cell| put(page, format_args!("<td>{}</td>", escaped(cell))));
        page.push_str("</tr>");
    }
    page.push_str("</tbody></table></div>");
}

fn legend(page: &mut String) {
    page.push_str("<p class=\"legend\">");
    for phase in Phase::ALL {
        put(page, format_args!("<span><i style=\"background:var(--{})\"></i>{}</span>", charts::variable(phase), phase.word()));
    }
    page.push_str("<span><i style=\"background:var(--ok)\"></i>answered</span><span><i style=\"background:var(--failed)\"></i>failed</span><span><i class=\"gone\"></i>machine gone</span></p>");
}

fn findings(page: &mut String, runs: &[Run]) {
    let rows = |stops: bool| -> String {
        let all = runs.iter().flat_map(|run| &run.findings).filter(|finding| finding.loss.is_of_a_stop() == stops);
        all.map(|finding| format!("<li>{}</li>", escaped(&finding.to_string()))).collect()
    };
    let (settings, stops) = (rows(false), rows(true));
    if !(settings.is_empty() && stops.is_empty()) {
        page.push_str("<h2>Findings</h2>");
    }
    if !settings.is_empty() {
        put(page, format_args!("<p>decamp reported these settings before its first write:</p><ul>{settings}</ul>"));
    }
    if !stops.is_empty() {
        put(page, format_args!("<p>decamp reported these tasks when they had stopped:</p><ul>{stops}</ul>"));
    }
}

fn stories(page: &mut String, runs: &[Run]) {
    page.push_str("<h2>The steps of each departure</h2><p>Every decision with its reason. The number is the time in seconds since the load began.</p>");
    for run in runs {
        for (node, story) in &run.stories {
            let outcome = story.outcome.as_deref().unwrap_or("did not finish");
            put(page, format_args!("<details><summary>{}, {}: {}</summary><ol>", run.driver, escaped(node), escaped(outcome)));
            for (at, line) in &story.lines {
                put(page, format_args!("<li><b>{at:.1}</b> {}</li>", escaped(line)));
            }
            page.push_str("</ol></details>");
        }
    }
}

fn failures(page: &mut String, runs: &[Run]) {
    page.push_str("<h2>Every failed request</h2>");
    for run in runs {
        let failures = &run.account.failures;
        if failures.is_empty() {
            put(page, format_args!("<p>{}: none of {}.</p>", run.driver, grouped(run.account.requests)));
            continue;
        }
        put(
            page,
            format_args!(
                "<details><summary>{}: {} of {}</summary><div class=\"wide\"><table class=\"list\"><thead><tr><th>second</th><th>failure</th>\
             <th>service</th><th>cause</th></tr></thead><tbody>",
                run.driver,
                grouped(u64::try_from(failures.len()).unwrap_or(u64::MAX)),
                grouped(run.account.requests)
            ),
        );
        for one in failures {
            put(
                page,
                format_args!(
                    "<tr><td>{:.2}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
                    one.at,
                    one.how.word(),
                    escaped(&one.service),
                    escaped(&one.cause)
                ),
            );
        }
        page.push_str("</tbody></table></div></details>");
    }
}

const INTRODUCTION: &str = "<p>AWS replaces the instances of a cluster, a few at a time: it starts new ones and terminates old ones. Meanwhile clients \
send requests through a load balancer, an ingress on each node and the services behind it. A request fails if anything on its way stops \
too early. <a href=\"#again\">The same plan</a> ran once for each way of taking an instance out of service.</p>";

/// Which parts were real and which were simulated.
fn what_was_real(page: &mut String, runs: &[Run]) {
    let real: Vec<&str> = runs.first().map(|run| run.real.iter().map(String::as_str).collect()).unwrap_or_default();
    let is_real = |name: &str| real.iter().any(|version| version.starts_with(name));
    let programs = match (real.is_empty(), is_real("Nomad")) {
        (true, _) => String::new(),
        (false, false) => format!(" Also real: {}, with an agent for each node.", real.join(", ")),
        (false, true) => {
            format!(" Also real: {}, with agents for each node, which run every process as a task.", real.join(", "))
        }
    };
    let models = match (is_real("Nomad"), is_real("Consul")) {
        (true, _) => " and Elastic Load Balancing",
        (false, true) => ", Elastic Load Balancing and Nomad",
        (false, false) => ", Elastic Load Balancing, Nomad and Consul",
    };
    let recordings = if is_real("Nomad") { "" } else { ", which are tested against recordings of real agents" };
    put(
        page,
        format_args!(
            "<h2>What was real, and what was simulated</h2><p><b>Real:</b> Every process is a server with a socket. It \
             accepts connections, finishes the requests in progress when it receives its stop signal, and is killed at its time-out. \
             The load balancer, the ingress, the health checks, the pools of connections and every request are real. So are decamp's \
             rules, its loop and its adapters, which call the APIs over HTTP.{}</p><p><b>Simulated:</b> The state of Auto \
             Scaling{models} comes from models behind the same HTTP APIs{recordings}. Machines are loopback addresses: a terminated \
             instance refuses connections, where a real one may not answer at all. Delays are seconds instead of minutes.</p>",
            escaped(&programs)
        ),
    );
}

/// The command line that runs this plan again.
#[must_use]
pub fn command(plan: &Plan, drivers: &[&str], lambda: Option<&Path>) -> String {
    let mut command =
        format!("decamp rehearse --nodes {} --services {} --rate {} --seed {}", plan.nodes, plan.services, plan.rate, plan.seed);
    if plan.deaf {
        command.push_str(" --deaf");
    }
    if plan.single {
        command.push_str(" --single");
    }
    if let Some(every) = plan.ingress_poll {
        command.push_str(&format!(" --ingress-poll {}", plain(every)));
    }
    if let Some(word) = plan.balancer.word() {
        command.push_str(&format!(" --balancer {word}"));
    }
    match plan.chaos {
        Some(Chaos::Usual) => command.push_str(" --chaos"),
        Some(Chaos::ConsulForAll) => command.push_str(" --chaos=consul-for-all"),
        None => {}
    }
    for (option, real) in [("consul", &plan.consul), ("nomad", &plan.nomad), ("traefik", &plan.traefik)] {
        if let Some(binary) = real {
            command.push_str(&format!(" --{option} {}", binary.display()));
        }
    }
    if plan.rounds != 1 {
        command.push_str(&format!(" --rounds {}", plan.rounds));
    }
    if plan.calm != Plan::default().calm {
        command.push_str(&format!(" --calm {}", plain(plan.calm)));
    }
    if let Some(binary) = lambda {
        command.push_str(&format!(" --lambda {}", binary.display()));
    }
    for driver in drivers {
        command.push_str(&format!(" --driver {driver}"));
    }
    command
}
