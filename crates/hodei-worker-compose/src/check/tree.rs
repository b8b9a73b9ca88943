use hodei_worker_core::Result;

use crate::{
    place::brief,
    tree::{Node, Path, Value},
    units::is_ip,
};

/// Checks fields that must not stand together, before paths are resolved.
pub(crate) fn check_tree(root: &Node) -> Result<()> {
    let Some(sections) = root.as_map() else { return Ok(()) };
    for (section, keys) in
        [("configs", &["file", "environment", "content"][..]), ("secrets", &["file", "environment"])]
    {
        for (name, node) in entries(sections.get(section)) {
            one_source(node, &Path::of([section, name]), keys)?;
        }
    }
    for (name, node) in entries(sections.get("volumes")) {
        external_alone(node, &Path::of(["volumes", name]))?;
    }
    for (name, service) in entries(sections.get("services")) {
        let path = Path::of(["services", name]);
        for (index, port) in list(service.get("ports")).iter().enumerate() {
            if let Some(ip) = port.text_of("host_ip")
                && !is_ip(ip)
            {
                return Err(port
                    .place
                    .refuse(format!("{path}.ports[{index}].host_ip"), format!("`{ip}` is no IP address"))
                    .with_help("write an address of this machine, such as `127.0.0.1`"));
            }
        }
        for (index, watch) in
            list(service.get("develop").and_then(|node| node.get("watch"))).iter().enumerate()
        {
            if watch.text_of("path") == Some("") {
                let field = format!("{path}.develop.watch[{index}].path");
                return Err(watch.place.refuse(field, "it must not be empty"));
            }
        }
        let reserved = ["resources", "reservations", "devices"]
            .iter()
            .try_fold(service.get("deploy"), |node, key| Some(node?.get(key)))
            .flatten();
        for (field, devices) in
            [("deploy.resources.reservations.devices", reserved), ("gpus", service.get("gpus"))]
        {
            for (index, device) in list(devices).iter().enumerate() {
                if device.get("count").is_some() && device.get("device_ids").is_some() {
                    return Err(device
                        .place
                        .refuse(
                            format!("{path}.{field}[{index}]"),
                            "`count` and `device_ids` exclude each other",
                        )
                        .with_help("keep one of them"));
                }
            }
        }
    }
    Ok(())
}

fn entries(node: Option<&Node>) -> impl Iterator<Item = (&str, &Node)> {
    node.and_then(Node::as_map).into_iter().flatten().map(|(key, node)| (&**key, node))
}

fn list(node: Option<&Node>) -> &[Node] {
    node.and_then(Node::as_list).unwrap_or_default()
}

fn one_source(node: &Node, path: &Path, keys: &[&str]) -> Result<()> {
    let there: Vec<&str> = keys.iter().copied().filter(|key| node.get(key).is_some()).collect();
    let all = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match there.len() {
        0 if node.get("driver").is_some() || node.get("external").is_some() => Ok(()),
        0 => Err(node
            .place
            .refuse(path, format!("it has no source: {all}"))
            .with_help("add one of them, or `external: true`")),
        1 => Ok(()),
        _ => Err(node
            .place
            .refuse(path, format!("{} exclude each other", there.join(" and ")))
            .with_help("keep one of them")),
    }
}

fn external_alone(node: &Node, path: &Path) -> Result<()> {
    if !matches!(node.get("external").map(|node| &node.value), Some(Value::Bool(true))) {
        return Ok(());
    }
    let other = node
        .as_map()
        .into_iter()
        .flatten()
        .find(|(key, _)| !matches!(&***key, "name" | "external") && !key.starts_with("x-"));
    match other {
        Some((key, value)) => Err(value
            .place
            .refuse(path.child(key), format!("`{key}` means nothing for a volume that is external"))
            .with_help(format!("remove `{}` or `external`", brief(key, 80)))),
        None => Ok(()),
    }
}
