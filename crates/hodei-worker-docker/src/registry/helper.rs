//! Credential helpers: programs that keep log-ins for Docker's client. One is asked by `docker-credential-NAME get` with
//! the registry on its input, and answers in JSON.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use hodei_worker_core::{Error, ErrorKind, Result, Retry};
use secrecy::zeroize::Zeroizing;
use serde::Deserialize;
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _},
    process::Command,
};

use super::{LogIn, Registry, Text};

/// A helper that asks a person or a service has this time for its answer.
pub(crate) const LIMIT: Duration = Duration::from_secs(30);
/// No answer is longer.
const LONGEST: usize = 64 << 10;
/// The user's name that says that the secret is a token.
const TOKEN_USER: &str = "<token>";
/// How a helper begins to say that it has nothing; it ends as a failure then.
const NOTHING: &str = "credentials not found";

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow, rename = "Username")]
    user: Text<'a>,
    #[serde(borrow, rename = "Secret")]
    secret: Text<'a>,
}

/// The program of a helper, from the folders of `path` or else from `bin` below the folder of the configuration, where
/// Docker Desktop puts its own.
pub(crate) fn find(name: &str, path: Option<&str>, folder: &Path) -> Result<PathBuf> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(good) {
        let error = Error::config(
            "docker_config",
            format!("`{}` is not the name of a credential helper", name.escape_debug()),
        );
        return Err(error
            .with_context("path", folder.join("config.json").display())
            .with_help("a helper has a name of letters, digits, `.`, `_` and `-`, never a path"));
    }
    let program = format!("docker-credential-{name}");
    let folders = path.into_iter().flat_map(env::split_paths).filter(|folder| folder.is_absolute());
    let mut all = folders.chain([folder.join("bin")]).map(|folder| folder.join(&program));
    all.find(|file| file.is_file()).ok_or_else(|| {
        let why = format!("the credential helper `{program}` does not exist");
        Error::config("docker_config", why)
            .with_context("named in", folder.join("config.json").display())
            .with_context("looked for in", format!("PATH and {}", folder.join("bin").display()))
            .with_help(format!(
                "install it, take `{name}` out of that file, or use the setting `registries` instead and set \
                 `docker_config` to false"
            ))
    })
}

/// Asks a helper for the log-in to a registry; `None` when it has none.
pub(crate) async fn ask(program: &Path, registry: &Registry, limit: Duration) -> Result<Option<LogIn>> {
    let about =
        |error: Error| error.with_context("helper", program.display()).with_context("registry", registry);
    match tokio::time::timeout(limit, run(program, registry)).await {
        Ok(answer) => answer.map_err(about),
        Err(_) => {
            let why = format!("the credential helper did not answer within {} s", limit.as_secs_f32());
            let error = Error::new(ErrorKind::Dependency, why).with_retry(Retry::IfIdempotent);
            Err(about(error).with_help("does it wait for a person, or for a store that is locked?"))
        }
    }
}

async fn run(program: &Path, registry: &Registry) -> Result<Option<LogIn>> {
    let failed = |error: std::io::Error| {
        Error::new(ErrorKind::Dependency, "the credential helper cannot be run").with_source(error)
    };
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let write = async {
        if let Some(mut input) = input {
            // One that knows without reading closes it before.
            input.write_all(registry.server().as_bytes()).await.ok();
        }
    };
    let ((), output, errors) = tokio::join!(write, read(output), read(errors));
    let (output, errors) = (output.map_err(failed)?, errors.map_err(failed)?);
    if output.len() == LONGEST {
        return Err(Error::new(ErrorKind::Dependency, "the credential helper's answer does not end"));
    }
    if child.wait().await.map_err(failed)?.success() {
        return parse(&output);
    }
    let words = [&output, &errors].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
    if words.iter().any(|words| words.starts_with(NOTHING)) {
        return Ok(None);
    }
    let mut message = "the credential helper failed".to_owned();
    // What it writes as it fails is its reason, unless it looks like an answer.
    if let Some(reason) = words.iter().find(|words| !words.is_empty() && !words.contains('{')) {
        message.push_str(": ");
        message
            .extend(reason.lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).take(200));
    }
    Err(Error::new(ErrorKind::Dependency, message))
}

fn parse(output: &[u8]) -> Result<Option<LogIn>> {
    // serde's own words would quote what it does not like.
    let answer: Answer<'_> = serde_json::from_slice(output).map_err(|_| {
        Error::new(ErrorKind::Dependency, "the credential helper's answer makes no sense")
            .with_help("it must be JSON with `Username` and `Secret`")
    })?;
    Ok(match (answer.user.as_str(), answer.secret.secret()) {
        (_, None) => None,
        (TOKEN_USER, Some(token)) => Some(LogIn::IdentityToken(token)),
        (user, Some(password)) => Some(LogIn::Password { user: user.to_owned(), password }),
    })
}

