//! Reads answers in the XML of AWS's query protocol, for calls without an SDK client.

use aws_smithy_xml::decode::{Document, ScopedDecoder, try_data};

use decamp_core::decide::Refusal;

/// The texts of an element's children, by the children's names.
pub(super) struct Texts(Vec<(String, String)>);

impl Texts {
    /// The text of the child with this name.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }
}

/// Every element at this path below the answer's root, which must be `OPERATIONResponse`.
///
/// # Errors
///
/// It is not an answer to this operation, or it is incomplete: a missing element of a truncated answer proves nothing.
pub(super) fn elements(answer: &[u8], operation: &str, path: &[&str]) -> Result<Vec<Texts>, Refusal> {
    let invalid = || Refusal::Away(format!("not a complete answer to {operation}").into());
    let text = str::from_utf8(answer).ok().filter(|text| is_complete(text)).ok_or_else(invalid)?;
    let mut document = Document::new(text);
    let mut root = document.root_element().map_err(|_| invalid())?;
    if root.start_el().local().strip_suffix("Response") != Some(operation) {
        return Err(invalid());
    }
    let mut found = Vec::new();
    below(&mut root, path, &mut found);
    Ok(found)
}

/// The code and the message of an error.
pub(super) fn error(answer: &[u8]) -> Option<(String, String)> {
    let text = str::from_utf8(answer).ok().filter(|text| is_complete(text))?;
    let mut document = Document::new(text);
    let mut root = document.root_element().ok()?;
    let mut found = Vec::new();
    below(&mut root, &["Error"], &mut found);
    let error = found.first()?;
    Some((error.get("Code")?.to_owned(), error.get("Message").unwrap_or_default().to_owned()))
}

/// Whether every element is closed.
fn is_complete(text: &str) -> bool {
    let mut depth = None;
    for token in Document::new(text) {
        let Ok((_, at)) = token else { return false };
        depth = Some(at);
    }
    depth == Some(0)
}

fn below(element: &mut ScopedDecoder<'_, '_>, path: &[&str], found: &mut Vec<Texts>) {
    let Some((first, rest)) = path.split_first() else {
        found.push(texts(element));
        return;
    };
    while let Some(mut child) = element.next_tag() {
        if child.start_el().matches(first) {
            below(&mut child, rest, found);
        }
    }
}

/// The texts of an element's children. Children that have children themselves have no text.
fn texts(element: &mut ScopedDecoder<'_, '_>) -> Texts {
    let mut all = Vec::new();
    while let Some(mut child) = element.next_tag() {
        let name = child.start_el().local().to_owned();
        if let Ok(text) = try_data(&mut child) {
            all.push((name, text.trim().to_owned()));
        }
    }
    Texts(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = "<?xml version=\"1.0\"?><AskResponse xmlns=\"x\"><AskResult><Rows><member><Id>a &amp; b</Id><Deep><Id>no</Id></Deep>\
                          </member><member/></Rows></AskResult></AskResponse>\n";

    #[test]
    fn elements_are_found_by_their_path_and_read_by_name() {
        let rows = elements(ANSWER.as_bytes(), "Ask", &["AskResult", "Rows", "member"]).expect("it is one");
        assert_eq!(rows.iter().map(|row| row.get("Id")).collect::<Vec<_>>(), [Some("a & b"), None]);
    }

    #[test]
    fn a_truncated_answer_is_an_error_and_not_a_shorter_list() {
        let whole = ANSWER.trim_end();
        for length in 0..whole.len() {
            assert!(elements(&whole.as_bytes()[..length], "Ask", &["AskResult", "Rows", "member"]).is_err(), "{length}");
        }
    }

    #[test]
    fn the_answer_to_another_operation_and_a_page_of_html_are_errors() {
        for other in ["<html><body>proxy</body></html>", "<OtherResponse/>", "", "{}"] {
            assert!(elements(other.as_bytes(), "Ask", &["AskResult"]).is_err(), "{other}");
        }
    }

    #[test]
    fn an_error_has_a_code_and_a_message() {
        let text =
            "<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>";
        assert_eq!(error(text.as_bytes()), Some(("AccessDenied".to_owned(), "no".to_owned())));
        assert_eq!(error(b"<html/>"), None);
    }
}
