use std::path::{Path as FilePath, PathBuf};

use hodei_worker_core::{Error, Result};

use super::{Loader, Source};
use crate::{
    dotenv::Dotenv,
    files,
    normalize::Environment,
    options::ProjectOptions,
    paths::{base, clean, join, parent},
    place::{Place, refuse_file},
    tree::{Node, Path, Value},
};

const NAMES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] = [
    "compose.override.yml",
    "compose.override.yaml",
    "docker-compose.override.yml",
    "docker-compose.override.yaml",
];

/// What a project is read from.
pub(crate) struct Sources {
    /// The compose files, as absolute paths.
    pub(crate) files: Vec<String>,
    pub(crate) sources: Vec<Source>,
    /// The folder of the project.
    pub(crate) folder: String,
    pub(crate) environment: Environment,
    pub(crate) profiles: Vec<String>,
    pub(crate) name: String,
}

impl Sources {
    /// Finds and reads the files of a project; or takes a text in place of them.
    pub(crate) fn find(loader: &Loader, options: &ProjectOptions, text: Option<&str>) -> Result<Self> {
        let mut environment = options.environment.clone();
        environment.entry("PWD".to_owned()).or_insert_with(|| options.here());
        let mut files: Vec<String> = match text {
            Some(_) => vec![join(&options.here(), NAMES[0])],
            None => options.files.iter().map(|file| options.absolute(file)).collect(),
        };
        let own_directory = options.project_directory.as_ref().map(|folder| options.absolute(folder));
        let folder_of = |files: &[String]| match (&own_directory, files.first()) {
            (Some(folder), _) => folder.clone(),
            (None, Some(file)) => parent(file),
            (None, None) => options.here(),
        };
        let in_memory = text.is_some() && options.project_directory.is_none();
        let given = env_files(options, &environment);
        let folder = folder_of(&files);
        if !(in_memory && given.is_empty()) {
            variables(loader, &given, &folder, &mut environment)?;
        }
        if files.is_empty() {
            files = by_variable(options, &environment)?;
        }
        if files.is_empty() {
            files = by_name(&folder, loader);
        }
        if files.is_empty() {
            return Err(refuse_file(
                FilePath::new(&folder),
                "there is no compose file in this folder or above it",
            )
            .with_help("create `compose.yaml`, or name a file"));
        }
        let found = folder_of(&files);
        if found != folder {
            variables(loader, &given, &found, &mut environment)?;
        }
        let mut sources = Vec::with_capacity(files.len());
        for file in &files {
            let text = match text {
                Some(text) => text.to_owned(),
                None => files::read(file, None, &loader.budget)?,
            };
            sources.push(loader.source(file, &text)?);
        }
        let profiles = match options.profiles.is_empty() {
            true => environment
                .get("COMPOSE_PROFILES")
                .map(|names| names.split(',').map(|name| name.trim().to_owned()).collect())
                .unwrap_or_default(),
            false => options.profiles.clone(),
        };
        let name = project_name(loader, options, &environment, &sources, &found)?;
        environment.insert("COMPOSE_PROJECT_NAME".to_owned(), name.clone());
        Ok(Self { files, sources, folder: found, environment, profiles, name })
    }
}

fn env_files(options: &ProjectOptions, environment: &Environment) -> Vec<String> {
    if !options.env_files.is_empty() {
        return options.env_files.iter().map(|file| options.absolute(file)).collect();
    }
    let listed = environment.get("COMPOSE_ENV_FILES").map(String::as_str).unwrap_or_default();
    listed
        .split(',')
        .filter(|file| !file.is_empty())
        .map(|file| options.absolute(FilePath::new(file)))
        .collect()
}

/// Adds the variables of files; those that are there already stay.
fn variables(
    loader: &Loader,
    given: &[String],
    folder: &str,
    environment: &mut Environment,
) -> Result<(), Error> {
    let mut files = given.to_vec();
    let disabled = environment
        .get("COMPOSE_DISABLE_ENV_FILE")
        .is_some_and(|value| matches!(value.as_str(), "1" | "t" | "T" | "true" | "TRUE" | "True"));
    if files.is_empty() && !disabled {
        files.extend(Some(join(folder, ".env")).filter(|file| files::is_file(file)));
    }
    let mut added = Environment::new();
    for file in files {
        let text = files::read(&file, None, &loader.budget)?;
        let outer = |name: &str| environment.get(name).cloned();
        let path = FilePath::new(&file).into();
        Dotenv { file: path, lookup: &outer, budget: &loader.budget }.read(&text, &mut added)?;
    }
    for (name, value) in added {
        environment.entry(name).or_insert(value);
    }
    Ok(())
}

