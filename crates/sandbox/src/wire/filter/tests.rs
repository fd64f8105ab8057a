//! Filters as clients write them, against two rows.

use serde_json::json;

use super::*;

fn fits(text: &str) -> Result<bool, Wrong> {
    let row = json!({
        "Name": "client1", "HTTPAddr": "10.0.0.11:4646", "Status": "ready",
        "Attributes": { "unique.platform.aws.instance-id": "i-0abc", "empty": "" }, "Meta": {}, "Tags": ["one", "two"],
    });
    Filter::read(text)?.fits(&row, false)
}

#[test]
fn these_filters_fit_and_those_do_not() {
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
fn a_key_that_is_not_there_fails_the_list_or_is_false_where_servers_are_lenient() {
    let text = r#"Meta["aws_instance_id"] == "i-0abc""#;
    assert!(matches!(fits(text), Err(Wrong::Missing(_))));
    assert_eq!(Filter::read(text).and_then(|f| f.fits(&json!({ "Meta": {} }), true)), Ok(false));
    assert!(matches!(fits(r#"Address == "10.0.0.11""#), Err(Wrong::Missing(_))), "no such field at all");
}

#[test]
fn what_does_not_fit_the_grammar_is_refused() {
    for text in
        ["", "Name", "Name ==", "Name == \"x", "(Name == x", "Attributes.a.instance-id == \"x\"", "Name == x y", "\"x\" Name"]
    {
        assert!(matches!(fits(text), Err(Wrong::Syntax(_))), "{text}");
    }
}
