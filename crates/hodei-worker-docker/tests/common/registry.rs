//! Registries and what leads to them: images that nobody else has, log-ins, and registries that misbehave.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use bollard::{
    auth::DockerCredentials,
    models::{ContainerConfig, ContainerCreateBody},
    query_parameters::{
        CommitContainerOptionsBuilder, CreateContainerOptions, CreateImageOptionsBuilder,
        KillContainerOptions, PushImageOptionsBuilder, StartContainerOptions, TagImageOptionsBuilder,
        WaitContainerOptions,
    },
};
use futures::{StreamExt as _, TryStreamExt as _};
use hodei_worker_core::{WorkerRef, credential::MemoryCredentialProvider};
use hodei_worker_docker::{DockerProvider, DockerSettings};
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

use super::{Bench, context, raw::Raw, var};

/// The label by which images of [`Bench::publish_new`] are told apart.
const CONTENT: &str = "hodei-test/content";

/// The registry that wants a log-in.
pub(crate) fn locked() -> String {
    var("HODEI_TEST_REGISTRY_LOCKED")
}

/// The user whom the locked registry knows, and the password.
pub(crate) fn known_user() -> (String, String) {
    (var("HODEI_TEST_REGISTRY_USER"), var("HODEI_TEST_REGISTRY_PASSWORD"))
}

impl Raw {
    /// Puts an image with this content into a registry, after this script has run in it. The engine does not keep it.
    pub(crate) async fn publish_new(
        &self,
        repository: &str,
        tag: &str,
        content: &str,
        script: &str,
    ) -> String {
        let body = ContainerCreateBody {
            image: Some(var("HODEI_TEST_IMAGE")),
            cmd: Some(["sh", "-c", script].map(str::to_owned).to_vec()),
            ..ContainerCreateBody::default()
        };
        let id = self.0.create_container(None::<CreateContainerOptions>, body).await.unwrap().id;
        self.0.start_container(&id, None::<StartContainerOptions>).await.unwrap();
        self.0.wait_container(&id, None::<WaitContainerOptions>).next().await.unwrap().unwrap();
        let options = CommitContainerOptionsBuilder::default().container(&id).repo(repository).tag(tag);
        let labels = [(CONTENT.to_owned(), content.to_owned())].into_iter().collect();
        let config = ContainerConfig { labels: Some(labels), ..ContainerConfig::default() };
        self.0.commit_container(options.build(), config).await.unwrap();
        self.remove(&id).await;
        let log_in = repository.starts_with(&locked()).then(|| {
            let (username, password) = known_user();
            let (username, password) = (Some(username), Some(password));
            DockerCredentials { username, password, serveraddress: Some(locked()), ..Default::default() }
        });
        let pushed = PushImageOptionsBuilder::default().tag(tag).build();
        let steps = self.0.push_image(repository, Some(pushed), log_in);
        steps.try_for_each(|_| std::future::ready(Ok(()))).await.unwrap();
        let image = format!("{repository}:{tag}");
        self.remove_image(&image).await;
        image
    }

    /// Whether the engine has an image of that name or id.
    pub(crate) async fn has_image(&self, image: &str) -> bool {
        self.0.inspect_image(image).await.is_ok()
    }

    /// Fetches an image as anybody would.
    pub(crate) async fn pull(&self, image: &str) {
        let options = CreateImageOptionsBuilder::default().from_image(image).build();
        let steps = self.0.create_image(Some(options), None, None);
        steps.try_for_each(|_| std::future::ready(Ok(()))).await.unwrap();
    }

    /// Ends a container at once; it stays.
    pub(crate) async fn kill(&self, id: &str) {
        self.0.kill_container(id, None::<KillContainerOptions>).await.unwrap();
        // A container that the engine still ends counts as running.
        let ended = self.0.wait_container(id, None::<WaitContainerOptions>).next().await;
        drop(ended);
    }

    /// Gives an image another name.
    pub(crate) async fn tag(&self, image: &str, repository: &str, tag: &str) {
        let named = TagImageOptionsBuilder::default().repo(repository).tag(tag).build();
        self.0.tag_image(image, Some(named)).await.unwrap();
    }
}

impl Bench {
    /// An image that no other test has, by its name and tag in the registry. The engine does not have it.
    pub(crate) async fn publish_new(&self, name: &str, content: &str) -> String {
        self.publish_at(&var("HODEI_TEST_REGISTRY"), name, content).await
    }

    /// The same in the registry that wants a log-in.
    pub(crate) async fn publish_locked(&self, name: &str, content: &str) -> String {
        self.publish_at(&locked(), name, content).await
    }

    async fn publish_at(&self, registry: &str, name: &str, content: &str) -> String {
        let (name, tag) = name.split_once(':').unwrap();
        let repository = format!("{registry}/{}/{name}", self.installation);
        self.raw().publish_new(&repository, tag, content, "true").await
    }

