//! Reads one JSON object at a time, field by field and in place. Nothing else is allocated, however large or deep the text is.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::rejection::Rejection;

/// The deepest nesting of an event. Real ones nest at most six deep.
pub(super) const MOST_DEPTH: usize = 32;

/// The most fields of an object. Real ones have at most fifteen, and AWS may add some.
const MOST_FIELDS: usize = 256;

/// A source of text fields: JSON, or lines of `Key: Value`.
pub(super) trait Fields {
    /// The text of a field. Absent, null and empty are all `None`.
    fn text(&self, field: &'static str) -> Result<Option<Cow<'_, str>>, Rejection>;

    /// The text of a field that must be there.
    fn required(&self, field: &'static str) -> Result<Cow<'_, str>, Rejection> {
        self.text(field)?.ok_or(Rejection::Missing { field })
    }
}

/// A JSON object whose fields are not parsed yet.
#[derive(Debug)]
pub(super) struct Object<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads an object's fields without parsing their values.
    pub(super) fn read(text: &'a str) -> Result<Self, Rejection> {
        if !text.trim_start().starts_with('{') {
            return Err(Rejection::Unknown { shape: shape(text) });
        }
        let Entries(entries) = serde_json::from_str(text).map_err(|_| Rejection::NotJson)?;
        entries.map(Self).ok_or(Rejection::TooMany { what: "fields in an object", most: MOST_FIELDS })
    }

    /// Whether the object has this field.
    pub(super) fn has(&self, field: &str) -> bool {
        self.0.iter().any(|(key, _)| key == field)
    }

    /// A field's value as JSON text. A duplicate field is rejected, because it is unclear which one is meant.
    fn raw(&self, field: &'static str) -> Result<Option<&'a str>, Rejection> {
        let mut found = self.0.iter().filter(|(key, _)| key == field);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(Rejection::Twice { field }),
            (Some((_, value)), None) => Ok(Some(value.get()).filter(|text| *text != "null")),
            (None, None) => Ok(None),
        }
    }

    /// A field that is an object itself.
    pub(super) fn object(&self, field: &'static str) -> Result<Option<Object<'a>>, Rejection> {
        match self.raw(field)? {
            None => Ok(None),
            Some(text) if text.starts_with('{') => Object::read(text).map(Some),
            Some(_) => Err(Rejection::WrongType { field, expected: "an object" }),
        }
    }

    /// The elements of a field that is an array.
    pub(super) fn array(&self, field: &'static str, most: usize) -> Result<Option<Vec<&'a str>>, Rejection> {
        match self.raw(field)? {
            None => Ok(None),
            Some(text) if text.starts_with('[') => elements(text, most).map(Some),
            Some(_) => Err(Rejection::WrongType { field, expected: "an array" }),
        }
    }

    /// Describes the fields: those that AWS uses by name, the others by their number.
    pub(super) fn shape(&self) -> String {
        let mut known: Vec<&str> = KNOWN.iter().copied().filter(|name| self.has(name)).collect();
        let others = self.0.iter().filter(|(key, _)| !KNOWN.contains(&key.as_ref())).count();
        let others = match others {
            0 if known.is_empty() => "no field".to_owned(),
            0 => String::new(),
            1 => "1 other field".to_owned(),
            _ => format!("{others} other fields"),
        };
        if !others.is_empty() {
            known.push(&others);
        }
        format!("an object with {}", known.join(", "))
    }
}

impl Fields for Object<'_> {
    fn text(&self, field: &'static str) -> Result<Option<Cow<'_, str>>, Rejection> {
        self.raw(field)?.map_or(Ok(None), |value| {
            let text = string(value).ok_or(Rejection::WrongType { field, expected: "a string" })?;
            Ok(Some(text).filter(|text| !text.is_empty()))
        })
    }
}

/// The field names that a rejection may repeat: AWS's own.
const KNOWN: [&str; 18] = [
    "version",
    "id",
    "detail-type",
    "source",
    "account",
    "region",
    "time",
    "detail",
    "resources",
    "Records",
    "Type",
    "TopicArn",
    "Message",
    "Service",
    "Event",
    "LifecycleTransition",
    "AutoScalingGroupName",
    "EC2InstanceId",
];

/// A JSON string's text, if it is one.
pub(super) fn string(value: &str) -> Option<Cow<'_, str>> {
    value.trim_start().starts_with('"').then(|| serde_json::from_str::<Text<'_>>(value).ok())?.map(|text| text.0)
}

/// The elements of an array, each as JSON text.
pub(super) fn elements(text: &str, most: usize) -> Result<Vec<&str>, Rejection> {
    struct Elements(usize);
    impl<'a> Visitor<'a> for Elements {
        type Value = Option<Vec<&'a str>>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'a>>(self, mut array: A) -> Result<Self::Value, A::Error> {
            let mut all = Vec::new();
            while let Some(value) = array.next_element::<&RawValue>()? {
                if all.len() == self.0 {
                    while array.next_element::<IgnoredAny>()?.is_some() {}
                    return Ok(None);
                }
                all.push(value.get());
            }
            Ok(Some(all))
        }
    }
    let mut json = serde_json::Deserializer::from_str(text);
    let all = json.deserialize_seq(Elements(most)).map_err(|_| Rejection::NotJson)?;
    all.ok_or(Rejection::TooMany { what: "elements in an array", most })
}

/// The kind of JSON value of a text, without repeating any of it.
pub(super) fn shape(text: &str) -> String {
    let kind = match text.trim_start().bytes().next() {
        Some(b'{') => return Object::read(text).map_or_else(|_| "an object".to_owned(), |object| object.shape()),
        Some(b'[') => "an array",
        Some(b'"') => "a string",
        Some(b't' | b'f') => "a boolean",
        Some(b'n') => "null",
        Some(b'0'..=b'9' | b'-') => "a number",
        Some(_) => "plain text",
        None => "empty",
    };
    kind.to_owned()
}

/// How deep a valid JSON text nests. One pass over its bytes, without allocation.
pub(super) fn depth(text: &str) -> usize {
    let (mut deepest, mut now, mut in_string, mut escaped) = (0_usize, 0_usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                now += 1;
                deepest = deepest.max(now);
            }
            b'}' | b']' if !in_string => now = now.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A string that is borrowed if it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object's entries in order; `None` if there are too many.
struct Entries<'a>(Option<Vec<(Cow<'a, str>, &'a RawValue)>>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Entries<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some((Text(key), value)) = map.next_entry()? {
                    if all.len() == MOST_FIELDS {
                        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                        return Ok(Entries(None));
                    }
                    all.push((key, value));
                }
                Ok(Entries(Some(all)))
            }
        }
        from.deserialize_map(Reader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_inside_a_string_do_not_nest() {
        assert_eq!(depth(r#"{"a":"[[[\"[","b":[{}]}"#), 3);
    }

    #[test]
    fn a_shape_never_repeats_a_name_that_is_not_aws_own() {
        assert_eq!(shape(r#"{"canary":1,"source":"canary"}"#), "an object with source, 1 other field");
        assert_eq!(shape("canary"), "plain text");
    }

    #[test]
    fn a_hundred_thousand_open_brackets_are_read_without_recursion() {
        let deep = format!("{{\"a\":{}1{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(Object::read(&deep).is_ok());
        assert_eq!(depth(&deep), 100_001);
    }

    #[test]
    fn an_object_with_too_many_fields_is_refused_and_not_kept() {
        let many: String = (0..300).map(|n| format!("\"{n}\":0,")).collect();
        let text = format!("{{{}\"last\":0}}", many);
        assert!(matches!(Object::read(&text), Err(Rejection::TooMany { .. })));
    }

    #[test]
    fn a_lone_surrogate_is_a_wrong_type_and_no_panic() {
        let object = Object::read(r#"{"id":"\ud800"}"#).unwrap();
        assert_eq!(object.text("id"), Err(Rejection::WrongType { field: "id", expected: "a string" }));
    }
}
