//! Which groups `decamp check` reads: the named one, or all groups that the settings allow.

use std::sync::Arc;

use anyhow::{Result, bail};

use crate::connect::Connected;

/// The groups to read, and those that are left out.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pub(super) groups: Vec<Arc<str>>,
    /// Names in `DECAMP_GROUPS` that do not exist, each with the most similar name that does.
    pub(super) missing: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Only without `DECAMP_GROUPS`: groups that have no terminating hook, whose instances never wait.
    pub(super) without_hook: Vec<Arc<str>>,
}

pub(super) async fn select(at: &Connected, asg: Option<&str>) -> Result<Selection> {
    let allowed = &at.settings.allowed;
    if let Some(asg) = asg {
        at.may_touch(asg)?;
        return Ok(Selection { groups: vec![asg.into()], ..Selection::default() });
    }
    let all = at.live.auto_scaling().names().await.map_err(|why| at.cannot_ask(&why))?;
    if all.is_empty() {
        bail!("there is no Auto Scaling group in {}; check AWS_REGION and the account of the credentials", at.region);
    }
    let mut selection = Selection::default();
    for name in &all {
        if !allowed.group(name) {
            continue;
        }
        // Without DECAMP_GROUPS every group of the account is allowed, and most have nothing to do with decamp.
        if allowed.groups.is_empty() {
            let group = at.live.auto_scaling().settings_of(name).await.map_err(|why| at.cannot_ask(&why))?;
            if group.hooks.is_empty() {
                selection.without_hook.push(Arc::clone(name));
                continue;
            }
        }
        selection.groups.push(Arc::clone(name));
    }
    let named = allowed.groups.iter().filter(|name| !all.iter().any(|there| decamp_core::decide::is_named_by(name, there)));
    for name in named {
        let near = crate::nearest::nearest(name.trim_end_matches('*'), all.iter().map(|name| &**name));
        selection.missing.push((Arc::clone(name), near.map(Arc::from)));
    }
    Ok(selection)
}
