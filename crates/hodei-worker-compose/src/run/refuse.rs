//! What cannot be run is refused by name and place, all of it at once.

use hodei_worker_core::{Error, Result, settings::Problems};

use crate::{Place, Project};

/// What was found that cannot be run.
#[derive(Debug)]
pub(super) struct Refusals<'a> {
    project: &'a Project,
    found: Vec<(String, String)>,
}

impl<'a> Refusals<'a> {
    pub(super) fn new(project: &'a Project) -> Self {
        Self { project, found: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.found.len()
    }

    pub(super) fn add(&mut self, path: impl Into<String>, message: impl Into<String>) {
        self.found.push((path.into(), message.into()));
    }

    /// Refuses the field unless it is as it is where nothing was written.
    pub(super) fn unless<T: Default + PartialEq>(
        &mut self,
        value: &T,
        path: impl Into<String>,
        message: &str,
    ) {
        if *value != T::default() {
            self.add(path, message);
        }
    }

    /// The problems of a worker's configuration, told of the service that it was made of.
    pub(super) fn take(&mut self, service: &str, error: &Error) {
        match error.problems() {
            Some(problems) => {
                for problem in problems.iter() {
                    self.add(format!("services.{service}"), format!("{}: {}", problem.path, problem.message));
                }
            }
            None => self.add(format!("services.{service}"), error.to_string()),
        }
    }

    pub(super) fn into_result(self) -> Result<()> {
        let place = |path: &str| self.project.place(path);
        match self.found.as_slice() {
            [] => Ok(()),
            [(path, message)] => Err(at(place(path), path, message)),
            many => {
                let mut problems = Problems::new();
                for (path, message) in many {
                    let place = place(path).map(|place| format!(" ({place})")).unwrap_or_default();
                    problems.add(path.clone(), format!("{message}{place}"));
                }
                problems.into_result()
            }
        }
    }
}

fn at(place: Option<Place>, path: &str, message: &str) -> Error {
    match place {
        Some(place) => place.refuse(path, message),
        None => Error::config(path.to_owned(), message.to_owned()),
    }
}
