//! What a project implies: the default network, dependencies, names.

use std::collections::BTreeMap;

use hodei_worker_core::Result;

use crate::{
    limits::Budget,
    paths::clean,
    place::Place,
    tree::{Key, Map, Node, Value},
};

/// Variables that the project knows.
pub(crate) type Environment = BTreeMap<String, String>;

/// Adds what a project implies.
pub(crate) fn normalize(
    root: &mut Node,
    name: &str,
    environment: &Environment,
    budget: &Budget,
) -> Result<()> {
    let place = root.place.clone();
    let Some(map) = root.as_map_mut() else { return Ok(()) };
    map.insert(Key::from("name"), Node::text(&place, name));
    networks(map, &place);
    if let Some(services) = map.get_mut("services").and_then(Node::as_map_mut) {
        for (key, service) in services {
            let place = service.place.clone();
            if let Some(service) = service.as_map_mut() {
                self::service(service, key, &place, environment, budget)?;
            }
        }
    }
    resource_names(map, name);
    Ok(())
}

/// Services without networks are in the default one, which exists if somebody is in it.
fn networks(root: &mut Map, place: &Place) {
    let mut used = false;
    if let Some(services) = root.get_mut("services").and_then(Node::as_map_mut) {
        for service in services.values_mut() {
            let place = service.place.clone();
            let Some(service) = service.as_map_mut() else { continue };
            if service.contains_key("provider") || service.contains_key("network_mode") {
                continue;
            }
            match service.get("networks").map(|networks| networks.as_map()) {
                Some(Some(networks)) if !networks.is_empty() => used |= networks.contains_key("default"),
                _ => {
                    service
                        .insert(Key::from("networks"), Node::map(&place, [("default", Node::null(&place))]));
                    used = true;
                }
            }
        }
    }
    if used {
        let networks =
            root.entry(Key::from("networks")).or_insert_with(|| Node::new(place, Value::Map(Map::new())));
        if let Some(networks) = networks.as_map_mut() {
            networks.entry(Key::from("default")).or_insert_with(|| Node::null(place));
        }
    }
}

fn service(
    service: &mut Map,
    name: &Key,
    place: &Place,
    environment: &Environment,
    budget: &Budget,
) -> Result<()> {
    if let Some(policy) = service.get_mut("pull_policy").filter(|p| p.as_text() == Some("if_not_present")) {
        policy.value = Value::Text("missing".into());
    }
    if let Some(build) = service.get_mut("build") {
        let place = build.place.clone();
        if let Some(build) = build.as_map_mut() {
            let unset = |build: &Map, key: &str| build.get(key).is_none_or(Node::is_null);
            if unset(build, "context") {
                build.insert(Key::from("context"), Node::text(&place, "."));
            }
            if unset(build, "dockerfile") && unset(build, "dockerfile_inline") {
                build.insert(Key::from("dockerfile"), Node::text(&place, "Dockerfile"));
            }
            if let Some(args) = build.get_mut("args") {
                resolve(args, environment, false, budget)?;
            }
        }
    }
    if let Some(variables) = service.get_mut("environment") {
        resolve(variables, environment, true, budget)?;
    }
    if let Some(Value::List(volumes)) = service.get_mut("volumes").map(|volumes| &mut volumes.value) {
        for (index, volume) in volumes.iter_mut().enumerate() {
            let place = volume.place.clone();
            let target = volume.text_of("target").map(clean);
            match (target, volume.as_map_mut()) {
                (Some(target), Some(map)) => {
                    map.insert(Key::from("target"), Node::text(&place, target));
                }
                _ => {
                    return Err(place
                        .refuse(format!("services.{name}.volumes[{index}]"), "the mount has no `target`")
                        .with_help("write the path in the container: `target: /data`"));
                }
            }
        }
    }
    let implied = implied_dependencies(service);
    if !implied.is_empty() {
        let depends_on = service
            .entry(Key::from("depends_on"))
            .or_insert_with(|| Node::new(place, Value::Map(Map::new())));
        if let Some(depends_on) = depends_on.as_map_mut() {
            for (other, restart, place) in implied {
                depends_on.entry(other).or_insert_with(|| {
                    Node::map(
                        &place,
                        [
                            ("condition", Node::text(&place, "service_started")),
                            ("restart", Node::bool(&place, restart)),
                            ("required", Node::bool(&place, true)),
                        ],
                    )
                });
            }
        }
    }
    start_hook_images(service);
    Ok(())
}

