//! YAML into trees: documents, anchors, merge keys and the tags `!reset` and `!override`.

mod build;
mod scalar;

use std::{collections::HashMap, path::Path as FilePath, sync::Arc};

use granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use hodei_worker_core::{Error, Result};

use crate::{
    limits::{Budget, MAX_DEPTH, MAX_NODES},
    place::Place,
    tree::{Node, Path},
};

/// A document: its tree, and the paths whose earlier values it drops or replaces.
#[derive(Debug)]
pub(crate) struct Document {
    pub(crate) root: Node,
    pub(crate) resets: Vec<Path>,
}

/// A node as it stands in the file.
#[derive(Debug)]
struct Raw {
    kind: RawKind,
    tag: Option<String>,
    line: usize,
}

#[derive(Debug)]
enum RawKind {
    Scalar { text: String, plain: bool },
    List(Vec<usize>),
    Map(Vec<(usize, usize)>),
    Alias(usize),
}

/// Reads all documents of a file.
pub(crate) fn documents(text: &str, file: &Arc<FilePath>, budget: &Budget) -> Result<Vec<Document>> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    printable(text, file)?;
    let (nodes, roots) = scan(text, file)?;
    roots.into_iter().map(|root| build::build(&nodes, root, file, budget)).collect()
}

fn printable(text: &str, file: &Arc<FilePath>) -> Result<()> {
    let control =
        |c: char| c < ' ' && !matches!(c, '\t' | '\n' | '\r') || matches!(c, '\u{fffe}' | '\u{ffff}');
    match text.find(control) {
        Some(at) => Err(Place::new(file, 1 + text[..at].matches('\n').count())
            .refuse("yaml", "there is a control character in this line")
            .with_help("remove it, or write it as an escape in double quotes: \"\\u0001\"")),
        None => Ok(()),
    }
}

/// The error of the parser. What it says about tabs needs a word more.
fn not_yaml(error: &ScanError, file: &Arc<FilePath>) -> Error {
    let info = error.info();
    let line = error.marker().line();
    let refused = Place::new(file, line).refuse("yaml", format!("this is not YAML: {info}"));
    if info.contains("separated from other tokens") {
        return refused.with_help("put a space before `#`");
    }
    if info.contains("tab") {
        return refused.with_help("put spaces in the place of tabs");
    }
    refused.with_help("look at quotes, brackets and indentation in this line and the one above")
}

fn options() -> granit_parser::Options {
    granit_parser::options! {
        emit_comments: false,
        simple_key_max_lookahead: 8192,
        // The nesting of both kinds together is counted here.
        flow_nesting_limit: MAX_DEPTH + 1,
        block_nesting_limit: MAX_DEPTH + 1,
    }
}

struct Open {
    node: usize,
    /// The key that waits for its value.
    key: Option<usize>,
}

/// The nodes of a file, and which of them are the roots of its documents.
fn scan(text: &str, file: &Arc<FilePath>) -> Result<(Vec<Raw>, Vec<usize>)> {
    let mut nodes: Vec<Raw> = Vec::new();
    let mut roots = Vec::new();
    let mut anchors: HashMap<usize, usize> = HashMap::new();
    let mut open: Vec<Open> = Vec::new();
    for event in Parser::new_from_str_with_options(text, options()) {
        let (event, span) = event.map_err(|error| not_yaml(&error, file))?;
        let line = span.start.line().max(1);
        let (kind, anchor, tag) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = matches!(style, ScalarStyle::Plain);
                (RawKind::Scalar { text: text.into_owned(), plain }, anchor, tag)
            }
            Event::SequenceStart(_, anchor, tag) => (RawKind::List(Vec::new()), anchor, tag),
            Event::MappingStart(_, anchor, tag) => (RawKind::Map(Vec::new()), anchor, tag),
            Event::Alias(anchor) => match anchors.get(&anchor) {
                Some(target) => (RawKind::Alias(*target), 0, None),
                None => {
                    return Err(
                        Place::new(file, line).refuse("yaml", "an alias names an anchor that is not there")
                    );
                }
            },
            Event::SequenceEnd | Event::MappingEnd => {
                open.pop();
                continue;
            }
            Event::DocumentStart(..) => {
                anchors.clear();
                continue;
            }
            _ => continue,
        };
        let container = matches!(kind, RawKind::List(_) | RawKind::Map(_));
        let node = nodes.len();
        if node >= MAX_NODES {
            return Err(Place::new(file, line).refuse("yaml", "this file has more than 500000 values"));
        }
        nodes.push(Raw { kind, tag: tag.as_deref().map(tag_name), line });
        if anchor > 0 {
            anchors.insert(anchor, node);
        }
        match open.last_mut() {
            None => roots.push(node),
            Some(parent) => match &mut nodes[parent.node].kind {
                RawKind::List(items) => items.push(node),
                RawKind::Map(entries) => match parent.key.take() {
                    None => parent.key = Some(node),
                    Some(key) => entries.push((key, node)),
                },
                RawKind::Scalar { .. } | RawKind::Alias(_) => {}
            },
        }
        if container {
            open.push(Open { node, key: None });
            if open.len() > MAX_DEPTH {
                return Err(too_deep(&Place::new(file, line)));
            }
        }
    }
    Ok((nodes, roots))
}

