use std::collections::HashSet;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::{
    Problems,
    locate::Reading,
    node::{Fault, Path, ReadError},
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
    let value = collect(&mut Reading::new(value), &mut problems);
    Parsed { value, problems }
}

/// Reads a typed value, has it validated, and reports what is wrong in both respects together.
///
/// # Errors
/// [`Config`](crate::ErrorKind::Config), with every problem.
pub fn read_validated<T: DeserializeOwned>(
    value: &Value,
    validate: impl FnOnce(&T, &mut Problems),
) -> Result<T> {
    let mut problems = Problems::new();
    match read_into(value, &mut problems, validate) {
        Some(value) if problems.is_empty() => Ok(value),
        _ => Err(problems.into()),
    }
}

/// Reads a typed value and has it validated, and adds what is wrong in both respects.
pub(crate) fn read_into<T: DeserializeOwned>(
    value: &Value,
    problems: &mut Problems,
    validate: impl FnOnce(&T, &mut Problems),
) -> Option<T> {
    let mut reading = Reading::new(value);
    let typed = collect(&mut reading, problems);
    if let Some(typed) = &typed {
        let mut more = Problems::new();
        validate(typed, &mut more);
        for problem in more.iter() {
            let place = reading.resolve(&problem.path);
            // A place that was left out because it is wrong is not missing as well.
            if !reading.explains(&place) {
                problems.add(place.to_string(), problem.message.clone());
            }
        }
    }
    typed
}

/// Reads again and again, each time without the place that was wrong.
fn collect<T: DeserializeOwned>(reading: &mut Reading<'_>, problems: &mut Problems) -> Option<T> {
    let start = problems.len();
    loop {
        let error = match reading.attempt() {
            Ok(value) => return Some(value),
            Err(error) => error,
        };
        let mut place = reading.locate::<T>(&error);
        note(error, &place, &reading.left_out, problems);
        // What is not there, or left out already, cannot be left out: then what holds it is.
        while place.find(reading.value).is_none() || reading.left_out.contains(&place) {
            place = place.parent()?;
        }
        if place.0.is_empty() || problems.len() - start >= MOST_PROBLEMS {
            return None;
        }
        reading.left_out.insert(place);
    }
}

/// Records the problem, unless it is known or follows from one that is.
fn note(error: ReadError, path: &Path, left_out: &HashSet<Path>, problems: &mut Problems) {
    let (path, message) = match error.fault {
        Fault::Unknown { name, expected } => {
            (path.to_string(), format!("unknown field `{name}`; {}", choose(&name, expected)))
        }
        // Repeated only where it is nearly a known word: anything else may be a secret in the wrong place.
        Fault::UnknownVariant { name, expected } => match nearest(&name, expected.iter().copied()) {
            Some(near) => (path.to_string(), format!("unknown value `{name}`; did you mean `{near}`?")),
            None => (path.to_string(), format!("unknown value; {}", choose(&name, expected))),
        },
        Fault::Missing(field) if left_out.contains(&path.key(field)) => return,
        Fault::Missing(field) => (path.key(field).to_string(), "is required".to_owned()),
        Fault::Other(message) => (path.to_string(), message),
    };
    if !problems.iter().any(|known| known.path == path && known.message == message) {
        problems.add(path, message);
    }
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
