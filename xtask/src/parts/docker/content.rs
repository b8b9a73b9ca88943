//! What lies in an engine: the test image, and whatever a test has left.

use std::path::Path;

use serde_json::Value;

use crate::failure::{Context, Failure, Result};
use crate::tools::http::{Endpoint, Request};
use crate::tools::image;

/// The image in the engine, and in the registry under a name that the engine has to pull.
pub(super) fn load_image(state: &Path, engine: &Endpoint, registry: Option<&str>) -> Result<()> {
    let archive = image::archive(state)?;
    let (repository, tag) = image::NAME.split_once(':').unwrap_or((image::NAME, "latest"));
    let exists = Request::new("GET", "/images/hodei-test/busybox:1/json");
    if engine.send(&exists)?.status != 200 {
        // Labels as images have them: none of them is a worker's.
        let path = format!(
            "/images/create?fromSrc=-&repo={repository}&tag={tag}&changes=CMD%20%5B%22sh%22%5D\
             &changes=LABEL%20maintainer%3Dnobody%20hodei-worker%2Ftype%3Dimage%20hodei-worker%2Fstop-grace%3D30d"
        );
        let answer = engine.call(
            &Request::new("POST", &path).headers("Content-Type: application/x-tar\r\n").file(&archive),
        )?;
        refuse_error(&answer).context("importing the test image")?;
    }
    let Some(registry) = registry else { return Ok(()) };
    let remote = format!("{registry}/{repository}");
    engine.call(&Request::new("POST", &format!("/images/{}/tag?repo={remote}&tag={tag}", image::NAME)))?;
    let push = format!("/images/{remote}/push?tag={tag}");
    // An empty JSON object: no credentials.
    let answer = engine.call(&Request::new("POST", &push).headers("X-Registry-Auth: e30=\r\n"))?;
    refuse_error(&answer).context("pushing the test image")?;
    engine.call(&Request::new("DELETE", &format!("/images/{remote}:{tag}"))).map(drop)
}

/// Progress comes with status 200 whatever happens; an error is one of its lines.
fn refuse_error(progress: &str) -> Result<()> {
    let lines = progress.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    match lines.filter_map(|line| line["error"].as_str().map(str::to_owned)).next() {
        Some(error) => Err(Failure(error)),
        None => Ok(()),
    }
}

/// Removes every container and network, so that the engine stops at once and leaves nothing.
pub(super) fn empty(engine: &Endpoint) -> Result<()> {
    let each = |path: &str| -> Result<Vec<Value>> {
        let list: Value = serde_json::from_str(&engine.get(path)?).context(path)?;
        Ok(list.as_array().cloned().unwrap_or_default())
    };
    for id in each("/containers/json?all=1")?.iter().filter_map(|item| item["Id"].as_str()) {
        engine.send(&Request::new("DELETE", &format!("/containers/{id}?force=1&v=1")))?;
    }
    for network in each("/networks")? {
        let name = network["Name"].as_str().unwrap_or_default();
        if !matches!(name, "bridge" | "host" | "none") {
            engine.send(&Request::new("DELETE", &format!("/networks/{name}")))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_among_progress_lines_is_an_error() {
        assert!(refuse_error("{\"status\":\"Pushing\"}\n{\"status\":\"Done\"}\n").is_ok());
        assert_eq!(refuse_error("{\"status\":\"x\"}\r\n{\"error\":\"denied\"}\r\n").unwrap_err().0, "denied");
    }
}
