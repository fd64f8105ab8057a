//! The report: one self-contained HTML page that explains itself to somebody who has never seen decamp.

mod file;
mod picture;

use std::fmt::Write as _;
use std::path::Path;

pub use self::file::Pending;
use super::{Chaos, Phase, Plan, Run, Verdict, is_decamp};
use decamp_core::time::plain;

/// The colours are those of the service's page.
const STYLE: &str = concat!(include_str!("../../colours.css"), include_str!("report/page.css"));

/// Text that may stand anywhere in a page.
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

/// A row of the comparison: what it is, and what it was with each driver.
pub type Row = (String, Vec<String>);

/// The page. `rows` is the comparison as it is shown on the terminal, `command` makes it again.
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
    page.push_str(EXPLAINED);
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
                escaped(what_it_does(driver))
            ),
        );
        if let Some(why) = &run.bottleneck {
            put(&mut page, format_args!("<p class=\"warning\">Warning: {}.</p>", escaped(why)));
        }
        page.push_str("<figure class=\"wide\">");
        page.push_str(&picture::timeline(run).unwrap_or_else(|why| escaped(&why)));
        page.push_str("</figure></section>");
    }
    page.push_str("<h2>How long short requests took during the refresh</h2><p>The share of them (up) that was answered within so many milliseconds \
        (across), from the moment each was due. A request that waited behind others counts its wait.</p><figure class=\"wide\">");
    page.push_str(&picture::latency(runs).unwrap_or_else(|why| escaped(&why)));
    page.push_str("</figure>");
    findings(&mut page, runs);
    stories(&mut page, runs);
    failures(&mut page, runs);
    pretended(&mut page, runs);
    put(
        &mut page,
        format_args!(
            "<h2>Again</h2><p>The same plan with the same luck:</p><pre>{}</pre></main></body></html>\n",
            escaped(command)
        ),
    );
    page
}

fn put(page: &mut String, text: std::fmt::Arguments<'_>) {
    page.write_fmt(text).expect("a string takes whatever is written to it");
}

/// What came of it, in a sentence, and whether that is good.
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

fn what_it_does(driver: &str) -> &'static str {
    match driver {
        "terminate-at-once" => {
            "Nobody does anything: the instance goes as soon as AWS has taken it out of the attached target group."
        }
        "drain-only" => "A script drains the Nomad node and lets the instance go when Nomad says that the drain is complete.",
        "drain-then-deregister" => "A script drains the node first, then takes it out of its load balancers.",
        "naive-overlap" => "A script drains and deregisters at the same time.",
        _ => "Load balancers, node, tasks and discovery in the one order that loses nothing; each step is seen before the next.",
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
        put(page, format_args!("<span><i style=\"background:var(--{})\"></i>{}</span>", picture::variable(phase), phase.word()));
    }
    page.push_str("<span><i style=\"background:var(--ok)\"></i>answered</span><span><i style=\"background:var(--failed)\"></i>failed</span><span><i class=\"gone\"></i>its machine is gone</span></p>");
}

fn findings(page: &mut String, runs: &[Run]) {
    let all = runs.iter().flat_map(|run| &run.findings);
    let rows: String = all.map(|finding| format!("<li>{}</li>", escaped(&finding.to_string()))).collect();
    if !rows.is_empty() {
        put(page, format_args!("<h2>What decamp foresaw</h2><p>Said before its first write:</p><ul>{rows}</ul>"));
    }
}

fn stories(page: &mut String, runs: &[Run]) {
    page.push_str("<h2>The story of each departure</h2><p>Every decision with its reason, in seconds since the load began.</p>");
    for run in runs {
        for (node, story) in &run.stories {
            let outcome = story.outcome.as_deref().unwrap_or("it did not end");
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
                "<details><summary>{}: {} of {}</summary><div class=\"wide\"><table class=\"list\"><thead><tr><th>s</th><th>how</th>\
             <th>service</th><th>why</th></tr></thead><tbody>",
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

const EXPLAINED: &str = "<p>AWS replaces the instances of a cluster, two at a time: new ones start, old ones are told to go. Requests come in all \
the while, through a load balancer, an ingress on each node and services behind it. A request fails if anything on its way is gone too early: \
<a href=\"#again\">the same plan</a> is played once for each way of taking an instance out.</p>";

/// What stood for what. A real program says itself what it is.
fn pretended(page: &mut String, runs: &[Run]) {
    let real: Vec<&str> = runs.first().map(|run| run.real.iter().map(String::as_str).collect()).unwrap_or_default();
    let is_real = |name: &str| real.iter().any(|words| words.starts_with(name));
    let programs = match (real.is_empty(), is_real("Nomad")) {
        (true, _) => String::new(),
        (false, false) => format!("; {}, with an agent for each node", real.join(", ")),
        (false, true) => format!("; {}, with agents for each node, which run every process as a task", real.join(", ")),
    };
    let models = match (is_real("Nomad"), is_real("Consul")) {
        (true, _) => " and Elastic Load Balancing",
        (false, true) => ", Elastic Load Balancing and Nomad",
        (false, false) => ", Elastic Load Balancing, Nomad and Consul",
    };
    let held = if is_real("Nomad") { "" } else { " that are held to recordings of real agents" };
    put(
        page,
        format_args!(
            "<h2 id=\"again\">What was real, and what was pretended</h2><p>Real: every process is a server with a socket of its own \
             that takes connections, finishes what it holds when it is told to stop, and dies hard at its time-out; the load \
             balancer, the ingress, its health checks and its pools of connections; every request; decamp itself, its adapters and \
             its loop, over HTTP{}. Pretended: the state of Auto Scaling{models}, by models behind those HTTP APIs{held}; machines, \
             which are loopback addresses, so that an instance that is gone refuses \
             connections where a real one may be silent; and time is short: delays are of seconds, not minutes.</p>",
            escaped(&programs)
        ),
    );
}

/// How a plan's driver is called for on the command line.
#[must_use]
pub fn command(plan: &Plan, drivers: &[&str], lambda: Option<&Path>) -> String {
    let mut command =
        format!("decamp rehearse --nodes {} --services {} --rate {} --seed {}", plan.nodes, plan.services, plan.rate, plan.seed);
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
