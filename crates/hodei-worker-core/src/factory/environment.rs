use std::{
    collections::BTreeMap,
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
    /// This process's environment and this machine's files.
    pub fn current() -> Self {
        Self { variables: std::env::vars().collect(), root: None }
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

impl fmt::Debug for Environment {
    /// Names only: variables hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Environment")
            .field("variables", &self.variables.keys())
            .field("root", &self.root)
            .finish()
    }
}
