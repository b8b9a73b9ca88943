//! One file over another: mappings are merged, lists are joined, and some fields have rules of their own.

mod unique;

use std::sync::Arc;

use hodei_worker_core::Result;
pub(crate) use unique::unique;

use crate::tree::{Key, Map, Node, Path, Value};

/// Lays one value over another.
pub(crate) fn merge(base: Node, over: Node, path: &mut Path) -> Result<Node> {
    if let Some((_, rule)) = RULES.iter().find(|(pattern, _)| path.matches(pattern)) {
        return rule(base, over, path);
    }
    if over.is_null() {
        return Ok(base);
    }
    match (base.value, over.value) {
        (Value::Map(mut map), Value::Map(other)) => {
            mappings(&mut map, other, path)?;
            Ok(Node { place: base.place, value: Value::Map(map) })
        }
        (Value::List(mut list), Value::List(other)) => {
            list.extend(other);
            Ok(Node { place: base.place, value: Value::List(list) })
        }
        (base_value @ (Value::Map(_) | Value::List(_)), other) => {
            let over = Node { place: over.place, value: other };
            let base = Node { place: base.place, value: base_value };
            Err(mismatch(&base, &over, path))
        }
        (_, other) => Ok(Node { place: over.place, value: other }),
    }
}

fn mismatch(base: &Node, over: &Node, path: &Path) -> hodei_worker_core::Error {
    over.place
        .refuse(path, format!("{} cannot override {}, which is at {}", over.kind(), base.kind(), base.place))
        .with_help("write it in the same form, or replace all of it by the tag `!override`")
}

/// Lays one mapping over another.
fn mappings(map: &mut Map, over: Map, path: &mut Path) -> Result<()> {
    for (key, node) in over {
        let merged = match map.remove(&key) {
            Some(base) => path.with(&key, |path| merge(base, node, path))?,
            None => node,
        };
        map.insert(key, merged);
    }
    Ok(())
}

type Rule = fn(Node, Node, &mut Path) -> Result<Node>;

const RULES: [(&[&str], Rule); 29] = [
    (&["networks", "*", "ipam", "config"], ipam),
    (&["networks", "*", "labels"], sequence),
    (&["volumes", "*", "labels"], sequence),
    (&["services", "*", "annotations"], sequence),
    (&["services", "*", "build"], build),
    (&["services", "*", "build", "args"], sequence),
    (&["services", "*", "build", "additional_contexts"], sequence),
    (&["services", "*", "build", "extra_hosts"], hosts),
    (&["services", "*", "build", "labels"], sequence),
    (&["services", "*", "command"], replace),
    (&["services", "*", "depends_on"], dependencies),
    (&["services", "*", "deploy", "labels"], sequence),
    (&["services", "*", "dns"], sequence),
    (&["services", "*", "dns_opt"], sequence),
    (&["services", "*", "dns_search"], sequence),
    (&["services", "*", "entrypoint"], replace),
    (&["services", "*", "env_file"], sequence),
    (&["services", "*", "label_file"], sequence),
    (&["services", "*", "environment"], sequence),
    (&["services", "*", "extra_hosts"], hosts),
    (&["services", "*", "healthcheck", "test"], replace),
    (&["services", "*", "labels"], sequence),
    (&["services", "*", "volumes", "*", "volume", "labels"], sequence),
    (&["services", "*", "logging"], logging),
    (&["services", "*", "models"], names),
    (&["services", "*", "networks"], names),
    (&["services", "*", "sysctls"], sequence),
    (&["services", "*", "tmpfs"], sequence),
    (&["services", "*", "ulimits", "*"], replace),
];

fn replace(_: Node, over: Node, _: &mut Path) -> Result<Node> {
    Ok(over)
}

/// Both as lists, one after the other; which of two entries with one name holds is decided later.
fn sequence(base: Node, over: Node, _: &mut Path) -> Result<Node> {
    let place = base.place.clone();
    let mut list = as_list(base);
    list.extend(as_list(over));
    Ok(Node { place, value: Value::List(list) })
}

fn hosts(base: Node, over: Node, _: &mut Path) -> Result<Node> {
    let place = base.place.clone();
    let mut list = as_list(base);
    let known: std::collections::BTreeSet<String> =
        list.iter().filter_map(|node| node.as_text().map(str::to_owned)).collect();
    list.extend(
        as_list(over).into_iter().filter(|node| !node.as_text().is_some_and(|text| known.contains(text))),
    );
    Ok(Node { place, value: Value::List(list) })
}

/// A mapping as a list of `key=value`; a text as a list of one.
fn as_list(node: Node) -> Vec<Node> {
    match node.value {
        Value::List(list) => list,
        Value::Map(map) => {
            let mut list = Vec::new();
            for (key, value) in map {
                match &value.value {
                    Value::Null => list.push(Node::text(&value.place, &*key)),
                    Value::List(values) => list.extend(
                        values
                            .iter()
                            .map(|item| Node::text(&item.place, format!("{key}={}", item.printed()))),
                    ),
                    _ => list.push(Node::text(&value.place, format!("{key}={}", value.printed()))),
                }
            }
            list.sort_by(|a, b| a.as_text().cmp(&b.as_text()));
            list
        }
        Value::Text(_) => vec![node],
        _ => Vec::new(),
    }
}