    /// Makes a tag mean what another one means, in the registry alone.
    pub(crate) async fn move_tag(&self, name: &str, from: &str, to: &str) {
        let path = format!("/v2/{}/{name}/manifests", self.installation);
        let kinds = "application/vnd.docker.distribution.manifest.v2+json, \
                     application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json";
        let (head, manifest) = ask("GET", &format!("{path}/{from}"), &format!("accept: {kinds}"), &[]).await;
        let kind = head.lines().find(|line| line.to_ascii_lowercase().starts_with("content-type:")).unwrap();
        let (head, _) = ask("PUT", &format!("{path}/{to}"), kind, &manifest).await;
        assert!(head.starts_with("HTTP/1.1 201"), "{head}");
    }

    /// The processor that a worker's image is for.
    pub(crate) async fn architecture(&self, worker: &WorkerRef) -> Option<String> {
        let inspected = self.raw().inspect(&self.status(worker).await.native_id).await;
        // An engine that keeps an image for several platforms says which one it took.
        let taken = inspected.image_manifest_descriptor.and_then(|taken| taken.platform?.architecture);
        match taken {
            Some(taken) => Some(taken),
            None => self.raw().0.inspect_image(&inspected.image?).await.unwrap().architecture,
        }
    }

    /// The content of the image that a worker is made of.
    pub(crate) async fn content(&self, worker: &WorkerRef) -> Option<String> {
        let inspected = self.raw().inspect(&self.status(worker).await.native_id).await;
        inspected.config?.labels?.get(CONTENT).cloned()
    }

    /// The same installation with other settings and secrets.
    pub(crate) async fn with(
        &self,
        settings: DockerSettings,
        secrets: Arc<MemoryCredentialProvider>,
    ) -> Self {
        let context = context(&self.installation).with_credentials(secrets);
        let provider = DockerProvider::connect(settings, context).await.unwrap();
        Self { provider, installation: self.installation.clone(), ..self.clone() }
    }
}

impl Bench {
    /// An image for two platforms, that of the engine's machine and another one, by its name in the registry. Its contents
    /// are the same. Returns the name and the two platforms.
    pub(crate) async fn publish_for_two(&self, name: &str) -> (String, [&'static str; 2]) {
        let image = self.publish_new(name, "both").await;
        let (name, tag) = name.split_once(':').unwrap();
        let base = format!("/v2/{}/{name}", self.installation);
        let json = |text: &[u8]| serde_json::from_slice::<serde_json::Value>(text).unwrap();
        let kinds = "accept: application/vnd.docker.distribution.manifest.v2+json, \
                     application/vnd.oci.image.manifest.v1+json";
        let (_, first) = ask("GET", &format!("{base}/manifests/{tag}"), kinds, &[]).await;
        let mut manifest = json(&first);
        let kind = manifest["mediaType"].as_str().unwrap().to_owned();
        let config = manifest["config"]["digest"].as_str().unwrap().to_owned();
        let (_, config) = ask("GET", &format!("{base}/blobs/{config}"), "accept: */*", &[]).await;
        let mut config = json(&config);
        let (here, there) = match config["architecture"].as_str().unwrap() {
            "amd64" => ("linux/amd64", "linux/arm64"),
            _ => ("linux/arm64", "linux/amd64"),
        };
        config["architecture"] = there.split_once('/').unwrap().1.into();
        let config = config.to_string().into_bytes();
        let config_digest = self.push_blob(&base, &config).await;
        manifest["config"]["digest"] = config_digest.into();
        manifest["config"]["size"] = config.len().into();
        let second = manifest.to_string().into_bytes();
        let mut both = Vec::new();
        for (manifest, platform) in [(&first, here), (&second, there)] {
            let digest = digest(manifest);
            let path = format!("{base}/manifests/{digest}");
            let (head, _) = ask("PUT", &path, &format!("content-type: {kind}"), manifest).await;
            assert!(head.starts_with("HTTP/1.1 201"), "{head}");
            let (os, architecture) = platform.split_once('/').unwrap();
            both.push(serde_json::json!({
                "mediaType": kind, "digest": digest, "size": manifest.len(),
                "platform": {"os": os, "architecture": architecture},
            }));
        }
        let list = match kind.contains("docker") {
            true => "application/vnd.docker.distribution.manifest.list.v2+json",
            false => "application/vnd.oci.image.index.v1+json",
        };
        let index = serde_json::json!({"schemaVersion": 2, "mediaType": list, "manifests": both}).to_string();
        let path = format!("{base}/manifests/{tag}");
        let (head, _) = ask("PUT", &path, &format!("content-type: {list}"), index.as_bytes()).await;
        assert!(head.starts_with("HTTP/1.1 201"), "{head}");
        (image, [here, there])
    }

    async fn push_blob(&self, base: &str, blob: &[u8]) -> String {
        let kind = "content-type: application/octet-stream";
        let (head, _) = ask("POST", &format!("{base}/blobs/uploads/"), kind, &[]).await;
        let place = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("location").then(|| value.trim().to_owned())
        });
        let place = place.unwrap_or_else(|| panic!("no place to upload to: {head}"));
        let path = place.find("/v2/").map(|at| &place[at..]).unwrap();
        let digest = digest(blob);
        let joint = if path.contains('?') { '&' } else { '?' };
        let (head, _) = ask("PUT", &format!("{path}{joint}digest={digest}"), kind, blob).await;
        assert!(head.starts_with("HTTP/1.1 201"), "{head}");
        digest
    }
}

