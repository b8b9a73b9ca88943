//! D11: what containers may do, by a real engine.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use async_trait::async_trait;
use common::{Bench, installation, on_engine, on_engine_with, var};
use hodei_worker_core::{
    ErrorKind, Result, WorkerConfig, WorkerProvider as _,
    model::Mount,
    provider::{CreateOptions, LogOptions, StartOptions, WorkerFilter},
};
use hodei_worker_docker::{
    DockerOptions, DockerSettings, ImageScanner, ScanVerdict, ScannedImage, SecurityOptions, SecurityPolicy,
};

fn under(policy: SecurityPolicy) -> DockerSettings {
    DockerSettings::at(var("HODEI_TEST_DOCKER_HOST")).with_security(policy)
}

fn security(change: impl FnOnce(&mut SecurityOptions)) -> SecurityOptions {
    let mut security = SecurityOptions::default();
    change(&mut security);
    security
}

async fn said(bench: &Bench, config: &WorkerConfig) -> String {
    let worker = bench.create(config).await;
    bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
    bench.ended(&worker).await;
    bench.text(&worker, &LogOptions::all()).await
}

/// What a process has, in the kernel's own words.
const RIGHTS: &str =
    "grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status | tr -s '\\t' ' '; id -u";

#[tokio::test]
async fn d11_by_default_a_policy_leaves_a_worker_hardly_any_rights() {
    on_engine_with("harden", under(SecurityPolicy::default()), |bench| async move {
        let script = format!("{RIGHTS}; touch /root-is-closed 2>&1; touch /tmp/x /run/y && echo open");
        let text = said(&bench, &bench.script("a", &script).build().unwrap()).await;
        for part in [
            "CapEff: 0000000000000000\n",
            "CapBnd: 0000000000000000\n",
            "NoNewPrivs: 1\n",
            "Seccomp: 2\n",
            "\n65534\n",
            "Read-only file system",
            "open\n",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        let inspected = bench
            .raw()
            .inspect(&bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers[0].native_id)
            .await;
        assert_eq!(inspected.host_config.unwrap().pids_limit, Some(1024));
    })
    .await;
}

#[tokio::test]
async fn d11_what_breaks_the_policy_is_refused_before_anything_is_made() {
    on_engine_with("refuse", under(SecurityPolicy::default()), |bench| async move {
        let privileged = security(|security| security.privileged = true);
        let asks = SecurityOptions::default().add_capability("SYS_ADMIN");
        for (options, field) in [
            (DockerOptions::default().user("root"), "options.docker.user"),
            (DockerOptions::default().network("host"), "options.docker.network"),
            (DockerOptions::default().security(privileged), "options.docker.security.privileged"),
            (DockerOptions::default().security(asks), "options.docker.security.added_capabilities"),
        ] {
            let config = bench.script("a", "true").options(&options).build().unwrap();
            let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
            assert_eq!(
                (error.kind(), error.context_value("field")),
                (ErrorKind::Config, Some(field)),
                "{error}"
            );
        }
        let config = bench.script("a", "true").mount(Mount::bind("/", "/host")).build().unwrap();
        let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert!(error.to_string().contains("allowed_host_paths"), "{error}");
        assert!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
    })
    .await;
}

#[tokio::test]
async fn d11_an_allowed_capability_is_all_that_a_worker_gets() {
    let mut policy = SecurityPolicy::restricted();
    policy.allow_root = true;
    policy.allowed_capabilities.insert("chown".to_owned());
    on_engine_with("allow", under(policy), |bench| async move {
        let security = SecurityOptions::default().add_capability("CAP_CHOWN");
        let options = DockerOptions::default().security(security);
        let text = said(&bench, &bench.script("a", RIGHTS).options(&options).build().unwrap()).await;
        assert!(text.contains("CapEff: 0000000000000001\n") && text.ends_with("\n0\n"), "{text}");
    })
    .await;
}

#[tokio::test]
async fn d11_filters_are_as_asked_for() {
    on_engine("filters", |bench| async move {
        let unconfined = security(|security| security.seccomp = Some("unconfined".to_owned()));
        let profile = r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["mkdir","mkdirat"],"action":"SCMP_ACT_ERRNO"}]}"#;
        let own = security(|security| security.seccomp = Some(profile.to_owned()));
        let options = DockerOptions::default().security(unconfined);
        let text = said(&bench, &bench.script("a", RIGHTS).options(&options).build().unwrap()).await;
        assert!(text.contains("Seccomp: 0\n"), "{text}");
        let options = DockerOptions::default().security(own);
        let script = "mkdir /tmp/x 2>/dev/null || echo filtered; touch /tmp/y && echo allowed";
        let text = said(&bench, &bench.script("b", script).options(&options).build().unwrap()).await;
        assert_eq!(text, "filtered\nallowed\n");
        // This machine's kernel may have neither: then the request is the proof.
        let modules = security(|security| {
            security.apparmor = Some("hodei-test".to_owned());
            security.selinux = vec!["type:hodei_t".to_owned()];
        });
        let options = DockerOptions::default().security(modules);
        let worker = bench.create(&bench.script("c", "true").options(&options).build().unwrap()).await;
        let inspected = bench.raw().inspect(&bench.status(&worker).await.native_id).await;
        let asked = inspected.host_config.unwrap().security_opt.unwrap();
        assert!(asked.iter().any(|one| one == "apparmor=hodei-test"), "{asked:?}");
        assert!(asked.iter().any(|one| one == "label=type:hodei_t"), "{asked:?}");
    })
    .await;
}

/// Refuses what it is told to, and counts.
#[derive(Debug, Default)]
struct Scanner {
    refuses: bool,
    asked: AtomicUsize,
}

#[async_trait]
impl ImageScanner for Scanner {
    async fn scan(&self, image: &ScannedImage) -> Result<ScanVerdict> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        assert!(image.id.starts_with("sha256:") && image.size > 0, "{image:?}");
        Ok(if self.refuses { ScanVerdict::refused("CVE-0000-0001") } else { ScanVerdict::Accepted })
    }
}

#[tokio::test]
async fn d11_an_image_is_judged_before_a_worker_is_made_of_it() {
    on_engine("scan", |bench| async move {
        let of = |refuses: bool| Arc::new(Scanner { refuses, asked: AtomicUsize::new(0) });
        let (strict, calm) = (of(true), of(false));
        let config = |id: &str| bench.script(id, "true").build().unwrap();
        let refusing = bench.stranger().await.provider.with_image_scanner(Arc::<Scanner>::clone(&strict));
        let error = refusing.create_worker(&config("a"), &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("CVE-0000-0001"), "{error}");
        assert!(bench.provider.list_workers(&WorkerFilter::all()).await.unwrap().workers.is_empty());
        let accepting = bench.stranger().await.provider.with_image_scanner(Arc::<Scanner>::clone(&calm));
        for id in ["b", "c"] {
            accepting.create_worker(&config(id), &CreateOptions::default()).await.unwrap();
        }
        assert_eq!((strict.asked.load(Ordering::SeqCst), calm.asked.load(Ordering::SeqCst)), (1, 1));
    })
    .await;
}

#[tokio::test]
async fn d11_an_image_needs_a_digest_where_the_policy_wants_one() {
    let mut policy = SecurityPolicy::baseline();
    policy.require_digest = true;
    let bench = Bench::connect(under(policy), &installation("digest")).await.unwrap();
    let config = bench.script("a", "true").build().unwrap();
    let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
    assert!(error.to_string().contains("require_digest"), "{error}");
}
