//! Which images are ours: those that this installation has pulled and that were not there before.
//!
//! An engine has no labels on what it pulls. So such an image gets a second name, at `hodei-worker.invalid`, where there
//! can be no registry: it lies with the image itself, outlives this host, goes with the image, and whoever lists images
//! sees it. The name's tag says when the image was pulled, and under which name.

use std::collections::HashSet;

use hodei_worker_core::{
    Result, Timestamp,
    model::{ContainerImage, InstallationId},
};
use http::Method;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::ask::in_path;
use crate::{client::query, provider::Shared, registry::full_name};

/// Where our second names are. The top-level domain is reserved for names that do not exist.
const PLACE: &str = "hodei-worker.invalid/";

/// An image as a list tells of it.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct Listed {
    #[serde(rename = "Id")]
    pub(super) id: String,
    #[serde(rename = "RepoTags", default)]
    tags: Option<Vec<String>>,
    #[serde(rename = "RepoDigests", default)]
    digests: Option<Vec<String>>,
    #[serde(rename = "Size", default)]
    pub(super) size: i64,
}

impl Listed {
    /// Its names, ours of any installation among them.
    fn names(&self) -> impl Iterator<Item = &str> {
        let all = self.tags.iter().chain(&self.digests).flatten().map(String::as_str);
        all.filter(|name| !name.starts_with("<none>"))
    }

    /// Whether it has the name under which an image is pulled.
    fn is_called(&self, image: &ContainerImage) -> bool {
        let wanted = pulled_name(image);
        self.names().any(|name| full(name) == wanted)
    }

    /// The names that are not marks of ours: tags, or digests where it has none.
    pub(super) fn shown_names(&self) -> Vec<String> {
        let named = |names: &Option<Vec<String>>| -> Vec<String> {
            let all = names.iter().flatten().filter(|name| !name.starts_with("<none>"));
            all.filter(|name| !name.starts_with(PLACE)).cloned().collect()
        };
        let tags = named(&self.tags);
        if tags.is_empty() { named(&self.digests) } else { tags }
    }
}

/// That we have pulled an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    /// When.
    pub(super) pulled: Timestamp,
    /// From which repository, as a hash.
    repository: String,
    /// Under which name, as a hash.
    name: String,
    /// The image, as a hash of its id: no two images may want the same mark.
    image: String,
}

impl Mark {
    fn new(image: &ContainerImage, id: &str, pulled: Timestamp) -> Self {
        let (repository, name) = (full_name(image.repository()), pulled_name(image));
        let (repository, name, image) = (short_hash(&repository), short_hash(&name), short_hash(id));
        Self { pulled, repository, name, image }
    }

    fn tag(&self) -> String {
        format!("{}-{}-{}-{}", self.pulled.as_second(), self.repository, self.name, self.image)
    }

    fn parse(tag: &str) -> Option<Self> {
        let mut parts = tag.split('-');
        let pulled = Timestamp::from_second(parts.next()?.parse().ok()?).ok()?;
        let mut hash = || parts.next().map(str::to_owned);
        let (repository, name, image) = (hash()?, hash()?, hash()?);
        parts.next().is_none().then_some(Self { pulled, repository, name, image })
    }

    /// Whether the image has this name by our pull. An engine adds the digest to a tag.
    fn explains(&self, name: &str) -> bool {
        match name.split_once('@') {
            Some((repository, _)) => short_hash(&full_name(repository)) == self.repository,
            None => short_hash(&full(name)) == self.name,
        }
    }
}

/// The name under which an engine pulls an image: the digest counts, if there is one.
fn pulled_name(image: &ContainerImage) -> String {
    let repository = full_name(image.repository());
    match (image.digest(), image.tag()) {
        (Some(digest), _) => format!("{repository}@{digest}"),
        (None, tag) => format!("{repository}:{}", tag.unwrap_or_default()),
    }
}

/// An engine's name of an image, in full.
fn full(name: &str) -> String {
    match name.split_once('@') {
        Some((repository, digest)) => format!("{}@{digest}", full_name(repository)),
        None => {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, ""));
            format!("{}:{tag}", full_name(repository))
        }
    }
}

fn short_hash(text: &str) -> String {
    Sha256::digest(text).iter().take(10).map(|byte| format!("{byte:02x}")).collect()
}

/// The repository of an installation's marks.
fn place(installation: &InstallationId) -> String {
    format!("{PLACE}{installation}")
}

