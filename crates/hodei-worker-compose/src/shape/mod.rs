//! The canonical form of a project as JSON: every field by its type, what is empty left out.

mod encode;
mod tables;

use hodei_worker_core::Result;
use serde_json::{Map as JsonMap, Value as Json};

use crate::tree::{Map, Node, Path};

/// The type of a field: how it is read, how it is shown, and when it is left out.
pub(crate) enum Shape {
    /// Text, left out when empty.
    Text,
    /// Text that is always there.
    FixedText,
    /// Left out when false.
    Bool,
    /// Left out when true.
    Allowed,
    /// Always there.
    FixedBool,
    /// There whenever it was written.
    SetBool,
    /// A whole number, left out when zero.
    Whole,
    /// A whole number that is there whenever it was written.
    SetWhole,
    /// A whole number that is always there.
    FixedWhole,
    /// A whole number without a sign, there whenever it was written.
    SetCount,
    /// A whole number without a sign, left out when zero.
    Count,
    /// A whole number of 16 bits that is always there.
    FixedSmall,
    /// A number, left out when zero.
    Float,
    /// A size in bytes, shown as text, left out when zero.
    Bytes,
    /// The same, always there.
    FixedBytes,
    /// A duration, left out when zero.
    Duration,
    /// A duration that is there whenever it was written.
    SetDuration,
    /// A list of texts, left out when empty. One text is a list of one.
    Texts,
    /// A list of texts and numbers.
    Printed,
    /// Words of a command, null when nothing was written.
    Command,
    /// The test of a health check.
    Test,
    /// Texts by name; a list has `name=value`, and what has no value is empty.
    Labels,
    /// The same, and what has no value is null.
    Variables,
    /// Options of a driver by name.
    Options,
    /// Texts by name, numbers among them.
    TextMap,
    /// Options that may be given several times.
    MultiOptions,
    /// Addresses by host.
    Hosts,
    /// How many devices, -1 for all.
    Devices,
    /// Soft and hard limits by name.
    Ulimits,
    /// The mode of a file, shown in octal.
    Mode,
    /// Keys of SSH.
    Ssh,
    /// A mapping with those fields, there whenever it was written.
    Set(&'static [Field]),
    /// A mapping with those fields that is always there.
    Fixed(&'static [Field]),
    /// A list of mappings, left out when empty.
    Many(&'static [Field]),
    /// Mappings by name, left out when there are none.
    Named(&'static [Field]),
    /// Mappings by name, null where nothing was written.
    NamedOrNull(&'static [Field]),
}

/// A field: its key in files, its key in JSON, and its type.
pub(crate) struct Field {
    key: &'static str,
    json: &'static str,
    shape: Shape,
}

/// The canonical form of one section's entry, with the extensions of its first level.
pub(crate) fn section(name: &str, key: &str, node: &Node) -> Result<Json> {
    let fields = match name {
        "services" => tables::SERVICE,
        "networks" => tables::NETWORK,
        "volumes" => tables::VOLUME,
        "secrets" | "configs" => tables::FILE,
        _ => tables::MODEL,
    };
    let mut path = Path::of([name, key]);
    let empty = Map::new();
    Ok(Json::Object(mapping(fields, node.as_map().unwrap_or(&empty), &mut path)?))
}

fn mapping(fields: &[Field], map: &Map, path: &mut Path) -> Result<JsonMap<String, Json>> {
    let mut json = JsonMap::new();
    for field in fields {
        let node = map.get(field.key).filter(|node| !node.is_null());
        let value = path.with(&field.key.into(), |path| field.shape.encode(node, path))?;
        if let Some(value) = value {
            json.insert(field.json.to_owned(), value);
        }
    }
    Ok(json)
}

/// A value as it stands, for what nobody interprets.
pub(crate) fn plain(node: &Node) -> Json {
    encode::plain(node)
}
