//! Variables in text: `$NAME`, `${NAME}` and its forms with a default, a replacement or an error.

use crate::limits::{Budget, MAX_CHAIN};

/// Where variables come from.
pub(crate) type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// Why a text could not be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TemplateError {
    /// It is no variable in any form.
    Invalid(String),
    /// A variable that must be there is not; its name and what the file says about it.
    Required(String, String),
    /// A limit was reached.
    Exceeded(&'static str),
}

/// Fills in the variables of texts.
pub(crate) struct Template<'a> {
    pub(crate) lookup: Lookup<'a>,
    pub(crate) budget: &'a Budget,
    /// Is told each variable that is not set and has no default.
    pub(crate) unset: &'a dyn Fn(&str),
}

impl Template<'_> {
    /// The text with its variables filled in.
    pub(crate) fn fill(&self, text: &str) -> Result<String, TemplateError> {
        self.fill_at(text, 0)
    }

    fn fill_at(&self, text: &str, depth: usize) -> Result<String, TemplateError> {
        if depth > MAX_CHAIN {
            return Err(TemplateError::Exceeded("variables are nested more than 50 deep"));
        }
        let mut result = String::new();
        let mut rest = text;
        while let Some(at) = rest.find('$') {
            result.push_str(&rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('$') {
                result.push('$');
                rest = after;
            } else if let Some(braced) = rest.strip_prefix('{') {
                let (value, after) = self.braced(braced, depth).map_err(|error| match error {
                    TemplateError::Invalid(_) => TemplateError::Invalid(text.to_owned()),
                    error => error,
                })?;
                result.push_str(&value);
                rest = after;
            } else {
                let end = name_end(rest);
                if end == 0 {
                    result.push('$');
                    continue;
                }
                result.push_str(&self.value(&rest[..end]));
                rest = &rest[end..];
            }
            self.check(result.len())?;
        }
        result.push_str(rest);
        self.spend(result.len())?;
        Ok(result)
    }

    /// Too long a result is refused while it grows, not after.
    fn check(&self, length: usize) -> Result<(), TemplateError> {
        if length > crate::limits::MAX_TEXT_BYTES { self.spend(length) } else { Ok(()) }
    }
    fn spend(&self, length: usize) -> Result<(), TemplateError> {
        self.budget.text(length).map_err(|exceeded| TemplateError::Exceeded(exceeded.0))
    }

    fn value(&self, name: &str) -> String {
        (self.lookup)(name).unwrap_or_else(|| {
            (self.unset)(name);
            String::new()
        })
    }

    /// What follows `${`: the value, and the text behind the closing brace.
    fn braced<'t>(&self, text: &'t str, depth: usize) -> Result<(String, &'t str), TemplateError> {
        let invalid = || TemplateError::Invalid(String::new());
        let end = name_end(text);
        if end == 0 {
            return Err(invalid());
        }
        let (name, rest) = text.split_at(end);
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((self.value(name), after));
        }
        let (colon, operator, body) = match rest.as_bytes() {
            [b':', operator @ (b'-' | b'+' | b'?'), ..] => (true, *operator, &rest[2..]),
            [operator @ (b'-' | b'+' | b'?'), ..] => (false, *operator, &rest[1..]),
            _ => return Err(invalid()),
        };
        // The closing brace is one of this line: the one that fits, or else the last.
        let close = match closing(body) {
            Some(close) => close,
            None => body[..body.find('\n').unwrap_or(body.len())].rfind('}').ok_or_else(invalid)?,
        };
        let (argument, after) = (&body[..close], &body[close + 1..]);
        let value = (self.lookup)(name);
        let there = value.as_ref().is_some_and(|value| !(colon && value.is_empty()));
        let value = match operator {
            b'-' if there => value.unwrap_or_default(),
            b'-' => self.fill_at(argument, depth + 1)?,
            b'+' if there => self.fill_at(argument, depth + 1)?,
            b'+' => value.unwrap_or_default(),
            _ if there => value.unwrap_or_default(),
            _ => {
                let reason = self.fill_at(argument, depth + 1)?;
                return Err(TemplateError::Required(name.to_owned(), reason));
            }
        };
        Ok((value, after))
    }
}

/// Where the brace is that closes the one before this text. The character after an opening brace never counts.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut open = 1_usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'}' => {
                open -= 1;
                if open == 0 {
                    return Some(at);
                }
            }
            b'{' => {
                open += 1;
                at += 1;
                if bytes.get(at) == Some(&b'\n') {
                    return None;
                }
            }
            b'\n' => return None,
            _ => {}
        }
        at += 1;
    }
    None
}

fn name_end(text: &str) -> usize {
    text.bytes()
        .enumerate()
        .find(|(n, b)| !(b.is_ascii_alphabetic() || *b == b'_' || (*n > 0 && b.is_ascii_digit())))
        .map_or(text.len(), |(n, _)| n)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(text: &str) -> Result<String, TemplateError> {
        let lookup = |name: &str| match name {
            "A" => Some("a".to_owned()),
            "EMPTY" => Some(String::new()),
            _ => None,
        };
        Template { lookup: &lookup, budget: &Budget::default(), unset: &|_| {} }.fill(text)
    }

    #[test]
    fn all_operators() {
        for (text, filled) in [
            ("$A-${A}", "a-a"),
            ("$$A $$${A} $ $1 $", "$A $a $ $1 $"),
            ("${NONE:-d}${EMPTY:-d}${A:-d}", "dda"),
            ("${NONE-d}${EMPTY-d}${A-d}", "da"),
            ("${NONE:+r}${EMPTY:+r}${A:+r}", "r"),
            ("${NONE+r}${EMPTY+r}${A+r}", "rr"),
            ("${A:?e}${EMPTY?e}", "a"),
            ("${NONE:-${ALSO:-${A}x}y}z", "axyz"),
            ("${NONE:-{\"a\":{}}}!", "{\"a\":{}}!"),
            ("${NONE:-a} b ${A}", "a b a"),
            ("${NONE}|$NONE", "|"),
            ("${NONE-a:-b}", "a:-b"),
        ] {
            assert_eq!(fill(text).as_deref(), Ok(filled), "{text}");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let missing = TemplateError::Required("NONE".to_owned(), "set a".to_owned());
        assert_eq!(fill("${NONE:?set $A}"), Err(missing));
        assert!(matches!(fill("${EMPTY:?}"), Err(TemplateError::Required(..))));
        for text in ["${", "${}", "${A", "${1}", "${A!x}", "${A:-x\n}", "${A.b}"] {
            assert!(matches!(fill(text), Err(TemplateError::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn deep_and_long_ones_end() {
        let deep = format!("{}x{}", "${N:-".repeat(200), "}".repeat(200));
        assert!(matches!(fill(&deep), Err(TemplateError::Exceeded(_))));
    }
}
