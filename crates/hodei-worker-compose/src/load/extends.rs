use std::{cell::RefCell, collections::HashMap, path::Path as FilePath, rc::Rc, sync::Arc};

use hodei_worker_core::{Error, Result};

use super::{
    Loader, Scope,
    include::{refuse_remote, within},
    lay_over, top_level,
};
use crate::{
    canonical::{canonical, omit_empty},
    files::{self, Named},
    limits::MAX_CHAIN,
    merge::{drop_resets, extend, unique},
    paths::{Base, parent},
    place::Place,
    schema::nearest,
    tree::{Key, Map, Node, Path, Value},
    yaml::Document,
};

/// The services of a file, of which those that were asked for are resolved already.
struct Services {
    file: String,
    services: RefCell<Map>,
    resets: Vec<Path>,
}

/// What is known while the services of a file are resolved.
struct Extending<'a> {
    loader: &'a Loader,
    scope: &'a Scope<'a>,
    files: RefCell<HashMap<String, Rc<Services>>>,
}

/// A service and its file.
type Link = (String, Key);

impl Loader {
    /// Lays all services of a file over those that they extend.
    pub(super) fn extend_all(
        &self,
        tree: &mut Node,
        resets: &[Path],
        file: &Arc<FilePath>,
        scope: &Scope<'_>,
    ) -> Result<()> {
        let Some(services) = tree.as_map_mut().and_then(|map| map.get_mut("services")) else { return Ok(()) };
        let Some(map) = services.as_map_mut() else {
            return Err(services
                .place
                .refuse("services", format!("this must be a mapping, and is {}", services.kind()))
                .with_help("list services by their names: `services:`, then `web:` and so on"));
        };
        let own = Rc::new(Services {
            // Told apart from the same file being extended by its name.
            file: format!("{} ", file.display()),
            services: RefCell::new(std::mem::take(map)),
            resets: resets.to_vec(),
        });
        let extending = Extending { loader: self, scope, files: RefCell::default() };
        let names: Vec<Key> = own.services.borrow().keys().cloned().collect();
        for name in &names {
            extending.resolve(&own, name, &mut Vec::new())?;
        }
        *map = own.services.take();
        Ok(())
    }
}

