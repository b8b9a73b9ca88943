use hodei_worker_core::{Error, Result};

use super::{Loader, Scope};
use crate::{
    dotenv::Dotenv,
    files::{self, Named},
    limits::MAX_CHAIN,
    merge::{drop_resets, merge},
    normalize::Environment,
    paths::{join, parent},
    schema,
    tree::{Key, Map, Node, Path, Value},
};

/// The sections that an included file brings.
const SECTIONS: [&str; 6] = ["services", "volumes", "networks", "secrets", "configs", "models"];

impl Loader {
    /// Reads the files that a file includes, and lays the file over them.
    pub(super) fn include(&self, tree: &mut Node, resets: &[Path], scope: &Scope<'_>) -> Result<()> {
        let Some(include) = tree.as_map_mut().and_then(|map| map.remove("include")) else { return Ok(()) };
        if include.is_null() {
            return Ok(());
        }
        schema::check_include(&include)?;
        for (index, entry) in include.as_list().unwrap_or_default().iter().enumerate() {
            let field = format!("include[{index}]");
            let included = self.included(entry, &field, scope)?;
            self.import(included, tree, resets)?;
        }
        Ok(())
    }

    fn included(&self, entry: &Node, field: &str, scope: &Scope<'_>) -> Result<Node> {
        let place = &entry.place;
        let paths: Vec<String> = match &entry.value {
            Value::Text(path) => vec![path.to_string()],
            _ => texts(entry.get("path")),
        };
        if paths.is_empty() {
            return Err(place.refuse(field, "it names no file").with_help("add `path: other/compose.yaml`"));
        }
        let mut resolved = Vec::with_capacity(paths.len());
        for path in &paths {
            refuse_remote(path, field, entry)?;
            resolved.push(within(scope.folder, path));
        }
        if scope.included.contains(&resolved[0]) {
            let chain = scope.included.join(" includes ");
            return Err(place
                .refuse(field, format!("files include each other: {chain} includes {}", resolved[0]))
                .with_help("remove one of these includes"));
        }
        if scope.included.len() > MAX_CHAIN {
            return Err(place.refuse(field, format!("more than {MAX_CHAIN} files include one another")));
        }
        let folder = match entry.text_of("project_directory").filter(|folder| !folder.is_empty()) {
            Some(folder) => within(scope.folder, folder),
            None => parent(&resolved[0]),
        };
        let environment = self.included_environment(entry, field, &folder, scope)?;
        let mut sources = Vec::with_capacity(resolved.len());
        for path in &resolved {
            let text = files::read(path, Some(&Named { place, field }), &self.budget)?;
            sources.push(self.source(path, &text)?);
        }
        self.model(sources, &folder, &environment, scope.included)
    }

    fn included_environment(
        &self,
        entry: &Node,
        field: &str,
        folder: &str,
        scope: &Scope<'_>,
    ) -> Result<Environment> {
        let place = &entry.place;
        let mut files = texts(entry.get("env_file"));
        if files.is_empty() {
            files.extend(Some(join(folder, ".env")).filter(|path| files::is_file(path)));
        }
        let mut added = Environment::new();
        for file in files.iter().filter(|file| *file != "/dev/null") {
            let path = within(scope.folder, file);
            let text = files::read(&path, Some(&Named { place, field }), &self.budget)?;
            let outer = |name: &str| scope.environment.get(name).cloned();
            let file = std::path::Path::new(&path).into();
            Dotenv { file, lookup: &outer, budget: &self.budget }.read(&text, &mut added)?;
        }
        let mut environment = scope.environment.clone();
        for (name, value) in added {
            environment.entry(name).or_insert(value);
        }
        self.budget
            .text(environment.iter().map(|(name, value)| name.len() + value.len()).sum())
            .map_err(|exceeded| place.refuse(field, format!("the project is too large: {}", exceeded.0)))?;
        Ok(environment)
    }

    /// Adds what a file brings; what both have is merged, and that of the including file holds.
    fn import(&self, included: Node, tree: &mut Node, resets: &[Path]) -> Result<()> {
        let place = tree.place.clone();
        let (Value::Map(mut sections), Some(tree)) = (included.value, tree.as_map_mut()) else {
            return Ok(());
        };
        for section in SECTIONS {
            let Some(Node { value: Value::Map(brought), .. }) = sections.remove(section) else { continue };
            let own =
                tree.entry(Key::from(section)).or_insert_with(|| Node::new(&place, Value::Map(Map::new())));
            let own_place = own.place.clone();
            let own = match &mut own.value {
                Value::Map(own) => own,
                _ => {
                    return Err(
                        own_place.refuse(section, format!("this must be a mapping, and is {}", own.kind()))
                    );
                }
            };
            for (name, node) in brought {
                let merged = match own.remove(&name) {
                    None => node,
                    Some(over) => {
                        let mut wrapped = Node::map(&place, [(section, Node::map(&place, [(&*name, node)]))]);
                        drop_resets(&mut wrapped, resets);
                        let base = wrapped
                            .as_map_mut()
                            .and_then(|map| map.get_mut(section)?.as_map_mut()?.remove(&name));
                        match base {
                            Some(base) => {
                                let mut path = Path::of([section]);
                                path.push(&name);
                                merge(base, over, &mut path)?
                            }
                            None => over,
                        }
                    }
                };
                own.insert(name, merged);
            }
        }
        Ok(())
    }
}

fn texts(node: Option<&Node>) -> Vec<String> {
    match node.map(|node| &node.value) {
        Some(Value::Text(text)) => vec![text.to_string()],
        Some(Value::List(list)) => list.iter().filter_map(|node| node.as_text().map(str::to_owned)).collect(),
        _ => Vec::new(),
    }
}

/// A path that may be relative to a folder.
pub(super) fn within(folder: &str, path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { join(folder, path) }
}

/// Files of other machines are not read.
pub(super) fn refuse_remote(path: &str, field: &str, node: &Node) -> Result<(), Error> {
    const REMOTE: [&str; 7] = ["oci://", "https://", "http://", "git://", "ssh://", "git@", "github.com/"];
    if REMOTE.iter().any(|prefix| path.starts_with(prefix)) {
        return Err(node
            .place
            .refuse(
                field,
                format!("`{path}` is not on this machine, and only files of this machine are read"),
            )
            .with_help("fetch it first, and name its path"));
    }
    Ok(())
}
