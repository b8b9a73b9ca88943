//! Paths as text: relative ones become absolute.

use std::path::Path as FilePath;

use hodei_worker_core::Result;

use crate::tree::{Node, Path, Value, each_child};

/// A path without `.`, `..` and double slashes, as far as the text alone allows it.
pub(crate) fn clean(path: &str) -> String {
    let rooted = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => match parts.last() {
                Some(&last) if last != ".." => drop(parts.pop()),
                _ if rooted => {}
                _ => parts.push(".."),
            },
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (rooted, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

/// A path within a folder; the folder itself for an empty one.
pub(crate) fn join(folder: &str, path: &str) -> String {
    match (folder.is_empty(), path.is_empty()) {
        (true, true) => String::new(),
        (true, false) => clean(path),
        (false, true) => clean(folder),
        (false, false) => clean(&format!("{folder}/{path}")),
    }
}

/// The folder that a path lies in.
pub(crate) fn parent(path: &str) -> String {
    match path.rfind('/') {
        Some(0) => "/".to_owned(),
        Some(at) => clean(&path[..at]),
        None => ".".to_owned(),
    }
}

/// The last part of a path.
pub(crate) fn base(path: &str) -> &str {
    let trimmed = path.trim_end_matches('/');
    match (trimmed.is_empty(), trimmed.rfind('/')) {
        (true, _) => "/",
        (false, Some(at)) => &trimmed[at + 1..],
        (false, None) => trimmed,
    }
}

/// Whether it is an absolute path of Windows: one with a drive, of a share, or of a device.
fn windows_absolute(path: &str) -> bool {
    matches!(path.as_bytes(), [b'\\' | b'/', b'\\' | b'/', ..] | [_, b':', b'\\' | b'/', ..])
}

/// Where relative paths lead.
#[derive(Debug, Clone)]
pub(crate) struct Base<'a> {
    /// The folder, as an absolute path.
    pub(crate) folder: &'a str,
    /// What `~` stands for.
    pub(crate) home: Option<&'a str>,
}

/// How a path becomes absolute.
enum Way {
    Context,
    Foreign,
    Absolute,
    Watched,
}

impl Base<'_> {
    fn expand(&self, path: &str) -> String {
        match (path.strip_prefix('~'), self.home) {
            (Some(rest), Some(home)) => join(home, rest),
            _ => path.to_owned(),
        }
    }
    /// The absolute form of a path of this machine; an empty one stays empty.
    pub(crate) fn absolute(&self, path: &str) -> String {
        let path = self.expand(path);
        if path.is_empty() || path.starts_with('/') { path } else { join(self.folder, &path) }
    }
    /// The absolute form of a path of the machine where workers run, which may have another system.
    fn foreign(&self, path: &str) -> String {
        let path = self.expand(path);
        if path.starts_with('/') || windows_absolute(&path) { path } else { join(self.folder, &path) }
    }
    fn context(&self, path: &str) -> String {
        let elsewhere = ["https://", "http://", "git://", "ssh://", "github.com/", "git@", "service:"];
        if path.contains("://") || elsewhere.iter().any(|prefix| path.starts_with(prefix)) {
            return path.to_owned();
        }
        self.absolute(path)
    }
    fn watched(&self, path: &str) -> String {
        let absolute = self.absolute(path);
        let mut current = String::new();
        for part in absolute.split('/').filter(|part| !part.is_empty()) {
            current = format!("{current}/{part}");
            let link =
                FilePath::new(&current).symlink_metadata().is_ok_and(|meta| meta.file_type().is_symlink());
            if link {
                return match FilePath::new(&current).canonicalize() {
                    Ok(target) => absolute.replacen(&current, &target.to_string_lossy(), 1),
                    Err(_) => absolute,
                };
            }
        }
        absolute
    }

    /// Makes all relative paths of a project absolute.
    pub(crate) fn resolve(&self, root: &mut Node) -> Result<()> {
        self.node(root, &mut Path::default())
    }

    fn node(&self, node: &mut Node, path: &mut Path) -> Result<()> {
        const RULES: [(&[&str], Way); 9] = [
            (&["services", "*", "build", "context"], Way::Context),
            (&["services", "*", "build", "additional_contexts", "*"], Way::Context),
            (&["services", "*", "build", "ssh", "*"], Way::Foreign),
            (&["services", "*", "env_file", "*", "path"], Way::Absolute),
            (&["services", "*", "label_file", "*"], Way::Absolute),
            (&["services", "*", "extends", "file"], Way::Absolute),
            (&["services", "*", "develop", "watch", "*", "path"], Way::Watched),
            (&["configs", "*", "file"], Way::Foreign),
            (&["secrets", "*", "file"], Way::Foreign),
        ];
        if path.steps().len() > 6 {
            return Ok(());
        }
        if let Value::Text(text) = &node.value {
            let resolved = match RULES.iter().find(|(pattern, _)| path.matches(pattern)) {
                Some((_, Way::Context)) => self.context(text),
                Some((_, Way::Foreign)) => self.foreign(text),
                Some((_, Way::Absolute)) => self.absolute(text),
                Some((_, Way::Watched)) => self.watched(text),
                None => return Ok(()),
            };
            node.value = Value::Text(resolved.into());
            return Ok(());
        }
        if path.matches(&["services", "*", "volumes", "*"]) {
            return self.mount(node, path);
        }
        if path.matches(&["volumes", "*"]) {
            self.volume(node);
            return Ok(());
        }
        each_child(node, path, |child, path| self.node(child, path))
    }

    fn mount(&self, node: &mut Node, path: &Path) -> Result<()> {
        if node.text_of("type") != Some("bind") {
            return Ok(());
        }
        let Some(source) = node.text_of("source") else {
            return Err(node
                .place
                .refuse(path, "a mount of type `bind` has no `source`")
                .with_help("write the folder of this machine to mount: `source: ./data`"));
        };
        let source = self.foreign(source);
        if let Some(field) = node.as_map_mut().and_then(|map| map.get_mut("source")) {
            field.value = Value::Text(source.into());
        }
        Ok(())
    }

    /// A local volume may stand for a folder of this machine.
    fn volume(&self, node: &mut Node) {
        if node.text_of("driver") != Some("local") {
            return;
        }
        let Some(options) = node.as_map_mut().and_then(|map| map.get_mut("driver_opts")) else { return };
        if options.text_of("o") != Some("bind") {
            return;
        }
        let Some(device) = options.text_of("device").map(|device| self.foreign(device)) else { return };
        if let Some(field) = options.as_map_mut().and_then(|map| map.get_mut("device")) {
            field.value = Value::Text(device.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cleaned() {
        for (path, cleaned) in
            [("a/./b/../c", "a/c"), ("/../a//", "/a"), ("", "."), ("../a", "../a"), ("a/..", "."), ("/", "/")]
        {
            assert_eq!(clean(path), cleaned);
        }
        assert_eq!(join("/p", "./a/"), "/p/a");
        assert_eq!(parent("/p/a"), "/p");
        assert_eq!(base("/p/a/"), "a");
    }

    #[test]
    fn what_is_absolute_stays() {
        let base = Base { folder: "/p", home: Some("/home/me") };
        assert_eq!(base.foreign(r"c:\data"), r"c:\data");
        assert_eq!(base.foreign("~/x"), "/home/me/x");
        assert_eq!(base.context("https://example.com/a.git"), "https://example.com/a.git");
        assert_eq!(base.context("."), "/p");
        assert_eq!(base.absolute(""), "");
    }
}
