//! What a compose file may say: every key, and the kinds of values that it takes.

mod resources;
mod service;
mod service_parts;

use hodei_worker_core::{Error, Result};

use crate::{
    place::brief,
    tree::{Key, Map, Node, Path, Value},
};

/// What a value may be.
pub(crate) enum Rule {
    /// One of those kinds.
    Kinds(&'static [Kind]),
    /// One of those words.
    Word(&'static [&'static str]),
    /// Text that has to fit, and what it has to be in words.
    Text(fn(&str) -> bool, &'static str),
    /// A whole number in that range.
    Range(i64, i64),
    /// A list, perhaps of things that must differ.
    List { item: &'static Rule, distinct: bool },
    /// A mapping with known keys.
    Fields(&'static Fields),
    /// A mapping whose keys are names.
    Named { key: Names, value: &'static Rule },
    /// Whichever of those fits the value's kind.
    Either(&'static [&'static Rule]),
}

/// The known keys of a mapping.
pub(crate) struct Fields {
    pub(crate) known: &'static [(&'static str, &'static Rule)],
    pub(crate) required: &'static [&'static str],
    /// Whether keys that begin with `x-` are allowed.
    pub(crate) extensions: bool,
    /// Whether keys that nobody knows are allowed.
    pub(crate) open: bool,
}

/// Which names a mapping may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Names {
    /// Letters, digits, dots, underscores and dashes; others are refused.
    Strict,
    /// The same; others are let through unseen.
    Loose,
    /// Lower case letters; others are let through unseen.
    Limits,
    /// Everything that is not empty; the empty one is refused.
    Filled,
    /// Everything.
    Every,
}

/// A kind of value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    Whole,
    Number,
    Bool,
    Null,
    Map,
}

impl Rule {
    /// Checks a value.
    pub(crate) fn check(&self, node: &Node, path: &mut Path) -> Result<()> {
        match self {
            Self::Kinds(kinds) if kinds.iter().any(|kind| kind.fits(node)) => Ok(()),
            Self::Kinds(_) => Err(self.wrong_kind(node, path)),
            Self::Word(words) => match &node.value {
                Value::Text(text) if words.contains(&&**text) => Ok(()),
                Value::Text(text) => {
                    let nearest = nearest(text, words.iter().copied())
                        .map_or(String::new(), |word| format!("did you mean `{word}`? "));
                    Err(node
                        .place
                        .refuse(&*path, format!("`{text}` is not known here"))
                        .with_help(format!("{nearest}there are {}", listed(words))))
                }
                _ => Err(self.wrong_kind(node, path)),
            },
            Self::Text(fits, what) => match &node.value {
                Value::Text(text) if fits(text) => Ok(()),
                Value::Text(text) => Err(node.place.refuse(&*path, format!("`{text}` is not {what}"))),
                _ => Err(self.wrong_kind(node, path)),
            },
            Self::Range(least, most) => match whole(node) {
                Some(value) if value >= *least as f64 && value <= *most as f64 => Ok(()),
                Some(_) => {
                    let range = if *most == i64::MAX {
                        format!("at least {least}")
                    } else {
                        format!("{least} to {most}")
                    };
                    Err(node.place.refuse(&*path, format!("it must be {range}, and is {}", node.printed())))
                }
                None => Err(self.wrong_kind(node, path)),
            },
            Self::List { item, distinct } => {
                let Some(list) = node.as_list() else { return Err(self.wrong_kind(node, path)) };
                for (index, entry) in list.iter().enumerate() {
                    path.with_index(index, |path| item.check(entry, path))?;
                }
                if *distinct { all_differ(list, path) } else { Ok(()) }
            }
            Self::Fields(fields) => match &node.value {
                Value::Map(map) => fields.check(node, map, path),
                _ => Err(self.wrong_kind(node, path)),
            },
            Self::Named { key, value } => match &node.value {
                Value::Map(map) => {
                    for (name, entry) in map {
                        match key.fits(name) {
                            true => path.with(name, |path| value.check(entry, path))?,
                            false if matches!(key, Names::Loose | Names::Limits) => {}
                            false => {
                                return Err(entry
                                    .place
                                    .refuse(path.child(name), format!("`{name}` is not a name"))
                                    .with_help("names consist of letters, digits, `.`, `_` and `-`"));
                            }
                        }
                    }
                    Ok(())
                }
                _ => Err(self.wrong_kind(node, path)),
            },
            Self::Either(rules) => match rules.iter().find(|rule| rule.suits(node)) {
                Some(rule) => rule.check(node, path),
                None => Err(self.wrong_kind(node, path)),
            },
        }
    }

