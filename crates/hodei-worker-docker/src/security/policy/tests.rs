use hodei_worker_core::model::{Mount, WorkerConfigBuilder};

use super::{machine::is_below, *};
use crate::{DeviceOptions, LimitOptions, MountOptions, NetworkOptions, SecurityOptions, VolumeOptions};

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
    let hardened = SecurityPolicy::default().apply(&config, &mut DockerOptions::default(), "10:20").unwrap();
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
    for user in ["0", "nobody", "5:0"] {
        let policy = SecurityPolicy { default_user: user.to_owned(), ..SecurityPolicy::restricted() };
        let mut problems = Problems::new();
        policy.validate(&mut problems);
        assert!(problems.to_string().contains("security.default_user"), "{user}: {problems}");
    }
}

/// What a change of the options is refused for, under the default policy.
fn refused(change: impl FnOnce(&mut DockerOptions)) -> Vec<String> {
    refused_by(&SecurityPolicy::default(), change)
}

fn refused_by(policy: &SecurityPolicy, change: impl FnOnce(&mut DockerOptions)) -> Vec<String> {
    let mut options = DockerOptions::default();
    change(&mut options);
    match apply(policy, worker(), options).0 {
        Ok(_) => Vec::new(),
        refused => paths(refused),
    }
}

#[test]
fn d11_root_is_found_under_all_its_names() {
    let whole = "0".repeat(30);
    for (user, good) in [
        ("1000", true),
        ("1000:1000", true),
        ("0001", true),
        ("0", false),
        ("-0", false),
        ("+0", false),
        (whole.as_str(), false),
        ("toor", false),
        ("app", false),
        ("1000:0", false),
        ("1000:-0", false),
        ("1000:wheel", false),
        ("1000:", false),
        (":1000", false),
        ("1000:1000:0", false),
        // The engine takes it for a name.
        ("99999999999", false),
    ] {
        let wrong = refused(|options| options.user = Some(user.to_owned()));
        assert_eq!(wrong.is_empty(), good, "{user}: {wrong:?}");
        let config = worker().build().unwrap();
        let hardened = SecurityPolicy::default().apply(&config, &mut DockerOptions::default(), user).unwrap();
        assert_eq!(hardened.user.is_none(), good, "{user} of an image");
    }
}

#[test]
fn d11_further_groups_are_those_of_the_list() {
    let policy = SecurityPolicy { allowed_groups: ["50".to_owned()].into(), ..SecurityPolicy::restricted() };
    let ask = |group: &str| refused_by(&policy, |options| options.security.groups = vec![group.to_owned()]);
    assert!(ask("50").is_empty());
    assert_eq!(ask("docker"), ["options.docker.security.groups"]);
    assert_eq!(ask("0"), ["options.docker.security.groups"]);
}

#[test]
fn d11_a_filter_that_filters_nothing_is_refused_like_none() {
    let open = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
    let seccomp = |options: &mut DockerOptions| options.security.seccomp = Some(open.to_owned());
    let apparmor = |options: &mut DockerOptions| options.security.apparmor = Some("lax".to_owned());
    let selinux = |options: &mut DockerOptions| options.security.selinux = vec!["type:spc_t".to_owned()];
    assert_eq!(refused(seccomp), ["options.docker.security.seccomp"]);
    assert_eq!(refused(apparmor), ["options.docker.security.apparmor"]);
    assert_eq!(refused(selinux), ["options.docker.security.selinux"]);
    let listing = SecurityPolicy {
        allowed_seccomp: [open.to_owned()].into(),
        allowed_apparmor: ["lax".to_owned()].into(),
        allowed_selinux: ["type:spc_t".to_owned()].into(),
        ..SecurityPolicy::restricted()
    };
    let all = |options: &mut DockerOptions| {
        seccomp(options);
        apparmor(options);
        selinux(options);
    };
    assert!(refused_by(&listing, all).is_empty());
    let open = SecurityPolicy { allow_unconfined: true, ..SecurityPolicy::restricted() };
    assert!(refused_by(&open, all).is_empty());
}

#[test]
fn d11_a_policys_own_filters_stay() {
    let policy = SecurityPolicy {
        seccomp: Some("{}".to_owned()),
        apparmor: Some("strict".to_owned()),
        selinux: vec!["type:mine_t".to_owned(), "level:s0".to_owned()],
        allowed_selinux: ["level:s1".to_owned()].into(),
        ..SecurityPolicy::restricted()
    };
    let change = |options: &mut DockerOptions| {
        options.security.seccomp = Some(r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.to_owned());
        options.security.apparmor = Some("lax".to_owned());
    };
    let fields = ["options.docker.security.seccomp", "options.docker.security.apparmor"];
    assert_eq!(refused_by(&policy, change), fields);
    let mut options = DockerOptions::default();
    options.security.selinux = vec!["level:s1".to_owned()];
    let (hardened, options) = apply(&policy, worker(), options);
    hardened.unwrap();
    let security = options.security;
    assert_eq!((security.seccomp.as_deref(), security.apparmor.as_deref()), (Some("{}"), Some("strict")));
    assert_eq!(security.selinux, ["level:s1", "type:mine_t"]);
}

fn volume(driver: Option<&str>, options: &[(&str, &str)]) -> VolumeOptions {
    VolumeOptions {
        driver: driver.map(str::to_owned),
        driver_options: options
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        ..VolumeOptions::default()
    }
}

