//! The reader on whatever libFuzzer comes up with: it must not panic, nor take more time or memory than its limits
//! allow, and all that it refuses has to be an error of configuration.
//!
//! One part is a file in memory; parts between lines `%%%` are `compose.yaml`, `other.yaml` and `.env` of a folder.

#![no_main]

use std::{path::PathBuf, sync::LazyLock};

use hodei_worker_compose::{Project, ProjectOptions};
use hodei_worker_core::ErrorKind;
use libfuzzer_sys::fuzz_target;

static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::temp_dir().join(format!("hodei-compose-fuzz-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for files");
    folder
});

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let options = ProjectOptions::new()
        .project_name("fuzz")
        .profile("*")
        .variable("A", "one")
        .variable("EMPTY", "")
        .variable("HOME", "/nonexistent");
    let parts: Vec<&str> = text.splitn(3, "\n%%%\n").collect();
    let result = if parts.len() == 1 {
        Project::parse(text, &options.working_directory("/nonexistent"))
    } else {
        for (name, part) in ["compose.yaml", "other.yaml", ".env"].iter().zip(&parts) {
            std::fs::write(FOLDER.join(name), part).expect("a file");
        }
        Project::load(&options.working_directory(&*FOLDER).file("compose.yaml"))
    };
    match result {
        Ok(project) => {
            let value = project.to_value();
            assert!(value["services"].is_object());
            for name in project.services.keys() {
                assert!(project.place(&format!("services.{name}")).is_some());
            }
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Config, "{error:#}");
            assert!(!error.to_string().is_empty());
        }
    }
});