    /// Whether the value is of a kind that the rule is about.
    fn suits(&self, node: &Node) -> bool {
        match self {
            Self::Kinds(kinds) => kinds.iter().any(|kind| kind.fits(node)),
            Self::Word(_) | Self::Text(..) => Kind::Text.fits(node),
            Self::Range(..) => Kind::Whole.fits(node),
            Self::List { .. } => matches!(node.value, Value::List(_)),
            Self::Fields(_) | Self::Named { .. } => matches!(node.value, Value::Map(_)),
            Self::Either(rules) => rules.iter().any(|rule| rule.suits(node)),
        }
    }

    fn kinds(&self, kinds: &mut Vec<&'static str>) {
        let mut add = |name| {
            if !kinds.contains(&name) {
                kinds.push(name)
            }
        };
        match self {
            Self::Kinds(list) => list.iter().for_each(|kind| add(kind.name())),
            Self::Word(_) | Self::Text(..) => add(Kind::Text.name()),
            Self::Range(..) => add(Kind::Whole.name()),
            Self::List { .. } => add("a list"),
            Self::Fields(_) | Self::Named { .. } => add("a mapping"),
            Self::Either(rules) => rules.iter().for_each(|rule| rule.kinds(kinds)),
        }
    }

    fn wrong_kind(&self, node: &Node, path: &Path) -> Error {
        let mut kinds = Vec::new();
        self.kinds(&mut kinds);
        let expected = match kinds.split_last() {
            Some((last, [])) => (*last).to_owned(),
            Some((last, rest)) => format!("{} or {last}", rest.join(", ")),
            None => "something else".to_owned(),
        };
        let error = node.place.refuse(path, format!("this must be {expected}, and is {}", node.kind()));
        let scalar = !matches!(node.value, Value::Map(_) | Value::List(_) | Value::Null);
        if scalar && kinds.contains(&Kind::Text.name()) {
            return error.with_help(format!("write it in quotes: \"{}\"", brief(&node.printed(), 80)));
        }
        if node.is_null() {
            return error.with_help("give it a value, or remove the key");
        }
        error
    }
}

impl Fields {
    fn check(&self, node: &Node, map: &Map, path: &mut Path) -> Result<()> {
        for (key, value) in map {
            match self.rule(key) {
                Some(rule) => path.with(key, |path| rule.check(value, path))?,
                None if (self.extensions && key.starts_with("x-")) || self.open => {}
                None => return Err(self.unknown(key, value, path)),
            }
        }
        match self.required.iter().find(|key| !map.contains_key(**key)) {
            Some(key) => Err(node
                .place
                .refuse(&*path, format!("the key `{key}` is missing"))
                .with_help(format!("add `{key}:` to it"))),
            None => Ok(()),
        }
    }

    fn rule(&self, key: &str) -> Option<&'static Rule> {
        self.known.iter().find(|(name, _)| *name == key).map(|(_, rule)| *rule)
    }

    fn unknown(&self, key: &Key, value: &Node, path: &Path) -> Error {
        let error = value.place.refuse(path.child(key), format!("the key `{key}` is not known here"));
        match nearest(key, self.known.iter().map(|(name, _)| *name)) {
            Some(name) => error.with_help(format!("did you mean `{name}`?")),
            None if self.extensions => error
                .with_help(format!("remove it, or write `x-{}` if it is for other programs", brief(key, 80))),
            None => error.with_help("remove it"),
        }
    }
}

impl Names {
    fn fits(self, name: &str) -> bool {
        let simple = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        match self {
            Self::Strict | Self::Loose => !name.is_empty() && name.bytes().all(simple),
            Self::Limits => !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase()),
            Self::Filled => !name.is_empty(),
            Self::Every => true,
        }
    }
}

impl Kind {
    fn fits(self, node: &Node) -> bool {
        match (self, &node.value) {
            (Self::Text, Value::Text(_) | Value::Time(..))
            | (Self::Number, Value::Int(_) | Value::Unsigned(_) | Value::Float(_))
            | (Self::Bool, Value::Bool(_))
            | (Self::Null, Value::Null)
            | (Self::Map, Value::Map(_)) => true,
            (Self::Whole, _) => whole(node).is_some(),
            _ => false,
        }
    }
    const fn name(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Whole => "a whole number",
            Self::Number => "a number",
            Self::Bool => "a boolean",
            Self::Null => "nothing",
            Self::Map => "a mapping",
        }
    }
}

