//! Where a problem is, when serde or a validation does not say it exactly.

use std::{collections::HashSet, rc::Rc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::node::{Fault, Node, Path, ReadError, Step};

/// More attempts than these are not spent on one value: the path of the object around the field has to do.
const MOST_TRIES: usize = 512;

/// One reading of a value: what it is, which places are left out by now, and how often it may still be tried.
pub(super) struct Reading<'a> {
    pub(super) value: &'a Value,
    pub(super) left_out: HashSet<Path>,
    tries: usize,
}

impl<'a> Reading<'a> {
    pub(super) fn new(value: &'a Value) -> Self {
        Self { value, left_out: HashSet::new(), tries: MOST_TRIES }
    }

    pub(super) fn attempt<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        attempt(self.value, self.left_out.clone())
    }

    /// The place of an error. Buffered objects give their own; which of the fields it is shows when it is not
    /// there.
    pub(super) fn locate<T: DeserializeOwned>(&mut self, error: &ReadError) -> Path {
        let mut path = error.path.clone().unwrap_or_default();
        if let Fault::Unknown { name, .. } = &error.fault {
            return self.unknown(path, name);
        }
        loop {
            let children = path.children(self.value).into_iter();
            let children: Vec<_> = children.filter(|child| !self.left_out.contains(child)).collect();
            if children.len() > self.tries {
                return path;
            }
            self.tries -= children.len();
            let mut suspects = children.into_iter().filter(|child| self.is_at_fault::<T>(child, error));
            match (suspects.next(), suspects.next()) {
                (Some(only), None) => path = only,
                _ => return path,
            }
        }
    }

    /// The unknown field itself: directly in the object, or else the only one of that name below it.
    fn unknown(&self, path: Path, name: &str) -> Path {
        let it = Step::Key(name.to_owned());
        if path.0.last() == Some(&it) {
            return path;
        }
        let direct = path.key(name);
        if direct.find(self.value).is_some() && !self.left_out.contains(&direct) {
            return direct;
        }
        let mut found = Vec::new();
        let mut open = vec![path.clone()];
        while let Some(place) = open.pop() {
            let children = place.children(self.value).into_iter();
            for child in children.filter(|child| !self.left_out.contains(child)) {
                if child.0.last() == Some(&it) {
                    found.push(child.clone());
                }
                open.push(child);
            }
        }
        if found.len() == 1 { found.remove(0) } else { path }
    }

    /// Whether the error goes away with this field, and not merely because another comes before it.
    fn is_at_fault<T: DeserializeOwned>(&self, child: &Path, error: &ReadError) -> bool {
        let holds_others = child.find(self.value).is_some_and(|value| value.is_object() || value.is_array());
        if matches!(error.fault, Fault::Missing(_)) && !holds_others {
            return false;
        }
        let mut left_out = self.left_out.clone();
        left_out.insert(child.clone());
        let Err(without) = attempt::<T>(self.value, left_out) else { return true };
        if without == *error {
            return false;
        }
        let Fault::Missing(field) = without.fault else { return true };
        if child.0.last() != Some(&Step::Key(field.to_owned())) {
            return true;
        }
        if matches!(error.fault, Fault::Missing(_)) {
            return false;
        }
        // It is required, so its absence is an error of its own. A field that is read in its place would have been
        // named by the error in the first place.
        let mut value = self.value.clone();
        blank(&mut value, child);
        match attempt::<T>(&value, self.left_out.clone()) {
            Err(ReadError { path: Some(path), .. }) => !path.is_within(child),
            _ => true,
        }
    }

    /// The place that a validation's path means. Lists were validated without the items that are left out.
    pub(super) fn resolve(&self, text: &str) -> Path {
        let mut path = Path::default();
        let mut rest = text;
        while !rest.is_empty() {
            if let Some((index, tail)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'))
                && let Ok(index) = index.parse()
            {
                let read =
                    (0..).map(|n| path.with(Step::Index(n))).filter(|path| !self.left_out.contains(path));
                path = read.into_iter().nth(index).unwrap_or_default();
                rest = tail;
                continue;
            }
            let name = rest.strip_prefix('.').unwrap_or(rest);
            // Keys of maps may hold dots.
            let keys =
                path.find(self.value).and_then(Value::as_object).into_iter().flat_map(|map| map.keys());
            let key = keys
                .filter(|key| {
                    name.strip_prefix(key.as_str())
                        .is_some_and(|tail| tail.is_empty() || tail.starts_with(['.', '[']))
                })
                .max_by_key(|key| key.len());
            let length = match key {
                Some(key) if !key.is_empty() => key.len(),
                _ => name.find(['.', '[']).filter(|length| *length > 0).unwrap_or(name.len()),
            };
            path = path.key(&name[..length]);
            rest = &name[length..];
        }
        path
    }

    /// Whether a validation's problem at that place only says that something was left out.
    pub(super) fn explains(&self, place: &Path) -> bool {
        self.left_out.iter().any(|left_out| {
            let item = matches!(left_out.0.last(), Some(Step::Index(_)));
            place.is_within(left_out) || (item && left_out.parent().as_ref() == Some(place))
        })
    }
}

fn attempt<T: DeserializeOwned>(value: &Value, left_out: HashSet<Path>) -> Result<T, ReadError> {
    T::deserialize(Node { value, path: Path::default(), left_out: Rc::new(left_out) })
}

fn blank(value: &mut Value, path: &Path) {
    let mut place = Some(value);
    for step in &path.0 {
        place = place.and_then(|value| match step {
            Step::Key(key) => value.get_mut(key),
            Step::Index(index) => value.get_mut(index),
        });
    }
    if let Some(place) = place {
        *place = Value::Null;
    }
}
