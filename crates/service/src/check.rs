//! Checks the files that the settings name before the service starts. The settings themselves are checked elsewhere.

use anyhow::Result;

use super::http::check_files;
use decamp_config::{NotifyKind, Refused, Secret, Settings, TokenSource, WebhookScheme};

/// A shorter signing secret can be guessed.
const SHORTEST_SECRET: usize = 16;

/// Checks the secrets on this machine, certificates and authorities.
///
/// # Errors
///
/// The first one that cannot be used, with what to do about it.
pub fn check(settings: &Settings) -> Result<()> {
    let serve = &settings.serve;
    for (name, webhook) in &serve.signed {
        let place = format!("webhooks.{name}");
        match webhook.scheme {
            WebhookScheme::Standard => standard(&place, &webhook.secrets)?,
            WebhookScheme::GitHub => long_enough(&place, &webhook.secrets)?,
        }
    }
    if let Some(terraform) = &serve.terraform {
        long_enough("terraform", &terraform.secrets)?;
    }
    for (name, receiver) in &serve.notify {
        let place = format!("notify.{name}");
        receiver.url.at_hand(&place)?;
        if receiver.kind == NotifyKind::Webhook {
            standard(&place, &receiver.secrets)?;
        }
    }
    if let Some(traces) = &serve.traces {
        traces.header.at_hand("DECAMP_TRACES_HEADER")?;
    }
    check_files(serve)
}

/// Checks secrets in the form of the Standard Webhooks specification.
fn standard(place: &str, source: &TokenSource) -> Result<(), Refused> {
    let right = |secret: &Secret| secret.standard_key().is_some();
    all(place, source, right, "it is no secret of Standard Webhooks; write whsec_ and 24 to 64 bytes in base64, one a line")
}

fn long_enough(place: &str, source: &TokenSource) -> Result<(), Refused> {
    let right = |secret: &Secret| SHORTEST_SECRET <= secret.expose().len();
    all(place, source, right, "it can be guessed; write a secret of at least 16 characters, one a line")
}

fn all(place: &str, source: &TokenSource, right: impl Fn(&Secret) -> bool, else_: &str) -> Result<(), Refused> {
    let Some(held) = source.at_hand(place)? else { return Ok(()) };
    let lines: Vec<Secret> = held.lines().collect();
    if lines.is_empty() || !lines.iter().all(right) {
        return Err(Refused(format!("{place}: {else_}")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(text: &str) -> Settings {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), text).expect("it is ours");
        Settings::from_file_and_environment(file.path()).expect("it can be read")
    }

    fn refusal(settings: &Settings) -> String {
        check(settings).expect_err("it must not be served").to_string()
    }

    #[test]
    fn a_secret_that_cannot_sign_or_can_be_guessed_is_refused_before_the_start() {
        let standard = |secret: &str| with(&format!("[webhooks.x]\nscheme = \"standard\"\naction = \"look\"\n{secret}\n"));
        let right = "secret = \"whsec_Y2FuYXJ5LWNhbmFyeS1jYW5hcnktY2FuYXJ5LXg9\"";
        check(&standard(right)).expect("it is right");
        assert!(refusal(&standard("secret = \"canary-that-is-no-base64!\"")).contains("webhooks.x: it is no secret of Standard"));
        let missing = refusal(&standard("secret_file = \"/nowhere/secret\""));
        assert!(missing.contains("/nowhere/secret cannot be read") && missing.contains("see that it is there"), "{missing}");
        let github =
            |secret: &str| with(&format!("[webhooks.x]\nscheme = \"github\"\naction = \"look\"\nsecret = \"{secret}\"\n"));
        check(&github("It's a Secret, to Everybody")).expect("it is long enough");
        assert!(refusal(&github("canary")).contains("it can be guessed") && !refusal(&github("canary")).contains("canary"));
        let terraform = with("[terraform]\nsecret = \"short\"\n[terraform.workspaces]\n\"a/b\" = [\"web\"]\n");
        assert!(refusal(&terraform).starts_with("terraform: "));
    }
}
