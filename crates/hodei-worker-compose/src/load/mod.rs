//! From files to the tree of a project.

mod extends;
mod include;
mod sources;

use std::{cell::RefCell, path::Path as FilePath, sync::Arc};

use hodei_worker_core::Result;
pub(crate) use sources::Sources;

use crate::{
    canonical::{canonical, defaults, omit_empty},
    check::check_tree,
    interpolate::Interpolation,
    limits::Budget,
    merge::{drop_resets, merge, unique},
    normalize::{Environment, resolve_environment},
    paths::Base,
    place::Place,
    project::Warning,
    schema,
    tree::{Map, Node, Path, Value},
    yaml::{Document, documents},
};

/// Reads the files of one project.
pub(crate) struct Loader {
    pub(crate) budget: Budget,
    pub(crate) warnings: RefCell<Vec<Warning>>,
    pub(crate) home: Option<String>,
}

/// A file whose documents were read.
pub(crate) struct Source {
    pub(crate) file: Arc<FilePath>,
    pub(crate) documents: Vec<Document>,
}

/// What holds for all files that are laid over each other.
struct Scope<'a> {
    /// The folder that relative paths are relative to.
    folder: &'a str,
    environment: &'a Environment,
    /// The files that include these, the outermost first.
    included: &'a [String],
}

impl Loader {
    pub(crate) fn new(home: Option<String>) -> Self {
        Self { budget: Budget::default(), warnings: RefCell::default(), home }
    }

    /// Reads the documents of a file.
    pub(crate) fn source(&self, path: &str, text: &str) -> Result<Source> {
        let file: Arc<FilePath> = Arc::from(FilePath::new(path));
        let documents = documents(text, &file, &self.budget)?;
        Ok(Source { file, documents })
    }

    /// The tree of files that are laid over each other: all in long form, with absolute paths and defaults.
    pub(crate) fn model(
        &self,
        sources: Vec<Source>,
        folder: &str,
        environment: &Environment,
        included: &[String],
    ) -> Result<Node> {
        let first = sources.first().map(|source| Arc::clone(&source.file));
        let place = Place { file: first.unwrap_or_else(|| Arc::from(FilePath::new(""))), line: 1 };
        let mut root = Node::new(&place, Value::Map(Map::new()));
        let scope = Scope { folder, environment, included };
        for source in sources {
            let mut included = included.to_vec();
            included.push(source.file.to_string_lossy().into_owned());
            let scope = Scope { included: &included, ..scope };
            for document in source.documents {
                self.document(document, &source.file, &scope, &mut root)?;
            }
        }
        defaults(&mut root, &mut Path::default())?;
        check_tree(&root)?;
        Base { folder, home: self.home.as_deref() }.resolve(&mut root)?;
        resolve_environment(&mut root, environment, &self.budget)?;
        Ok(root)
    }

    /// Lays a document over what was read before.
    fn document(
        &self,
        document: Document,
        file: &Arc<FilePath>,
        scope: &Scope<'_>,
        root: &mut Node,
    ) -> Result<()> {
        let Document { root: mut tree, resets } = document;
        top_level(&tree)?;
        self.budget.work(root.count()).map_err(|exceeded| {
            tree.place.refuse("yaml", format!("the project is too large: {}", exceeded.0))
        })?;
        self.interpolation(scope.environment).tree(&mut tree)?;
        self.include(&mut tree, &resets, scope)?;
        drop_resets(root, &resets);
        self.extend_all(&mut tree, &resets, file, scope)?;
        lay_over(root, tree)?;
        unique(root, &mut Path::default())?;
        schema::check(root)?;
        if let Some(version) = root.as_map_mut().and_then(|map| map.remove("version")) {
            self.warn("`version` means nothing any more; remove it", &version.place);
        }
        canonical(root, &mut Path::default(), &self.budget)?;
        omit_empty(root);
        // Ranges of ports may show only now that they are the same.
        unique(root, &mut Path::default())
    }

    fn interpolation<'a>(&'a self, environment: &'a Environment) -> Interpolation<'a> {
        Interpolation { environment, budget: &self.budget, warnings: &self.warnings }
    }

    pub(crate) fn warn(&self, message: impl Into<String>, place: &Place) {
        let mut warnings = self.warnings.borrow_mut();
        if warnings.len() < Warning::MOST {
            warnings.push(Warning::new(message.into(), Some(place.clone())));
        }
    }
}

fn top_level(tree: &Node) -> Result<()> {
    match tree.value {
        Value::Map(_) => Ok(()),
        _ => Err(tree
            .place
            .refuse("yaml", format!("a compose file is a mapping, and this is {}", tree.kind()))
            .with_help("begin it with `services:`")),
    }
}

/// Lays a tree over another, in place.
fn lay_over(root: &mut Node, over: Node) -> Result<()> {
    let empty = Node::null(&root.place);
    let base = std::mem::replace(root, empty);
    *root = merge(base, over, &mut Path::default())?;
    Ok(())
}
