use std::collections::BTreeMap;

use hodei_worker_core::{Error, Result};
use serde_json::{Map as JsonMap, Value as Json, json};

use super::{Shape, mapping};
use crate::{
    interpolate::boolean,
    number::{go_parse_float, json_float, json_float32},
    place::brief,
    shell,
    tree::{Map, Node, Path, Value},
    units,
};

impl Shape {
    /// The value as JSON; nothing where it is left out.
    pub(super) fn encode(&self, node: Option<&Node>, path: &mut Path) -> Result<Option<Json>> {
        let Some(node) = node else {
            return Ok(match self {
                Self::FixedText => Some(Json::from("")),
                Self::FixedBytes => Some(Json::from("0")),
                Self::FixedBool => Some(Json::from(false)),
                Self::FixedWhole | Self::FixedSmall => Some(Json::from(0)),
                Self::Allowed => Some(Json::from(false)),
                Self::Command => Some(Json::Null),
                Self::Fixed(fields) => Some(Json::Object(mapping(fields, &Map::new(), path)?)),
                _ => None,
            });
        };
        let filled = |json: JsonMap<String, Json>| (!json.is_empty()).then_some(Json::Object(json));
        Ok(match self {
            Self::Text => Some(text(node, path)?).filter(|text| !text.is_empty()).map(Json::from),
            Self::FixedText => Some(Json::from(text(node, path)?)),
            Self::Bool => bool(node, path)?.then_some(Json::from(true)),
            Self::Allowed => (!bool(node, path)?).then_some(Json::from(false)),
            Self::FixedBool | Self::SetBool => Some(Json::from(bool(node, path)?)),
            Self::Whole => Some(whole(node, path)?).filter(|value| *value != 0).map(Json::from),
            Self::SetWhole | Self::FixedWhole => Some(Json::from(whole(node, path)?)),
            Self::SetCount => Some(Json::from(count(node, path)?)),
            Self::Count => Some(count(node, path)?).filter(|value| *value != 0).map(Json::from),
            Self::FixedSmall => Some(Json::from(count(node, path)? as u16)),
            Self::Float => Some(float(node, path)?).filter(|value| *value != 0.0).map(json_float32),
            Self::Bytes => {
                Some(bytes(node, path)?).filter(|value| *value != 0).map(|value| json!(value.to_string()))
            }
            Self::FixedBytes => Some(Json::from(bytes(node, path)?.to_string())),
            Self::Duration => duration(node, path)?.filter(|value| value != "0s").map(Json::from),
            Self::SetDuration => duration(node, path)?.map(Json::from),
            Self::Texts => {
                let texts = match &node.value {
                    Value::List(list) => each(list, path, text)?,
                    _ => vec![text(node, path)?],
                };
                (!texts.is_empty()).then_some(Json::from(texts))
            }
            Self::Printed => {
                let texts: Vec<String> = match &node.value {
                    Value::List(list) => list.iter().map(Node::printed).collect(),
                    _ => vec![text(node, path)?],
                };
                (!texts.is_empty()).then_some(Json::from(texts))
            }
            Self::Command => Some(Json::from(command(node, path)?)),
            Self::Test => {
                let words = match &node.value {
                    Value::List(list) => each(list, path, text)?,
                    _ => vec!["CMD-SHELL".to_owned(), text(node, path)?],
                };
                (!words.is_empty()).then_some(Json::from(words))
            }
            Self::Labels => filled(pairs(node, path, Json::from(""))?),
            Self::Variables => filled(pairs(node, path, Json::Null)?),
            Self::Options => filled(pairs(map_only(node, path)?, path, Json::from(""))?),
            Self::TextMap => {
                let mut json = JsonMap::new();
                for (key, value) in map_of(node, path)? {
                    let value = if value.is_null() {
                        String::new()
                    } else {
                        path.with(key, |path| text(value, path))?
                    };
                    json.insert(key.to_string(), Json::from(value));
                }
                filled(json)
            }
            Self::MultiOptions => {
                let mut json = JsonMap::new();
                for (key, value) in map_of(node, path)? {
                    let values: Vec<String> = match &value.value {
                        Value::List(list) => list.iter().map(Node::printed).collect(),
                        _ => vec![value.printed()],
                    };
                    if !values.is_empty() {
                        json.insert(key.to_string(), Json::from(values));
                    }
                }
                filled(json)
            }
            Self::Hosts => {
                let hosts = hosts(node, path)?;
                (!hosts.is_empty()).then_some(Json::from(hosts))
            }
            Self::Devices => Some(devices(node, path)?).filter(|count| *count != 0).map(Json::from),
            Self::Ulimits => {
                let mut json = JsonMap::new();
                for (key, limit) in map_of(node, path)? {
                    let limit = match limit.is_null() {
                        true => Json::Null,
                        false => path.with(key, |path| ulimit(limit, path))?,
                    };
                    json.insert(key.to_string(), limit);
                }
                filled(json)
            }
            Self::Mode => Some(Json::from(mode(node, path)?)),
            Self::Ssh => {
                let keys: Vec<String> = map_of(node, path)?
                    .iter()
                    .map(|(id, file)| match file.printed() {
                        file if file.is_empty() => id.to_string(),
                        file => format!("{id}={file}"),
                    })
                    .collect();
                (!keys.is_empty()).then_some(Json::from(keys))
            }
            Self::Set(fields) | Self::Fixed(fields) => {
                Some(Json::Object(mapping(fields, map_of(node, path)?, path)?))
            }
            Self::Many(fields) => {
                let Value::List(list) = &node.value else { return Err(wrong(node, path, "a list")) };
                let entries = each(list, path, |entry, path| {
                    let empty = Map::new();
                    let map = if entry.is_null() { &empty } else { map_of(entry, path)? };
                    Ok(Json::Object(mapping(fields, map, path)?))
                })?;
                (!entries.is_empty()).then_some(Json::Array(entries))
            }
            Self::Named(fields) => filled(named(fields, node, path, false)?),
            Self::NamedOrNull(fields) => filled(named(fields, node, path, true)?),
        })
    }
}

