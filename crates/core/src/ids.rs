//! Names that AWS, Nomad and Consul give to things. Each is checked against its grammar before it can enter a URL or a filter.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};

/// A name that does not fit its grammar. The error does not repeat the text, because it may come from an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not {expected}")]
pub struct BadName {
    /// The expected form, with an article.
    pub expected: &'static str,
}

/// An EC2 instance id: `i-` and 8 or 17 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceId {
    digits: u128,
    long: bool,
}

impl InstanceId {
    /// The id whose 17 digits spell this number.
    #[must_use]
    pub fn from_number(digits: u64) -> Self {
        Self { digits: u128::from(digits), long: true }
    }

    /// The number that its digits spell.
    #[must_use]
    pub fn number(self) -> u128 {
        self.digits
    }
}

impl FromStr for InstanceId {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = BadName { expected: "an EC2 instance id such as i-0123456789abcdef0" };
        let digits = text.strip_prefix("i-").ok_or(bad)?;
        let hex = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !hex || !matches!(digits.len(), 8 | 17) {
            return Err(bad);
        }
        let long = digits.len() == 17;
        let digits = u128::from_str_radix(digits, 16).map_err(|_| bad)?;
        Ok(Self { digits, long })
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Formatted by hand for speed: each decision about a drain writes an id.
        let mut text = *b"i-00000000000000000";
        let length = if self.long { text.len() } else { "i-00000000".len() };
        let mut digits = self.digits;
        for place in text[2..length].iter_mut().rev() {
            *place = b"0123456789abcdef"[usize::try_from(digits & 15).unwrap_or(0)];
            digits >>= 4;
        }
        f.pad(str::from_utf8(&text[..length]).unwrap_or_default())
    }
}

macro_rules! uuid_name {
    ($(#[$doc:meta])* $name:ident, $expected:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u128);

        impl FromStr for $name {
            type Err = BadName;

            fn from_str(text: &str) -> Result<Self, BadName> {
                parse_uuid(text).map(Self).ok_or(BadName { expected: $expected })
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_uuid(self.0, f)
            }
        }
    };
}

uuid_name!(
    /// A Nomad node's id, a full UUID. Nomad answers 500 to a malformed one (facts/nomad.md 1.6).
    NodeId, "a Nomad node id (a full UUID)"
);
uuid_name!(
    /// A Nomad allocation's id.
    AllocationId, "a Nomad allocation id (a full UUID)"
);

/// Accepts only the canonical form: 8-4-4-4-12 lower-case hexadecimal digits.
fn parse_uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut number = 0_u128;
    for (place, &byte) in bytes.iter().enumerate() {
        let digit = match (place, byte) {
            (8 | 13 | 18 | 23, b'-') => continue,
            (8 | 13 | 18 | 23, _) => return None,
            (_, b'0'..=b'9') => byte - b'0',
            (_, b'a'..=b'f') => byte - b'a' + 10,
            _ => return None,
        };
        number = number << 4 | u128::from(digit);
    }
    Some(number)
}

fn write_uuid(id: u128, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        id >> 96,
        id >> 80 & 0xffff,
        id >> 64 & 0xffff,
        id >> 48 & 0xffff,
        id & 0xffff_ffff_ffff
    )
}

/// The ARN of a target group, or of a Classic Load Balancer, which holds its instances itself. The ARN shows its Region and account.
#[expect(clippy::derived_hash_with_manual_eq, reason = "what is one text is equal, and has one hash")]
#[derive(Clone, Eq, PartialOrd, Ord, Hash)]
pub struct TargetGroupArn(Arc<str>);

impl PartialEq for TargetGroupArn {
    /// Compares pointers first: all ARNs of an account begin with the same text.
    fn eq(&self, other: &Self) -> bool {
        self.is_clone_of(other) || self.0 == other.0
    }
}

impl TargetGroupArn {
    /// Whether both are clones of the same ARN.
    #[must_use]
    pub fn is_clone_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// The ARN as AWS writes it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it names a Classic Load Balancer.
    #[must_use]
    pub fn is_classic(&self) -> bool {
        self.0.splitn(6, ':').nth(5).is_some_and(|resource| resource.starts_with("loadbalancer/"))
    }

    /// The group's name, for people.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.split('/').nth(1).unwrap_or(&self.0)
    }

    /// The Region in the ARN.
    #[must_use]
    pub fn region(&self) -> &str {
        self.0.split(':').nth(3).unwrap_or("")
    }

    /// The account in the ARN.
    #[must_use]
    pub fn account(&self) -> &str {
        self.0.split(':').nth(4).unwrap_or("")
    }
}

