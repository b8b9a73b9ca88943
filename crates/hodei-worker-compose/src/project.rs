use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    path::{Path as FilePath, PathBuf},
};

use hodei_worker_core::{Error, ErrorKind, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map as JsonMap, Value as Json};

use crate::{
    check::{Parts, check},
    dotenv::Dotenv,
    files::{self, Named},
    load::{Loader, Sources},
    model::{FileObject, Model, MountKind, Network, Service, Volume},
    normalize::{self, Environment, SECRET_VALUE},
    options::ProjectOptions,
    place::{Place, refuse_file},
    shape,
    tree::{self, Node},
};

/// Something that a reader of a file should know and that is no error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What it is, in words.
    pub message: String,
    /// Where it is.
    pub place: Option<Place>,
}

impl Warning {
    /// How many are kept.
    pub(crate) const MOST: usize = 100;

    pub(crate) fn new(message: String, place: Option<Place>) -> Self {
        Self { message, place }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

/// A project: what its compose files say together.
///
/// The maps hold what is enabled, and networks, volumes, secrets, configs and models that an enabled service uses.
#[derive(Clone)]
#[non_exhaustive]
pub struct Project {
    /// The name: lower case letters, digits, `-` and `_`.
    pub name: String,
    /// The folder that relative paths were relative to.
    pub directory: PathBuf,
    /// The compose files, without those that they include and extend.
    pub files: Vec<PathBuf>,
    /// Services that are enabled, by name.
    pub services: BTreeMap<String, Service>,
    /// Services that are in profiles of which none is enabled.
    pub disabled_services: BTreeMap<String, Service>,
    /// Networks by key.
    pub networks: BTreeMap<String, Network>,
    /// Volumes by key.
    pub volumes: BTreeMap<String, Volume>,
    /// Secrets by key.
    pub secrets: BTreeMap<String, FileObject>,
    /// Configs by key.
    pub configs: BTreeMap<String, FileObject>,
    /// Models by key.
    pub models: BTreeMap<String, Model>,
    /// The profiles that are enabled.
    pub profiles: Vec<String>,
    /// The variables that the files were filled in with.
    pub environment: BTreeMap<String, String>,
    /// The keys of the files that begin with `x-`.
    pub extensions: BTreeMap<String, Json>,
    /// What a reader of the files should know.
    pub warnings: Vec<Warning>,
    root: Node,
    value: Json,
}

impl fmt::Debug for Project {
    /// Names alone: values may be secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Project")
            .field("name", &self.name)
            .field("files", &self.files)
            .field("services", &self.services.keys())
            .field("profiles", &self.profiles)
            .finish_non_exhaustive()
    }
}

impl Project {
    /// Reads a project from files.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] where a file is missing or says something that is unknown, contradictory or too large.
    /// The error has the field, the file and the line, and what to do about it where that is known.
    ///
    /// # Examples
    /// ```no_run
    /// use hodei_worker_compose::{Project, ProjectOptions};
    /// let project = Project::load(&ProjectOptions::from_environment().file("compose.yaml"))?;
    /// for (name, service) in &project.services {
    ///     println!("{name}: {:?}", service.image);
    /// }
    /// # Ok::<(), hodei_worker_core::Error>(())
    /// ```
    pub fn load(options: &ProjectOptions) -> Result<Self> {
        Self::read(None, options)
    }

    /// Reads a project from a text, in place of the files of the options. It counts as a file `compose.yaml` of the
    /// working directory. `.env` is only read where the options name files of variables or a project directory.
    ///
    /// # Errors
    /// As [`Project::load`].
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_compose::{Project, ProjectOptions};
    /// let file = "services:\n  web:\n    imgae: nginx\n";
    /// let error = Project::parse(file, &ProjectOptions::new().project_name("shop")).unwrap_err();
    /// assert_eq!(error.context_value("line"), Some("3"));
    /// assert_eq!(error.help(), Some("did you mean `image`?"));
    /// ```
    pub fn parse(text: &str, options: &ProjectOptions) -> Result<Self> {
        Self::read(Some(text), options)
    }

