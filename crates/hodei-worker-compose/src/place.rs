use std::{fmt, path::Path, sync::Arc};

use hodei_worker_core::{Error, ErrorKind};

/// Where something was written: a file and a line of it.
///
/// # Examples
/// ```
/// use hodei_worker_compose::{Project, ProjectOptions};
/// let project = Project::parse("services:\n  web:\n    image: nginx\n", &ProjectOptions::new().project_name("shop"))?;
/// let place = project.place("services.web.image").expect("the field was written");
/// assert_eq!(place.line, 3);
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    /// The file, as an absolute path where it was read from disk.
    pub file: Arc<Path>,
    /// The line, from 1.
    pub line: usize,
}

impl Place {
    pub(crate) fn new(file: &Arc<Path>, line: usize) -> Self {
        Self { file: Arc::clone(file), line }
    }

    /// An error about the field at this place.
    pub(crate) fn refuse(&self, field: impl fmt::Display, message: impl Into<String>) -> Error {
        Error::config(brief(&field.to_string(), 200), brief(&message.into(), 500))
            .with_context("file", self.file.display())
            .with_context("line", self.line)
    }
}

/// A text that may be of any length, cut for a person to read.
pub(crate) fn brief(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file.display(), self.line)
    }
}

/// An error about a file as a whole, where no line is known.
pub(crate) fn refuse_file(file: &Path, message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Config, message.into()).with_context("file", file.display())
}