impl Extending<'_> {
    /// Resolves a service in place; nothing where it has no fields.
    fn resolve(&self, own: &Rc<Services>, name: &Key, chain: &mut Vec<Link>) -> Result<Option<Node>> {
        let field = || format!("services.{name}.extends");
        let Some(service) = own.services.borrow().get(name).cloned() else { return Ok(None) };
        if service.is_null() {
            return Ok(None);
        }
        let Some(map) = service.as_map() else {
            return Err(service.place.refuse(
                format!("services.{name}"),
                format!("this must be a mapping, and is {}", service.kind()),
            ));
        };
        let Some(extends) = map.get("extends") else { return Ok(Some(service)) };
        let place = extends.place.clone();
        let (target, file) = match &extends.value {
            Value::Text(target) => (Arc::clone(target), None),
            Value::Map(fields) => match fields.get("service").map(|node| &node.value) {
                Some(Value::Text(target)) => {
                    (Arc::clone(target), fields.get("file").filter(|file| !file.is_null()))
                }
                _ => {
                    return Err(place
                        .refuse(field(), "it names no service")
                        .with_help("write `extends: {service: other}`"));
                }
            },
            _ => {
                return Err(
                    place.refuse(field(), format!("this must be a service, and is {}", extends.kind()))
                );
            }
        };
        let link = (own.file.clone(), Arc::clone(name));
        if chain.contains(&link) {
            let names: Vec<&str> = chain.iter().map(|(_, name)| &**name).chain([&**name]).collect();
            return Err(place
                .refuse(field(), format!("services extend each other: {}", names.join(" extends ")))
                .with_help("remove one of these `extends`"));
        }
        if chain.len() >= MAX_CHAIN {
            return Err(place.refuse(field(), format!("more than {MAX_CHAIN} services extend one another")));
        }
        let other = match file {
            Some(file) => self.other(file, &field())?,
            None => Rc::clone(own),
        };
        if !other.services.borrow().contains_key(&target) {
            let services = other.services.borrow();
            let near = nearest(&target, services.keys().map(|key| &**key));
            let near =
                near.map_or("name one that is there".to_owned(), |near| format!("did you mean `{near}`?"));
            return Err(place
                .refuse(field(), format!("there is no service `{target}` in {}", other.file.trim_end()))
                .with_help(near));
        }
        chain.push(link);
        let base = self.resolve(&other, &target, chain)?;
        chain.pop();
        let Some(base) = base else { return Ok(Some(service)) };
        let merged = self.lay_over_base(own, name, base, service, &place)?;
        own.services.borrow_mut().insert(Arc::clone(name), merged.clone());
        Ok(Some(merged))
    }

    fn lay_over_base(
        &self,
        own: &Services,
        name: &Key,
        base: Node,
        service: Node,
        place: &Place,
    ) -> Result<Node> {
        self.loader.budget.nodes(base.count()).map_err(|exceeded| {
            place.refuse(
                format!("services.{name}.extends"),
                format!("the project is too large: {}", exceeded.0),
            )
        })?;
        let mut wrapped = Node::map(place, [("services", Node::map(place, [(&**name, base)]))]);
        drop_resets(&mut wrapped, &own.resets);
        let base = wrapped.as_map_mut().and_then(|map| map.get_mut("services")?.as_map_mut()?.remove(name));
        let mut merged = match base {
            Some(base) => extend(base, service, name)?,
            None => service,
        };
        if let Some(map) = merged.as_map_mut() {
            map.remove("extends");
        }
        Ok(merged)
    }

    /// The services of another file. It is neither validated nor are its includes read: only what is extended counts.
    fn other(&self, node: &Node, field: &str) -> Result<Rc<Services>> {
        let Some(path) = node.as_text() else {
            return Err(node.place.refuse(field, format!("`file` must be a path, and is {}", node.kind())));
        };
        refuse_remote(path, field, node)?;
        let path = within(self.scope.folder, path);
        if let Some(known) = self.files.borrow().get(&path) {
            return Ok(Rc::clone(known));
        }
        let loader = self.loader;
        let text = files::read(&path, Some(&Named { place: &node.place, field }), &loader.budget)?;
        let source = loader.source(&path, &text)?;
        let mut root = Node::new(&Place::new(&source.file, 1), Value::Map(Map::new()));
        let mut last = Vec::new();
        for Document { root: mut tree, resets } in source.documents {
            top_level(&tree)?;
            loader.budget.work(root.count()).map_err(|exceeded| {
                tree.place.refuse("yaml", format!("the project is too large: {}", exceeded.0))
            })?;
            loader.interpolation(self.scope.environment).tree(&mut tree)?;
            drop_resets(&mut root, &resets);
            lay_over(&mut root, tree)?;
            unique(&mut root, &mut Path::default())?;
            canonical(&mut root, &mut Path::default(), &loader.budget)?;
            omit_empty(&mut root);
            unique(&mut root, &mut Path::default())?;
            last = resets;
        }
        Base { folder: &parent(&path), home: loader.home.as_deref() }.resolve(&mut root)?;
        let services = match root.as_map_mut().and_then(|map| map.remove("services")) {
            Some(Node { value: Value::Map(services), .. }) => services,
            _ => return Err(no_services(&node.place, field, &path)),
        };
        let services =
            Rc::new(Services { file: path.clone(), services: RefCell::new(services), resets: last });
        self.files.borrow_mut().insert(path, Rc::clone(&services));
        Ok(services)
    }
}

fn no_services(place: &Place, field: &str, path: &str) -> Error {
    place.refuse(field, format!("`{path}` has no services")).with_help("name a file that has some")
}