impl FromStr for TargetGroupArn {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let bad = BadName {
            expected: "a target group ARN such as arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef",
        };
        let mut parts = text.splitn(6, ':');
        let mut next = || parts.next().ok_or(bad);
        let (arn, partition, service, region, account, resource) = (next()?, next()?, next()?, next()?, next()?, next()?);
        let plain = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let mut path = resource.split('/');
        let fits = arn == "arn"
            && partition.starts_with("aws")
            && plain(partition)
            && service == "elasticloadbalancing"
            && plain(region)
            && account.len() == 12
            && account.bytes().all(|b| b.is_ascii_digit())
            && match path.next() {
                Some("targetgroup") => path.next().is_some_and(plain) && path.next().is_some_and(plain),
                // ARNs of other load balancers have more parts. They are no target groups.
                Some("loadbalancer") => path.next().is_some_and(plain),
                Some(_) | None => false,
            }
            && path.next().is_none();
        if fits { Ok(Self(text.into())) } else { Err(bad) }
    }
}

impl fmt::Display for TargetGroupArn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The id under which a target is registered: an instance id or an address. A Lambda function or a load balancer is never ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TargetId {
    /// A target of type `instance`.
    Instance(InstanceId),
    /// A target of type `ip`.
    Ip(IpAddr),
    /// A Lambda function, a load balancer, or a newer form of AWS.
    Other(Arc<str>),
}

impl TargetId {
    /// Reads the id as `DescribeTargetHealth` gives it.
    #[must_use]
    pub fn read(text: &str) -> Self {
        if let Ok(instance) = text.parse() {
            return Self::Instance(instance);
        }
        match text.parse() {
            Ok(ip) => Self::Ip(ip),
            Err(_) => Self::Other(text.into()),
        }
    }
}

impl fmt::Display for TargetId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Instance(id) => id.fmt(f),
            Self::Ip(ip) => ip.fmt(f),
            Self::Other(text) => f.write_str(text),
        }
    }
}

/// A lifecycle action's token. The token is enough to complete the action, so only its hash is shown.
#[derive(Clone, PartialEq, Eq)]
pub struct ActionToken(Arc<str>);

impl ActionToken {
    /// The token itself, for API calls only.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl FromStr for ActionToken {
    type Err = BadName;

    /// A token has exactly 36 characters (Auto Scaling's API model); all observed ones are UUIDs.
    fn from_str(text: &str) -> Result<Self, BadName> {
        let fits = text.len() == 36 && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(BadName { expected: "a lifecycle action token (36 characters)" }) }
    }
}

impl fmt::Display for ActionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", short_hash(&[&self.0]))
    }
}

/// The first twelve hexadecimal digits of SHA-256 over the parts: enough to distinguish values, too few to reveal one.
#[must_use]
pub fn short_hash(parts: &[&str]) -> String {
    hex(&hash(parts)[..6])
}

/// SHA-256 over the parts. A zero byte ends each part.
#[must_use]
pub fn hash(parts: &[&str]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().into()
}

/// The hexadecimal digits of these bytes.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
    // Formatted by hand for speed: each decision about a drain needs it.
    let mut digits = String::with_capacity(bytes.len() * 2);
    digits.extend(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
    digits
}

macro_rules! debug_as_display {
    ($($name:ident),*) => { $(impl fmt::Debug for $name {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            fmt::Display::fmt(self, f)
        }
    })* };
}
debug_as_display!(InstanceId, NodeId, AllocationId, TargetGroupArn, ActionToken);

macro_rules! serde_as_text {
    ($($name:ident),*) => { $(
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )* };
}
serde_as_text!(InstanceId, NodeId, AllocationId, TargetGroupArn, ActionToken, TargetId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_instance_id_reads_back_as_it_was_written() {
        for text in ["i-0123456789abcdef0", "i-0abc1234"] {
            assert_eq!(text.parse::<InstanceId>().map(|id| id.to_string()), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_filter_cannot_be_smuggled_in_through_an_instance_id() {
        for text in ["i-1\" or Status==\"ready", "i-0ABC1234", "i-0123456789abcdef", "i-", "", "x-0abc1234", "i-0abc1234\n"] {
            assert!(text.parse::<InstanceId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn only_the_canonical_form_of_a_uuid_is_an_allocation_id() {
        let text = "15e52398-8b67-143d-4ae7-7107d64e0001";
        assert_eq!(text.parse::<AllocationId>().map(|id| id.to_string()), Ok(text.to_owned()));
        for text in ["15E52398-8b67-143d-4ae7-7107d64e0001", "15e52398", "15e523988b67143d4ae77107d64e0001----"] {
            assert!(text.parse::<AllocationId>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_token_is_never_printed() {
        let token: ActionToken = "87654321-4321-4321-4321-210987654321".parse().expect("it fits");
        assert!(!format!("{token} {token:?}").contains("4321"));
    }

    #[test]
    fn a_target_group_knows_its_region_and_account() {
        let arn: TargetGroupArn =
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/web/0123456789abcdef".parse().expect("it fits");
        assert_eq!((arn.region(), arn.account(), arn.name()), ("eu-west-1", "123456789012", "web"));
        assert!("arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/web/1".parse::<TargetGroupArn>().is_err());
        let classic: TargetGroupArn =
            "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/old-web".parse().expect("it fits");
        assert_eq!((classic.name(), classic.is_classic(), arn.is_classic()), ("old-web", true, false));
    }
}