fn too_deep(place: &Place) -> Error {
    place
        .refuse("yaml", format!("values are nested more than {MAX_DEPTH} deep"))
        .with_help("no compose file needs that; is an alias used inside of itself?")
}

/// A tag in short: `!!str`, `!reset`.
fn tag_name(tag: &Tag) -> String {
    let full = format!("{}{}", tag.handle(), tag.suffix());
    match full.strip_prefix("tag:yaml.org,2002:") {
        Some(short) => format!("!!{short}"),
        None => full,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Document> {
        let file: Arc<FilePath> = Arc::from(FilePath::new("compose.yaml"));
        Ok(documents(text, &file, &Budget::default())?.remove(0))
    }
    fn fault(text: &str) -> String {
        read(text).unwrap_err().to_string()
    }

    #[test]
    fn values_know_the_line_of_their_key() {
        let document = read("a:\n  b:\n    - 1\n    - c: 2\n").unwrap();
        let b = document.root.get("a").unwrap().get("b").unwrap();
        assert_eq!(b.place.line, 2);
        assert_eq!(b.as_list().unwrap()[1].get("c").unwrap().place.line, 4);
    }

    #[test]
    fn merge_keys_yield_to_what_is_written() {
        let document = read("x: &x {a: 1, b: 2}\ny: &y {b: 3, c: 4}\nz: {<<: [*x, *y], a: 9}\n").unwrap();
        let z = document.root.get("z").unwrap();
        let values: Vec<String> = ["a", "b", "c"].iter().map(|key| z.get(key).unwrap().printed()).collect();
        assert_eq!(values, ["9", "2", "4"]);
    }

    #[test]
    fn reset_drops_and_override_keeps() {
        let document = read("a: {b: !reset null, c: !override [1]}\n").unwrap();
        assert!(document.root.get("a").unwrap().get("b").is_none());
        let paths: Vec<String> = document.resets.iter().map(ToString::to_string).collect();
        assert_eq!(paths, ["a.b", "a.c"]);
    }

    #[test]
    fn what_is_wrong_names_its_line() {
        assert!(fault("a: 1\nb: 2\na: 3\n").contains("line: 3"));
        assert!(fault("a: [1\n").contains("this is not YAML"));
        assert!(fault("1: a\n").contains("keys must be text"));
        assert!(fault("a: &x\n  b: *x\n").contains("contains itself"));
        assert!(fault("<<: 1\n").contains("merge"));
    }

    #[test]
    fn deep_nesting_and_bombs_end() {
        let deep = format!("a: {}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        assert!(fault(&deep).contains("nested"), "{}", fault(&deep));
        let deep: String = (0..=MAX_DEPTH).map(|n| format!("{}a:\n", " ".repeat(n))).collect();
        assert!(fault(&deep).contains("nested"));
        let mut bomb = "a0: &a0 [x]\n".to_owned();
        for n in 1..30 {
            let uses = vec![format!("*a{}", n - 1); 10].join(",");
            bomb.push_str(&format!("a{n}: &a{n} [{uses}]\n"));
        }
        assert!(fault(&bomb).contains("more than 500000 values"), "{}", fault(&bomb));
        let wide = format!("a: &a {}\nb: [{}]\n", "x".repeat(100_000), vec!["*a"; 10_000].join(","));
        assert!(fault(&wide).contains("64 MiB"), "{}", fault(&wide));
    }
}
