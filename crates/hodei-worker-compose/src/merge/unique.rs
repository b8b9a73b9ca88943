use std::collections::HashMap;

use hodei_worker_core::Result;

use crate::{
    mount::mount,
    tree::{Node, Path, Value, each_child},
};

/// Lets the later one hold of entries that are the same: of variables with one name, of mounts with one target.
pub(crate) fn unique(node: &mut Node, path: &mut Path) -> Result<()> {
    match &mut node.value {
        Value::Map(_) => each_child(node, path, unique),
        Value::List(list) => {
            let Some((_, name)) = RULES.iter().find(|(pattern, _)| path.matches(pattern)) else {
                return Ok(());
            };
            let mut kept: Vec<Node> = Vec::with_capacity(list.len());
            let mut known: HashMap<String, usize> = HashMap::new();
            for (index, entry) in std::mem::take(list).into_iter().enumerate() {
                let key = path.with_index(index, |path| name(&entry, path))?;
                match known.get(&key) {
                    Some(at) => kept[*at] = entry,
                    None => {
                        known.insert(key, kept.len());
                        kept.push(entry);
                    }
                }
            }
            *list = kept;
            Ok(())
        }
        _ => Ok(()),
    }
}

type Name = fn(&Node, &Path) -> Result<String>;

const RULES: [(&[&str], Name); 29] = [
    (&["networks", "*", "labels"], variable),
    (&["networks", "*", "ipam", "options"], variable),
    (&["services", "*", "annotations"], variable),
    (&["services", "*", "build", "args"], variable),
    (&["services", "*", "build", "additional_contexts"], variable),
    (&["services", "*", "build", "platform"], variable),
    (&["services", "*", "build", "tags"], variable),
    (&["services", "*", "build", "labels"], variable),
    (&["services", "*", "cap_add"], variable),
    (&["services", "*", "cap_drop"], variable),
    (&["services", "*", "devices"], device),
    (&["services", "*", "configs"], config),
    (&["services", "*", "deploy", "labels"], variable),
    (&["services", "*", "dns"], variable),
    (&["services", "*", "dns_opt"], variable),
    (&["services", "*", "dns_search"], variable),
    (&["services", "*", "environment"], variable),
    (&["services", "*", "env_file"], file),
    (&["services", "*", "expose"], exposed),
    (&["services", "*", "labels"], variable),
    (&["services", "*", "links"], variable),
    (&["services", "*", "networks", "*", "aliases"], variable),
    (&["services", "*", "networks", "*", "link_local_ips"], variable),
    (&["services", "*", "ports"], port),
    (&["services", "*", "profiles"], variable),
    (&["services", "*", "secrets"], secret),
    (&["services", "*", "sysctls"], variable),
    (&["services", "*", "tmpfs"], variable),
    (&["services", "*", "volumes"], volume),
];

fn variable(entry: &Node, path: &Path) -> Result<String> {
    match entry.as_text() {
        Some(text) => Ok(text.split('=').next().unwrap_or_default().to_owned()),
        None => Err(entry
            .place
            .refuse(path, format!("this must be text, and is {}", entry.kind()))
            .with_help("write entries of lists as `NAME=value`")),
    }
}

fn without_target(entry: &Node, path: &Path) -> hodei_worker_core::Error {
    entry
        .place
        .refuse(path, "it has no `target`")
        .with_help("write the path in the container: `target: /data`")
}

fn volume(entry: &Node, path: &Path) -> Result<String> {
    match &entry.value {
        Value::Map(_) => {
            entry.text_of("target").map(str::to_owned).ok_or_else(|| without_target(entry, path))
        }
        Value::Text(text) => Ok(mount(text).map_err(|message| entry.place.refuse(path, message))?.target),
        _ => Ok(String::new()),
    }
}

fn device(entry: &Node, path: &Path) -> Result<String> {
    match &entry.value {
        Value::Map(_) => {
            entry.text_of("target").map(str::to_owned).ok_or_else(|| without_target(entry, path))
        }
        Value::Text(text) => {
            let mut parts = text.split(':');
            let first = parts.next().unwrap_or_default();
            Ok(parts.next().unwrap_or(first).to_owned())
        }
        _ => Ok(String::new()),
    }
}

fn exposed(entry: &Node, path: &Path) -> Result<String> {
    match &entry.value {
        Value::Text(_) | Value::Int(_) => Ok(entry.printed()),
        _ => Err(entry.place.refuse(path, format!("this must be a port, and is {}", entry.kind()))),
    }
}

fn config(entry: &Node, path: &Path) -> Result<String> {
    given("", entry, path)
}
fn secret(entry: &Node, path: &Path) -> Result<String> {
    given("/run/secrets", entry, path)
}
fn given(folder: &str, entry: &Node, path: &Path) -> Result<String> {
    match &entry.value {
        Value::Text(text) => Ok(format!("{folder}/{text}")),
        Value::Map(map) => match map.get("target") {
            Some(target) => target.as_text().map(str::to_owned).ok_or_else(|| {
                target.place.refuse(path, format!("`target` must be text, and is {}", target.kind()))
            }),
            None => Ok(format!("{folder}/{}", entry.get("source").map(Node::printed).unwrap_or_default())),
        },
        _ => Err(entry
            .place
            .refuse(path, format!("this must be a name or a mapping, and is {}", entry.kind()))),
    }
}

fn port(entry: &Node, path: &Path) -> Result<String> {
    let Value::Map(map) = &entry.value else { return Ok(entry.printed()) };
    let Some(target) = map.get("target") else {
        return Err(entry
            .place
            .refuse(path, "it has no `target`")
            .with_help("write the port of the service: `target: 80`"));
    };
    // A number and its text are not the same in the reference implementation.
    let part = |key: &str, default: &str| {
        map.get(key).map_or(default.to_owned(), |node| format!("{}{}", node.kind(), node.printed()))
    };
    Ok(format!(
        "{}:{}:{}/{}",
        part("host_ip", "text0.0.0.0"),
        part("published", "nothing"),
        target.printed(),
        part("protocol", "texttcp"),
    ))
}

fn file(entry: &Node, path: &Path) -> Result<String> {
    match &entry.value {
        Value::Text(text) => Ok(text.to_string()),
        Value::Map(_) => entry.text_of("path").map(str::to_owned).ok_or_else(|| {
            entry.place.refuse(path, "it has no `path`").with_help("write the file's path: `path: ./web.env`")
        }),
        _ => Ok(String::new()),
    }
}
