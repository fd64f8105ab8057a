//! Tests with the published vectors and with webhooks that must not be accepted.

use super::*;

const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const SENT: u64 = 1_614_265_330;
const BODY: &[u8] = b"{\"test\": 2432232314}";
const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

fn at(seconds: u64) -> Time {
    Time(seconds * 1_000)
}

fn verify(id: &str, timestamp: &str, signatures: &str, body: &[u8], secrets: &[&str], now: Time) -> Result<String, Doubt> {
    let secrets: Vec<Secret> = secrets.iter().map(|text| Secret::new(*text)).collect();
    let headers = |name: &str| {
        let value = match name {
            "webhook-id" => id,
            "webhook-timestamp" => timestamp,
            "webhook-signature" => signatures,
            _ => return None,
        };
        (value != "-").then(|| value.to_owned())
    };
    standard(&headers, body, &secrets, now)
}

#[test]
fn the_published_vector_of_standard_webhooks_is_accepted() {
    assert_eq!(verify(ID, "1614265330", SIGNATURE, BODY, &[SECRET], at(SENT)), Ok(ID.to_owned()));
}

#[test]
fn a_rotation_is_accepted_from_both_sides() {
    let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let two = format!("v1,AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA= {SIGNATURE} v1a,asymmetric");
    assert!(verify(ID, "1614265330", &two, BODY, &[SECRET], at(SENT)).is_ok(), "the sender signs with two");
    assert!(verify(ID, "1614265330", SIGNATURE, BODY, &[other, SECRET], at(SENT)).is_ok(), "we know two");
    assert_eq!(verify(ID, "1614265330", SIGNATURE, BODY, &[other], at(SENT)), Err(Doubt::Forged));
}