#[test]
fn d11_a_volume_shows_nothing_of_the_machine() {
    let mut policy = SecurityPolicy::restricted();
    policy.allowed_host_paths.push("/srv/data".to_owned());
    for (volume, good) in [
        (volume(None, &[]), true),
        (volume(Some("local"), &[("type", "tmpfs"), ("device", "tmpfs")]), true),
        (volume(None, &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,uid=5,mode=700")]), true),
        (volume(None, &[("type", "none"), ("device", "/srv/data/x"), ("o", "bind,ro")]), true),
        (volume(None, &[("type", "none"), ("device", "/srv/data/../x"), ("o", "bind")]), false),
        (volume(None, &[("type", "none"), ("device", "/srv/data"), ("o", "rbind")]), false),
        (volume(None, &[("type", "ext4"), ("device", "/srv/data")]), false),
        (volume(None, &[("type", "tmpfs"), ("device", "/"), ("o", "bind")]), false),
        (volume(None, &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "bind")]), false),
        (volume(None, &[("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m,bind")]), false),
        (volume(None, &[("type", "tmpfs"), ("device", "tmpfs"), ("O", "bind")]), false),
        (volume(None, &[("type", "nfs"), ("device", "/"), ("o", "bind")]), false),
        (volume(None, &[("type", "cifs"), ("device", "/"), ("o", "bind")]), false),
        (volume(None, &[("type", "overlay"), ("device", "overlay"), ("o", "lowerdir=/,upperdir=/a")]), false),
        (volume(Some("vieux/sshfs"), &[]), false),
    ] {
        let shown = format!("{volume:?}");
        let wrong = refused_by(&policy, |options| {
            drop(options.storage.volumes.insert("v".to_owned(), volume.clone()))
        });
        assert_eq!(wrong.is_empty(), good, "{shown}: {wrong:?}");
        policy.allow_volume_drivers = true;
        let wrong =
            refused_by(&policy, |options| drop(options.storage.volumes.insert("v".to_owned(), volume)));
        assert!(wrong.is_empty(), "{shown}: {wrong:?}");
        policy.allow_volume_drivers = false;
    }
}

#[test]
fn d11_what_keeps_to_the_container_may_be_asked_for_and_nothing_else() {
    let mode = |text: &str| Some(text.to_owned());
    assert!(
        refused(|options| {
            options.network = mode("my-net");
            options.security.ipc = mode("shareable");
            options.security.cgroupns = mode("private");
        })
        .is_empty()
    );
    for shared in ["host", "container:x", "ns:/proc/1/ns/net", "pod:x"] {
        let wrong = refused(|options| {
            options.network = mode(shared);
            options.security.pid = mode(shared);
            options.security.ipc = mode(shared);
            options.security.uts = mode(shared);
            options.security.userns = mode(shared);
            options.security.cgroupns = mode(shared);
        });
        assert_eq!(wrong.len(), 6, "{shared}: {wrong:?}");
    }
    let pushed = MountOptions { propagation: mode("rshared"), ..MountOptions::default() };
    let wrong = refused(|options| drop(options.storage.mounts.insert("/a".to_owned(), pushed)));
    assert_eq!(wrong, ["options.docker.storage.mounts./a.propagation"]);
}

#[test]
fn d11_the_engines_own_options_are_the_policys() {
    let one = || [("a".to_owned(), "b".to_owned())].into();
    let change = |options: &mut DockerOptions| {
        options.security.runtime = Some("kata".to_owned());
        options.annotations = one();
        options.log_driver = Some("syslog".to_owned());
        options.log_options = [("syslog-address".to_owned(), "tcp://x:1".to_owned())].into();
        options.limits = LimitOptions {
            out_of_memory_kill_disabled: true,
            out_of_memory_score: Some(-1),
            sysctls: [("kernel.shmmax".to_owned(), "1".to_owned())].into(),
            storage: one(),
            cgroup_parent: Some("/".to_owned()),
            ..LimitOptions::default()
        };
        let macvlan = NetworkOptions {
            driver: Some("macvlan".to_owned()),
            driver_options: one(),
            ..NetworkOptions::default()
        };
        options.networking.networks.insert("n".to_owned(), macvlan);
    };
    let mut wrong = refused(change);
    wrong.sort();
    let fields = [
        "annotations",
        "limits.cgroup_parent",
        "limits.out_of_memory_kill_disabled",
        "limits.out_of_memory_score",
        "limits.storage",
        "limits.sysctls",
        "log_driver",
        "log_options",
        "networking.networks.n.driver",
        "networking.networks.n.driver_options",
        "security.runtime",
    ];
    assert_eq!(wrong, fields.map(|field| format!("options.docker.{field}")));
    let allowing = SecurityPolicy { allow_engine_options: true, ..SecurityPolicy::restricted() };
    assert!(refused_by(&allowing, change).is_empty());
    assert!(
        refused(|options| {
            options.log_driver = Some("json-file".to_owned());
            options.log_options = [("max-size".to_owned(), "1m".to_owned())].into();
            options.limits.out_of_memory_score = Some(500);
            options.limits.sysctls = [("net.core.somaxconn".to_owned(), "9".to_owned())].into();
            options.networking.networks.insert("n".to_owned(), NetworkOptions::default().internal());
        })
        .is_empty()
    );
}

#[test]
fn d11_an_images_id_comes_from_no_registry() {
    let mut policy = SecurityPolicy::baseline();
    policy.allowed_registries = Some(["docker.io".to_owned()].into());
    let id = format!("sha256:{}", "0f".repeat(32));
    let (refused, _) = apply(&policy, WorkerConfig::builder("a").image(id), DockerOptions::default());
    assert_eq!(paths(refused), ["image"]);
}
