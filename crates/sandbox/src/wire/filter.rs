//! The `filter` of a list, as Nomad and Consul evaluate it (go-bexpr): selectors, comparisons, `in`, `and`, `or`, `not`.
//!
//! On current releases a missing key is `false`. On older releases it fails the whole list. The caller chooses.

use serde_json::Value;

/// Why a filter cannot be parsed or applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum FilterError {
    /// It does not match the grammar.
    Syntax(String),
    /// A row does not have this field or key.
    Missing(String),
}

/// A parsed filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Is { selector: Vec<String>, test: Test },
}

/// The test of a selected value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Equals(String),
    /// The value is, or contains, this key or text.
    Contains(String),
    Empty,
    Matches(String),
}

impl Filter {
    /// Parses a filter.
    pub(super) fn read(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { tokens: tokens(text)?, at: 0 };
        let filter = parser.any()?;
        match parser.tokens.get(parser.at) {
            None => Ok(filter),
            Some(word) => Err(FilterError::Syntax(format!("no match found at {word:?}"))),
        }
    }

    /// Whether a row matches. With `lenient` a missing key is `false` instead of an error.
    pub(super) fn fits(&self, row: &Value, lenient: bool) -> Result<bool, FilterError> {
        match self {
            Self::All(filters) => {
                for filter in filters {
                    if !filter.fits(row, lenient)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            Self::Any(filters) => {
                for filter in filters {
                    if filter.fits(row, lenient)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            Self::Not(filter) => filter.fits(row, lenient).map(|fits| !fits),
            Self::Is { selector, test } => {
                let mut value = row;
                for (depth, key) in selector.iter().enumerate() {
                    value = match value.get(key) {
                        Some(value) => value,
                        None if 0 < depth && lenient => return Ok(false),
                        None => return Err(FilterError::Missing(selector.join("/"))),
                    };
                }
                test.holds(value)
            }
        }
    }
}

impl Test {
    fn holds(&self, value: &Value) -> Result<bool, FilterError> {
        let text = match value {
            Value::String(text) => text.clone(),
            Value::Bool(_) | Value::Number(_) => value.to_string(),
            Value::Null | Value::Array(_) | Value::Object(_) => String::new(),
        };
        Ok(match self {
            Self::Equals(wanted) => text == *wanted,
            Self::Contains(part) => match value {
                Value::Object(map) => map.contains_key(part),
                Value::Array(list) => list.iter().any(|one| one.as_str() == Some(part)),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.contains(part.as_str()),
            },
            Self::Empty => match value {
                Value::Object(map) => map.is_empty(),
                Value::Array(list) => list.is_empty(),
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => text.is_empty(),
            },
            Self::Matches(pattern) => matches(pattern, &text)?,
        })
    }
}

/// Matches regular expressions whose only operators are `^`, `$` and `.`. Clients here use no others.
fn matches(pattern: &str, text: &str) -> Result<bool, FilterError> {
    let (from_start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (to_end, rest) = rest.strip_suffix('$').filter(|r| !r.ends_with('\\')).map_or((false, rest), |rest| (true, rest));
    let mut wanted = Vec::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        wanted.push(match c {
            '\\' => chars.next(),
            '.' => None,
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return Err(FilterError::Syntax(format!("the simulated servers do not support {c:?} in a regular expression")));
            }
            plain => Some(plain),
        });
    }
    let text: Vec<char> = text.chars().collect();
    let fits_at = |start: usize| {
        let end = start + wanted.len();
        end <= text.len()
            && (!to_end || end == text.len())
            && wanted.iter().zip(&text[start..end]).all(|(wanted, c)| wanted.is_none_or(|w| w == *c))
    };
    let last = if from_start { 0 } else { text.len() };
    Ok((0..=last).any(fits_at))
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Plain(String),
    Quoted(String),
    /// `(`, `)`, `[`, `]`, `==`, `!=`.
    Sign(&'static str),
}

fn tokens(text: &str) -> Result<Vec<Token>, FilterError> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let sign = ["(", ")", "[", "]", "==", "!="].into_iter().find(|sign| rest.starts_with(sign));
        if let Some(sign) = sign {
            found.push(Token::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '"' || first == '`' {
            let (inside, after) = quoted(&rest[1..], first)?;
            found.push(Token::Quoted(inside));
            rest = after;
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "()[]=!\"`".contains(c)).unwrap_or(rest.len());
            let fits = |c: char| c.is_ascii_alphanumeric() || "_./".contains(c);
            // A hyphen ends a selector: `Attributes.a-b` cannot be read (facts/nomad.md 1.4).
            if end == 0 || !rest[..end].chars().all(fits) {
                return Err(FilterError::Syntax(format!("no match found in {:?}", &rest[..end.max(1).min(rest.len())])));
            }
            found.push(Token::Plain(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), FilterError> {
    let mut inside = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((inside, &text[at + 1..])),
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => inside.push('\n'),
                Some((_, 't')) => inside.push('\t'),
                Some((_, escaped @ ('"' | '\\'))) => inside.push(escaped),
                _ => return Err(FilterError::Syntax("an unknown escape".to_owned())),
            },
            c => inside.push(c),
        }
    }
    Err(FilterError::Syntax("a quote is not closed".to_owned()))
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
}

impl Parser {
    fn take(&mut self, word: &Token) -> bool {
        let is_it = self.tokens.get(self.at) == Some(word);
        self.at += usize::from(is_it);
        is_it
    }

    fn keyword(&mut self, text: &str) -> bool {
        self.take(&Token::Plain(text.to_owned()))
    }

    fn any(&mut self) -> Result<Filter, FilterError> {
        let mut filters = vec![self.all()?];
        while self.keyword("or") {
            filters.push(self.all()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::Any(filters) })
    }

    fn all(&mut self) -> Result<Filter, FilterError> {
        let mut filters = vec![self.one()?];
        while self.keyword("and") {
            filters.push(self.one()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::All(filters) })
    }

    fn one(&mut self) -> Result<Filter, FilterError> {
        if self.keyword("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take(&Token::Sign("(")) {
            let inside = self.any()?;
            return if self.take(&Token::Sign(")")) { Ok(inside) } else { Err(FilterError::Syntax("expected \")\"".to_owned())) };
        }
        if let Some(Token::Quoted(text)) = self.tokens.get(self.at).cloned() {
            self.at += 1;
            // A quoted text is a value to search for, or a selector in the form of a JSON pointer.
            return match text.strip_prefix('/') {
                Some(pointer) => self.test(pointer.split('/').map(str::to_owned).collect()),
                None => self.inside(text),
            };
        }
        let selector = self.selector()?;
        self.test(selector)
    }

    /// `VALUE in SELECTOR`, after the value.
    fn inside(&mut self, value: String) -> Result<Filter, FilterError> {
        let negated = self.keyword("not");
        if !self.keyword("in") {
            return Err(FilterError::Syntax("expected \"in\"".to_owned()));
        }
        let filter = Filter::Is { selector: self.selector()?, test: Test::Contains(value) };
        Ok(if negated { Filter::Not(Box::new(filter)) } else { filter })
    }

    fn selector(&mut self) -> Result<Vec<String>, FilterError> {
        let Some(Token::Plain(text)) = self.tokens.get(self.at).cloned() else {
            return Err(FilterError::Syntax("expected a selector".to_owned()));
        };
        self.at += 1;
        let mut path: Vec<String> = text.split('.').map(str::to_owned).collect();
        while self.take(&Token::Sign("[")) {
            let key = self.value()?;
            path.push(key);
            if !self.take(&Token::Sign("]")) {
                return Err(FilterError::Syntax("expected \"]\"".to_owned()));
            }
        }
        Ok(path)
    }

    fn value(&mut self) -> Result<String, FilterError> {
        let value = match self.tokens.get(self.at).cloned() {
            Some(Token::Quoted(text) | Token::Plain(text)) => text,
            Some(Token::Sign(_)) | None => return Err(FilterError::Syntax("expected a value".to_owned())),
        };
        self.at += 1;
        Ok(value)
    }

    /// Parses the test after a selector.
    fn test(&mut self, selector: Vec<String>) -> Result<Filter, FilterError> {
        let is = |test| Filter::Is { selector, test };
        let not = |filter| Ok(Filter::Not(Box::new(filter)));
        if self.take(&Token::Sign("==")) {
            return Ok(is(Test::Equals(self.value()?)));
        }
        if self.take(&Token::Sign("!=")) {
            return not(is(Test::Equals(self.value()?)));
        }
        if self.keyword("is") {
            let negated = self.keyword("not");
            if !self.keyword("empty") {
                return Err(FilterError::Syntax("expected \"empty\"".to_owned()));
            }
            return if negated { not(is(Test::Empty)) } else { Ok(is(Test::Empty)) };
        }
        let negated = self.keyword("not");
        let filter = if self.keyword("contains") {
            is(Test::Contains(self.value()?))
        } else if self.keyword("matches") {
            is(Test::Matches(self.value()?))
        } else {
            return Err(FilterError::Syntax("no match found, expected \"==\" or \"!=\"".to_owned()));
        };
        if negated { not(filter) } else { Ok(filter) }
    }
}

#[cfg(test)]
mod tests;
