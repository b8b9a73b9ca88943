use hodei_worker_core::model::{Mount, WorkerConfigBuilder};

use super::*;
use crate::{DeviceOptions, SecurityOptions, VolumeOptions};

fn worker() -> WorkerConfigBuilder {
    WorkerConfig::builder("a").image("registry.example:5000/a:1")
}

fn apply(
    policy: &SecurityPolicy,
    builder: WorkerConfigBuilder,
    mut options: DockerOptions,
) -> (Result<Hardened>, DockerOptions) {
    let hardened = policy.apply(&builder.build().unwrap(), &mut options, "");
    (hardened, options)
}

fn paths(refused: Result<Hardened>) -> Vec<String> {
    let error = refused.unwrap_err();
    match error.problems() {
        Some(problems) => problems.iter().map(|problem| problem.path.clone()).collect(),
        None => vec![error.context_value("field").unwrap().to_owned()],
    }
}

#[test]
fn d11_what_a_worker_leaves_open_is_restricted() {
    let (hardened, options) = apply(&SecurityPolicy::default(), worker(), DockerOptions::default());
    let hardened = hardened.unwrap();
    assert_eq!(hardened.user.as_deref(), Some("65534:65534"));
    assert_eq!(hardened.pids_limit, Some(1024));
    assert_eq!(hardened.writable, ["/tmp", "/run"]);
    assert!(options.security.dropped_capabilities.contains("ALL"));
    assert_eq!(
        (options.security.no_new_privileges, options.security.read_only_root),
        (Some(true), Some(true))
    );
}

#[test]
fn d11_a_user_of_the_image_and_a_mount_of_the_workers_stay() {
    let config = worker().mount(Mount::tmpfs("/tmp", None)).build().unwrap();
    let hardened = SecurityPolicy::default().apply(&config, &mut DockerOptions::default(), "app").unwrap();
    assert_eq!((hardened.user, hardened.writable), (None, vec!["/run".to_owned()]));
}

#[test]
fn d11_each_refusal_names_its_setting() {
    let security = SecurityOptions {
        privileged: true,
        no_new_privileges: Some(false),
        read_only_root: Some(false),
        seccomp: Some("unconfined".to_owned()),
        apparmor: Some("unconfined".to_owned()),
        selinux: vec!["disable".to_owned()],
        pid: Some("host".to_owned()),
        ipc: Some("container:x".to_owned()),
        ..SecurityOptions::default().add_capability("cap_sys_admin")
    };
    let mut options = DockerOptions::default().user("0:5").network("host").security(security);
    options.storage.devices.push(DeviceOptions::new("/dev/sda"));
    let shown = VolumeOptions {
        driver_options: [("type", "none"), ("device", "/etc"), ("o", "bind")]
            .map(|(a, b)| (a.to_owned(), b.to_owned()))
            .into(),
        ..VolumeOptions::default()
    };
    let options = options.define_volume("etc", shown);
    let builder = worker().pids_limit(2000).mount(Mount::bind("/var/run/docker.sock", "/s"));
    let (refused, _) = apply(&SecurityPolicy::default(), builder, options);
    let mut refused = paths(refused);
    refused.sort();
    assert_eq!(
        refused,
        [
            "mounts[0].source.bind.path",
            "options.docker.network",
            "options.docker.security.added_capabilities",
            "options.docker.security.apparmor",
            "options.docker.security.ipc",
            "options.docker.security.no_new_privileges",
            "options.docker.security.pid",
            "options.docker.security.privileged",
            "options.docker.security.read_only_root",
            "options.docker.security.seccomp",
            "options.docker.security.selinux",
            "options.docker.storage.devices",
            "options.docker.storage.volumes.etc.driver_options",
            "options.docker.user",
            "resources.pids_limit",
        ]
    );
}

#[test]
fn d11_images_are_judged_by_registry_and_digest() {
    let mut policy = SecurityPolicy::baseline();
    policy.require_digest = true;
    policy.allowed_registries = Some(["docker.io".to_owned()].into());
    let (refused, _) = apply(&policy, worker(), DockerOptions::default());
    let error = refused.unwrap_err().to_string();
    assert!(error.contains("require_digest") && error.contains("allowed_registries"), "{error}");
    let pinned = format!("library/a@sha256:{}", "0f".repeat(32));
    let (accepted, _) = apply(&policy, WorkerConfig::builder("a").image(pinned), DockerOptions::default());
    assert_eq!(accepted.unwrap(), Hardened::default());
}

#[test]
fn d11_a_host_path_is_allowed_with_what_lies_below_it() {
    for (path, good) in [
        ("/srv/data", true),
        ("/srv/data/x", true),
        ("/srv/data2", false),
        ("/srv/data/../x", false),
        ("/srv", false),
    ] {
        assert_eq!(is_below(path, "/srv/data/"), good, "{path}");
    }
}

#[test]
fn d11_a_policy_that_contradicts_itself_is_refused() {
    let policy = SecurityPolicy { default_user: "0".to_owned(), ..SecurityPolicy::restricted() };
    let mut problems = Problems::new();
    policy.validate(&mut problems);
    assert!(problems.to_string().contains("security.default_user"), "{problems}");
}
