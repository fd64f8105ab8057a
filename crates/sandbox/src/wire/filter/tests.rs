//! Filters as clients write them, applied to two rows.

use serde_json::json;

use super::*;

fn fits(text: &str) -> Result<bool, FilterError> {
    let row = json!({
        "Name": "client1", "HTTPAddr": "10.0.0.11:4646", "Status": "ready",
        "Attributes": { "unique.platform.aws.instance-id": "i-0abc", "empty": "" }, "Meta": {}, "Tags": ["one", "two"],
    });
    Filter::read(text)?.fits(&row, false)
}

#[test]
fn filters_match_or_do_not_match_as_in_go_bexpr() {
    let cases = [
        (r#"Name == "client1""#, true),
        (r#"Name == client1 and Status != ready"#, false),
        (r#"not Name == "x" and (Status == "down" or Status == "ready")"#, true),
        (r#"Attributes["unique.platform.aws.instance-id"] == "i-0abc""#, true),
        (
            r#""unique.platform.aws.instance-id" in Attributes and (Attributes["unique.platform.aws.instance-id"] == "i-1")"#,
            false,
        ),
        (r#"("aws_instance_id" in Meta and Meta["aws_instance_id"] == "i-0abc") or Name == "client1""#, true),
        (r#"HTTPAddr matches "^10\\.0\\.0\\.11:""#, true),
        (r#"HTTPAddr matches "^10\\.0\\.0\\.1:""#, false),
        (r#"HTTPAddr matches `0.0.11:4646$`"#, true),
        (r#"Attributes.empty is empty and Tags is not empty"#, true),
        (r#"Tags contains "two" and "three" not in Tags"#, true),
        (r#""/Attributes/empty" == """#, true),
    ];
    for (text, expected) in cases {
        assert_eq!(fits(text), Ok(expected), "{text}");
    }
}

#[test]
fn a_missing_key_fails_the_list_or_is_false_on_lenient_servers() {
    let text = r#"Meta["aws_instance_id"] == "i-0abc""#;
    assert!(matches!(fits(text), Err(FilterError::Missing(_))));
    assert_eq!(Filter::read(text).and_then(|f| f.fits(&json!({ "Meta": {} }), true)), Ok(false));
    assert!(matches!(fits(r#"Address == "10.0.0.11""#), Err(FilterError::Missing(_))), "no such field at all");
}

#[test]
fn a_filter_outside_the_grammar_is_refused() {
    for text in
        ["", "Name", "Name ==", "Name == \"x", "(Name == x", "Attributes.a.instance-id == \"x\"", "Name == x y", "\"x\" Name"]
    {
        assert!(matches!(fits(text), Err(FilterError::Syntax(_))), "{text}");
    }
}
