//! The null run: the same clients straight to the services, to show that the rehearsal itself is no bottleneck (ADR 0024).

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::sleep;

use super::balancer::Cuts;
use super::clients::Clients;
use super::ledger::Ledger;
use super::plan::{Nature, Plan};
use super::rig::IN_TIME;
use super::task;

/// How long it lasts.
pub const LASTS: Duration = Duration::from_secs(4);

/// What the machine can carry.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Null {
    /// Requests a second that were asked for: twice the plan's rate.
    pub asked: u32,
    /// Requests a second that were sent and answered.
    pub sustained: f64,
    /// Milliseconds that requests left after they were due (p99).
    pub late_p99: f64,
    /// Milliseconds that short ones took.
    pub short_p99: f64,
}

impl Null {
    /// Whether the rehearsal is no bottleneck here.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        f64::from(self.asked) * 0.98 <= self.sustained && self.late_p99 <= IN_TIME
    }
}

/// Runs it: twice the rate, a server for each service, no load balancer, no ingress, nobody leaving.
///
/// # Errors
/// There is no free port.
pub async fn null(plan: &Plan) -> Result<Null> {
    let mut servers = Vec::new();
    for _ in 0..plan.services.max(1) {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        servers.push(task::start(free, Nature::Obedient).await.context("start a service for the null run")?);
    }
    let asked = plan.rate * 2;
    let ledger = Ledger::begin(std::iter::empty());
    ledger.refresh_begins();
    let addresses = servers.iter().map(|server| server.address).collect();
    let clients = Clients::new(plan, addresses, &ledger, &Cuts::default(), None);
    let (stop, stops) = watch::channel(false);
    let sockets = clients.sockets();
    let load = clients.load(asked, plan.seed, stops);
    let ((seconds, sent), ()) = tokio::join!(
        async {
            sleep(LASTS).await;
            let so_far = (ledger.began().elapsed().as_secs_f64(), ledger.so_far().0);
            stop.send_replace(true);
            so_far
        },
        load
    );
    let account = ledger.account();
    // What was sent by then was answered in the end, but for what failed.
    let answered = sent.saturating_sub(sockets + u64::try_from(account.failed).unwrap_or(0));
    let sustained = f64::from(u32::try_from(answered).unwrap_or(u32::MAX)) / seconds;
    Ok(Null { asked, sustained, late_p99: account.late_p99, short_p99: account.short.p99 })
}
