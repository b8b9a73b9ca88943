use std::{
    collections::BTreeMap,
    ffi::OsString,
    fmt,
    path::{Path, PathBuf},
};

/// What a provider type may look at to find out whether it fits: variables and files. A value, so that tests bring
/// their own.
#[derive(Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, String>,
    root: Option<PathBuf>,
}

impl Environment {
    /// This process's environment and this machine's files. Variables that are not UTF-8 are left out.
    pub fn current() -> Self {
        Self { variables: readable(std::env::vars_os()), root: None }
    }
    /// An environment of these variables, whose files are below `root`.
    pub fn of<K: Into<String>, V: Into<String>>(
        variables: impl IntoIterator<Item = (K, V)>,
        root: impl Into<PathBuf>,
    ) -> Self {
        let variables = variables.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
        Self { variables, root: Some(root.into()) }
    }
    /// A variable's value, if it is set and not empty.
    pub fn var(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }
    /// Where a file of that absolute path really is.
    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match &self.root {
            None => path.to_owned(),
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
        }
    }
    /// Whether a file of that absolute path exists.
    pub fn exists(&self, path: impl AsRef<Path>) -> bool {
        self.path(path).exists()
    }
    /// The user's home folder.
    pub fn home(&self) -> Option<PathBuf> {
        self.var("HOME").map(PathBuf::from)
    }
}

fn readable(variables: impl Iterator<Item = (OsString, OsString)>) -> BTreeMap<String, String> {
    variables
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

impl fmt::Debug for Environment {
    /// Names only: variables hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("root", &self.root)
            .finish()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    #[test]
    fn p2_variables_that_are_not_utf8_are_left_out() {
        let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
        let all =
            [(b"A" as &[u8], b"1" as &[u8]), (b"B", b"\xff"), (b"\xff", b"2"), (b"C", "\u{e9}".as_bytes())];
        let known = readable(all.into_iter().map(|(name, value)| (bytes(name), bytes(value))));
        assert_eq!(known.into_keys().collect::<Vec<_>>(), ["A", "C"]);
    }
}
