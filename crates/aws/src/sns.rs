//! The part of SNS that an HTTP subscriber needs: the certificate that signs messages, and the confirmation of a subscription.

use decamp_core::decide::Refusal;

use super::endpoints;
use super::signed::{CALL, Operation, Signed, not_reached};

const CONFIRM_SUBSCRIPTION: Operation = Operation {
    name: "ConfirmSubscription",
    service: "sns",
    target: "",
    kind: "application/x-www-form-urlencoded; charset=utf-8",
};

impl Signed {
    /// Fetches a certificate's file from SNS in the Region of a subscribed topic; `None` if there is no such file. The file may have at
    /// most `most` bytes.
    ///
    /// # Errors
    ///
    /// SNS did not answer, or the answer cannot be used.
    pub async fn fetch_certificate(&self, topic: &str, file: &str, most: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let region = topic.split(':').nth(3).unwrap_or_default();
        // Certificates are at the plain host, without FIPS and dual-stack: messages name this address.
        let address = match self.aws.endpoint(&self.aws.settings.sns_endpoint) {
            Some(endpoint) => format!("{}/{file}", endpoint.trim_end_matches('/')),
            None => format!("https://{}/{file}", endpoints::plain_host("sns", region)),
        };
        let mut answer = self.http()?.get(address).timeout(CALL).send().await.map_err(|why| not_reached(&why))?;
        // S3, which serves the files, answers 403 for a file that does not exist.
        if matches!(answer.status().as_u16(), 400 | 403 | 404 | 410) {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(Refusal::Away(format!("SNS answered {} for its certificate", answer.status().as_u16()).into()));
        }
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|why| not_reached(&why))? {
            if most < read.len() + chunk.len() {
                return Err(Refusal::Away("the certificate of SNS is too large".into()));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(Some(read))
    }

    /// Confirms a subscription by the token of its confirmation request.
    ///
    /// # Errors
    ///
    /// SNS refused the call, or did not answer; then the call may have succeeded.
    pub async fn confirm_subscription(&self, topic: &str, token: &str) -> Result<(), Refusal> {
        let region = topic.split(':').nth(3);
        let fields = [("Action", "ConfirmSubscription"), ("Version", "2010-03-31"), ("TopicArn", topic), ("Token", token)];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.call(&CONFIRM_SUBSCRIPTION, region, body, token, CALL).await.map(drop)
    }
}
