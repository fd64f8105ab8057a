//! Reads the text of an ACL policy, where Nomad does not give it parsed: blocks, texts and lists of texts, no more.

use super::rules::{Namespace, Rules};

/// Reads a policy. `None` if there is anything in it that is not understood: then it proves nothing.
pub(super) fn read(text: &str) -> Option<Rules> {
    let tokens = tokens(text)?;
    let mut rest = tokens.as_slice();
    let mut rules = Rules::default();
    while let Some((first, after)) = rest.split_first() {
        let Token::Word(kind) = first else { return None };
        rest = after;
        let mut labels = Vec::new();
        while let Some((Token::Word(label), after)) = rest.split_first() {
            labels.push(label.as_str());
            rest = after;
        }
        if let Some((Token::Sign('='), after)) = rest.split_first() {
            rest = after;
        }
        let body = block(&mut rest)?;
        match kind.as_str() {
            "namespace" => {
                let [name] = labels[..] else { return None };
                let (policy, capabilities) = (body.text("policy")?, body.list("capabilities")?);
                rules.namespaces.push(Namespace { name: name.to_owned(), policy, capabilities });
            }
            "node" if labels.is_empty() => {
                let policy = body.text("policy")?;
                // Two such blocks are a mistake that Nomad refuses.
                if rules.node.replace(policy).is_some() {
                    return None;
                }
            }
            _ => {}
        }
    }
    Some(rules)
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    /// A name, with or without quotes.
    Word(String),
    Sign(char),
}

/// What stands in a block. Blocks within it do not matter here: variables, for one.
#[derive(Default)]
struct Body {
    texts: Vec<(String, String)>,
    lists: Vec<(String, Vec<String>)>,
}

impl Body {
    /// A text that is set at most once; empty if it is not.
    fn text(&self, name: &str) -> Option<String> {
        let mut found = self.texts.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone());
        let (first, second) = (found.next(), found.next());
        let as_list = self.lists.iter().any(|(n, _)| n == name);
        if second.is_some() || as_list { None } else { Some(first.unwrap_or_default()) }
    }

    /// A list that is set at most once; empty if it is not.
    fn list(&self, name: &str) -> Option<Vec<String>> {
        let mut found = self.lists.iter().filter(|(n, _)| n == name).map(|(_, value)| value.clone());
        let (first, second) = (found.next(), found.next());
        let as_text = self.texts.iter().any(|(n, _)| n == name);
        if second.is_some() || as_text { None } else { Some(first.unwrap_or_default()) }
    }
}

/// Reads `{ … }`.
fn block(rest: &mut &[Token]) -> Option<Body> {
    let mut body = Body::default();
    expect(rest, '{')?;
    loop {
        let (first, after) = rest.split_first()?;
        *rest = after;
        let name = match first {
            Token::Sign('}') => return Some(body),
            Token::Sign(',') => continue,
            Token::Word(name) => name.clone(),
            Token::Sign(_) => return None,
        };
        match rest.first()? {
            Token::Sign('=') => {
                *rest = &rest[1..];
                match rest.first()? {
                    Token::Word(value) => {
                        body.texts.push((name, value.clone()));
                        *rest = &rest[1..];
                    }
                    Token::Sign('[') => body.lists.push((name, list(rest)?)),
                    Token::Sign('{') => drop(block(rest)?),
                    Token::Sign(_) => return None,
                }
            }
            // A block in the block, with or without a label.
            Token::Word(_) => {
                *rest = &rest[1..];
                drop(block(rest)?);
            }
            Token::Sign('{') => drop(block(rest)?),
            Token::Sign(_) => return None,
        }
    }
}

/// Reads `[ … ]`.
fn list(rest: &mut &[Token]) -> Option<Vec<String>> {
    expect(rest, '[')?;
    let mut values = Vec::new();
    loop {
        let (first, after) = rest.split_first()?;
        *rest = after;
        match first {
            Token::Word(value) => values.push(value.clone()),
            Token::Sign(',') => {}
            Token::Sign(']') => return Some(values),
            Token::Sign(_) => return None,
        }
    }
}

fn expect(rest: &mut &[Token], sign: char) -> Option<()> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    (*first == Token::Sign(sign)).then_some(())
}

fn tokens(text: &str) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return Some(tokens) };
        if first == '#' || rest.starts_with("//") {
            rest = rest.split_once('\n').map_or("", |(_, after)| after);
        } else if let Some(after) = rest.strip_prefix("/*") {
            rest = after.split_once("*/")?.1;
        } else if let Some(after) = rest.strip_prefix('"') {
            let (word, after) = after.split_once('"')?;
            // An escape or an interpolation is beyond this reader.
            if word.contains(['\\', '\n', '$']) {
                return None;
            }
            tokens.push(Token::Word(word.to_owned()));
            rest = after;
        } else if matches!(first, '{' | '}' | '[' | ']' | '=' | ',') {
            tokens.push(Token::Sign(first));
            rest = &rest[1..];
        } else {
            let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            tokens.push(Token::Word(rest[..end].to_owned()));
            rest = &rest[end..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_with_its_comments_and_whatever_else_it_grants() {
        let text = "# who drains\nagent { policy = \"read\" } // and more\n/* much\nmore */\nnode {\n  policy = \"write\"\n}\n\
                    namespace \"team-*\" {\n  policy       = \"read\"\n  capabilities = [\"read-job\", \"submit-job\",]\n\
                      variables {\n    path \"*\" {\n      capabilities = [\"deny\"]\n    }\n  }\n}\n\
                    host_volume \"*\" { policy = \"deny\" }\nquota { policy = \"read\" }\n";
        let namespace = Namespace {
            name: "team-*".to_owned(),
            policy: "read".to_owned(),
            capabilities: vec!["read-job".to_owned(), "submit-job".to_owned()],
        };
        assert_eq!(read(text), Some(Rules { node: Some("write".to_owned()), namespaces: vec![namespace] }));
        assert_eq!(read(""), Some(Rules::default()));
    }

    #[test]
    fn what_is_not_understood_is_not_read_at_all() {
        let cases = [
            "{\"node\": {\"policy\": \"write\"}}",
            "node { policy = \"write\"",
            "node { policy = <<EOF\nwrite\nEOF\n}",
            "node { policy = \"write\" } node { policy = \"deny\" }",
            "namespace { policy = \"read\" }",
            "namespace \"a\" \"b\" { policy = \"read\" }",
            "namespace \"*\" { policy = \"read\" policy = \"deny\" }",
            "namespace \"*\" { policy = [\"read\"] }",
            "namespace \"*\" { capabilities = \"read-job\" }",
            "namespace \"\\u002a\" { policy = \"read\" }",
            "policy = \"write\"",
        ];
        for text in cases {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(?s).{0,80}", more in "[a-z\"{}\\[\\]=, \n]{0,80}") {
            let _ = (read(&text), read(&more));
        }
    }
}