fn by_variable(options: &ProjectOptions, environment: &Environment) -> Result<Vec<String>> {
    let Some(listed) = environment.get("COMPOSE_FILE") else { return Ok(Vec::new()) };
    let separator = environment.get("COMPOSE_PATH_SEPARATOR").filter(|separator| !separator.is_empty());
    let separator = separator.map_or(":", String::as_str);
    Ok(listed.split(separator).map(|file| options.absolute(&PathBuf::from(file))).collect())
}

/// Looks for the usual names in a folder and above it.
fn by_name(folder: &str, loader: &Loader) -> Vec<String> {
    let mut folder = clean(folder);
    loop {
        let there = |names: &[&str]| -> Vec<String> {
            names.iter().map(|name| join(&folder, name)).filter(|file| FilePath::new(file).exists()).collect()
        };
        let files = there(&NAMES);
        if let Some(file) = files.first() {
            if let Some(other) = files.get(1) {
                let place = Place { file: FilePath::new(file).into(), line: 1 };
                loader.warn(format!("`{other}` is there too and is not read"), &place);
            }
            return std::iter::once(file.clone()).chain(there(&OVERRIDES).into_iter().next()).collect();
        }
        let above = parent(&folder);
        if above == folder {
            return Vec::new();
        }
        folder = above;
    }
}

/// The name in the form that projects have: lower case letters, digits, `-` and `_`, with a letter or digit first.
fn normalized_name(name: &str) -> String {
    let plain: String = name
        .to_lowercase()
        .chars()
        .filter(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-'))
        .collect();
    plain.trim_start_matches(['_', '-']).to_owned()
}

fn project_name(
    loader: &Loader,
    options: &ProjectOptions,
    environment: &Environment,
    sources: &[Source],
    folder: &str,
) -> Result<String> {
    let chosen = match options.project_name.as_deref().filter(|name| !name.is_empty()) {
        Some(name) => Some((name, "project_name")),
        None => environment
            .get("COMPOSE_PROJECT_NAME")
            .filter(|name| !name.is_empty())
            .map(|name| (name.as_str(), "COMPOSE_PROJECT_NAME")),
    };
    if let Some((name, field)) = chosen {
        if normalized_name(name) != name {
            let near = normalized_name(name);
            let error = Error::config(field, format!("`{name}` is not the name of a project"));
            let form = "names have lower case letters, digits, `-` and `_`, with a letter or digit first";
            return Err(match near.is_empty() {
                true => error.with_help(form),
                false => error.with_help(format!("{form}, as in `{near}`")),
            });
        }
        return Ok(name.to_owned());
    }
    let mut written: Option<&Node> = None;
    for node in sources.iter().flat_map(|source| &source.documents).filter_map(|d| d.root.get("name")) {
        match &node.value {
            Value::Map(_) | Value::List(_) => {
                return Err(node.place.refuse("name", format!("this must be text, and is {}", node.kind())));
            }
            _ if node.printed().is_empty() => {}
            _ => written = Some(node),
        }
    }
    let name = match written {
        Some(node) => {
            let text =
                loader.interpolation(environment).text(&node.printed(), &Path::of(["name"]), &node.place)?;
            let name = normalized_name(&text);
            // A name that is all variables and empty leaves that of the folder, unless there is one in writing.
            if name.is_empty() {
                return Err(node
                    .place
                    .refuse("name", format!("`{text}` is not the name of a project"))
                    .with_help("names have lower case letters, digits, `-` and `_`"));
            }
            name
        }
        None => normalized_name(base(folder)),
    };
    if name.is_empty() {
        return Err(refuse_file(
            FilePath::new(folder),
            "the name of this folder gives no name for the project",
        )
        .with_help("add `name:` to the compose file, or give the project a name"));
    }
    Ok(name)
}
