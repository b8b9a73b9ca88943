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

/// What workers had in an engine and what should be gone with them: containers, networks, volumes, and the second name
/// of images that were pulled for them.
pub(super) fn left_behind(engine: &Endpoint) -> Result<Vec<String>> {
    // A label that all have; it is the same in every version.
    let filters = r#"{"label":{"hodei-worker/installation":true}}"#.replace('"', "%22");
    let mut left = Vec::new();
    for (what, path) in [
        ("container", format!("/containers/json?all=1&filters={filters}")),
        ("network", format!("/networks?filters={filters}")),
        ("volume", format!("/volumes?filters={filters}")),
        ("image", "/images/json".to_owned()),
    ] {
        let listed: Value = serde_json::from_str(&engine.get(&path)?).context(&path)?;
        let listed = if what == "volume" { &listed["Volumes"] } else { &listed };
        left.extend(listed.as_array().into_iter().flatten().filter_map(|one| left_over(what, one)));
    }
    Ok(left)
}

fn left_over(what: &str, one: &Value) -> Option<String> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = match what {
        "container" => text(&one["Names"][0]),
        "image" => {
            let names = one["RepoTags"].as_array()?.iter().filter_map(Value::as_str);
            names.filter(|name| name.starts_with("hodei-worker.invalid/")).map(str::to_owned).next()?
        }
        _ => text(&one["Name"]),
    };
    Some(format!("{what} {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_among_progress_lines_is_an_error() {
        assert!(refuse_error("{\"status\":\"Pushing\"}\n{\"status\":\"Done\"}\n").is_ok());
        assert_eq!(refuse_error("{\"status\":\"x\"}\r\n{\"error\":\"denied\"}\r\n").unwrap_err().0, "denied");
    }

    #[test]
    fn what_is_left_is_named() {
        let image = |name: &str| left_over("image", &serde_json::json!({"RepoTags": [name]}));
        assert_eq!(image("busybox:1"), None);
        assert_eq!(image("hodei-worker.invalid/a:b").unwrap(), "image hodei-worker.invalid/a:b");
        let container = serde_json::json!({"Names": ["/hodei.a"]});
        assert_eq!(left_over("container", &container).unwrap(), "container /hodei.a");
    }
}
