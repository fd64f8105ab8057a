//! The `filter` of a list, as Nomad and Consul evaluate it (go-bexpr): selectors, comparisons, `in`, `and`, `or`, `not`.
//!
//! A key that is not there is `false` on current releases and fails the whole list on older ones; which, the caller says.

use serde_json::Value;

/// A filter that cannot be read, or cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wrong {
    /// It does not fit the grammar.
    Syntax(String),
    /// A field or key that a row does not have.
    Missing(String),
}

/// One filter, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Filter {
    All(Vec<Filter>),
    Any(Vec<Filter>),
    Not(Box<Filter>),
    Is { selector: Vec<String>, test: Test },
}

/// What a selected value is tested for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Test {
    Equals(String),
    /// The value is, or contains, this key or text.
    Contains(String),
    Empty,
    Matches(String),
}

impl Filter {
    /// Reads one.
    pub(super) fn read(text: &str) -> Result<Self, Wrong> {
        let mut reader = Reader { words: words(text)?, at: 0 };
        let filter = reader.any()?;
        match reader.words.get(reader.at) {
            None => Ok(filter),
            Some(word) => Err(Wrong::Syntax(format!("no match found at {word:?}"))),
        }
    }

    /// Whether a row fits. `lenient`: a key that a row does not have is `false` and not an error.
    pub(super) fn fits(&self, row: &Value, lenient: bool) -> Result<bool, Wrong> {
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
                        None => return Err(Wrong::Missing(selector.join("/"))),
                    };
                }
                test.holds(value)
            }
        }
    }
}

