//! The programs by which a test stops, starts or kills a part under it.

use std::path::PathBuf;

use crate::failure::Result;
use crate::site::Site;
use crate::tools::script;

/// What most parts can be told.
pub(crate) const VERBS: &str = "start|stop|kill";

/// Where the program called `name` stands.
pub(crate) fn path(site: &Site, name: &str) -> PathBuf {
    site.bin().join(name)
}

/// Writes the program called `name`, whose one argument is a verb of the part `part`: one of `verbs`.
pub(crate) fn write(site: &Site, name: &str, part: &str, verbs: &str) -> Result<()> {
    let program = site.copy_of_ourselves()?;
    let text = format!(
        "#!/bin/sh\n# {name} {verbs}\nCARGO_MANIFEST_DIR='{}' exec '{}' part {part} \"$@\"\n",
        site.root.join("xtask").display(),
        program.display()
    );
    script::write(&path(site, name), &text)
}