    fn read(text: Option<&str>, options: &ProjectOptions) -> Result<Self> {
        let loader = Loader::new(options.environment.get("HOME").cloned());
        let found = Sources::find(&loader, options, text)?;
        let Sources { files, sources, folder, environment, profiles, name } = found;
        let mut root = loader.model(sources, &folder, &environment, &[])?;
        if root.as_map().is_none_or(BTreeMap::is_empty) {
            let file = files.first().map(String::as_str).unwrap_or_default();
            return Err(
                refuse_file(FilePath::new(file), "this file is empty").with_help("begin it with `services:`")
            );
        }
        normalize::normalize(&mut root, &name, &environment, &loader.budget)?;
        let files = files.into_iter().map(PathBuf::from).collect();
        Assembly { root, name, profiles, environment, loader }.project(PathBuf::from(folder), files)
    }

    /// The canonical form: what `docker compose config --format json` prints for the same input. A dollar sign is
    /// written twice, so that the value is a compose file again.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_compose::{Project, ProjectOptions};
    /// let file = "services:\n  web: {image: nginx, ports: ['8080:80']}\n";
    /// let project = Project::parse(file, &ProjectOptions::new().project_name("shop"))?;
    /// let value = project.to_value();
    /// assert_eq!(value["services"]["web"]["ports"][0]["published"], "8080");
    /// # Ok::<(), hodei_worker_core::Error>(())
    /// ```
    pub fn to_value(&self) -> Json {
        escaped(&self.value)
    }

    /// Where a field was written, as `services.web.ports[0]`; for a field that was left out or is implied, where that
    /// was written which encloses it.
    ///
    /// # Examples
    /// ```
    /// use hodei_worker_compose::{Project, ProjectOptions};
    /// let file = "services:\n  web:\n    image: nginx\n    ports:\n      - '8080:80'\n";
    /// let project = Project::parse(file, &ProjectOptions::new().project_name("shop"))?;
    /// assert_eq!(project.place("services.web.ports[0]").map(|place| place.line), Some(5));
    /// assert_eq!(project.place("services.web.user").map(|place| place.line), Some(2));
    /// assert_eq!(project.place("services.db"), project.place("services"));
    /// # Ok::<(), hodei_worker_core::Error>(())
    /// ```
    pub fn place(&self, path: &str) -> Option<Place> {
        Some(tree::nearest(&self.root, path).0.place.clone())
    }
}

/// A project on its way from the tree to the typed model.
struct Assembly {
    root: Node,
    name: String,
    profiles: Vec<String>,
    environment: Environment,
    loader: Loader,
}

impl Assembly {
    fn project(self, directory: PathBuf, files: Vec<PathBuf>) -> Result<Project> {
        let mut json = self.section("services")?;
        let (mut services, mut disabled) = (BTreeMap::new(), BTreeMap::new());
        for (key, value) in &json {
            let mut service: Service = typed("services", key, value)?;
            service.name.clone_from(key);
            service.extensions = extensions(self.root.get("services").and_then(|node| node.get(key)));
            let enabled = service.profiles.is_empty()
                || self.profiles.iter().any(|profile| profile == "*" || service.profiles.contains(profile));
            if enabled { &mut services } else { &mut disabled }.insert(key.clone(), service);
        }
        json.retain(|key, _| services.contains_key(key));
        let mut secrets: BTreeMap<String, FileObject> = self.typed_section("secrets")?;
        check(&Parts { root: &self.root, services: &services, disabled: &disabled, secrets: &secrets })?;
        for (key, service) in &mut services {
            if let Some(value) = json.get_mut(key) {
                self.settle(service, value)?;
            }
        }
        for (key, secret) in &mut secrets {
            let node = self.root.get("secrets").and_then(|node| node.get(key)?.get(SECRET_VALUE));
            secret.content = node.and_then(Node::as_text).map(str::to_owned);
        }
        let mut all = JsonMap::new();
        all.insert("name".to_owned(), Json::from(self.name.as_str()));
        all.insert("services".to_owned(), Json::Object(json));
        let used = Used::of(&services);
        for (section, keys) in [
            ("networks", &used.networks),
            ("volumes", &used.volumes),
            ("secrets", &used.secrets),
            ("configs", &used.configs),
        ] {
            let mut entries = self.section(section)?;
            entries.retain(|key, _| keys.contains(key));
            for entry in entries.values_mut().filter_map(Json::as_object_mut) {
                // What a variable holds is not part of the file.
                if section == "secrets" || entry.contains_key("environment") {
                    entry.remove("content");
                }
            }
            if !entries.is_empty() {
                all.insert(section.to_owned(), Json::Object(entries));
            }
        }
        let extensions = extensions(Some(&self.root));
        all.extend(extensions.clone());
        secrets.retain(|key, _| used.secrets.contains(key));
        Ok(Project {
            networks: self.used_section("networks", &used.networks)?,
            volumes: self.used_section("volumes", &used.volumes)?,
            configs: self.used_section("configs", &used.configs)?,
            models: self.used_section("models", &used.models)?,
            name: self.name,
            directory,
            files,
            services,
            disabled_services: disabled,
            secrets,
            profiles: self.profiles,
            environment: self.environment,
            extensions,
            warnings: self.loader.warnings.into_inner(),
            root: self.root,
            value: Json::Object(all),
        })
    }

