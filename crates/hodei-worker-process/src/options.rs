//! What a worker may ask of this provider beyond the common configuration.

use hodei_worker_core::{model::WorkerOptions, settings::Problems};
use serde::{Deserialize, Serialize};

/// Options of local processes.
///
/// # Examples
/// ```
/// use hodei_worker_core::WorkerConfig;
/// use hodei_worker_process::ProcessOptions;
/// let mut options = ProcessOptions::default();
/// options.stop_signal = Some("SIGINT".into());
/// let config = WorkerConfig::builder("db").command(["postgres"]).options(&options).build()?;
/// # Ok::<(), hodei_worker_core::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct ProcessOptions {
    /// The user it runs as, by name or number. Another than the host's own needs root. Default: the host's. It has no
    /// other groups than the one below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The group it runs as, by name or number. Default: the user's. A user's number that is not known to the
    /// system has none, so it is to be named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// The signal that asks it to stop, as `SIGINT`, `INT` or a number. Default: `SIGTERM`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stop_signal: Option<String>,
}

impl WorkerOptions for ProcessOptions {
    const PROVIDER: &'static str = "process";

    fn validate(&self, problems: &mut Problems) {
        for (field, value) in [("user", &self.user), ("group", &self.group)] {
            let bad = value.as_ref().is_some_and(|name| name.is_empty() || name.contains(['\0', ':', '/']));
            problems.require(!bad, field, "must be a name or a number");
        }
        if let Some(name) = &self.stop_signal
            && signal_number(name).is_none()
        {
            problems.add("stop_signal", format!("`{name}` is no signal; write one such as `SIGINT`"));
        }
    }
}

/// The signals that can reasonably ask a program to end.
const SIGNALS: [(&str, i32); 8] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("KILL", 9),
    ("USR1", 10),
    ("USR2", 12),
    ("TERM", 15),
    ("WINCH", 28),
];

/// The number of a signal that was named with or without `SIG`, or by number.
pub(crate) fn signal_number(name: &str) -> Option<i32> {
    let short = name.strip_prefix("SIG").unwrap_or(name);
    let number: Option<i32> = name.parse().ok();
    SIGNALS.iter().find(|(known, n)| *known == short || number == Some(*n)).map(|(_, number)| *number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn p1_stop_signals_by_name_and_number() {
        for (name, number) in [("SIGTERM", Some(15)), ("INT", Some(2)), ("3", Some(3)), ("SIGWHAT", None)] {
            assert_eq!(signal_number(name), number, "{name}");
        }
    }

    #[test]
    fn p1_bad_options_are_refused_together() {
        let options = ProcessOptions {
            user: Some(String::new()),
            stop_signal: Some("SIGNOT".into()),
            ..ProcessOptions::default()
        };
        let mut problems = Problems::new();
        options.validate(&mut problems);
        assert_eq!(problems.len(), 2, "{problems}");
    }
}
