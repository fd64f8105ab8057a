//! A collector of traces: one POST of OTLP in JSON, and what came of it.

use std::sync::Arc;

use super::receivers::{Post, Unsent};
use super::secrets::{Fetch, Token};
use crate::settings::Traces;

/// A collector.
#[derive(Debug)]
pub struct Collector {
    url: String,
    header: Token,
    post: Post,
}

impl Collector {
    /// A collector; nothing is sent yet.
    #[must_use]
    pub fn new(settings: &Traces, store: &Arc<dyn Fetch>) -> Self {
        let url = format!("{}/v1/traces", settings.url.trim_end_matches('/'));
        Self { url, header: Token::new(settings.header.clone(), Arc::clone(store)), post: Post::default() }
    }

    /// Sends some spans.
    ///
    /// # Errors
    ///
    /// Why they were not accepted.
    pub async fn send(&self, body: Vec<u8>) -> Result<(), Unsent> {
        let held = self.header.get().await.map_err(|why| Unsent::NotSet(why.to_string().into()))?;
        let header = match &held {
            None => None,
            Some(held) => Some(held.expose().split_once(':').ok_or_else(|| {
                Unsent::NotSet("DECAMP_TRACES_HEADER is no header; write one such as authorization: Bearer …".into())
            })?),
        };
        self.post.send(&self.url, header.iter().map(|(name, value)| (name.trim(), value.trim())), body).await
    }
}
