//! Short forms become long ones, and what is left out gets its default.

use hodei_worker_core::Result;

use crate::{
    limits::Budget,
    mount::{device, mount},
    place::brief,
    tree::{Key, Map, Node, Path, Value, each_child},
    units::ports,
};

type Rule = fn(&mut Node, &mut Path, &Budget) -> Result<()>;

const RULES: [(&[&str], Rule); 29] = [
    (&["services", "*", "build", "secrets", "*"], file_mount),
    (&["services", "*", "build", "provenance"], words),
    (&["services", "*", "build", "sbom"], words),
    (&["services", "*", "build", "additional_contexts"], pairs),
    (&["services", "*", "depends_on"], depends_on),
    (&["services", "*", "env_file"], env_file),
    (&["services", "*", "label_file"], list),
    (&["services", "*", "extends"], extends),
    (&["services", "*", "gpus"], gpus),
    (&["services", "*", "networks"], names),
    (&["services", "*", "models"], names),
    (&["services", "*", "volumes", "*"], volume),
    (&["services", "*", "dns"], list),
    (&["services", "*", "devices", "*"], device_mapping),
    (&["services", "*", "secrets", "*"], file_mount),
    (&["services", "*", "configs", "*"], file_mount),
    (&["services", "*", "ports"], all_ports),
    (&["services", "*", "build"], build),
    (&["services", "*", "build", "ssh"], ssh),
    (&["services", "*", "ulimits", "*"], ulimit),
    (&["services", "*", "build", "ulimits", "*"], ulimit),
    (&["services", "*", "develop", "watch", "*", "ignore"], list),
    (&["services", "*", "develop", "watch", "*", "include"], list),
    (&["volumes", "*"], external),
    (&["networks", "*"], external),
    (&["secrets", "*"], external),
    (&["configs", "*"], external),
    (&["include", "*"], include),
    (&["services", "*"], children),
];

/// Writes every field of a project in its long form.
pub(crate) fn canonical(node: &mut Node, path: &mut Path, budget: &Budget) -> Result<()> {
    // No rule looks deeper.
    if path.steps().len() > 6 {
        return Ok(());
    }
    match RULES.iter().find(|(pattern, _)| path.matches(pattern)) {
        Some((_, rule)) => rule(node, path, budget),
        None => children(node, path, budget),
    }
}

fn children(node: &mut Node, path: &mut Path, budget: &Budget) -> Result<()> {
    each_child(node, path, |child, path| canonical(child, path, budget))
}

fn wrong(node: &Node, path: &Path, expected: &str) -> hodei_worker_core::Error {
    node.place.refuse(path, format!("this must be {expected}, and is {}", node.kind()))
}

fn list(node: &mut Node, _: &mut Path, _: &Budget) -> Result<()> {
    if node.as_text().is_some() {
        let item = node.clone();
        node.value = Value::List(vec![item]);
    }
    Ok(())
}

fn words(node: &mut Node, _: &mut Path, _: &Budget) -> Result<()> {
    if node.as_text().is_none() {
        node.value = Value::Text(node.printed().into());
    }
    Ok(())
}

fn pairs(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    let Some(entries) = node.as_list() else {
        return if node.as_map().is_some() { Ok(()) } else { Err(wrong(node, path, "a mapping or a list")) };
    };
    let mut map = Map::new();
    for entry in entries {
        match entry.as_text().and_then(|text| text.split_once('=')) {
            Some((key, value)) => drop(map.insert(Key::from(key), Node::text(&entry.place, value))),
            None => {
                return Err(entry
                    .place
                    .refuse(&*path, format!("`{}` is not `name=value`", entry.printed()))
                    .with_help("write `name=value`, or use a mapping"));
            }
        }
    }
    node.value = Value::Map(map);
    Ok(())
}

fn names(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    if let Some(entries) = node.as_list() {
        let mut map = Map::new();
        for entry in entries {
            let Some(name) = entry.as_text() else { return Err(wrong(entry, path, "text")) };
            map.insert(Key::from(name), Node::null(&entry.place));
        }
        node.value = Value::Map(map);
    }
    Ok(())
}

fn depends_on(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    if let Some(entries) = node.as_list() {
        let mut map = Map::new();
        for entry in entries {
            let Some(name) = entry.as_text() else { return Err(wrong(entry, path, "text")) };
            map.insert(Key::from(name), Node::map(&entry.place, []));
        }
        node.value = Value::Map(map);
    }
    let place = node.place.clone();
    let Some(map) = node.as_map_mut() else {
        return Err(place.refuse(&*path, "this must be a list of services or a mapping"));
    };
    for (name, dependency) in map {
        let place = dependency.place.clone();
        let Some(fields) = dependency.as_map_mut() else {
            return Err(place.refuse(path.child(name), "this must be a mapping with a `condition`"));
        };
        fields.entry(Key::from("condition")).or_insert_with(|| Node::text(&place, "service_started"));
        fields.entry(Key::from("required")).or_insert_with(|| Node::bool(&place, true));
    }
    Ok(())
}