/// Services that others share something with are needed by them: name, whether a restart spreads, and where it says so.
fn implied_dependencies(service: &Map) -> Vec<(Key, bool, Place)> {
    let mut implied = Vec::new();
    let texts = |key: &str| {
        service
            .get(key)
            .and_then(Node::as_list)
            .unwrap_or_default()
            .iter()
            .filter_map(|node| Some((node.as_text()?, node.place.clone())))
    };
    for (link, place) in texts("links") {
        let other = match link.split(':').count() {
            2 => link.split(':').next().unwrap_or_default(),
            _ => link,
        };
        implied.push((Key::from(other), true, place));
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key)
            && let Some(other) = node.as_text().and_then(|text| text.strip_prefix("service:"))
        {
            implied.push((Key::from(other), true, node.place.clone()));
        }
    }
    for (volume, place) in texts("volumes_from").filter(|(text, _)| !text.starts_with("container:")) {
        implied.push((Key::from(volume.split(':').next().unwrap_or_default()), false, place));
    }
    implied
}

fn start_hook_images(service: &mut Map) {
    let Some(image) =
        service.get("image").filter(|image| image.as_text().is_some_and(|text| !text.is_empty()))
    else {
        return;
    };
    let image = image.clone();
    if let Some(Value::List(hooks)) = service.get_mut("pre_start").map(|hooks| &mut hooks.value) {
        for hook in hooks.iter_mut().filter_map(Node::as_map_mut) {
            hook.entry(Key::from("image")).or_insert_with(|| image.clone());
        }
    }
}

/// Variables that are named without a value take that of the environment.
fn resolve(node: &mut Node, environment: &Environment, keep: bool, budget: &Budget) -> Result<()> {
    match &mut node.value {
        Value::Map(map) => {
            for (key, value) in map.iter_mut().filter(|(_, value)| value.is_null()) {
                if let Some(found) = environment.get(&**key) {
                    spend(budget, found, &value.place)?;
                    value.value = Value::Text(found.as_str().into());
                }
            }
            if !keep {
                map.retain(|_, value| !value.is_null());
            }
        }
        Value::List(list) => {
            for entry in list.iter_mut() {
                if entry.as_text().is_some_and(|text| !text.contains('=')) {
                    take_value(entry, environment, budget)?;
                }
            }
            if !keep {
                list.retain(|entry| entry.as_text().is_none_or(|text| text.contains('=')));
            }
        }
        _ => {}
    }
    Ok(())
}

/// A variable of a list takes its value from the environment, if it has one there.
fn take_value(entry: &mut Node, environment: &Environment, budget: &Budget) -> Result<()> {
    let found = entry.as_text().and_then(|name| Some(format!("{name}={}", environment.get(name)?)));
    if let Some(found) = found {
        spend(budget, &found, &entry.place)?;
        entry.value = Value::Text(found.into());
    }
    Ok(())
}

fn spend(budget: &Budget, text: &str, place: &Place) -> Result<()> {
    budget
        .text(text.len())
        .map_err(|exceeded| place.refuse("environment", format!("this project is too large: {}", exceeded.0)))
}

/// What has no name of its own is named after the project and its key, or after its key where it is external.
fn resource_names(root: &mut Map, project: &str) {
    for section in ["networks", "volumes", "configs", "secrets"] {
        let Some(resources) = root.get_mut(section).and_then(Node::as_map_mut) else { continue };
        for (key, resource) in resources {
            let place = resource.place.clone();
            if resource.is_null() {
                resource.value = Value::Map(Map::new());
            }
            let Some(resource) = resource.as_map_mut() else { continue };
            if resource.get("name").is_some_and(|name| !name.is_null()) {
                continue;
            }
            let external = resource.get("external").is_some_and(|external| external.printed() == "true");
            let name = if external { key.to_string() } else { format!("{project}_{key}") };
            resource.insert(Key::from("name"), Node::text(&place, name));
        }
    }
}

/// Lists of variables, secrets and configs take their values from the environment of the file that they are in.
pub(crate) fn resolve_environment(root: &mut Node, environment: &Environment, budget: &Budget) -> Result<()> {
    for service in entries(root, "services") {
        if let Some(Value::List(list)) = service.get_mut("environment").map(|node| &mut node.value) {
            for entry in list {
                take_value(entry, environment, budget)?;
            }
        }
    }
    for (section, key) in [("secrets", SECRET_VALUE), ("configs", "content")] {
        for entry in entries(root, section) {
            let Some(node) = entry.get("environment") else { continue };
            let Some(found) = node.as_text().and_then(|name| environment.get(name)) else { continue };
            spend(budget, found, &node.place)?;
            let found = Node::text(&node.place, found);
            entry.insert(Key::from(key), found);
        }
    }
    Ok(())
}

fn entries<'a>(root: &'a mut Node, section: &str) -> impl Iterator<Item = &'a mut Map> {
    let section = root.as_map_mut().and_then(|map| map.get_mut(section)).and_then(Node::as_map_mut);
    section.into_iter().flat_map(|map| map.values_mut()).filter_map(Node::as_map_mut)
}

/// The key that holds a secret's value while a project is read. No file can have it.
pub(crate) const SECRET_VALUE: &str = "x-#value";
