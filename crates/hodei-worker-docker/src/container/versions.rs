//! Options that old engines do not know: they drop them without a word, so they are refused here, before anything exists.

use hodei_worker_core::{Error, ErrorKind, Result};

use crate::{DockerOptions, client::Engine};

/// An option that not every engine knows that is spoken to.
struct Newer {
    /// The first API version that knows it.
    least: (usize, usize),
    /// The first engine of that version.
    release: &'static str,
    /// The fields that ask for it, as paths inside the options.
    asked: fn(&DockerOptions) -> Vec<String>,
}

/// All of them. What an engine can be told in an older way is not among them: `create_host_path`, `mac_address`, several
/// networks.
const TABLE: [Newer; 5] = [
    Newer { least: (1, 41), release: "Docker 20.10", asked: |all| set(all.platform.is_some(), "platform") },
    Newer {
        least: (1, 41),
        release: "Docker 20.10",
        asked: |all| set(all.security.cgroupns.is_some(), "security.cgroupns"),
    },
    Newer {
        least: (1, 43),
        release: "Docker 24",
        asked: |all| set(!all.annotations.is_empty(), "annotations"),
    },
    Newer {
        least: (1, 44),
        release: "Docker 25",
        asked: |all| set(all.health.start_interval.is_some(), "health.start_interval"),
    },
    Newer {
        least: (1, 45),
        release: "Docker 26",
        asked: |all| {
            let mounts = all.storage.mounts.iter().filter(|(_, mount)| mount.subpath.is_some());
            mounts.map(|(target, _)| format!("storage.mounts.{target}.subpath")).collect()
        },
    },
];

fn set(is_set: bool, path: &str) -> Vec<String> {
    is_set.then(|| path.to_owned()).into_iter().collect()
}

/// Refuses what the engine would not hear of.
pub(super) fn check(options: &DockerOptions, engine: &Engine) -> Result<()> {
    check_for(options, engine.version())
}

fn check_for(options: &DockerOptions, version: (usize, usize)) -> Result<()> {
    let too_new = TABLE.iter().filter(|newer| newer.least > version);
    let told: Vec<(String, String)> = too_new
        .flat_map(|newer| {
            let Newer { least: (major, minor), release, asked } = newer;
            let tell = move |path: String| {
                let field = format!("options.docker.{path}");
                (field.clone(), format!("`{field}` needs API {major}.{minor} ({release})"))
            };
            asked(options).into_iter().map(tell)
        })
        .collect();
    let Some((field, _)) = told.first() else { return Ok(()) };
    let words: Vec<&str> = told.iter().map(|(_, words)| words.as_str()).collect();
    let (major, minor) = version;
    let message = format!("the engine speaks API {major}.{minor} and would ignore what is asked of it: ");
    Err(Error::new(ErrorKind::Unsupported, message + &words.join(", "))
        .with_context("field", field)
        .with_help("leave it out, or use a newer engine"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MountOptions;

    fn everything() -> DockerOptions {
        let subpath = MountOptions { subpath: Some("inside".to_owned()), ..MountOptions::default() };
        let mut all = DockerOptions::default().mount("/data", subpath);
        all.platform = Some("linux/amd64".to_owned());
        all.annotations.insert("a".to_owned(), "b".to_owned());
        all.security.cgroupns = Some("private".to_owned());
        all.health.start_interval = Some("2s".parse().unwrap());
        all
    }

    #[test]
    fn d1_what_an_engine_does_not_know_is_refused_by_name() {
        let error = check_for(&everything(), (1, 40)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        for part in [
            "API 1.40",
            "`options.docker.platform` needs API 1.41",
            "`options.docker.security.cgroupns` needs API 1.41",
            "`options.docker.annotations` needs API 1.43",
            "`options.docker.health.start_interval` needs API 1.44",
            "`options.docker.storage.mounts./data.subpath` needs API 1.45 (Docker 26)",
        ] {
            assert!(text.contains(part), "`{part}` is missing in {text}");
        }
    }

    #[test]
    fn d1_each_engine_is_given_what_it_knows() {
        for (version, first) in [
            ((1, 41), Some("options.docker.annotations")),
            ((1, 43), Some("options.docker.health.start_interval")),
            ((1, 44), Some("options.docker.storage.mounts./data.subpath")),
            ((1, 45), None),
            ((2, 0), None),
        ] {
            let checked = check_for(&everything(), version);
            let field = checked.as_ref().err().and_then(|error| error.context_value("field"));
            assert_eq!(field, first, "{version:?}");
        }
        check_for(&DockerOptions::default(), (1, 40)).unwrap();
    }
}