fn env_file(node: &mut Node, path: &mut Path, budget: &Budget) -> Result<()> {
    list(node, path, budget)?;
    let place = node.place.clone();
    let Value::List(entries) = &mut node.value else {
        return Err(place.refuse(&*path, "this must be a file or a list of files"));
    };
    for entry in entries {
        let place = entry.place.clone();
        if entry.as_text().is_some() {
            *entry = Node::map(&place, [("path", entry.clone())]);
        }
        let Some(map) = entry.as_map_mut() else {
            return Err(place.refuse(&*path, "this must be a file, or a mapping with its `path`"));
        };
        map.entry(Key::from("required")).or_insert_with(|| Node::bool(&place, true));
    }
    Ok(())
}

fn extends(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    if node.as_text().is_some() {
        *node = Node::map(&node.place.clone(), [("service", node.clone())]);
    }
    if node.as_map().is_some() { Ok(()) } else { Err(wrong(node, path, "a service or a mapping")) }
}

fn gpus(node: &mut Node, path: &mut Path, budget: &Budget) -> Result<()> {
    if node.as_text().is_some() {
        let place = node.place.clone();
        let all = Node::map(&place, [("count", Node::text(&place, "all"))]);
        node.value = Value::List(vec![all]);
        return Ok(());
    }
    if node.as_list().is_some() {
        children(node, path, budget)
    } else {
        Err(wrong(node, path, "`all` or a list"))
    }
}

fn volume(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    match &node.value {
        Value::Map(_) => Ok(()),
        Value::Text(text) => {
            *node = mount(text)
                .map_err(|message| {
                    node.place
                        .refuse(&*path, message)
                        .with_help("write `source:target`, `source:target:ro`, or the long form")
                })?
                .long(&node.place);
            Ok(())
        }
        _ => Err(wrong(node, path, "text or a mapping")),
    }
}

fn device_mapping(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    match &node.value {
        Value::Map(_) => Ok(()),
        Value::Text(text) => {
            *node = device(text, &node.place).map_err(|message| {
                node.place
                    .refuse(&*path, message)
                    .with_help("write `source:target:permissions`, or the long form")
            })?;
            Ok(())
        }
        _ => Err(wrong(node, path, "text or a mapping")),
    }
}

fn file_mount(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    match &node.value {
        Value::Map(_) => Ok(()),
        Value::Text(_) => {
            *node = Node::map(&node.place.clone(), [("source", node.clone())]);
            Ok(())
        }
        _ => Err(wrong(node, path, "a name or a mapping")),
    }
}

fn all_ports(node: &mut Node, path: &mut Path, budget: &Budget) -> Result<()> {
    let Value::List(entries) = &mut node.value else { return Err(wrong(node, path, "a list")) };
    let mut all = Vec::with_capacity(entries.len());
    for (index, entry) in std::mem::take(entries).into_iter().enumerate() {
        let text = match &entry.value {
            Value::Map(_) => {
                all.push(entry);
                continue;
            }
            Value::Text(_) | Value::Int(_) => entry.printed(),
            _ => return Err(path.with_index(index, |path| wrong(&entry, path, "a port, text or a mapping"))),
        };
        let place = &entry.place;
        let refuse =
            |path: &mut Path, message: String| path.with_index(index, |path| place.refuse(&*path, message));
        let ports = ports(&text).map_err(|message| {
            refuse(path, format!("`{text}` is not a port: {message}"))
                .with_help("write `target`, `published:target` or `ip:published:target`, in quotes")
        })?;
        budget
            .nodes(ports.len().saturating_mul(6))
            .map_err(|exceeded| refuse(path, format!("this project is too large: {}", exceeded.0)))?;
        for port in ports {
            let mut map = Map::new();
            let mut put = |key: &str, node: Node| drop(map.insert(Key::from(key), node));
            put("mode", Node::text(place, "ingress"));
            if port.target != 0 {
                put("target", Node::new(place, Value::Int(i64::from(port.target))));
            }
            if !port.host_ip.is_empty() {
                put("host_ip", Node::text(place, port.host_ip));
            }
            if !port.published.is_empty() {
                put("published", Node::text(place, port.published));
            }
            put("protocol", Node::text(place, port.protocol));
            all.push(Node::new(place, Value::Map(map)));
        }
    }
    node.value = Value::List(all);
    Ok(())
}

fn build(node: &mut Node, path: &mut Path, budget: &Budget) -> Result<()> {
    if node.as_text().is_some() {
        *node = Node::map(&node.place.clone(), [("context", node.clone())]);
        return Ok(());
    }
    if node.as_map().is_some() {
        children(node, path, budget)
    } else {
        Err(wrong(node, path, "text or a mapping"))
    }
}