fn named(
    fields: &[super::Field],
    node: &Node,
    path: &mut Path,
    nulls: bool,
) -> Result<JsonMap<String, Json>> {
    let mut json = JsonMap::new();
    for (key, value) in map_of(node, path)? {
        let entry = match (value.is_null(), nulls) {
            (true, true) => Json::Null,
            (true, false) => Json::Object(mapping(fields, &Map::new(), path)?),
            (false, _) => path.with(key, |path| {
                Ok::<_, Error>(Json::Object(mapping(fields, map_of(value, path)?, path)?))
            })?,
        };
        json.insert(key.to_string(), entry);
    }
    Ok(json)
}

fn each<T>(list: &[Node], path: &mut Path, run: impl Fn(&Node, &mut Path) -> Result<T>) -> Result<Vec<T>> {
    list.iter().enumerate().map(|(index, entry)| path.with_index(index, |path| run(entry, path))).collect()
}

fn wrong(node: &Node, path: &Path, expected: &str) -> Error {
    let shown = match &node.value {
        Value::Map(_) | Value::List(_) | Value::Null => node.kind().to_owned(),
        _ => format!("`{}`", node.printed()),
    };
    node.place.refuse(path, format!("this must be {expected}, and is {shown}"))
}

fn map_of<'a>(node: &'a Node, path: &Path) -> Result<&'a Map> {
    node.as_map().ok_or_else(|| wrong(node, path, "a mapping"))
}
fn map_only<'a>(node: &'a Node, path: &Path) -> Result<&'a Node> {
    map_of(node, path).map(|_| node)
}

