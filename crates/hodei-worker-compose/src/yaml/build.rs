use std::{collections::BTreeMap, path::Path as FilePath, sync::Arc};

use hodei_worker_core::{Error, Result};

use super::{Document, Raw, RawKind, scalar, too_deep};
use crate::{
    limits::{Budget, MAX_DEPTH},
    place::{Place, brief},
    tree::{Key, Map, Node, Path, Step, Value},
};

/// Builds the tree of a document from its nodes: aliases become copies, merge keys what they name.
pub(super) fn build(nodes: &[Raw], root: usize, file: &Arc<FilePath>, budget: &Budget) -> Result<Document> {
    let mut builder =
        Builder { nodes, file, budget, path: Path::default(), resets: Vec::new(), within: Vec::new() };
    let place = Place::new(file, nodes[root].line);
    let node = builder.node(root, &place)?.unwrap_or_else(|| Node::null(&place));
    Ok(Document { root: node, resets: builder.resets })
}

struct Builder<'a> {
    nodes: &'a [Raw],
    file: &'a Arc<FilePath>,
    budget: &'a Budget,
    path: Path,
    resets: Vec<Path>,
    /// The containers that are being built, one inside of the other.
    within: Vec<usize>,
}

impl Builder<'_> {
    fn place(&self, node: usize) -> Place {
        Place::new(self.file, self.nodes[node].line)
    }
    fn refuse(&self, place: &Place, message: impl Into<String>) -> Error {
        place.refuse(
            if self.path.steps().is_empty() { "yaml".to_owned() } else { self.path.to_string() },
            message,
        )
    }

    /// The tree of a node; nothing where it is dropped.
    fn node(&mut self, index: usize, place: &Place) -> Result<Option<Node>> {
        let target = self.target(index);
        let raw = &self.nodes[target];
        match raw.tag.as_deref() {
            Some("!reset") => {
                self.remember();
                return Ok(None);
            }
            Some("!override") => self.remember(),
            _ => {}
        }
        self.budget
            .nodes(1)
            .map_err(|exceeded| self.refuse(place, format!("this file is too large: {}", exceeded.0)))?;
        let value = match &raw.kind {
            RawKind::Scalar { text, plain } => {
                self.budget.text(text.len()).map_err(|exceeded| {
                    self.refuse(place, format!("this file is too large: {}", exceeded.0))
                })?;
                scalar::value(text, *plain, raw.tag.as_deref())
                    .map_err(|message| self.refuse(place, message))?
            }
            RawKind::List(items) => {
                self.enter(target, place)?;
                let mut list = Vec::with_capacity(items.len());
                for (position, item) in items.iter().enumerate() {
                    let place = self.place(*item);
                    self.path.push_index(position);
                    let node = self.node(*item, &place);
                    self.path.pop();
                    list.extend(node?);
                }
                self.within.pop();
                Value::List(list)
            }
            RawKind::Map(entries) => {
                self.enter(target, place)?;
                let map = self.map(entries)?;
                self.within.pop();
                Value::Map(map)
            }
            // Aliases name nodes, never aliases.
            RawKind::Alias(_) => Value::Null,
        };
        Ok(Some(Node::new(place, value)))
    }

    fn target(&self, index: usize) -> usize {
        match self.nodes[index].kind {
            RawKind::Alias(target) => target,
            _ => index,
        }
    }

    fn enter(&mut self, target: usize, place: &Place) -> Result<()> {
        if self.within.contains(&target) {
            return Err(self.refuse(place, "an anchor's value contains itself"));
        }
        if self.within.len() >= MAX_DEPTH {
            return Err(too_deep(place));
        }
        self.within.push(target);
        Ok(())
    }

    /// Items of lists are only dropped, they have no name by which an earlier one could be found.
    fn remember(&mut self) {
        if self.path.steps().iter().all(|step| matches!(step, Step::Key(_))) {
            self.resets.push(self.path.clone());
        }
    }

    fn map(&mut self, entries: &[(usize, usize)]) -> Result<Map> {
        let mut map = Map::new();
        let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
        let mut merge = None;
        let nodes = self.nodes;
        for (key, value) in entries {
            let place = self.place(*key);
            let raw = &nodes[self.target(*key)];
            let RawKind::Scalar { text, plain } = &raw.kind else {
                return Err(self.refuse(&place, "keys must be text, and this one is a list or a mapping"));
            };
            if let Some(first) = seen.insert(text, raw.line) {
                return Err(self
                    .refuse(&place, format!("the key `{text}` is there already, in line {first}"))
                    .with_help("keep one of them"));
            }
            if scalar::is_merge(text, *plain, raw.tag.as_deref()) {
                merge = Some(*value);
                continue;
            }
            match scalar::value(text, *plain, raw.tag.as_deref()) {
                Ok(Value::Text(_)) => {}
                Ok(other) => {
                    let kind = Node::new(&place, other).kind();
                    return Err(self
                        .refuse(&place, format!("keys must be text, and `{text}` is {kind}"))
                        .with_help(format!("write it in quotes: \"{}\"", brief(text, 80))));
                }
                Err(message) => return Err(self.refuse(&place, message)),
            }
            self.budget
                .text(text.len())
                .map_err(|exceeded| self.refuse(&place, format!("this file is too large: {}", exceeded.0)))?;
            let key: Key = Arc::from(text.as_str());
            self.path.push(&key);
            let node = self.node(*value, &place);
            self.path.pop();
            if let Some(node) = node? {
                map.insert(key, node);
            }
        }
        if let Some(merge) = merge {
            self.merge(merge, &mut map)?;
        }
        Ok(map)
    }

    /// What `<<` names: a mapping, or a list of them of which the first has precedence.
    fn merge(&mut self, index: usize, map: &mut Map) -> Result<()> {
        let target = self.target(index);
        match &self.nodes[target].kind {
            RawKind::Map(_) => self.merge_one(index, map),
            RawKind::List(items) => {
                for item in items {
                    if !matches!(self.nodes[self.target(*item)].kind, RawKind::Map(_)) {
                        return Err(
                            self.refuse(&self.place(*item), "the merge key `<<` takes mappings alone")
                        );
                    }
                    self.merge_one(*item, map)?;
                }
                Ok(())
            }
            _ => Err(self
                .refuse(&self.place(index), "the merge key `<<` takes a mapping or a list of mappings")
                .with_help("name one by its anchor: `<<: *common`")),
        }
    }

    fn merge_one(&mut self, index: usize, map: &mut Map) -> Result<()> {
        let place = self.place(self.target(index));
        if let Some(Node { value: Value::Map(merged), .. }) = self.node(index, &place)? {
            for (key, node) in merged {
                map.entry(key).or_insert(node);
            }
        }
        Ok(())
    }
}
