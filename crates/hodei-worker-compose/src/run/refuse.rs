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
                    if let Some(field) = field_of(&problem.path) {
                        self.add(format!("services.{service}.{field}"), problem.message.clone());
                        continue;
                    }
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

/// The service's field that a part of a configuration was made of.
fn field_of(path: &str) -> Option<&'static str> {
    const FIELDS: [(&str, &str); 24] = [
        ("resources.cpu", "cpus"),
        ("resources.memory", "mem_limit"),
        ("resources.pids", "pids_limit"),
        ("ports", "ports"),
        ("mounts", "volumes"),
        ("networks", "networks"),
        ("environment", "environment"),
        ("metadata.labels", "labels"),
        ("health_checks", "healthcheck"),
        ("working_dir", "working_dir"),
        ("options.docker.user", "user"),
        ("options.docker.stop_signal", "stop_signal"),
        ("options.docker.limits.ulimits", "ulimits"),
        ("options.docker.limits.memory_swappiness", "mem_swappiness"),
        ("options.docker.limits.out_of_memory_score", "oom_score_adj"),
        ("options.docker.limits.block_io_weight", "blkio_config.weight"),
        ("options.docker.networking.port_ranges", "ports"),
        ("options.docker.networking.extra_hosts", "extra_hosts"),
        ("options.docker.networking.dns", "dns"),
        ("options.docker.storage.devices", "devices"),
        ("options.docker.storage.mounts", "volumes"),
        ("options.docker.security.added_capabilities", "cap_add"),
        ("options.docker.security.dropped_capabilities", "cap_drop"),
        ("options.docker.security", "security_opt"),
    ];
    FIELDS.iter().find(|(start, _)| path.starts_with(start)).map(|(_, field)| *field)
}

fn at(place: Option<Place>, path: &str, message: &str) -> Error {
    match place {
        Some(place) => place.refuse(path, message),
        None => Error::config(path.to_owned(), message.to_owned()),
    }
}