#[test]
fn a_webhook_that_was_changed_after_signing_is_not_accepted() {
    let now = at(SENT);
    type Case<'a> = (&'a str, &'a str, &'a str, &'a [u8], &'a [&'a str], Time, Doubt);
    let cases: &[Case<'_>] = &[
        ("msg_other", "1614265330", SIGNATURE, BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265331", SIGNATURE, BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", SIGNATURE, b"{\"test\": 2432232315}", &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", SIGNATURE, b"{\"test\":2432232314}", &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", SIGNATURE, b"", &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", &SIGNATURE.replace("v1,", "v2,"), BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", &SIGNATURE.replace("v1,", ""), BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", "v1,", BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", "", BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", &SIGNATURE.replace("g0hM", "G0hM"), BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", &SIGNATURE[..20], BODY, &[SECRET], now, Doubt::Forged),
        (ID, "1614265330", SIGNATURE, BODY, &[], now, Doubt::NoSecret),
        (ID, "1614265330", SIGNATURE, BODY, &[""], now, Doubt::NoSecret),
        (ID, "1614265330", SIGNATURE, BODY, &["whsec_"], now, Doubt::NoSecret),
        (ID, "1614265330", SIGNATURE, BODY, &["whsec_c2hvcnQ="], now, Doubt::NoSecret),
        ("-", "1614265330", SIGNATURE, BODY, &[SECRET], now, Doubt::Missing("webhook-id")),
        (ID, "-", SIGNATURE, BODY, &[SECRET], now, Doubt::Missing("webhook-timestamp")),
        (ID, "1614265330", "-", BODY, &[SECRET], now, Doubt::Missing("webhook-signature")),
        ("", "1614265330", SIGNATURE, BODY, &[SECRET], now, Doubt::Unreadable("webhook-id")),
        // If a dot could move from one part to the next, one signature would fit two messages.
        ("msg_p5jXN8AQM9LWM0D4loKWxJek.1", "1614265330", SIGNATURE, BODY, &[SECRET], now, Doubt::Unreadable("webhook-id")),
        (ID, "+1614265330", SIGNATURE, BODY, &[SECRET], now, Doubt::Unreadable("webhook-timestamp")),
        (ID, "1614265330.0", SIGNATURE, BODY, &[SECRET], now, Doubt::Unreadable("webhook-timestamp")),
        (ID, "-1614265330", SIGNATURE, BODY, &[SECRET], now, Doubt::Unreadable("webhook-timestamp")),
        (ID, "99999999999999999999", SIGNATURE, BODY, &[SECRET], now, Doubt::Unreadable("webhook-timestamp")),
    ];
    for (number, (id, timestamp, signatures, body, secrets, now, doubt)) in cases.iter().enumerate() {
        assert_eq!(verify(id, timestamp, signatures, body, secrets, *now), Err(*doubt), "case {number}");
    }
}

#[test]
fn a_signature_that_is_more_than_five_minutes_off_is_not_accepted() {
    let of = |now: u64| verify(ID, "1614265330", SIGNATURE, BODY, &[SECRET], at(now));
    assert!(of(SENT + 300).is_ok() && of(SENT - 300).is_ok());
    assert_eq!(of(SENT + 301), Err(Doubt::OutOfTime));
    assert_eq!(of(SENT - 301), Err(Doubt::OutOfTime));
}

#[test]
fn a_limited_number_of_signatures_is_tried() {
    let many = format!("{}{SIGNATURE}", "v1,AAAA ".repeat(5_000));
    assert_eq!(verify(ID, "1614265330", &many, BODY, &[SECRET], at(SENT)), Err(Doubt::Forged));
}

#[test]
fn the_published_vector_of_github_is_accepted_and_nothing_else() {
    let secret = Secret::new("It's a Secret to Everybody");
    let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
    let of = |signature: Option<&str>, body: &[u8], secrets: &[Secret]| github(signature, body, secrets);
    let secrets = std::slice::from_ref(&secret);
    assert_eq!(of(Some(right), b"Hello, World!", secrets), Ok(()));
    assert_eq!(of(Some(right), b"Hello, World", secrets), Err(Doubt::Forged));
    assert_eq!(of(Some(&right[7..]), b"Hello, World!", secrets), Err(Doubt::Unreadable("x-hub-signature-256")));
    assert_eq!(
        of(Some(&right.replace("sha256", "sha1")), b"Hello, World!", secrets),
        Err(Doubt::Unreadable("x-hub-signature-256"))
    );
    assert_eq!(of(Some(&right[..41]), b"Hello, World!", secrets), Err(Doubt::Forged));
    assert_eq!(of(Some("sha256="), b"Hello, World!", secrets), Err(Doubt::Forged));
    assert_eq!(of(None, b"Hello, World!", secrets), Err(Doubt::Missing("x-hub-signature-256")));
    assert_eq!(of(Some(right), b"Hello, World!", &[]), Err(Doubt::NoSecret));
    assert_eq!(of(Some(right), b"Hello, World!", &[Secret::new("")]), Err(Doubt::NoSecret));
}

#[test]
fn terraform_signs_with_sha_512() {
    // RFC 4231, test case 2: the key is "Jefe".
    let secrets = [Secret::new("Jefe")];
    let body = b"what do ya want for nothing?";
    let right = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
    assert_eq!(terraform(Some(right), body, &secrets), Ok(()));
    let shorter = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    assert_eq!(terraform(Some(shorter), body, &secrets), Err(Doubt::Forged), "SHA-256 is not what it signs with");
    assert_eq!(terraform(Some(right), b"what do ya want", &secrets), Err(Doubt::Forged));
    assert_eq!(terraform(None, body, &secrets), Err(Doubt::Missing("x-tfe-notification-signature")));
    assert_eq!(terraform(Some(""), body, &secrets), Err(Doubt::Forged));
    assert_eq!(terraform(Some("zz"), body, &secrets), Err(Doubt::Unreadable("x-tfe-notification-signature")));
    assert_eq!(terraform(Some(right), body, &[Secret::new(" ")]), Err(Doubt::NoSecret));
}

#[test]
fn our_signature_is_the_published_vector_and_a_rotation_has_one_of_each_secret() {
    let secrets = [Secret::new(SECRET), Secret::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"), Secret::new("not one")];
    let signed = standard_signature(ID, SENT, BODY, &secrets).expect("two can sign");
    assert_eq!(signed.split(' ').collect::<Vec<_>>()[0], SIGNATURE);
    assert_eq!(signed.split(' ').count(), 2);
    assert_eq!(standard_signature(ID, SENT, BODY, &secrets[2..]), None);
}
