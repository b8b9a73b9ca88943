//! An image of a program, in the registry of the cluster.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpStream;

use super::variable;

/// Where the program is in it.
pub(crate) const PROGRAM: &str = "/host";
const NAME: &str = "hodei-test/host";

/// Puts an image of that program into the cluster's registry, with the libraries that it needs. Its name.
pub(crate) async fn of(program: &Path) -> String {
    let registry = variable("HODEI_TEST_KUBERNETES_REGISTRY");
    let folder = tempfile::tempdir().unwrap();
    let layer = Bytes::from(layer(program, folder.path()));
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "config": {"User": "65534"},
        "rootfs": {"type": "layers", "diff_ids": [digest(&layer)]},
    });
    let config = Bytes::from(config.to_string());
    let mut parts = Vec::new();
    for (part, kind) in [(&config, "config.v1+json"), (&layer, "layer.v1.tar")] {
        let digest = digest(part);
        upload(&registry, part, &digest).await;
        let kind = format!("application/vnd.oci.image.{kind}");
        parts.push(json!({"mediaType": kind, "digest": digest, "size": part.len()}));
    }
    let kind = "application/vnd.oci.image.manifest.v1+json";
    let manifest = json!({"schemaVersion": 2, "mediaType": kind, "config": parts[0], "layers": [parts[1]]});
    let tag = std::process::id();
    let manifest = Bytes::from(manifest.to_string());
    let path = format!("/v2/{NAME}/manifests/{tag}");
    let (status, _) = ask(&registry, Method::PUT, &path, kind, manifest).await;
    assert_eq!(status, StatusCode::CREATED);
    format!("{registry}/{NAME}:{tag}")
}

fn digest(bytes: &[u8]) -> String {
    let digits: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{digits}")
}

/// What the program needs, where it looks for it.
fn layer(program: &Path, folder: &Path) -> Vec<u8> {
    let root = folder.join("root");
    let place = |path: &Path| root.join(path.strip_prefix("/").unwrap());
    fs::create_dir_all(root.join("tmp")).unwrap();
    fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
    let mut strip = Command::new("strip");
    strip.args(["-s", "-o"]).arg(place(Path::new(PROGRAM))).arg(program);
    assert!(strip.status().unwrap().success());
    let needed = Command::new("ldd").arg(program).output().unwrap();
    let text = String::from_utf8(needed.stdout).unwrap();
    let libraries = text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from);
    for library in libraries {
        fs::create_dir_all(place(&library).parent().unwrap()).unwrap();
        fs::copy(&library, place(&library)).unwrap();
    }
    let archive = folder.join("layer.tar");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(&root).args(["--owner=0", "--group=0", "-cf"]).arg(&archive).arg(".");
    assert!(tar.status().unwrap().success());
    fs::read(archive).unwrap()
}

async fn upload(registry: &str, blob: &Bytes, digest: &str) {
    let begin = format!("/v2/{NAME}/blobs/uploads/");
    let (status, place) = ask(registry, Method::POST, &begin, "text/plain", Bytes::new()).await;
    assert_eq!(status, StatusCode::ACCEPTED);
    let place = place.unwrap();
    let path = place.strip_prefix("http://").map_or(place.as_str(), |rest| &rest[rest.find('/').unwrap()..]);
    let and = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{and}digest={digest}");
    let (status, _) = ask(registry, Method::PUT, &path, "application/octet-stream", blob.clone()).await;
    assert_eq!(status, StatusCode::CREATED);
}

/// The answer, and the place that it names.
async fn ask(
    registry: &str,
    method: Method,
    path: &str,
    kind: &str,
    body: Bytes,
) -> (StatusCode, Option<String>) {
    let stream = TcpStream::connect(registry).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let running = tokio::spawn(connection);
    let request = Request::builder().method(method).uri(path).header(header::HOST, registry);
    let request = request.header(header::CONTENT_TYPE, kind).body(Full::new(body)).unwrap();
    let answer = sender.send_request(request).await.unwrap();
    let (head, body) = answer.into_parts();
    body.collect().await.unwrap();
    drop(sender);
    running.await.unwrap().unwrap();
    let place = head.headers.get(header::LOCATION).map(|place| place.to_str().unwrap().to_owned());
    (head.status, place)
}
