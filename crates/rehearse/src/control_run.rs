//! The control run: the same clients send straight to the services, to show that the rehearsal itself is no bottleneck (ADR 0024).

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
use super::self_check::IN_TIME;
use super::task;

/// How long the control run lasts.
pub const LASTS: Duration = Duration::from_secs(4);

/// The load that this machine can carry.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct ControlRun {
    /// The requests per second that the clients tried to send: twice the plan's rate.
    pub asked: u32,
    /// The requests per second that were sent and answered.
    pub sustained: f64,
    /// How many milliseconds after its due time a request was sent (p99).
    pub late_p99: f64,
    /// How many milliseconds a short request took (p99).
    pub short_p99: f64,
}

impl ControlRun {
    /// Whether this machine can carry the rehearsal.
    #[must_use]
    pub fn is_enough(&self) -> bool {
        f64::from(self.asked) * 0.98 <= self.sustained && self.late_p99 <= IN_TIME
    }
}

/// Runs the control: twice the rate, one server for each service, no load balancer, no ingress and no departures.
///
/// # Errors
/// No port is free.
pub async fn control_run(plan: &Plan) -> Result<ControlRun> {
    let mut servers = Vec::new();
    for _ in 0..plan.services.max(1) {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        servers.push(task::start(free, Nature::Obedient).await.context("start a service for the control run")?);
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
    // Every request that was sent by then was answered, except those that failed.
    let answered = sent.saturating_sub(sockets + u64::try_from(account.failed).unwrap_or(0));
    let sustained = f64::from(u32::try_from(answered).unwrap_or(u32::MAX)) / seconds;
    Ok(ControlRun { asked, sustained, late_p99: account.late_p99, short_p99: account.short.p99 })
}