/// What an image's marks say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Owned {
    /// When we have pulled it last.
    pub(super) pulled: Timestamp,
    /// The names that are our marks.
    pub(super) marks: Vec<String>,
    /// Whether another installation has pulled it as well.
    pub(super) shared: bool,
}

/// Whether an image is ours and nobody else has given it a name.
pub(super) fn owned(installation: &InstallationId, image: &Listed) -> Option<Owned> {
    let (place, of) = (place(installation), short_hash(&image.id));
    let (mut marks, mut ours, mut shared, mut others) = (Vec::new(), Vec::new(), false, Vec::new());
    for name in image.names() {
        let rest = name.strip_prefix(&place).unwrap_or_default();
        match rest.strip_prefix(':').and_then(Mark::parse) {
            Some(mark) if mark.image == of => {
                marks.push(name.to_owned());
                ours.push(mark);
            }
            // Some engines add a digest to each name, our own too.
            _ if rest.starts_with('@') => {}
            _ if name.starts_with(PLACE) && !rest.starts_with(':') => shared = true,
            _ => others.push(name),
        }
    }
    let explained = others.iter().all(|name| ours.iter().any(|mark| mark.explains(name)));
    let pulled = ours.iter().map(|mark| mark.pulled).max().filter(|_| explained)?;
    Some(Owned { pulled, marks, shared })
}

/// Whether an image that was just pulled is to be marked: neither the image nor the name was somebody else's before.
fn becomes_ours(installation: &InstallationId, image: &ContainerImage, id: &str, before: &[Listed]) -> bool {
    let theirs = |one: &Listed| owned(installation, one).is_none();
    let was_there = before.iter().find(|one| one.id == id);
    let had_the_name = before.iter().find(|one| one.is_called(image));
    !was_there.is_some_and(theirs)
        && !had_the_name.is_some_and(theirs)
        // It has the mark already.
        && (was_there.is_none() || had_the_name.is_none_or(|one| one.id != id))
}

impl Shared {
    /// All images that the engine has.
    pub(super) async fn list_images(&self) -> Result<Vec<Listed>> {
        let listed = self.engine.get("/images/json", &query(&[("all", "1"), ("digests", "1")])).await;
        listed.map_err(|error| self.engine.error(error))
    }

    /// The images that are there before a pull. `None` if that is not known: then what is pulled is nobody's.
    pub(super) async fn images_before(&self) -> Option<Vec<Listed>> {
        let listed = self.list_images().await;
        listed.inspect_err(|error| tracing::warn!(%error, "what is pulled now will not be pruned")).ok()
    }

    /// Marks what was pulled as ours, if it is.
    pub(super) async fn mark(&self, image: &ContainerImage, before: &[Listed]) {
        let marked = async {
            let found: Listed = self.engine.get(&format!("/images/{}/json", in_path(image)), "").await?;
            if !becomes_ours(self.installation(), image, &found.id, before) {
                return Ok(());
            }
            let tag = Mark::new(image, &found.id, self.context.clock.now()).tag();
            let query = query(&[("repo", &place(self.installation())), ("tag", &tag)]);
            self.engine.command(Method::POST, &format!("/images/{}/tag", found.id), &query).await
        };
        if let Err(error) = marked.await {
            let error = self.engine.error(error);
            tracing::warn!(%error, %image, "what was pulled cannot be marked as ours: it will not be pruned");
        }
    }

    /// Gives an image back the names that say that it is ours.
    pub(super) async fn mark_again(&self, id: &str, marks: &[String]) -> Result<()> {
        for name in marks {
            let (repository, tag) = name.rsplit_once(':').unwrap_or((name, ""));
            let query = query(&[("repo", repository), ("tag", tag)]);
            let marked = self.engine.command(Method::POST, &format!("/images/{id}/tag"), &query).await;
            marked.map_err(|error| self.engine.error(error))?;
        }
        Ok(())
    }

