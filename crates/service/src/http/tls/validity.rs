//! From when to when a certificate is valid: the one field of it that a server has to read of its own.

use rustls::pki_types::CertificateDer;

use decamp_core::time::Time;

/// The times between which a certificate is valid; `None` if it cannot be read.
pub(super) fn validity(certificate: &CertificateDer<'_>) -> Option<(Time, Time)> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    let (_, certificate) = part(certificate, Some(SEQUENCE))?;
    let (_, mut signed) = part(certificate.0, Some(SEQUENCE))?;
    if signed.0.first() == Some(&VERSION) {
        signed.0 = part(signed.0, Some(VERSION))?.1.1;
    }
    // Serial number, algorithm and issuer stand before it (RFC 5280, 4.1).
    for _ in 0..3 {
        signed.0 = part(signed.0, None)?.1.1;
    }
    let (_, (validity, _)) = part(signed.0, Some(SEQUENCE))?;
    let (kind, (from, rest)) = part(validity, None)?;
    let from = time(kind, from)?;
    let (kind, (until, _)) = part(rest, None)?;
    Some((from, time(kind, until)?))
}

/// What a part holds, and what comes after it.
type Halves<'a> = (&'a [u8], &'a [u8]);

/// The first part of some DER, if it is of this kind: its kind, what is in it, and what comes after it.
fn part(der: &[u8], of: Option<u8>) -> Option<(u8, Halves<'_>)> {
    let (&kind, rest) = der.split_first()?;
    if of.is_some_and(|of| of != kind) {
        return None;
    }
    let (&first, rest) = rest.split_first()?;
    let (length, rest) = if first < 0x80 {
        (usize::from(first), rest)
    } else {
        let (digits, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
        if 4 < digits.len() {
            return None;
        }
        (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
    };
    rest.split_at_checked(length).map(|parts| (kind, parts))
}

/// A time as `YYMMDDHHMMSSZ` or `YYYYMMDDHHMMSSZ`.
fn time(kind: u8, digits: &[u8]) -> Option<Time> {
    let digits = std::str::from_utf8(digits).ok()?.strip_suffix('Z')?;
    let (century, rest) = match (kind, digits.len()) {
        // Two digits of a year are of 1950 to 2049.
        (0x17, 12) => (if digits < "50" { "20" } else { "19" }, digits),
        (0x18, 14) => digits.split_at_checked(2)?,
        _ => return None,
    };
    let of = |from: usize| rest.get(from..from + 2);
    let text = format!("{century}{}-{}-{}T{}:{}:{}Z", of(0)?, of(2)?, of(4)?, of(6)?, of(8)?, of(10)?);
    Time::read(&text)
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::pem::PemObject as _;

    use super::*;

    #[test]
    fn the_times_of_a_certificate_are_read_and_nothing_else_is_taken_for_one() {
        let certificate =
            CertificateDer::from_pem_slice(include_bytes!("../../../../../tests/serve/sns/signer.pem")).expect("one");
        let (from, until) = validity(&certificate).expect("it has both");
        assert!(
            from < until && Time::read("2027-01-01T00:00:00Z").is_some_and(|now| from < now && now < until),
            "{from} {until}"
        );
        for cut in 0..certificate.len().min(200) {
            assert_eq!(validity(&CertificateDer::from(&certificate[..cut])), None, "{cut}");
        }
    }

    #[test]
    fn both_ways_to_write_a_time_are_read() {
        let at = |text: &str| Time::read(text);
        assert_eq!(time(0x17, b"270102030405Z"), at("2027-01-02T03:04:05Z"));
        assert_eq!(time(0x17, b"990102030405Z"), at("1999-01-02T03:04:05Z"));
        assert_eq!(time(0x18, b"20510102030405Z"), at("2051-01-02T03:04:05Z"));
        for nonsense in [&b"270102030405"[..], b"27010203040Z", b"271302030405Z", b"\xff"] {
            assert_eq!(time(0x17, nonsense), None);
        }
    }
}
