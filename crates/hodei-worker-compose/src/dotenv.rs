//! Files of variables: `.env`, `--env-file`, `env_file` and `label_file`.

use std::{collections::BTreeMap, path::Path as FilePath, sync::Arc};

use hodei_worker_core::Result;

use crate::{
    interpolate::template_error,
    limits::Budget,
    place::Place,
    template::{Lookup, Template},
};

/// Reads files of variables.
pub(crate) struct Dotenv<'a> {
    pub(crate) file: Arc<FilePath>,
    /// Is asked first, then the variables that were read so far.
    pub(crate) lookup: Lookup<'a>,
    pub(crate) budget: &'a Budget,
}

impl Dotenv<'_> {
    /// Reads `NAME=value` lines with quotes, escapes, comments and variables, and adds them to those.
    pub(crate) fn read(&self, text: &str, variables: &mut BTreeMap<String, String>) -> Result<()> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut rest = Cursor { text, at: 0, line: 1 };
        loop {
            rest.skip_space();
            if rest.rest().is_empty() {
                return Ok(());
            }
            if rest.rest().starts_with('#') {
                rest.skip_line();
                continue;
            }
            self.statement(&mut rest, variables)?;
        }
    }

    fn statement(&self, cursor: &mut Cursor<'_>, variables: &mut BTreeMap<String, String>) -> Result<()> {
        let place = Place::new(&self.file, cursor.line);
        let refuse =
            |message: String| place.refuse("variable", message).with_help("lines have the form `NAME=value`");
        if let Some(after) = cursor.rest().strip_prefix("export")
            && after.starts_with(|c: char| c.is_ascii_whitespace())
        {
            cursor.skip("export".len());
            cursor.skip_blank();
            if cursor.rest().is_empty() {
                return Err(refuse("`export` names no variable".to_owned()));
            }
        }
        let rest = cursor.rest();
        let mut end = None;
        for (at, c) in rest.char_indices() {
            match c {
                '=' | ':' | '\n' => {
                    end = Some((at, c));
                    break;
                }
                '_' | '.' | '-' | '[' | ']' => {}
                c if blank(c) || c.is_alphabetic() || c.is_numeric() => {}
                c => {
                    let line = rest.lines().next().unwrap_or_default();
                    return Err(refuse(format!("`{c}` cannot be part of a variable's name, in `{line}`")));
                }
            }
        }
        let Some((end, separator)) = end else {
            // The end of the file ends no statement: the rest is the value of a variable without a name.
            let value = self.value(cursor, variables, "")?;
            variables.insert(String::new(), value);
            return Ok(());
        };
        let name = rest[..end].trim_end().to_owned();
        cursor.skip(end);
        cursor.skip(1);
        cursor.skip_blank();
        if name.contains(' ') {
            return Err(refuse(format!("the name `{name}` has a space in it")));
        }
        if separator == '\n' {
            if let Some(value) = (self.lookup)(&name) {
                variables.insert(name, value);
            }
            return Ok(());
        }
        let value = self.value(cursor, variables, &name)?;
        variables.insert(name, value);
        Ok(())
    }

    fn value(
        &self,
        cursor: &mut Cursor<'_>,
        variables: &BTreeMap<String, String>,
        name: &str,
    ) -> Result<String> {
        let place = Place::new(&self.file, cursor.line);
        let rest = cursor.rest();
        let quote = match rest.as_bytes().first() {
            Some(quote @ (b'"' | b'\'')) => *quote,
            _ => {
                let line = rest.split('\n').next().unwrap_or_default();
                cursor.skip(line.len());
                cursor.skip(1);
                let value = line.split(" #").next().unwrap_or_default().trim_end();
                return self.fill(value, variables, &place, name);
            }
        };
        let mut value: Vec<u8> = Vec::new();
        let mut escaped = false;
        for (at, byte) in rest.bytes().enumerate().skip(1) {
            if byte != quote {
                if !escaped && byte == b'\\' {
                    escaped = true;
                    continue;
                }
                if escaped {
                    escaped = false;
                    value.push(b'\\');
                }
                value.push(byte);
                continue;
            }
            if escaped {
                escaped = false;
                value.push(byte);
                continue;
            }
            cursor.skip(at + 1);
            let value = String::from_utf8_lossy(&value).into_owned();
            return match quote {
                b'"' => self.fill(&unescape(&value), variables, &place, name),
                _ => Ok(value),
            };
        }
        let line = rest.lines().next().unwrap_or_default();
        Err(place
            .refuse(name, format!("the quoted value {line} has no end"))
            .with_help("close the quotation mark"))
    }

    fn fill(
        &self,
        text: &str,
        variables: &BTreeMap<String, String>,
        place: &Place,
        name: &str,
    ) -> Result<String> {
        if !text.contains('$') {
            return Ok(text.to_owned());
        }
        let lookup = |name: &str| (self.lookup)(name).or_else(|| variables.get(name).cloned());
        Template { lookup: &lookup, budget: self.budget, unset: &|_| {} }
            .fill(text)
            .map_err(|error| template_error(error, place, name))
    }

    /// Reads `NAME=value` lines as they stand: no quotes, no escapes, no variables.
    pub(crate) fn read_raw(&self, text: &str, variables: &mut BTreeMap<String, String>) -> Result<()> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        for (n, line) in text.split('\n').enumerate() {
            let line = line.strip_suffix('\r').unwrap_or(line).trim_start();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let place = Place::new(&self.file, n + 1);
            let (name, value) = match line.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (line, None),
            };
            if name.is_empty() || name.contains([' ', '\t']) {
                return Err(place
                    .refuse("variable", format!("`{line}` has no name, or one with a space in it"))
                    .with_help("lines have the form `NAME=value`"));
            }
            match value {
                Some(value) => drop(variables.insert(name.to_owned(), value.to_owned())),
                None => {
                    if let Some(value) = (self.lookup)(name) {
                        variables.insert(name.to_owned(), value);
                    }
                }
            }
        }
        Ok(())
    }
}

struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: usize,
}

impl<'a> Cursor<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }
    fn skip(&mut self, bytes: usize) {
        let end = (self.at + bytes).min(self.text.len());
        self.line += self.text[self.at..end].matches('\n').count();
        self.at = end;
    }
    fn skip_line(&mut self) {
        self.skip(self.rest().find('\n').unwrap_or(self.rest().len()));
    }
    fn skip_space(&mut self) {
        let rest = self.rest();
        self.skip(rest.len() - rest.trim_start().len());
    }
    fn skip_blank(&mut self) {
        let rest = self.rest();
        self.skip(rest.len() - rest.trim_start_matches(blank).len());
    }
}

/// White space within a line.
fn blank(c: char) -> bool {
    matches!(c, '\t' | '\u{b}' | '\u{c}' | '\r' | ' ' | '\u{85}' | '\u{a0}')
}

/// The escapes of a value in double quotes. `\$` becomes `$$`, which stands for a dollar sign.
fn unescape(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        result.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let Some(c) = after.chars().next() else {
            result.push('\\');
            rest = after;
            continue;
        };
        let mut length = c.len_utf8();
        match c {
            'a' => result.push('\u{7}'),
            'f' => result.push('\u{c}'),
            'n' => result.push('\n'),
            'r' => result.push('\r'),
            't' => result.push('\t'),
            'v' => result.push('\u{b}'),
            '\\' => result.push('\\'),
            '"' => result.push('"'),
            '$' => result.push_str("$$"),
            '0' => {
                let digits = after[1..].bytes().take(3).take_while(u8::is_ascii_digit).count();
                length += digits;
                match u32::from_str_radix(&after[1..=digits], 8)
                    .ok()
                    .filter(|code| digits == 3 && *code < 256)
                {
                    Some(code) => result.extend(char::from_u32(code)),
                    None => {
                        result.push('\\');
                        result.push_str(&after[..length]);
                    }
                }
            }
            _ => {
                result.push('\\');
                result.push(c);
            }
        }
        rest = &after[length..];
    }
    result.push_str(rest);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<BTreeMap<String, String>> {
        let mut variables = BTreeMap::new();
        let lookup = |name: &str| (name == "OUTER").then(|| "o".to_owned());
        Dotenv { file: Arc::from(FilePath::new(".env")), lookup: &lookup, budget: &Budget::default() }
            .read(text, &mut variables)?;
        Ok(variables)
    }

    #[test]
    fn forms_of_values() {
        let variables = read(concat!(
            "# comment\nA=1\nexport B = two words # comment\nC='$A #x'\nD=\"$A\\n${B}\\$\"\nE: yaml\nOUTER\n",
            "F=${OUTER}-$A\nG=\nH=\"a\nb\"\nI=a#b\nJ=\"x\" # c\n",
        ))
        .unwrap();
        let get = |name: &str| variables[name].as_str();
        assert_eq!(get("A"), "1");
        assert_eq!(get("B"), "two words");
        assert_eq!(get("C"), "$A #x");
        assert_eq!(get("D"), "1\ntwo words$");
        assert_eq!(get("E"), "yaml");
        assert_eq!(get("OUTER"), "o");
        assert_eq!(get("F"), "o-1");
        assert_eq!(get("G"), "");
        assert_eq!(get("H"), "a\nb");
        assert_eq!(get("I"), "a#b");
        assert_eq!(get("J"), "x");
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        for (text, line) in [
            ("A=1\nB!=2\n", 2),
            ("A=1\n\nB=\"x\n", 3),
            ("a b=1\n", 1),
            ("\nA=${B:?no}\n", 2),
            ("A=1\nexport ", 2),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.context_value("line"), Some(line.to_string().as_str()), "{error}");
            assert!(error.help().is_some());
        }
    }

    #[test]
    fn doubling_ends() {
        let text: String = (1..64).map(|n| format!("A{n}=$A{0}$A{0}$A{0}\n", n - 1)).collect();
        assert!(read(&format!("A0=xxxxxxxxxx\n{text}")).unwrap_err().to_string().contains("too large"));
    }
}