/// The value of a number without a fraction.
fn whole(node: &Node) -> Option<f64> {
    match node.value {
        Value::Int(value) => Some(value as f64),
        Value::Unsigned(value) => Some(value as f64),
        Value::Float(value) if value.fract() == 0.0 => Some(value),
        _ => None,
    }
}

fn all_differ(list: &[Node], path: &Path) -> Result<()> {
    let mut known = std::collections::BTreeMap::new();
    for (index, entry) in list.iter().enumerate() {
        if let Some(first) = known.insert(comparable(entry), index) {
            return Err(entry
                .place
                .refuse(
                    path,
                    format!("the entry `{}` is there twice, at {first} and {index}", entry.printed()),
                )
                .with_help("keep one of them"));
        }
    }
    Ok(())
}

/// Equal for values that are equal.
fn comparable(node: &Node) -> String {
    match &node.value {
        Value::Null => "n".to_owned(),
        Value::Bool(value) => format!("b{value}"),
        Value::Int(_) | Value::Unsigned(_) | Value::Float(_) => format!("d{}", node.printed()),
        Value::Time(json, _) => format!("{:?}", json),
        Value::Text(text) => format!("{text:?}"),
        Value::List(list) => format!("[{}]", list.iter().map(comparable).collect::<Vec<_>>().join(",")),
        Value::Map(map) => {
            let entries: Vec<String> =
                map.iter().map(|(key, value)| format!("{key:?}:{}", comparable(value))).collect();
            format!("{{{}}}", entries.join(","))
        }
    }
}

/// The known name that is nearest to one that is not, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    // Long names are nobody's slip of the keyboard, and distances cost the product of both lengths.
    if name.len() > 64 {
        return None;
    }
    known
        .filter(|candidate| candidate.len() <= 64)
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(similarity, _)| *similarity > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}

fn listed(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// Checks a whole project, as it stands in its files.
pub(crate) fn check(root: &Node) -> Result<()> {
    resources::PROJECT.check(root, &mut Path::default())
}

/// Checks what a file includes.
pub(crate) fn check_include(include: &Node) -> Result<()> {
    resources::INCLUDES.check(include, &mut Path::of(["include"]))
}

const TEXT: Rule = Rule::Kinds(&[Kind::Text]);
const BOOL: Rule = Rule::Kinds(&[Kind::Bool]);
const WHOLE: Rule = Rule::Kinds(&[Kind::Whole]);
/// A boolean, or text with a variable that becomes one.
const BOOL_TEXT: Rule = Rule::Kinds(&[Kind::Bool, Kind::Text]);
const WHOLE_TEXT: Rule = Rule::Kinds(&[Kind::Whole, Kind::Text]);
const NUMBER: Rule = Rule::Kinds(&[Kind::Number]);
const NUMBER_TEXT: Rule = Rule::Kinds(&[Kind::Number, Kind::Text]);
const TEXTS: Rule = Rule::List { item: &TEXT, distinct: true };
const SAME_TEXTS: Rule = Rule::List { item: &TEXT, distinct: false };
const TEXT_OR_TEXTS: Rule = Rule::Either(&[&TEXT, &TEXTS]);
const NULL: Rule = Rule::Kinds(&[Kind::Null]);
/// Variables as a mapping or as a list of `NAME=value`.
const PAIRS: Rule = Rule::Either(&[
    &Rule::Named {
        key: Names::Filled,
        value: &Rule::Kinds(&[Kind::Text, Kind::Number, Kind::Bool, Kind::Null]),
    },
    &TEXTS,
]);
/// Options of a driver.
const OPTIONS: Rule = Rule::Named { key: Names::Every, value: &NUMBER_TEXT };

macro_rules! fields {
    ($($name:literal: $rule:expr),+ $(,)?) => { &[$(($name, &$rule)),+] };
}
use fields;

/// A mapping with those keys and extensions.
const fn with(known: &'static [(&'static str, &'static Rule)]) -> Fields {
    Fields { known, required: &[], extensions: true, open: false }
}

#[cfg(test)]
mod tests;
