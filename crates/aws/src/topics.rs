//! SNS, as far as a subscriber over HTTP needs it: the certificate that signs messages, and the answer to a confirmation.

use decamp_core::decide::Refusal;

use super::endpoints;
use super::signed::{CALL, Operation, Signed, away};

const CONFIRM_SUBSCRIPTION: Operation = Operation {
    name: "ConfirmSubscription",
    service: "sns",
    target: "",
    kind: "application/x-www-form-urlencoded; charset=utf-8",
};

impl Signed {
    /// Fetches a certificate's file from SNS of the Region of a topic of ours; at most `most` bytes of it.
    ///
    /// # Errors
    ///
    /// Nothing came back that can be read. `None`: no file of that name is there.
    pub async fn fetch_certificate(&self, topic: &str, file: &str, most: usize) -> Result<Option<Vec<u8>>, Refusal> {
        let region = topic.split(':').nth(3).unwrap_or_default();
        // Its certificates are at the plain host whatever endpoint is called: so says the address that is compared with it.
        let address = match self.aws.endpoint(&self.aws.settings.sns_endpoint) {
            Some(endpoint) => format!("{}/{file}", endpoint.trim_end_matches('/')),
            None => format!("https://{}/{file}", endpoints::plain_host("sns", region)),
        };
        let mut answer = self.http()?.get(address).timeout(CALL).send().await.map_err(|why| away(&why))?;
        // S3, where the files are, answers 403 for what is not there.
        if matches!(answer.status().as_u16(), 400 | 403 | 404 | 410) {
            return Ok(None);
        }
        if !answer.status().is_success() {
            return Err(Refusal::Away(format!("SNS answered {} for its certificate", answer.status().as_u16()).into()));
        }
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(|why| away(&why))? {
            if most < read.len() + chunk.len() {
                return Err(Refusal::Away("SNS's certificate never ends".into()));
            }
            read.extend_from_slice(&chunk);
        }
        Ok(Some(read))
    }

    /// Agrees to a subscription, by the token that came with its confirmation.
    ///
    /// # Errors
    ///
    /// Why it was refused; or that nothing is known of what became of it.
    pub async fn confirm_subscription(&self, topic: &str, token: &str) -> Result<(), Refusal> {
        let region = topic.split(':').nth(3);
        let fields = [("Action", "ConfirmSubscription"), ("Version", "2010-03-31"), ("TopicArn", topic), ("Token", token)];
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        self.call(&CONFIRM_SUBSCRIPTION, region, body, token, CALL).await.map(drop)
    }
}