    /// The images that there are containers of, whoever made them.
    pub(super) async fn images_in_use(&self) -> Result<HashSet<String>> {
        #[derive(Deserialize)]
        struct Container {
            #[serde(rename = "ImageID")]
            image: String,
        }
        let listed: Result<Vec<Container>, _> =
            self.engine.get("/containers/json", &query(&[("all", "1")])).await;
        let listed = listed.map_err(|error| self.engine.error(error))?;
        Ok(listed.into_iter().map(|container| container.image).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(tags: &[&str], digests: &[&str]) -> Listed {
        let owned = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
        Listed { id: "sha256:1".to_owned(), tags: owned(tags), digests: owned(digests), size: 1 }
    }

    fn mark(image: &str) -> String {
        let mark = Mark::new(&image.parse().unwrap(), "sha256:1", Timestamp::from_second(1_000).unwrap());
        format!("hodei-worker.invalid/me:{}", mark.tag())
    }

    fn is_ours(tags: &[&str], digests: &[&str]) -> bool {
        owned(&"me".parse().unwrap(), &listed(tags, digests)).is_some()
    }

    #[test]
    fn d6_an_image_with_our_mark_is_ours() {
        let digest = format!("busybox@sha256:{}", "0".repeat(64));
        let (by_tag, by_digest) = (mark("busybox:1"), mark(&digest));
        let engines_name = by_tag.split_once(':').unwrap().0.to_owned() + "@sha256:0";
        assert!(is_ours(&["busybox:1", &by_tag], &[&digest]));
        assert!(is_ours(&["busybox:1", &by_tag], &[&engines_name]), "as newer engines list it");
        assert!(is_ours(&[&by_tag], &[&digest]), "its tag went on to another image");
        assert!(is_ours(&[&by_tag], &["<none>@<none>"]));
        assert!(is_ours(&[&by_digest], &[&digest]));
        assert!(is_ours(&[&by_digest, &digest], &[]), "as newer engines list it");
        let found = owned(&"me".parse().unwrap(), &listed(&[&by_tag], &[])).unwrap();
        assert_eq!(found.pulled, Timestamp::from_second(1_000).unwrap());
        assert_eq!((found.marks, found.shared), (vec![by_tag], false));
    }

    #[test]
    fn d6_an_image_without_our_mark_or_with_another_name_is_not() {
        let ours = mark("busybox:1");
        let others = ours.replace("/me:", "/others:");
        let another = ours.replace(&short_hash("sha256:1"), &short_hash("sha256:2"));
        for tags in [
            &["busybox:1"] as &[&str],
            &["busybox:1", &others],
            &["busybox:1", "mine:1", &ours],
            &["busybox:2", &ours],
            &["mine:1", &ours],
            &["busybox:1", &another],
            &["hodei-worker.invalid/me:no-mark"],
            &["hodei-worker.invalid/me:no-mark", &ours],
            &["hodei-worker.invalid/melon:1-2-3-4"],
            &[],
        ] {
            assert!(!is_ours(tags, &[]), "{tags:?}");
        }
        assert!(!is_ours(&["busybox:1", &ours], &["mine@sha256:0"]));
        let both = owned(&"me".parse().unwrap(), &listed(&["busybox:1", &ours, &others], &[])).unwrap();
        assert!(both.shared, "another installation has pulled it at the same time");
    }

    #[test]
    fn d6_what_was_somebody_elses_before_does_not_become_ours() {
        let (image, ours) = ("busybox:1".parse().unwrap(), mark("busybox:1"));
        let becomes = |tags: &[&str], id: &str| {
            becomes_ours(&"me".parse().unwrap(), &image, id, &[listed(tags, &[]), listed(&["other:1"], &[])])
        };
        assert!(becomes(&["busybox:2"], "sha256:2"), "neither image nor name were there");
        assert!(becomes(&["docker.io/library/busybox:1", &ours], "sha256:2"), "ours has gone on");
        assert!(!becomes(&["docker.io/library/busybox:1"], "sha256:2"), "the name is theirs");
        assert!(!becomes(&["busybox:2"], "sha256:1"), "the image is theirs");
        assert!(!becomes(&["<none>:<none>"], "sha256:1"), "the image is theirs");
        assert!(!becomes(&["busybox:1", &ours], "sha256:1"), "it has its mark");
        let second = mark("busybox:2");
        assert!(becomes(&["busybox:2", &second], "sha256:1"), "ours has a second name");
    }

    #[test]
    fn d6_a_mark_is_a_tag() {
        let long = format!("{}/{}:1", "x".repeat(100), "y".repeat(100));
        let place = place(&"a".repeat(40).parse().unwrap());
        let mark = Mark::new(&long.parse().unwrap(), "sha256:1", Timestamp::MAX);
        assert!(format!("{place}:{}", mark.tag()).parse::<ContainerImage>().is_ok());
        let again = Mark::parse(&mark.tag()).unwrap();
        assert_eq!(
            (&again.repository, &again.name, &again.image),
            (&mark.repository, &mark.name, &mark.image)
        );
        let other = Mark::new(&long.parse().unwrap(), "sha256:2", Timestamp::MAX);
        assert_ne!(other.tag(), mark.tag(), "a tag that moves on within a second takes no mark along");
    }
}
