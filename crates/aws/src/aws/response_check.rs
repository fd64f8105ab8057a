//! An interceptor for every answer of AWS: it checks that the answer is complete, and reads the server's time.

use std::sync::Arc;

use aws_smithy_runtime_api::box_error::BoxError;
use aws_smithy_runtime_api::client::interceptors::context::{
    AfterDeserializationInterceptorContextRef, BeforeDeserializationInterceptorContextRef, BeforeTransmitInterceptorContextRef,
};
use aws_smithy_runtime_api::client::interceptors::{Intercept, dyn_dispatch_hint};
use aws_smithy_runtime_api::client::orchestrator::Metadata;
use aws_smithy_runtime_api::client::runtime_components::RuntimeComponents;
use aws_smithy_types::DateTime;
use aws_smithy_types::config_bag::{ConfigBag, Storable, StoreReplace};
use aws_smithy_types::date_time::Format;

use crate::operations::Calls;
use decamp_core::time::Time;
use decamp_net::clock::Clock;

/// Counts calls, reads the server's clock, and rejects incomplete answers.
#[derive(Debug)]
pub(super) struct ResponseCheck {
    pub(super) clock: Arc<Clock>,
    pub(super) calls: Arc<Calls>,
}

/// When the attempt was sent.
#[derive(Debug)]
struct Sent(Time);

impl Storable for Sent {
    type Storer = StoreReplace<Self>;
}

#[dyn_dispatch_hint]
impl Intercept for ResponseCheck {
    fn name(&self) -> &'static str {
        "ResponseCheck"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if let Some(operation) = cfg.load::<Metadata>() {
            self.calls.count(operation.name());
        }
        cfg.interceptor_state().store_put(Sent(self.clock.now()));
        Ok(())
    }

    fn read_before_deserialization(
        &self,
        context: &BeforeDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let answer = context.response();
        // An error page may come from a proxy, whose clock may be wrong.
        if !answer.status().is_success() {
            return Ok(());
        }
        let date = answer.headers().get("date").and_then(date);
        if let (Some(date), Some(Sent(sent))) = (date, cfg.load::<Sent>()) {
            self.clock.hear(date, *sent, self.clock.now());
        }
        Ok(())
    }

    /// The SDK reads a truncated XML document as a shorter list, and accepts any document for an operation without a result. Only the
    /// closing tag of the expected answer proves that the answer is complete.
    fn read_after_deserialization(
        &self,
        context: &AfterDeserializationInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        cfg: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        if context.output_or_error().is_err() {
            return Ok(());
        }
        let answer = context.response();
        let Some(operation) = cfg.load::<Metadata>().map(Metadata::name) else { return Ok(()) };
        if answer.status().is_success() && !is_complete(answer.body().bytes().unwrap_or_default(), operation) {
            return Err(format!("the answer to {operation} is incomplete").into());
        }
        Ok(())
    }
}

/// Reads a `Date` header.
pub(crate) fn date(text: &str) -> Option<Time> {
    let seconds = DateTime::from_str(text, Format::HttpDate).ok()?.secs();
    u64::try_from(seconds).ok().map(|seconds| Time(seconds.saturating_mul(1000)))
}

/// Whether a body ends with the closing tag of the answer to this operation.
fn is_complete(body: &[u8], operation: &str) -> bool {
    let rest = body.trim_ascii_end().strip_suffix(b"Response>").and_then(|rest| rest.strip_suffix(operation.as_bytes()));
    rest.is_some_and(|rest| rest.ends_with(b"</"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_closing_tag_makes_an_answer_complete() {
        let whole = b"<DeregisterTargetsResponse><DeregisterTargetsResult/></DeregisterTargetsResponse>\n";
        assert!(is_complete(whole, "DeregisterTargets"));
        for cut in 1..whole.len() {
            assert!(cut >= whole.len() - 1 || !is_complete(&whole[..cut], "DeregisterTargets"), "{cut}");
        }
        assert!(!is_complete(whole, "DescribeTargetHealth"));
        assert!(!is_complete(b"<html><body>welcome</body></html>", "DeregisterTargets"));
        assert!(!is_complete(b"", "DeregisterTargets"));
    }
}
