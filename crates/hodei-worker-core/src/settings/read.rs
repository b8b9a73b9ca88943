use std::{collections::HashSet, rc::Rc};

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Problems,
    node::{Fault, Node, Path, ReadError, Step},
    problem::nearest,
};
use crate::error::Result;

/// More problems than these are not collected: nobody reads them.
const MOST_PROBLEMS: usize = 64;

/// What [`read`] made of a value: the typed value, as far as one could be made, and all problems.
#[derive(Debug)]
pub struct Parsed<T> {
    /// The value without the places that are wrong; `None` if a required one is among them.
    pub value: Option<T>,
    /// What is wrong.
    pub problems: Problems,
}

/// Reads a typed value and collects every problem with its path, rather than to stop at the first.
///
/// # Examples
/// ```
/// use hodei_worker_core::{quantity::Cpu, settings::read};
/// #[derive(serde::Deserialize)]
/// #[serde(deny_unknown_fields)]
/// struct Limits { cpu: Option<Cpu>, burst: Option<Cpu> }
/// let parsed = read::<Limits>(&serde_json::json!({"cpu": "lots", "brust": "2"}));
/// assert_eq!(parsed.problems.len(), 2);
/// assert!(parsed.problems.to_string().contains("did you mean `burst`?"));
/// ```
pub fn read<T: DeserializeOwned>(value: &Value) -> Parsed<T> {
    let mut problems = Problems::new();
    let mut left_out = Rc::new(HashSet::new());
    loop {
        let node = Node { value, path: Path::default(), left_out: Rc::clone(&left_out) };
        let error = match T::deserialize(node) {
            Ok(value) => return Parsed { value: Some(value), problems },
            Err(error) => error,
        };
        let place = note(error, &left_out, &mut problems);
        let fresh = Rc::make_mut(&mut left_out).insert(place.clone());
        if place.0.is_empty() || !fresh || problems.len() >= MOST_PROBLEMS {
            return Parsed { value: None, problems };
        }
    }
}

/// Reads a typed value, has it validated, and reports what is wrong in both respects together.
///
/// # Errors
/// [`Config`](crate::ErrorKind::Config), with every problem.
pub fn read_validated<T: DeserializeOwned>(
    value: &Value,
    validate: impl FnOnce(&T, &mut Problems),
) -> Result<T> {
    let Parsed { value, mut problems } = read::<T>(value);
    if let Some(value) = &value {
        let mut more = Problems::new();
        validate(value, &mut more);
        // A place that was left out because it is wrong is not missing as well.
        let known: Vec<String> = problems.iter().map(|problem| problem.path.clone()).collect();
        more.retain(|problem| !known.iter().any(|path| !path.is_empty() && path.starts_with(&problem.path)));
        problems.nest("", more);
    }
    match value {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems.into()),
    }
}

/// Records the problem, unless it follows from one that is known, and says which place to leave out next time.
fn note(error: ReadError, left_out: &HashSet<Path>, problems: &mut Problems) -> Path {
    let mut path = error.path.unwrap_or_default();
    match error.fault {
        Fault::Unknown { name, expected } => {
            if path.0.last() != Some(&Step::Key(name.clone())) {
                path = path.key(&name);
            }
            problems.add(path.to_string(), format!("unknown field `{name}`; {}", choose(&name, expected)));
        }
        Fault::UnknownVariant { name, expected } => {
            problems.add(path.to_string(), format!("unknown value `{name}`; {}", choose(&name, expected)));
        }
        Fault::Missing(field) => {
            if !left_out.contains(&path.key(field)) {
                problems.add(path.key(field).to_string(), "is required");
            }
        }
        Fault::Other(message) => problems.add(path.to_string(), message),
    }
    path
}

fn choose(name: &str, expected: &[&'static str]) -> String {
    match nearest(name, expected.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None if expected.is_empty() => "none is expected here".to_owned(),
        None => format!("expected one of `{}`", expected.join("`, `")),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::json;

    use super::*;
    use crate::quantity::{ByteSize, Cpu};

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        cpu: Cpu,
        #[serde(default)]
        size: Option<ByteSize>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "snake_case")]
    enum Choice {
        Some(Inner),
        Nothing,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Outer {
        #[serde(default)]
        list: Vec<Inner>,
        #[serde(default)]
        choice: Option<Choice>,
        #[serde(default)]
        count: u8,
    }

    #[test]
    fn p5_every_problem_is_told_with_its_path() {
        let parsed = read::<Outer>(&json!({
            "list": [{"cpu": "x"}, {"cpu": "1", "size": "y", "sise": 1}, {"size": "1Mi"}],
            "choice": "nothin",
            "cuont": 3,
            "count": 300,
        }));
        let text: Vec<String> = parsed.problems.iter().map(ToString::to_string).collect();
        let has = |start: &str| text.iter().any(|problem| problem.starts_with(start));
        assert!(has("list[0].cpu: `x` is not"), "{text:#?}");
        assert!(has("list[1].size: `y` is not"), "{text:#?}");
        assert!(has("list[1].sise: unknown field `sise`; did you mean `size`?"), "{text:#?}");
        assert!(has("list[2].cpu: is required"), "{text:#?}");
        assert!(has("choice: unknown value `nothin`; did you mean `nothing`?"), "{text:#?}");
        assert!(has("cuont: unknown field `cuont`; did you mean `count`?"), "{text:#?}");
        assert!(has("count: "), "{text:#?}");
        assert_eq!(text.len(), 7, "{text:#?}");
    }

    #[test]
    fn p5_what_is_good_is_read() {
        let parsed =
            read::<Outer>(&json!({"list": [{"cpu": "500m"}], "choice": {"some": {"cpu": 2, "size": null}}}));
        assert!(parsed.problems.is_empty(), "{}", parsed.problems);
        let value = parsed.value.unwrap();
        assert_eq!(value.list[0].cpu, Cpu::from_millis(500));
        assert!(
            matches!(value.choice, Some(Choice::Some(Inner { cpu, size: None })) if cpu == Cpu::cores(2))
        );
    }

    #[test]
    fn p5_validation_is_added_and_nothing_is_told_twice() {
        let error = read_validated::<Outer>(&json!({"list": [], "count": "x"}), |outer, problems| {
            problems.require(outer.count > 0, "count", "must be positive");
            problems.require(!outer.list.is_empty(), "list", "must not be empty");
        })
        .unwrap_err();
        assert_eq!(error.problems().unwrap().len(), 2, "{error}");
    }
}
