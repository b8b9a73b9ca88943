use std::{fmt, ops::Deref};

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};

/// One thing that is wrong in a configuration, with the path of the field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Problem {
    /// The field's path, as in `health_checks[0].timeout`. Empty for the whole.
    pub path: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.is_empty() {
            f.write_str(&self.message)
        } else {
            write!(f, "{}: {}", self.path, self.message)
        }
    }
}

/// All that is wrong in a configuration. Empty means that it is good.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Problems(Vec<Problem>);

impl Problems {
    /// Nothing wrong so far.
    pub fn new() -> Self {
        Self::default()
    }
    /// Adds a problem.
    pub fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.0.push(Problem { path: path.into(), message: message.into() });
    }
    /// Adds a problem unless the condition holds.
    pub fn require(&mut self, holds: bool, path: impl Into<String>, message: impl Into<String>) {
        if !holds {
            self.add(path, message);
        }
    }
    /// Takes over another's problems, their paths put below `prefix`.
    pub fn nest(&mut self, prefix: &str, others: Problems) {
        for Problem { path, message } in others.0 {
            let path = match (prefix.is_empty(), path.is_empty() || path.starts_with('[')) {
                (true, _) => path,
                (false, true) => format!("{prefix}{path}"),
                (false, false) => format!("{prefix}.{path}"),
            };
            self.0.push(Problem { path, message });
        }
    }
    /// `Ok` when nothing is wrong.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] that lists every problem.
    pub fn into_result(self) -> Result<(), Error> {
        if self.0.is_empty() { Ok(()) } else { Err(self.into()) }
    }
}

impl Deref for Problems {
    type Target = [Problem];
    fn deref(&self) -> &[Problem] {
        &self.0
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, problem) in self.0.iter().enumerate() {
            write!(f, "{}{problem}", if n == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}

impl From<Problems> for Error {
    fn from(problems: Problems) -> Self {
        let message = match problems.len() {
            1 => format!("the configuration is wrong: {problems}"),
            n => format!("the configuration is wrong in {n} places: {problems}"),
        };
        Error::new(ErrorKind::Config, message).with_source(problems)
    }
}

impl Error {
    /// The single problems of a configuration error, if it was made from them.
    pub fn problems(&self) -> Option<&Problems> {
        std::error::Error::source(self).and_then(|source| source.downcast_ref())
    }
}

/// The candidate that a misspelt name most probably means, if one is near enough.
///
/// # Examples
/// ```
/// use hodei_worker_core::settings::nearest;
/// assert_eq!(nearest("dokcer", ["docker", "process"]), Some("docker"));
/// assert_eq!(nearest("kubernetes", ["docker", "process"]), None);
/// ```
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (name.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            (strsim::damerau_levenshtein(&name.to_lowercase(), &candidate.to_lowercase()), candidate)
        })
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