fn build(base: Node, over: Node, path: &mut Path) -> Result<Node> {
    let base = short_build(base);
    let over = short_build(over);
    both_mappings(base, over, path)
}

/// The short form of `build` names its context.
fn short_build(node: Node) -> Node {
    match node.value {
        Value::Text(_) => Node::map(&node.place.clone(), [("context", node)]),
        _ => node,
    }
}

fn both_mappings(base: Node, over: Node, path: &mut Path) -> Result<Node> {
    match (base.value, over.value) {
        (Value::Map(mut map), Value::Map(other)) => {
            mappings(&mut map, other, path)?;
            Ok(Node { place: base.place, value: Value::Map(map) })
        }
        (value @ Value::Map(_), Value::Null) => Ok(Node { place: base.place, value }),
        (value, other) => {
            let (base, over) = (Node { place: base.place, value }, Node { place: over.place, value: other });
            Err(mismatch(&base, &over, path))
        }
    }
}

fn dependencies(base: Node, over: Node, path: &mut Path) -> Result<Node> {
    let started = |node: &Node| {
        Node::map(
            &node.place,
            [
                ("condition", Node::text(&node.place, "service_started")),
                ("required", Node::bool(&node.place, true)),
            ],
        )
    };
    both_mappings(named(base, started), named(over, started), path)
}

fn names(base: Node, over: Node, path: &mut Path) -> Result<Node> {
    let nothing = |node: &Node| Node::null(&node.place);
    both_mappings(named(base, nothing), named(over, nothing), path)
}

/// A list of names as a mapping.
fn named(node: Node, value: impl Fn(&Node) -> Node) -> Node {
    match &node.value {
        Value::List(list) if list.iter().all(|item| item.as_text().is_some()) => {
            let map =
                list.iter().filter_map(|item| Some((Key::from(item.as_text()?), value(item)))).collect();
            Node { place: node.place.clone(), value: Value::Map(map) }
        }
        _ => node,
    }
}

/// Options of one driver mean nothing to another.
fn logging(base: Node, over: Node, path: &mut Path) -> Result<Node> {
    match (base.text_of("driver"), over.text_of("driver")) {
        (Some(one), Some(other)) if one != other => Ok(over),
        _ => both_mappings(base, over, path),
    }
}

/// Pools are the same where their subnets are.
fn ipam(base: Node, over: Node, path: &mut Path) -> Result<Node> {
    let subnet = |node: &Node| node.get("subnet").map(Node::printed);
    let (Some(pools), Some(others)) = (base.as_list(), over.as_list()) else {
        return Err(mismatch(&base, &over, path));
    };
    // Each pool is laid against each other one, so their number is bounded.
    if pools.len().saturating_mul(others.len()) > MOST_POOL_PAIRS {
        return Err(over.place.refuse(&*path, "there are too many address pools to merge"));
    }
    let mut merged: Vec<Node> = Vec::new();
    for pool in pools {
        let mut pool = pool.clone();
        for other in others {
            if subnet(other) != subnet(&pool) && !merged.iter().any(|known| subnet(known) == subnet(other)) {
                merged.push(other.clone());
                continue;
            }
            pool = both_mappings(pool, other.clone(), path)?;
            match merged.iter().position(|known| subnet(known) == subnet(&pool)) {
                Some(at) => merged[at] = pool.clone(),
                None => merged.push(pool.clone()),
            }
        }
    }
    Ok(Node { place: base.place, value: Value::List(merged) })
}

const MOST_POOL_PAIRS: usize = 1_000;

/// Drops what a later file resets, before it is laid over this.
pub(crate) fn drop_resets(node: &mut Node, resets: &[Path]) {
    for reset in resets {
        let keys: Vec<&Key> = reset
            .steps()
            .iter()
            .filter_map(|step| match step {
                crate::tree::Step::Key(key) => Some(key),
                crate::tree::Step::Index(_) => None,
            })
            .collect();
        let Some((last, parents)) = keys.split_last() else { continue };
        let mut at = Some(&mut *node);
        for key in parents {
            at = at.and_then(|node| node.as_map_mut()?.get_mut(*key));
        }
        if let Some(map) = at.and_then(Node::as_map_mut) {
            map.remove(*last);
        }
    }
}

/// Lays a service over the one that it extends.
pub(crate) fn extend(base: Node, service: Node, name: &Key) -> Result<Node> {
    let mut path = Path::of(["services"]);
    path.push(&Arc::clone(name));
    merge(base, service, &mut path)
}

#[cfg(test)]
mod tests;