impl Test {
    fn holds(&self, value: &Value) -> Result<bool, Wrong> {
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

/// Regular expressions without operators but `^`, `$` and `.`: all that anybody asks here.
fn matches(pattern: &str, text: &str) -> Result<bool, Wrong> {
    let (from_start, rest) = pattern.strip_prefix('^').map_or((false, pattern), |rest| (true, rest));
    let (to_end, rest) = rest.strip_suffix('$').filter(|r| !r.ends_with('\\')).map_or((false, rest), |rest| (true, rest));
    let mut wanted = Vec::new();
    let mut chars = rest.chars();
    while let Some(c) = chars.next() {
        wanted.push(match c {
            '\\' => chars.next(),
            '.' => None,
            '*' | '+' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '^' | '$' => {
                return Err(Wrong::Syntax(format!("the pretend servers know no {c:?} in a regular expression")));
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
enum Word {
    Plain(String),
    Quoted(String),
    /// `(`, `)`, `[`, `]`, `==`, `!=`.
    Sign(&'static str),
}

fn words(text: &str) -> Result<Vec<Word>, Wrong> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let sign = ["(", ")", "[", "]", "==", "!="].into_iter().find(|sign| rest.starts_with(sign));
        if let Some(sign) = sign {
            found.push(Word::Sign(sign));
            rest = &rest[sign.len()..];
        } else if first == '"' || first == '`' {
            let (inside, after) = quoted(&rest[1..], first)?;
            found.push(Word::Quoted(inside));
            rest = after;
        } else {
            let end = rest.find(|c: char| c.is_whitespace() || "()[]=!\"`".contains(c)).unwrap_or(rest.len());
            let fits = |c: char| c.is_ascii_alphanumeric() || "_./".contains(c);
            // A hyphen ends a selector: `Attributes.a-b` cannot be read (facts/nomad.md 1.4).
            if end == 0 || !rest[..end].chars().all(fits) {
                return Err(Wrong::Syntax(format!("no match found in {:?}", &rest[..end.max(1).min(rest.len())])));
            }
            found.push(Word::Plain(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Ok(found)
}

fn quoted(text: &str, quote: char) -> Result<(String, &str), Wrong> {
    let mut inside = String::new();
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => return Ok((inside, &text[at + 1..])),
            '\\' if quote == '"' => match chars.next() {
                Some((_, 'n')) => inside.push('\n'),
                Some((_, 't')) => inside.push('\t'),
                Some((_, escaped @ ('"' | '\\'))) => inside.push(escaped),
                _ => return Err(Wrong::Syntax("an escape that is none".to_owned())),
            },
            c => inside.push(c),
        }
    }
    Err(Wrong::Syntax("a quote is not closed".to_owned()))
}

struct Reader {
    words: Vec<Word>,
    at: usize,
}

impl Reader {
    fn take(&mut self, word: &Word) -> bool {
        let is_it = self.words.get(self.at) == Some(word);
        self.at += usize::from(is_it);
        is_it
    }

    fn keyword(&mut self, text: &str) -> bool {
        self.take(&Word::Plain(text.to_owned()))
    }

    fn any(&mut self) -> Result<Filter, Wrong> {
        let mut filters = vec![self.all()?];
        while self.keyword("or") {
            filters.push(self.all()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::Any(filters) })
    }

    fn all(&mut self) -> Result<Filter, Wrong> {
        let mut filters = vec![self.one()?];
        while self.keyword("and") {
            filters.push(self.one()?);
        }
        Ok(if filters.len() == 1 { filters.remove(0) } else { Filter::All(filters) })
    }

    fn one(&mut self) -> Result<Filter, Wrong> {
        if self.keyword("not") {
            return Ok(Filter::Not(Box::new(self.one()?)));
        }
        if self.take(&Word::Sign("(")) {
            let inside = self.any()?;
            return if self.take(&Word::Sign(")")) { Ok(inside) } else { Err(Wrong::Syntax("expected \")\"".to_owned())) };
        }
        if let Some(Word::Quoted(text)) = self.words.get(self.at).cloned() {
            self.at += 1;
            // A quoted text is a value to be looked for, or a selector in the form of a JSON pointer.
            return match text.strip_prefix('/') {
                Some(pointer) => self.test(pointer.split('/').map(str::to_owned).collect()),
                None => self.inside(text),
            };
        }
        let selector = self.selector()?;
        self.test(selector)
    }

    /// `VALUE in SELECTOR`, after the value.
    fn inside(&mut self, value: String) -> Result<Filter, Wrong> {
        let negated = self.keyword("not");
        if !self.keyword("in") {
            return Err(Wrong::Syntax("expected \"in\"".to_owned()));
        }
        let filter = Filter::Is { selector: self.selector()?, test: Test::Contains(value) };
        Ok(if negated { Filter::Not(Box::new(filter)) } else { filter })
    }

    fn selector(&mut self) -> Result<Vec<String>, Wrong> {
        let Some(Word::Plain(text)) = self.words.get(self.at).cloned() else {
            return Err(Wrong::Syntax("expected a selector".to_owned()));
        };
        self.at += 1;
        let mut path: Vec<String> = text.split('.').map(str::to_owned).collect();
        while self.take(&Word::Sign("[")) {
            let key = self.value()?;
            path.push(key);
            if !self.take(&Word::Sign("]")) {
                return Err(Wrong::Syntax("expected \"]\"".to_owned()));
            }
        }
        Ok(path)
    }

    fn value(&mut self) -> Result<String, Wrong> {
        let value = match self.words.get(self.at).cloned() {
            Some(Word::Quoted(text) | Word::Plain(text)) => text,
            Some(Word::Sign(_)) | None => return Err(Wrong::Syntax("expected a value".to_owned())),
        };
        self.at += 1;
        Ok(value)
    }

    /// What comes after a selector.
    fn test(&mut self, selector: Vec<String>) -> Result<Filter, Wrong> {
        let is = |test| Filter::Is { selector, test };
        let not = |filter| Ok(Filter::Not(Box::new(filter)));
        if self.take(&Word::Sign("==")) {
            return Ok(is(Test::Equals(self.value()?)));
        }
        if self.take(&Word::Sign("!=")) {
            return not(is(Test::Equals(self.value()?)));
        }
        if self.keyword("is") {
            let negated = self.keyword("not");
            if !self.keyword("empty") {
                return Err(Wrong::Syntax("expected \"empty\"".to_owned()));
            }
            return if negated { not(is(Test::Empty)) } else { Ok(is(Test::Empty)) };
        }
        let negated = self.keyword("not");
        let filter = if self.keyword("contains") {
            is(Test::Contains(self.value()?))
        } else if self.keyword("matches") {
            is(Test::Matches(self.value()?))
        } else {
            return Err(Wrong::Syntax("no match found, expected \"==\" or \"!=\"".to_owned()));
        };
        if negated { not(filter) } else { Ok(filter) }
    }
}

#[cfg(test)]
mod tests;