fn digest(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// A request to the registry: the answer's head and body.
async fn ask(method: &str, path: &str, header: &str, body: &[u8]) -> (String, Vec<u8>) {
    let registry = var("HODEI_TEST_REGISTRY");
    let mut stream = TcpStream::connect(&registry).await.unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: {registry}\r\nconnection: close\r\n{header}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    stream.write_all(body).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    (String::from_utf8_lossy(&answer[..end]).into_owned(), answer[end + 4..].to_vec())
}

/// A folder of a Docker client.
pub(crate) struct ClientFolder(tempfile::TempDir);

impl ClientFolder {
    pub(crate) fn new(config: &serde_json::Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("config.json"), config.to_string()).unwrap();
        Self(folder)
    }
    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
    /// A credential helper that does this. Written by another process: a file that is open here for writing, in a
    /// neighbour's fork for instance, cannot be run.
    pub(crate) fn with_helper(self, name: &str, script: &str) -> Self {
        let folder = self.path().join("bin");
        let file = folder.join(format!("docker-credential-{name}"));
        let write = "mkdir -p \"$3\" && printf '#!/bin/sh\\n%s\\n' \"$1\" > \"$2\" && chmod 700 \"$2\"";
        let mut command = std::process::Command::new("sh");
        let done = command.args(["-c", write, "sh", script]).arg(&file).arg(&folder).status().unwrap();
        assert!(done.success());
        self
    }
}

/// A registry that answers all questions about images with one status and one body.
pub(crate) struct Fake {
    pub(crate) address: String,
    asked: Arc<Mutex<Vec<String>>>,
    _tasks: JoinSet<()>,
}

impl Fake {
    pub(crate) async fn start(status: u16, kind: &'static str, body: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (asked, mut tasks) = (Arc::<Mutex<Vec<String>>>::default(), JoinSet::new());
        let heard = Arc::clone(&asked);
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, status, kind, body.clone(), Arc::clone(&heard)));
            }
        });
        Self { address, asked, _tasks: tasks }
    }
    /// The first lines of all requests so far.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

async fn answer(
    mut stream: TcpStream,
    status: u16,
    kind: &'static str,
    body: String,
    asked: Arc<Mutex<Vec<String>>>,
) {
    let mut buffer: Vec<u8> = Vec::new();
    loop {
        let end = loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            // An engine tries TLS first.
            if buffer.first().is_some_and(|first| !first.is_ascii_uppercase()) {
                stream.write_all(b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n").await.ok();
                return;
            }
            if !matches!(stream.read_buf(&mut buffer).await, Ok(1..)) {
                return;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
        buffer.drain(..end);
        asked.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
        let (status, kind, body) = if head.contains(" /v2/ ") {
            (200, "application/json", "{}")
        } else {
            (status, kind, body.as_str())
        };
        let shown = if head.starts_with("HEAD") { "" } else { body };
        let answer = format!(
            "HTTP/1.1 {status} Fake\r\ndocker-distribution-api-version: registry/2.0\r\ncontent-type: {kind}\r\n\
             content-length: {}\r\n\r\n{shown}",
            body.len()
        );
        if stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
    }
}

/// In front of the registry: lets so many bytes of answers pass, and the rest when it is opened.
pub(crate) struct Gate {
    pub(crate) address: String,
    left: Arc<watch::Sender<usize>>,
    _tasks: JoinSet<()>,
}

impl Gate {
    pub(crate) async fn start(bytes: usize) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let left = Arc::new(watch::Sender::new(bytes));
        let (shared, mut tasks) = (Arc::clone(&left), JoinSet::new());
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let left = Arc::clone(&shared);
                connections.spawn(async move {
                    let Ok(server) = TcpStream::connect(var("HODEI_TEST_REGISTRY")).await else { return };
                    let (mut from_client, mut to_client) = client.into_split();
                    let (mut from_server, mut to_server) = server.into_split();
                    let answers = async {
                        let mut buffer = vec![0; 16 << 10];
                        while let Ok(count @ 1..) = from_server.read(&mut buffer).await {
                            left.subscribe().wait_for(|left| *left >= count).await.ok();
                            left.send_modify(|left| *left = left.saturating_sub(count));
                            if to_client.write_all(&buffer[..count]).await.is_err() {
                                return;
                            }
                        }
                    };
                    tokio::select! {
                        () = answers => {}
                        _ = tokio::io::copy(&mut from_client, &mut to_server) => {}
                    }
                });
            }
        });
        Self { address, left, _tasks: tasks }
    }
    pub(crate) fn open(&self) {
        self.left.send_replace(usize::MAX / 2);
    }
}