    fn section(&self, name: &str) -> Result<JsonMap<String, Json>> {
        let entries = self.root.get(name).and_then(Node::as_map);
        entries
            .into_iter()
            .flatten()
            .map(|(key, node)| Ok((key.to_string(), shape::section(name, key, node)?)))
            .collect()
    }

    fn typed_section<T: DeserializeOwned>(&self, name: &str) -> Result<BTreeMap<String, T>> {
        self.section(name)?.iter().map(|(key, value)| Ok((key.clone(), typed(name, key, value)?))).collect()
    }

    fn used_section<T: DeserializeOwned>(
        &self,
        name: &str,
        used: &BTreeSet<String>,
    ) -> Result<BTreeMap<String, T>> {
        let mut section = self.typed_section(name)?;
        section.retain(|key, _| used.contains(key));
        Ok(section)
    }

    /// Adds to a service what its files of variables and labels say.
    fn settle(&self, service: &mut Service, value: &mut Json) -> Result<()> {
        let Some(fields) = value.as_object_mut() else { return Ok(()) };
        if let (Some(scale), Some(deploy)) = (service.scale, &mut service.deploy) {
            deploy.replicas = Some(scale);
            if let Some(deploy) = fields.get_mut("deploy").and_then(Json::as_object_mut) {
                deploy.insert("replicas".to_owned(), Json::from(scale));
            }
        }
        fields.remove("env_file");
        self.variables(service)?;
        if !service.environment.is_empty() {
            fields.insert("environment".to_owned(), json(&service.environment));
        }
        self.labels(service)?;
        if !service.labels.is_empty() {
            fields.insert("labels".to_owned(), json(&service.labels));
        }
        Ok(())
    }

    fn variables(&self, service: &mut Service) -> Result<()> {
        let path = format!("services.{}.environment", service.name);
        for (name, value) in service.environment.iter_mut().filter(|(_, value)| value.is_none()) {
            *value = self.environment.get(name).cloned();
            self.spend(value.as_deref().unwrap_or_default().len(), &path)?;
        }
        if service.env_file.is_empty() {
            return Ok(());
        }
        let own = &service.environment;
        let lookup =
            |name: &str| self.environment.get(name).cloned().or_else(|| own.get(name).cloned().flatten());
        let mut variables: BTreeMap<String, String> =
            own.iter().filter_map(|(name, value)| Some((name.clone(), value.clone()?))).collect();
        for (index, file) in service.env_file.iter().enumerate() {
            let field = format!("services.{}.env_file[{index}]", service.name);
            let place = &tree::nearest(&self.root, &field).0.place;
            if !file.required && !FilePath::new(&file.path).exists() {
                continue;
            }
            let text = files::read(&file.path, Some(&Named { place, field: &field }), &self.loader.budget)?;
            let dotenv = Dotenv {
                file: FilePath::new(&file.path).into(),
                lookup: &lookup,
                budget: &self.loader.budget,
            };
            match file.format.as_deref() {
                None | Some("") | Some(".env") => dotenv.read(&text, &mut variables)?,
                Some("raw") => dotenv.read_raw(&text, &mut variables)?,
                Some(format) => {
                    return Err(place
                        .refuse(field, format!("`{format}` is no format of such a file"))
                        .with_help("write `format: raw`, or remove it"));
                }
            }
        }
        let mut all: BTreeMap<String, Option<String>> =
            variables.into_iter().map(|(name, value)| (name, Some(value))).collect();
        all.append(&mut service.environment);
        service.environment = all;
        Ok(())
    }

