//! Which groups `decamp check` reads: the named one, or all that the settings allow.

use std::sync::Arc;

use anyhow::{Result, bail};

use crate::connect::Connected;

/// What to read.
#[derive(Debug, Default)]
pub(super) struct Which {
    pub(super) groups: Vec<Arc<str>>,
    /// What `DECAMP_GROUPS` names and does not exist, with the nearest name that does.
    pub(super) missing: Vec<(Arc<str>, Option<Arc<str>>)>,
    /// Without `DECAMP_GROUPS`: groups that have no terminating hook, so that nothing of theirs waits for anybody.
    pub(super) without_hook: Vec<Arc<str>>,
}

pub(super) async fn which(at: &Connected, asg: Option<&str>) -> Result<Which> {
    let allowed = &at.settings.allowed;
    if let Some(asg) = asg {
        at.may_touch(asg)?;
        return Ok(Which { groups: vec![asg.into()], ..Which::default() });
    }
    let all = at.live.auto_scaling().names().await.map_err(|why| at.cannot_ask(&why))?;
    if all.is_empty() {
        bail!("there is no Auto Scaling group in {}; check AWS_REGION and the account of the credentials", at.region);
    }
    let mut which = Which::default();
    for name in &all {
        if !allowed.group(name) {
            continue;
        }
        // With nothing set every group of the account is allowed, most of which have nothing to do with decamp.
        if allowed.groups.is_empty() {
            let group = at.live.auto_scaling().settings_of(name).await.map_err(|why| at.cannot_ask(&why))?;
            if group.hooks.is_empty() {
                which.without_hook.push(Arc::clone(name));
                continue;
            }
        }
        which.groups.push(Arc::clone(name));
    }
    let named = allowed.groups.iter().filter(|name| !all.iter().any(|there| decamp_core::decide::is_named_by(name, there)));
    for name in named {
        let near = crate::nearest::nearest(name.trim_end_matches('*'), all.iter().map(|name| &**name));
        which.missing.push((Arc::clone(name), near.map(Arc::from)));
    }
    Ok(which)
}