fn text(node: &Node, path: &mut Path) -> Result<String> {
    match &node.value {
        Value::Text(text) => Ok(text.to_string()),
        Value::Int(value) => Ok(value.to_string()),
        Value::Null => Ok(String::new()),
        Value::Map(_) | Value::List(_) => Err(wrong(node, path, "text")),
        _ => Err(wrong(node, path, "text")
            .with_help(format!("write it in quotes: \"{}\"", brief(&node.printed(), 80)))),
    }
}

fn bool(node: &Node, path: &mut Path) -> Result<bool> {
    let value = match &node.value {
        Value::Bool(value) => Some(*value),
        Value::Text(text) => boolean(text),
        _ => None,
    };
    value.ok_or_else(|| wrong(node, path, "`true` or `false`"))
}

fn whole(node: &Node, path: &mut Path) -> Result<i64> {
    let value = match &node.value {
        Value::Int(value) => Some(*value),
        Value::Unsigned(value) => Some(*value as i64),
        Value::Float(value) => Some(*value as i64),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    value.ok_or_else(|| wrong(node, path, "a whole number"))
}

fn count(node: &Node, path: &mut Path) -> Result<u64> {
    let value = match &node.value {
        Value::Int(value) => u64::try_from(*value).ok(),
        Value::Unsigned(value) => Some(*value),
        Value::Float(value) if *value >= 0.0 => Some(*value as u64),
        _ => None,
    };
    value.ok_or_else(|| wrong(node, path, "a whole number that is not negative"))
}

fn float(node: &Node, path: &mut Path) -> Result<f32> {
    let value = match &node.value {
        Value::Int(value) => Some(*value as f32),
        Value::Unsigned(value) => Some(*value as f32),
        Value::Float(value) => Some(*value as f32),
        Value::Text(text) => go_parse_float(text).map(|value| value as f32),
        _ => None,
    };
    value.filter(|value| value.is_finite()).ok_or_else(|| wrong(node, path, "a number"))
}

fn bytes(node: &Node, path: &mut Path) -> Result<i64> {
    let value = match &node.value {
        Value::Int(value) => Some(*value),
        Value::Text(text) => units::bytes(text),
        // The reference implementation leaves out every other number without a word.
        _ => None,
    };
    value.ok_or_else(|| {
        wrong(node, path, "a size")
            .with_help("write a whole number of bytes, or one with a unit: `64m`, `1.5gb`")
    })
}

fn duration(node: &Node, path: &mut Path) -> Result<Option<String>> {
    let text = node.printed();
    match units::duration(&text) {
        Some(nanos) => Ok(Some(units::print_duration(nanos))),
        None => Err(node
            .place
            .refuse(&*path, format!("`{text}` is not a duration"))
            .with_help("write a number with a unit, such as `10s`, `1m30s` or `100ms`")),
    }
}

fn command(node: &Node, path: &mut Path) -> Result<Vec<String>> {
    match &node.value {
        Value::List(list) => each(list, path, text),
        _ => {
            let line = text(node, path)?;
            shell::words(&line).ok_or_else(|| {
                node.place
                    .refuse(&*path, format!("`{line}` cannot be split into words"))
                    .with_help("close its quotes, quote its parentheses, or write a list of words")
            })
        }
    }
}

/// Texts by name, of a mapping or of a list of `name=value`.
fn pairs(node: &Node, path: &mut Path, missing: Json) -> Result<JsonMap<String, Json>> {
    let mut json = JsonMap::new();
    match &node.value {
        Value::Map(map) => {
            for (key, value) in map {
                let value = if value.is_null() { missing.clone() } else { Json::from(value.printed()) };
                json.insert(key.to_string(), value);
            }
        }
        Value::List(list) => {
            for (index, entry) in list.iter().enumerate() {
                let text = entry.printed();
                let (name, value) = match text.split_once('=') {
                    Some((name, value)) => (name, Json::from(value)),
                    None => (text.as_str(), missing.clone()),
                };
                if missing.is_null() && name.ends_with(|c: char| c.is_ascii_whitespace()) {
                    return Err(path.with_index(index, |path| {
                        entry
                            .place
                            .refuse(&*path, format!("the name of the variable `{name}` ends with a space"))
                            .with_help("remove the space before `=`")
                    }));
                }
                json.insert(name.to_owned(), value);
            }
        }
        _ => return Err(wrong(node, path, "a mapping or a list")),
    }
    Ok(json)
}

fn hosts(node: &Node, path: &mut Path) -> Result<Vec<String>> {
    let mut hosts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    match &node.value {
        Value::Map(map) => {
            for (host, addresses) in map {
                let addresses = match &addresses.value {
                    Value::List(list) => list.iter().map(Node::printed).collect(),
                    _ => vec![path.with(host, |path| text(addresses, path))?],
                };
                hosts.insert(host.to_string(), addresses);
            }
        }
        Value::List(list) => {
            for entry in list {
                let line = entry.printed();
                let Some((host, addresses)) = line.split_once('=').or_else(|| line.split_once(':')) else {
                    return Err(entry
                        .place
                        .refuse(&*path, format!("`{line}` has no address"))
                        .with_help("write `host=address`"));
                };
                hosts.entry(host.to_owned()).or_default().extend(addresses.split(',').map(str::to_owned));
            }
        }
        _ => return Err(wrong(node, path, "a mapping or a list")),
    }
    let mut lines = Vec::new();
    for (host, addresses) in hosts {
        if host.is_empty() || host.contains([':', '=']) {
            return Err(node.place.refuse(&*path, format!("`{host}` is not the name of a host")));
        }
        lines.extend(addresses.iter().map(|address| {
            let inner = address.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
            format!("{host}={}", inner.filter(|inner| !inner.is_empty()).unwrap_or(address))
        }));
    }
    lines.sort();
    Ok(lines)
}

fn devices(node: &Node, path: &mut Path) -> Result<i64> {
    let value = match &node.value {
        Value::Int(value) => Some(*value),
        Value::Text(text) if text.eq_ignore_ascii_case("all") => Some(-1),
        Value::Text(text) => text.parse().ok(),
        _ => None,
    };
    value.ok_or_else(|| wrong(node, path, "`all` or a whole number"))
}

fn ulimit(node: &Node, path: &mut Path) -> Result<Json> {
    if let Value::Int(value) = node.value
        && value != 0
    {
        return Ok(Json::from(value));
    }
    let mut json = JsonMap::new();
    if let Some(map) = node.as_map() {
        for key in ["soft", "hard"] {
            if let Some(limit) = map.get(key) {
                let Value::Int(value) = limit.value else {
                    return Err(path.with(&key.into(), |path| wrong(limit, path, "a whole number")));
                };
                if value != 0 {
                    json.insert(key.to_owned(), Json::from(value));
                }
            }
        }
    }
    Ok(Json::Object(json))
}

fn mode(node: &Node, path: &mut Path) -> Result<String> {
    let value = match &node.value {
        Value::Int(value) => Some(*value),
        Value::Text(text) => i64::from_str_radix(text, 8).ok(),
        _ => None,
    };
    let value = value.ok_or_else(|| {
        wrong(node, path, "the mode of a file").with_help("write it in octal digits: `0440`")
    })?;
    let sign = if value < 0 { "-" } else { "" };
    Ok(format!("0{sign}{:o}", value.unsigned_abs()))
}

pub(super) fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::from(*value),
        Value::Int(value) => Json::from(*value),
        Value::Unsigned(value) => Json::from(*value),
        Value::Float(value) => json_float(*value),
        Value::Time(json, _) => Json::from(&**json),
        Value::Text(text) => Json::from(&**text),
        Value::List(list) => Json::Array(list.iter().map(plain).collect()),
        Value::Map(map) => {
            Json::Object(map.iter().map(|(key, node)| (key.to_string(), plain(node))).collect())
        }
    }
}