    fn labels(&self, service: &mut Service) -> Result<()> {
        let mut all: BTreeMap<String, String> = BTreeMap::new();
        for (index, file) in service.label_file.iter().enumerate() {
            let field = format!("services.{}.label_file[{index}]", service.name);
            let place = &tree::nearest(&self.root, &field).0.place;
            let text = files::read(file, Some(&Named { place, field: &field }), &self.loader.budget)?;
            let mut labels = BTreeMap::new();
            let known = &all;
            let lookup = |name: &str| known.get(name).cloned();
            Dotenv { file: FilePath::new(file).into(), lookup: &lookup, budget: &self.loader.budget }
                .read(&text, &mut labels)?;
            all.append(&mut labels);
        }
        all.append(&mut service.labels);
        service.labels = all;
        Ok(())
    }

    fn spend(&self, bytes: usize, field: &str) -> Result<()> {
        self.loader.budget.text(bytes).map_err(|exceeded| {
            let place = &tree::nearest(&self.root, field).0.place;
            place.refuse(field, format!("this project is too large: {}", exceeded.0))
        })
    }
}

/// What enabled services use.
#[derive(Default)]
struct Used {
    networks: BTreeSet<String>,
    volumes: BTreeSet<String>,
    secrets: BTreeSet<String>,
    configs: BTreeSet<String>,
    models: BTreeSet<String>,
}

impl Used {
    fn of(services: &BTreeMap<String, Service>) -> Self {
        let mut used = Self::default();
        for service in services.values() {
            used.networks.extend(service.networks.keys().cloned());
            used.models.extend(service.models.keys().cloned());
            used.configs.extend(service.configs.iter().map(|mount| mount.source.clone()));
            let build = service.build.as_ref().map(|build| build.secrets.as_slice()).unwrap_or_default();
            used.secrets.extend(service.secrets.iter().chain(build).map(|mount| mount.source.clone()));
            let volumes = service.volumes.iter().filter(|mount| mount.kind == MountKind::Volume);
            used.volumes.extend(volumes.filter_map(|mount| mount.source.clone()));
        }
        used
    }
}

fn json<T>(map: &BTreeMap<String, T>) -> Json
where
    T: Clone + Into<Json>,
{
    Json::Object(map.iter().map(|(key, value)| (key.clone(), value.clone().into())).collect())
}

fn typed<T: DeserializeOwned>(section: &str, key: &str, value: &Json) -> Result<T> {
    T::deserialize(value).map_err(|error| {
        Error::new(ErrorKind::Unexpected, "the model has no place for a canonical value")
            .with_context("field", format!("{section}.{key}"))
            .with_source(error)
    })
}

fn extensions(node: Option<&Node>) -> BTreeMap<String, Json> {
    node.and_then(Node::as_map)
        .into_iter()
        .flatten()
        .filter(|(key, _)| key.starts_with("x-"))
        .map(|(key, node)| (key.to_string(), shape::plain(node)))
        .collect()
}

fn escaped(value: &Json) -> Json {
    match value {
        Json::String(text) => Json::from(text.replace('$', "$$")),
        Json::Array(list) => Json::Array(list.iter().map(escaped).collect()),
        Json::Object(map) => {
            Json::Object(map.iter().map(|(key, value)| (key.replace('$', "$$"), escaped(value))).collect())
        }
        value => value.clone(),
    }
}