/// All of a stream up to the limit, overwritten when it is dropped.
async fn read(from: Option<impl AsyncRead + Unpin>) -> std::io::Result<Zeroizing<Vec<u8>>> {
    let mut all = Zeroizing::new(vec![0; LONGEST]);
    let mut length = 0;
    if let Some(mut from) = from {
        while length < all.len() {
            match from.read(&mut all[length..]).await? {
                0 => break,
                count => length += count,
            }
        }
    }
    all.truncate(length);
    Ok(all)
}

#[cfg(test)]
mod tests {
    use std::process;

    use tempfile::TempDir;

    use super::*;

    /// A helper that does this. Written by another process: a file that is open here for writing, in a neighbour's
    /// fork for instance, cannot be run.
    fn helper(script: &str) -> (TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("docker-credential-test");
        let write = "printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 700 \"$2\"";
        let done = process::Command::new("sh").args(["-c", write, "sh", script]).arg(&file).status().unwrap();
        assert!(done.success());
        (folder, file)
    }

    async fn asked(script: &str) -> Result<Option<LogIn>> {
        let (_folder, program) = helper(script);
        ask(&program, &Registry::of_key("docker.io"), LIMIT).await
    }

    #[tokio::test]
    async fn d6_a_helper_is_asked_for_the_registry() {
        let script = r#"test "$1" = get || exit 9
            test "$(cat)" = https://index.docker.io/v1/ || exit 8
            echo '{"ServerURL": "x", "Username": "ci", "Secret": "hun\"ter2"}'"#;
        let Some(LogIn::Password { user, password }) = asked(script).await.unwrap() else { panic!() };
        use secrecy::ExposeSecret as _;
        assert_eq!((user.as_str(), password.expose_secret()), ("ci", "hun\"ter2"));
        let token = asked(r#"echo '{"Username": "<token>", "Secret": "t"}'"#).await.unwrap();
        assert!(matches!(token, Some(LogIn::IdentityToken(_))), "{token:?}");
    }

    #[tokio::test]
    async fn d6_a_helper_may_have_nothing() {
        for script in [
            "echo credentials not found in native keychain; exit 1",
            "echo credentials not found in native keychain >&2; exit 1",
            r#"echo '{"Username": "", "Secret": ""}'"#,
        ] {
            assert!(asked(script).await.unwrap().is_none(), "{script}");
        }
    }

    #[tokio::test]
    async fn d6_a_helper_that_fails_is_told_without_its_secret() {
        for (script, part) in [
            ("echo the store is locked >&2; exit 1", "failed: the store is locked"),
            (r#"echo '{"Username": "ci", "Secret": "hunter2"}'; exit 1"#, "the credential helper failed"),
            (r#"echo '{"Username": "ci", "Secret": ["hunter2"]}'"#, "makes no sense"),
            ("echo hunter2", "makes no sense"),
            ("head -c 1000000 /dev/zero", "does not end"),
        ] {
            let error = asked(script).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Dependency, "{error}");
            let told = format!("{error:?} {error:#}");
            assert!(told.contains(part) && !told.contains("hunter2"), "{told}");
            assert!(told.contains("docker-credential-test"), "{told}");
        }
    }

    #[tokio::test]
    async fn d6_a_helper_that_waits_is_given_up() {
        let (_folder, program) = helper("exec sleep 1000");
        let limit = Duration::from_millis(50);
        let error = ask(&program, &Registry::of_key("docker.io"), limit).await.unwrap_err();
        assert_eq!((error.kind(), error.retry()), (ErrorKind::Dependency, Retry::IfIdempotent), "{error}");
    }

    #[test]
    fn d6_a_helper_is_found_by_its_name_alone() {
        let (folder, file) = helper("true");
        let path = format!("relative:/nowhere:{}", folder.path().display());
        assert_eq!(find("test", Some(&path), Path::new("/x")).unwrap(), file);
        for bad in ["", "../test", "/bin/sh", "a b", "x\n", &"x".repeat(65)] {
            let error = find(bad, Some(&path), Path::new("/x")).unwrap_err();
            assert!(error.to_string().contains("is not the name"), "{error}");
        }
        let error = find("none", Some(&path), Path::new("/x")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("`docker-credential-none` does not exist"), "{error}");
    }
}
