//! Scans every target group of the account and Region for an instance. Opt-in, and one scan at a time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::TargetTypeEnum;
use futures_util::future::join_all;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::Client;
use super::targets::Listing;
use crate::coalescing::Coalescer;
use decamp_core::decide::{Target, Unseen};
use decamp_core::ids::{InstanceId, TargetGroupArn, TargetId};

/// How long one call may scan.
const TIME_LIMIT: Duration = Duration::from_secs(8);
/// How long a finished scan is cached.
const CACHED_FOR: Duration = Duration::from_secs(60);
/// How many groups are read concurrently.
const CONCURRENT_GROUPS: usize = 5;

pub(super) struct Scan {
    client: Client,
    health: Arc<Coalescer<TargetGroupArn, (), Listing, Unseen>>,
    progress: Mutex<Progress>,
}

/// The progress of the current scan, or the result of the last one.
#[derive(Default)]
struct Progress {
    /// The groups that are still to be read; `None` before they are listed.
    left: Option<Vec<TargetGroupArn>>,
    seen: usize,
    found: HashMap<TargetId, Vec<TargetGroupArn>>,
    finished: Option<Instant>,
}

impl Scan {
    pub(super) fn new(client: &Client, health: &Arc<Coalescer<TargetGroupArn, (), Listing, Unseen>>) -> Self {
        let health = Arc::clone(health);
        Self { client: client.clone(), health, progress: Mutex::default() }
    }

    /// The groups that list the instance or one of its addresses, at most a minute old. Until all groups are read the result is unseen.
    pub(super) async fn groups_of(&self, instance: InstanceId, addresses: &[IpAddr]) -> Result<Vec<TargetGroupArn>, Unseen> {
        let until = Instant::now() + TIME_LIMIT;
        let in_progress = || Unseen::Away("the scan of all target groups is in progress".into());
        let mut progress = tokio::time::timeout_at(until, self.progress.lock()).await.map_err(|_| in_progress())?;
        if progress.finished.is_some_and(|finished| CACHED_FOR <= finished.elapsed()) {
            *progress = Progress::default();
        }
        // When the time is up the progress stays, and the next call continues from there.
        tokio::time::timeout_at(until, self.proceed(&mut progress)).await.map_err(|_| {
            let left = progress.left.as_ref().map_or(0, Vec::len);
            Unseen::Away(format!("the scan has read {} target groups, {left} are left", progress.seen).into())
        })??;
        let names = [TargetId::Instance(instance)].into_iter().chain(addresses.iter().copied().map(TargetId::Ip));
        let mut groups: Vec<TargetGroupArn> = Vec::new();
        for group in names.filter_map(|name| progress.found.get(&name)).flatten() {
            if !groups.contains(group) {
                groups.push(group.clone());
            }
        }
        Ok(groups)
    }

    async fn proceed(&self, progress: &mut Progress) -> Result<(), Unseen> {
        if progress.finished.is_some() {
            return Ok(());
        }
        if progress.left.is_none() {
            progress.left = Some(self.list().await?);
        }
        while let Some(next) = progress.left.as_ref().filter(|left| !left.is_empty()) {
            let next: Vec<TargetGroupArn> = next.iter().rev().take(CONCURRENT_GROUPS).cloned().collect();
            let looks = join_all(next.iter().map(|arn| self.health.ask(arn.clone(), ()))).await;
            for (arn, look) in next.into_iter().zip(looks) {
                progress.take(arn, look?.as_deref().unwrap_or_default());
            }
        }
        progress.finished = Some(Instant::now());
        Ok(())
    }

    /// Every target group that may list instances or their addresses.
    async fn list(&self) -> Result<Vec<TargetGroupArn>, Unseen> {
        self.client.acquire_look().await?;
        let send = |sdk: &aws_sdk_elasticloadbalancingv2::Client, from| {
            sdk.describe_target_groups().page_size(400).set_marker(from).send()
        };
        let pages = self.client.pages(usize::MAX, send, |page| page.next_marker()).await?;
        let held_by = |kind: Option<&TargetTypeEnum>| matches!(kind, Some(TargetTypeEnum::Instance | TargetTypeEnum::Ip));
        let ours = pages.iter().flat_map(|page| page.target_groups()).filter(|g| held_by(g.target_type()));
        Ok(ours.filter_map(|group| group.target_group_arn()?.parse().ok()).collect())
    }
}

impl Progress {
    fn take(&mut self, arn: TargetGroupArn, targets: &[Target]) {
        for target in targets {
            let groups = self.found.entry(target.id.clone()).or_default();
            if !groups.contains(&arn) {
                groups.push(arn.clone());
            }
        }
        self.seen += 1;
        if let Some(left) = &mut self.left {
            left.retain(|other| *other != arn);
        }
    }
}
