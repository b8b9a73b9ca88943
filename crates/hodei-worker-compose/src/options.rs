use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

/// Which project to read, and from what.
///
/// Nothing is taken from the process by itself: variables are those that are given here, unless
/// [`ProjectOptions::from_environment`] is asked for. Relative paths are those of the working directory.
///
/// # Examples
/// ```
/// use hodei_worker_compose::ProjectOptions;
/// let options = ProjectOptions::new()
///     .file("compose.yaml")
///     .file("compose.production.yaml")
///     .variable("TAG", "1.27")
///     .profile("debug");
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ProjectOptions {
    pub(crate) files: Vec<PathBuf>,
    pub(crate) project_directory: Option<PathBuf>,
    pub(crate) project_name: Option<String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) env_files: Vec<PathBuf>,
    pub(crate) profiles: Vec<String>,
    pub(crate) working_directory: Option<PathBuf>,
}

impl fmt::Debug for ProjectOptions {
    /// Variables by their names alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProjectOptions")
            .field("files", &self.files)
            .field("project_directory", &self.project_directory)
            .field("project_name", &self.project_name)
            .field("environment", &self.environment.keys())
            .field("env_files", &self.env_files)
            .field("profiles", &self.profiles)
            .field("working_directory", &self.working_directory)
            .finish()
    }
}

impl ProjectOptions {
    /// No files, no variables: the file is looked for, by its usual names, in the working directory and above it.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same, with the variables of this process, which may name files, profiles and the project
    /// (`COMPOSE_FILE`, `COMPOSE_PROFILES`, `COMPOSE_PROJECT_NAME`, `COMPOSE_ENV_FILES`).
    /// Those that are no text are left out.
    pub fn from_environment() -> Self {
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self { environment, ..Self::default() }
    }

    /// Adds a compose file. Later files are laid over earlier ones.
    #[must_use]
    pub fn file(mut self, file: impl Into<PathBuf>) -> Self {
        self.files.push(file.into());
        self
    }
    /// Sets the folder that relative paths of the files are relative to, and that `.env` lies in. Without it, that of
    /// the first file.
    #[must_use]
    pub fn project_directory(mut self, folder: impl Into<PathBuf>) -> Self {
        self.project_directory = Some(folder.into());
        self
    }
    /// Sets the name of the project. Without it: `COMPOSE_PROJECT_NAME`, `name:` of the files, the name of the
    /// project's folder.
    #[must_use]
    pub fn project_name(mut self, name: impl Into<String>) -> Self {
        self.project_name = Some(name.into());
        self
    }
    /// Sets a variable. Variables have precedence over those of files.
    #[must_use]
    pub fn variable(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.environment.insert(name.into(), value.into());
        self
    }
    /// Sets all variables.
    #[must_use]
    pub fn environment(mut self, environment: BTreeMap<String, String>) -> Self {
        self.environment = environment;
        self
    }
    /// Adds a file of variables, in place of `.env`. Later files have precedence over earlier ones.
    #[must_use]
    pub fn env_file(mut self, file: impl Into<PathBuf>) -> Self {
        self.env_files.push(file.into());
        self
    }
    /// Enables a profile; `*` enables all. Without any, those of `COMPOSE_PROFILES`.
    #[must_use]
    pub fn profile(mut self, name: impl Into<String>) -> Self {
        self.profiles.push(name.into());
        self
    }
    /// Sets the folder that the paths given here are relative to. Without it, the working directory of this process.
    #[must_use]
    pub fn working_directory(mut self, folder: impl Into<PathBuf>) -> Self {
        self.working_directory = Some(folder.into());
        self
    }

    /// The folder that relative paths are relative to, as text.
    pub(crate) fn here(&self) -> String {
        let here = match &self.working_directory {
            Some(folder) => std::path::absolute(folder).ok(),
            None => std::env::current_dir().ok(),
        };
        crate::paths::clean(&here.unwrap_or_else(|| PathBuf::from("/")).to_string_lossy())
    }
    /// The absolute form of a path that was given here.
    pub(crate) fn absolute(&self, path: &Path) -> String {
        let path = path.to_string_lossy();
        if path.starts_with('/') {
            crate::paths::clean(&path)
        } else {
            crate::paths::join(&self.here(), &path)
        }
    }
}