fn ssh(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    let Some(entries) = node.as_list() else {
        return if node.as_map().is_some() { Ok(()) } else { Err(wrong(node, path, "a list or a mapping")) };
    };
    let mut map = Map::new();
    for entry in entries {
        let Some(text) = entry.as_text() else { return Err(wrong(entry, path, "text")) };
        let value = match text.split_once('=') {
            Some((_, file)) => Node::text(&entry.place, file),
            None if text == "default" => Node::null(&entry.place),
            None => {
                return Err(entry
                    .place
                    .refuse(&*path, format!("the key `{text}` has no file"))
                    .with_help(format!("write `default`, or `{}=path/of/the/key`", brief(text, 80))));
            }
        };
        map.insert(Key::from(text.split('=').next().unwrap_or_default()), value);
    }
    node.value = Value::Map(map);
    Ok(())
}

fn ulimit(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    match node.value {
        Value::Map(_) | Value::Int(_) => Ok(()),
        _ => Err(wrong(node, path, "a whole number, or a mapping with `soft` and `hard`")),
    }
}

/// The older form names what is there already below `external`.
fn external(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    if node.is_null() {
        return Ok(());
    }
    let Some(map) = node.as_map_mut() else { return Err(wrong(node, path, "a mapping")) };
    let Some(external) = map.get("external").filter(|external| external.as_map().is_some()).cloned() else {
        return Ok(());
    };
    map.insert(Key::from("external"), Node::bool(&external.place, true));
    if let Some(name) = external.get("name") {
        match map.get("name") {
            Some(other) if other.printed() != name.printed() => {
                return Err(name
                    .place
                    .refuse(&*path, "`name` and `external.name` differ")
                    .with_help("write `external: true` and `name`"));
            }
            Some(_) => {}
            None => drop(map.insert(Key::from("name"), name.clone())),
        }
    }
    Ok(())
}

fn include(node: &mut Node, path: &mut Path, _: &Budget) -> Result<()> {
    match &node.value {
        Value::Map(_) => Ok(()),
        Value::Text(_) => {
            *node = Node::map(&node.place.clone(), [("path", node.clone())]);
            Ok(())
        }
        _ => Err(wrong(node, path, "a path or a mapping")),
    }
}

/// Drops what is empty where that means nothing.
pub(crate) fn omit_empty(root: &mut Node) {
    let empty = |node: &Node| node.is_null() || node.as_text() == Some("");
    let Some(services) = root.as_map_mut().and_then(|map| map.get_mut("services")).and_then(Node::as_map_mut)
    else {
        return;
    };
    for service in services.values_mut() {
        match service.as_map_mut().and_then(|map| map.get_mut("dns")).map(|dns| &mut dns.value) {
            Some(Value::List(list)) => list.retain(|entry| !empty(entry)),
            Some(Value::Map(map)) => map.retain(|_, entry| !empty(entry)),
            _ => {}
        }
    }
}

/// Gives what was left out its default.
pub(crate) fn defaults(node: &mut Node, path: &mut Path) -> Result<()> {
    if path.steps().len() > 7 {
        return Ok(());
    }
    let place = node.place.clone();
    if path.matches(&["services", "*", "build"]) {
        if let Some(map) = node.as_map_mut() {
            map.entry(Key::from("context")).or_insert_with(|| Node::text(&place, "."));
        }
        return Ok(());
    }
    if path.matches(&["services", "*", "secrets", "*"]) {
        let Some(map) = node.as_map_mut() else { return Err(wrong(node, path, "a mapping")) };
        let source = map.get("source").map_or("<nil>".to_owned(), Node::printed);
        map.entry(Key::from("target"))
            .or_insert_with(|| Node::text(&place, format!("/run/secrets/{source}")));
        return Ok(());
    }
    if path.matches(&["services", "*", "ports", "*"]) {
        if let Some(map) = node.as_map_mut() {
            map.entry(Key::from("protocol")).or_insert_with(|| Node::text(&place, "tcp"));
            map.entry(Key::from("mode")).or_insert_with(|| Node::text(&place, "ingress"));
        }
        return Ok(());
    }
    if path.matches(&["services", "*", "deploy", "resources", "reservations", "devices", "*"])
        || path.matches(&["services", "*", "gpus", "*"])
    {
        let Some(map) = node.as_map_mut() else { return Err(wrong(node, path, "a mapping")) };
        if !map.contains_key("count") && !map.contains_key("device_ids") {
            map.insert(Key::from("count"), Node::text(&place, "all"));
        }
        return Ok(());
    }
    if path.matches(&["services", "*", "volumes", "*", "bind"]) {
        let Some(map) = node.as_map_mut() else { return Err(wrong(node, path, "a mapping")) };
        map.entry(Key::from("create_host_path")).or_insert_with(|| Node::bool(&place, true));
        return Ok(());
    }
    each_child(node, path, defaults)
}
