//! Mounts and devices in their short forms.

use crate::{
    paths::clean,
    place::Place,
    tree::{Key, Map, Node, Value},
};

/// A mount `[source:]target[:options]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Mount {
    pub(crate) source: String,
    pub(crate) target: String,
    read_only: bool,
    no_copy: bool,
    propagation: Option<&'static str>,
    selinux: Option<&'static str>,
    bare: bool,
}

/// Reads a mount in the short form.
pub(crate) fn mount(text: &str) -> Result<Mount, String> {
    if text.is_empty() {
        return Err("a mount must not be empty".to_owned());
    }
    let mut mount = Mount::default();
    if text.len() <= 2 {
        return Ok(Mount { target: text.to_owned(), bare: true, ..mount });
    }
    let parts = parts(text);
    if parts.iter().any(|part| part.is_empty()) {
        return Err(format!("`{text}` has an empty part between colons"));
    }
    match parts[..] {
        [target] => mount.target = target.to_owned(),
        [source, target] => (mount.source, mount.target) = (source.to_owned(), target.to_owned()),
        [source, target, options] => {
            (mount.source, mount.target) = (source.to_owned(), target.to_owned());
            for option in options.split(',') {
                mount.option(option);
            }
        }
        _ => return Err(format!("`{text}` has too many colons")),
    }
    Ok(mount)
}

/// Splits at colons, but for the one behind the letter of a drive and for those in variables.
fn parts(text: &str) -> Vec<&str> {
    let mut parts = Vec::new();
    let (mut start, mut variables) = (0_usize, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '$' if text[at + 1..].starts_with('{') => variables += 1,
            '}' if variables > 0 => variables -= 1,
            ':' if variables == 0 => {
                let part = &text[start..at];
                let mut chars = part.chars();
                let drive = chars.next().is_some_and(char::is_alphabetic) && chars.next().is_none();
                if !drive {
                    parts.push(part);
                    start = at + 1;
                }
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    parts
}

impl Mount {
    fn option(&mut self, option: &str) {
        const PROPAGATIONS: [&str; 6] = ["rprivate", "private", "rshared", "shared", "rslave", "slave"];
        match option {
            "ro" => self.read_only = true,
            "rw" => self.read_only = false,
            "nocopy" => self.no_copy = true,
            "z" => self.selinux = Some("z"),
            "Z" => self.selinux = Some("Z"),
            // The reference implementation leaves out what it does not know.
            other => {
                self.propagation = PROPAGATIONS.into_iter().find(|name| *name == other).or(self.propagation)
            }
        }
    }

    fn is_path(&self) -> bool {
        let source = &self.source;
        let mut chars = source.chars();
        source.starts_with(['.', '/', '~'])
            || source.starts_with(r"\\")
            || (chars.next().is_some_and(char::is_alphabetic) && chars.next() == Some(':'))
    }

    /// The long form.
    pub(crate) fn long(self, place: &Place) -> Node {
        let mut map = Map::new();
        let mut put = |key: &str, node: Node| drop(map.insert(Key::from(key), node));
        let bind = self.is_path();
        put("type", Node::text(place, if bind { "bind" } else { "volume" }));
        if !self.source.is_empty() {
            put("source", Node::text(place, &self.source));
        }
        put("target", Node::text(place, clean(&self.target)));
        if self.read_only {
            put("read_only", Node::bool(place, true));
        }
        let mut options = Map::new();
        if self.no_copy {
            options.insert(Key::from("nocopy"), Node::bool(place, true));
        }
        if self.no_copy || !(bind || self.bare) {
            put("volume", Node::new(place, Value::Map(options)));
        }
        let mut options = Map::new();
        if let Some(propagation) = self.propagation {
            options.insert(Key::from("propagation"), Node::text(place, propagation));
        }
        if let Some(selinux) = self.selinux {
            options.insert(Key::from("selinux"), Node::text(place, selinux));
        }
        if bind {
            // Only the short form creates a folder that is not there.
            options.insert(Key::from("create_host_path"), Node::bool(place, true));
        }
        if !options.is_empty() {
            put("bind", Node::new(place, Value::Map(options)));
        }
        Node::new(place, Value::Map(map))
    }
}

/// The long form of a device `source[:target[:permissions]]`.
pub(crate) fn device(text: &str, place: &Place) -> Result<Node, String> {
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, permissions) = match parts[..] {
        [source] => (source, source, "rwm"),
        [source, target] => (source, target, "rwm"),
        [source, target, permissions] => (source, target, permissions),
        _ => return Err(format!("`{text}` has too many colons")),
    };
    let target = if target.is_empty() { source } else { target };
    Ok(Node::map(
        place,
        [
            ("source", Node::text(place, source)),
            ("target", Node::text(place, target)),
            ("permissions", Node::text(place, permissions)),
        ],
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn long(text: &str) -> String {
        let place = Place::new(&std::sync::Arc::from(std::path::Path::new("f")), 1);
        mount(text).unwrap().long(&place).printed()
    }

    #[test]
    fn mounts_are_read() {
        assert_eq!(long("/a"), "map[target:/a type:volume]");
        assert_eq!(long("/abc/"), "map[target:/abc type:volume volume:map[]]");
        assert_eq!(long("db:/var:ro"), "map[read_only:true source:db target:/var type:volume volume:map[]]");
        assert_eq!(
            long("./x:/y:rshared,Z"),
            "map[bind:map[create_host_path:true propagation:rshared selinux:Z] source:./x target:/y type:bind]"
        );
        assert_eq!(long(r"c:\x:/y"), r"map[bind:map[create_host_path:true] source:c:\x target:/y type:bind]");
        assert_eq!(long("db:/v:nocopy"), "map[source:db target:/v type:volume volume:map[nocopy:true]]");
        for text in ["", "ab:/b:ro:x", "ab::b", ":/abc", "/abc:"] {
            assert!(mount(text).is_err(), "{text}");
        }
    }

    #[test]
    fn devices_are_read() {
        let place = Place::new(&std::sync::Arc::from(std::path::Path::new("f")), 1);
        let long = |text: &str| device(text, &place).map(|node| node.printed());
        assert_eq!(long("/dev/a").unwrap(), "map[permissions:rwm source:/dev/a target:/dev/a]");
        assert_eq!(long("/dev/a:/dev/b:r").unwrap(), "map[permissions:r source:/dev/a target:/dev/b]");
        assert!(long("a:b:c:d").is_err());
    }
}
