//! The tree that all phases work on: values that know where they were written.

use std::{collections::BTreeMap, fmt, sync::Arc};

use hodei_worker_core::Error;

use crate::{number::go_float, place::Place};

/// A key of a mapping. Shared, since merging copies trees.
pub(crate) type Key = Arc<str>;
/// A mapping. Sorted by key, so that what is reported first does not depend on chance.
pub(crate) type Map = BTreeMap<Key, Node>;

/// A value with its place.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Int(i64),
    /// A whole number that only fits without a sign.
    Unsigned(u64),
    Float(f64),
    /// A date or time: as it is shown in JSON, and as text.
    Time(Arc<str>, Arc<str>),
    Text(Arc<str>),
    List(Vec<Node>),
    Map(Map),
}

impl Node {
    pub(crate) fn new(place: &Place, value: Value) -> Self {
        Self { place: place.clone(), value }
    }
    pub(crate) fn text(place: &Place, text: impl AsRef<str>) -> Self {
        Self::new(place, Value::Text(Arc::from(text.as_ref())))
    }
    pub(crate) fn bool(place: &Place, value: bool) -> Self {
        Self::new(place, Value::Bool(value))
    }
    pub(crate) fn null(place: &Place) -> Self {
        Self::new(place, Value::Null)
    }
    pub(crate) fn map<const N: usize>(place: &Place, entries: [(&str, Node); N]) -> Self {
        let entries = entries.into_iter().map(|(key, node)| (Key::from(key), node)).collect();
        Self::new(place, Value::Map(entries))
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }
    pub(crate) fn as_text(&self) -> Option<&str> {
        match &self.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }
    pub(crate) fn as_map(&self) -> Option<&Map> {
        match &self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }
    pub(crate) fn as_map_mut(&mut self) -> Option<&mut Map> {
        match &mut self.value {
            Value::Map(map) => Some(map),
            _ => None,
        }
    }
    pub(crate) fn as_list(&self) -> Option<&[Node]> {
        match &self.value {
            Value::List(list) => Some(list),
            _ => None,
        }
    }
    /// The entry of a mapping.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        self.as_map()?.get(key)
    }
    /// The text of an entry of a mapping.
    pub(crate) fn text_of(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_text()
    }
    /// How many values it consists of.
    pub(crate) fn count(&self) -> usize {
        match &self.value {
            Value::List(list) => 1 + list.iter().map(Self::count).sum::<usize>(),
            Value::Map(map) => 1 + map.values().map(Self::count).sum::<usize>(),
            _ => 1,
        }
    }
    /// What kind of value it is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self.value {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Int(_) | Value::Unsigned(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Time(..) => "a date",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
    /// The value as text, as the reference implementation prints it.
    pub(crate) fn printed(&self) -> String {
        match &self.value {
            Value::Null => String::new(),
            Value::Bool(value) => value.to_string(),
            Value::Int(value) => value.to_string(),
            Value::Unsigned(value) => value.to_string(),
            Value::Float(value) => go_float(*value),
            Value::Time(_, text) | Value::Text(text) => text.to_string(),
            Value::List(list) => {
                let items: Vec<String> = list.iter().map(Self::printed).collect();
                format!("[{}]", items.join(" "))
            }
            Value::Map(map) => {
                let items: Vec<String> =
                    map.iter().map(|(key, node)| format!("{key}:{}", node.printed())).collect();
                format!("map[{}]", items.join(" "))
            }
        }
    }
}

/// One step of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(Key),
    Index(usize),
}

/// The path of a field, as `services.web.ports[0]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Path(Vec<Step>);

impl Path {
    pub(crate) fn of<const N: usize>(keys: [&str; N]) -> Self {
        Self(keys.into_iter().map(|key| Step::Key(Key::from(key))).collect())
    }
    pub(crate) fn push(&mut self, key: &Key) {
        self.0.push(Step::Key(Arc::clone(key)));
    }
    pub(crate) fn push_index(&mut self, index: usize) {
        self.0.push(Step::Index(index));
    }
    pub(crate) fn pop(&mut self) {
        self.0.pop();
    }
    pub(crate) fn steps(&self) -> &[Step] {
        &self.0
    }
    /// A pattern has one word for each step: a key, `*` for every key and index, `[]` for every index.
    pub(crate) fn matches(&self, pattern: &[&str]) -> bool {
        pattern.len() == self.0.len()
            && pattern.iter().zip(&self.0).all(|(word, step)| match (*word, step) {
                ("*", _) | ("[]", Step::Index(_)) => true,
                (word, Step::Key(key)) => word == &**key,
                _ => false,
            })
    }
    /// Runs a step with one more key.
    pub(crate) fn with<T>(&mut self, key: &Key, run: impl FnOnce(&mut Self) -> T) -> T {
        self.push(key);
        let result = run(self);
        self.pop();
        result
    }
    /// Runs a step with one more index.
    pub(crate) fn with_index<T>(&mut self, index: usize, run: impl FnOnce(&mut Self) -> T) -> T {
        self.push_index(index);
        let result = run(self);
        self.pop();
        result
    }
    /// The path with one more key, for messages.
    pub(crate) fn child(&self, key: &str) -> Self {
        let mut path = self.clone();
        path.0.push(Step::Key(Key::from(key)));
        path
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, step) in self.0.iter().enumerate() {
            match step {
                Step::Key(key) if n == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
                Step::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Runs a function on every child of a value, with the path of each.
pub(crate) fn each_child(
    node: &mut Node,
    path: &mut Path,
    mut run: impl FnMut(&mut Node, &mut Path) -> Result<(), Error>,
) -> Result<(), Error> {
    match &mut node.value {
        Value::Map(map) => {
            for (key, child) in map.iter_mut() {
                path.with(key, |path| run(child, path))?;
            }
        }
        Value::List(list) => {
            for (index, child) in list.iter_mut().enumerate() {
                path.with_index(index, |path| run(child, path))?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// The node of a path such as `services.web.ports[0]`, or else the innermost one that encloses it.
pub(crate) fn nearest<'a>(root: &'a Node, path: &str) -> (&'a Node, bool) {
    if path.is_empty() {
        return (root, true);
    }
    match &root.value {
        Value::Map(map) => {
            // Keys may hold dots, so the longest one that fits is tried first.
            let mut best: Option<(&Node, bool)> = None;
            for (end, _) in path
                .char_indices()
                .filter(|(_, c)| matches!(c, '.' | '['))
                .chain([(path.len(), ' ')])
                .collect::<Vec<_>>()
                .into_iter()
                .rev()
            {
                if let Some(child) = map.get(&path[..end]) {
                    let rest = &path[end..];
                    let found = nearest(child, rest.strip_prefix('.').unwrap_or(rest));
                    if found.1 {
                        return found;
                    }
                    best = best.or(Some(found));
                }
            }
            best.unwrap_or((root, false))
        }
        Value::List(list) => {
            let child = path.strip_prefix('[').and_then(|rest| {
                let (index, rest) = rest.split_once(']')?;
                Some((list.get(index.parse::<usize>().ok()?)?, rest))
            });
            match child {
                Some((child, rest)) => nearest(child, rest.strip_prefix('.').unwrap_or(rest)),
                None => (root, false),
            }
        }
        _ => (root, false),
    }
}
