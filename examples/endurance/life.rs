//! The measurements of a replica: its progress, its resources and its failures.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use reqwest::Client;
use serde_json::Value;

use crate::replica::Replica;

/// Outcomes of duplicate events, whose departure may have ended before.
const HARMLESS: &[&str] = &["already-past", "gone"];
/// A sample is the median over the ends of this many waves. A single value is off by a tenth, because of memory that was just freed.
const LOOKS: usize = 11;

/// The measurements of a replica so far.
pub(crate) struct Life {
    began: Instant,
    processor_before: Duration,
    /// Departures by outcome.
    pub(crate) outcomes: BTreeMap<String, u64>,
    /// Departures with the outcome `departed`.
    pub(crate) departed: u64,
    /// Departures in progress.
    pub(crate) in_progress: u64,
    series: usize,
    calls: u64,
    sent: u64,
    failed: u64,
    /// The resident memory at the end of the last waves, in KiB.
    resident: VecDeque<u64>,
    samples: Vec<Sample>,
}

/// The resources of the replica at a moment without departures.
#[derive(Debug, Clone)]
pub(crate) struct Sample {
    departed: u64,
    lived: Duration,
    /// The median over the ends of the last waves, in KiB.
    resident: u64,
    most_resident: u64,
    descriptors: usize,
    threads: u64,
    series: usize,
    calls: u64,
    processor: Duration,
    sent: u64,
    failed: u64,
}

impl Life {
    pub(crate) fn begin(replica: &Replica) -> Result<Self> {
        Ok(Self {
            began: Instant::now(),
            processor_before: replica.processor()?,
            outcomes: BTreeMap::new(),
            departed: 0,
            in_progress: 0,
            series: 0,
            calls: 0,
            sent: 0,
            failed: 0,
            resident: VecDeque::new(),
            samples: Vec::new(),
        })
    }

    /// Reads the metrics of the replica.
    pub(crate) async fn look(&mut self, client: &Client, replica: &Replica) -> Result<()> {
        let text = client.get(format!("{}/metrics", replica.admin)).send().await?.error_for_status()?.text().await?;
        let rows = || text.lines().filter(|line| !line.starts_with('#'));
        let value = |line: &str| line.rsplit(' ').next().and_then(|number| number.parse::<f64>().ok()).unwrap_or_default() as u64;
        self.series = rows().count();
        self.calls = rows().filter(|line| line.starts_with("decamp_aws_calls_total")).map(value).sum();
        self.in_progress = rows()
            .find(|line| line.starts_with("decamp_departures_in_hand "))
            .map(value)
            .context("the number of departures in progress")?;
        self.outcomes.clear();
        for line in rows().filter(|line| line.starts_with("decamp_departures_total")) {
            let outcome = line.split_once("outcome=\"").and_then(|(_, rest)| rest.split_once('"')).context("an outcome")?.0;
            // Outcomes that did not occur have rows with 0.
            if 0 < value(line) {
                *self.outcomes.entry(outcome.to_owned()).or_default() += value(line);
            }
        }
        self.departed = self.outcomes.get("departed").copied().unwrap_or(0);
        Ok(())
    }

    /// Adds the requests of one world's clients.
    pub(crate) fn requests(&mut self, of: &Value) {
        self.sent += of["sent"].as_u64().unwrap_or(0);
        self.failed += of["failed"].as_u64().unwrap_or(1);
    }

    /// Records the memory at the end of a wave.
    pub(crate) fn wave_ends(&mut self, replica: &Replica) -> Result<()> {
        if self.resident.len() == LOOKS {
            self.resident.pop_front();
        }
        self.resident.push_back(replica.status("VmRSS")?);
        Ok(())
    }

    /// Records a sample.
    pub(crate) fn sample(&mut self, replica: &Replica) -> Result<&Sample> {
        let mut resident = Vec::from(self.resident.clone());
        resident.sort_unstable();
        self.samples.push(Sample {
            departed: self.departed,
            lived: self.began.elapsed(),
            resident: resident.get(resident.len() / 2).copied().context("a wave has ended")?,
            most_resident: replica.status("VmHWM")?,
            descriptors: std::fs::read_dir(replica.proc()?.join("fd"))?.count(),
            threads: replica.status("Threads")?,
            series: self.series,
            calls: self.calls,
            processor: replica.processor()?.saturating_sub(self.processor_before),
            sent: self.sent,
            failed: self.failed,
        });
        self.samples.last().context("it was just added")
    }

    /// The failures of the run.
    pub(crate) fn verdict(&self, unexpected: &[String]) -> Vec<String> {
        let mut wrong = unexpected.to_vec();
        println!("outcomes {:?}", self.outcomes);
        let others = self.outcomes.keys().filter(|outcome| *outcome != "departed" && !HARMLESS.contains(&outcome.as_str()));
        wrong.extend(others.map(|outcome| format!("{} departures ended {outcome}", self.outcomes[outcome])));
        if self.failed != 0 {
            wrong.push(format!("{} of {} requests failed", self.failed, self.sent));
        }
        if let (Some(tenth), Some(end)) = (self.samples.first(), self.samples.last()) {
            let times = end.resident as f64 / tenth.resident as f64;
            println!("resident at the end: {times:.3} times what it was after a tenth");
            if tenth.resident * 105 < end.resident * 100 {
                wrong.push(format!("memory grew from {} to {} KiB", tenth.resident, end.resident));
            }
        }
        wrong
    }
}

impl Sample {
    pub(crate) const HEADER: &str =
        "departed  seconds  a second  resident KiB  most KiB  files  threads  series  calls each  core %  requests  failed";
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.lived.as_secs_f64();
        let each = self.calls as f64 / self.departed.max(1) as f64;
        write!(
            f,
            "{:8}  {seconds:7.0}  {:8.1}  {:12}  {:8}  {:5}  {:7}  {:6}  {each:10.2}  {:6.0}  {:8}  {:6}",
            self.departed,
            self.departed as f64 / seconds,
            self.resident,
            self.most_resident,
            self.descriptors,
            self.threads,
            self.series,
            100.0 * self.processor.as_secs_f64() / seconds,
            self.sent,
            self.failed
        )
    }
}
