//! D3 and D5: storage and the limits beyond the common model, by a real engine.
#![allow(clippy::unwrap_used, clippy::expect_used)] // These are tests.

mod common;

use std::sync::Arc;

use common::{
    Bench, on_engine, on_engine_with,
    proxy::{Mode, Proxy},
    socket,
};
use hodei_worker_core::{
    ErrorKind, WorkerConfig, WorkerProvider as _,
    model::Mount,
    provider::{CreateOptions, DeleteOptions, LogOptions, StartOptions},
    quantity::ByteSize,
};
use hodei_worker_docker::{
    DeviceOptions, DockerOptions, DockerSettings, MountOptions, Ulimit, VolumeOptions,
};

fn unique(name: &str) -> String {
    format!("{name}-{:08x}", fastrand::u32(..))
}

async fn said(bench: &Bench, config: &WorkerConfig) -> String {
    let worker = bench.create(config).await;
    bench.provider.start_worker(&worker, &StartOptions::default()).await.unwrap();
    bench.ended(&worker).await;
    bench.text(&worker, &LogOptions::all()).await
}

#[tokio::test]
async fn d3_a_new_volume_belongs_to_whom_it_should_and_an_old_one_keeps_its_owner() {
    on_engine("owner", |bench| async move {
        let name = unique("data");
        let options = DockerOptions::default()
            .user("1000:1000")
            .define_volume(&name, VolumeOptions::default().owned_by(1000, 1000));
        let script = "touch /data/mine && stat -c '%u:%g %a' /data";
        let config = |id: &str, script: &str, options: &DockerOptions| {
            let config = bench.script(id, script).mount(Mount::volume(&name, "/data"));
            config.options(options).build().unwrap()
        };
        assert_eq!(said(&bench, &config("a", script, &options)).await, "1000:1000 755\n");
        // It was there: what another says of new ones is not about it.
        let other = DockerOptions::default().define_volume(&name, VolumeOptions::default().owned_by(7, 7));
        assert_eq!(said(&bench, &config("b", "stat -c '%u' /data", &other)).await, "1000\n");
        assert!(bench.raw().helpers(&bench.installation).await.is_empty(), "a helper is left");
    })
    .await;
}

#[tokio::test]
async fn d3_volumes_are_made_as_defined_and_must_exist_where_they_are_anothers() {
    on_engine("define", |bench| async move {
        let (name, theirs) = (unique("memory"), unique("theirs"));
        let mut memory = VolumeOptions::default();
        memory.driver_options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", "size=1m")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into();
        let options = DockerOptions::default().define_volume(&name, memory);
        let config =
            bench.script("a", "grep -c ' /data tmpfs' /proc/mounts").mount(Mount::volume(&name, "/data"));
        assert_eq!(said(&bench, &config.options(&options).build().unwrap()).await, "1\n");
        let external = DockerOptions::default().define_volume(&theirs, VolumeOptions::external());
        let config = bench.script("b", "true").mount(Mount::volume(&theirs, "/data")).options(&external);
        let config = config.build().unwrap();
        let error = bench.provider.create_worker(&config, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{error}");
        assert!(!bench.raw().has_volume(&theirs).await);
        bench.raw().create_volume(&theirs).await;
        let worker = bench.create(&config).await;
        bench.provider.delete_worker(&worker, &DeleteOptions::default()).await.unwrap();
        assert!(bench.raw().has_volume(&theirs).await);
        bench.raw().remove_volume(&theirs).await;
    })
    .await;
}

#[tokio::test]
async fn d3_memory_and_host_paths_are_mounted_as_they_should() {
    on_engine("mounts", |bench| async move {
        let home = tempfile::tempdir().unwrap();
        let missing = home.path().join("made").display().to_string();
        let mut memory = MountOptions::default();
        memory.mode = Some(0o750);
        let mut making = MountOptions::default();
        making.create_host_path = true;
        let options = DockerOptions::default().mount("/fast", memory).mount("/made", making);
        let script = "stat -c '%a' /fast; grep ' /fast ' /proc/mounts | grep -c 'size=1024k'; \
                      (echo x > /in/f) 2>/dev/null || echo refused";
        let config = bench
            .script("a", script)
            .mount(Mount::tmpfs("/fast", Some(ByteSize::mib(1))))
            .mount(Mount::bind(home.path().display().to_string(), "/in").read_only())
            .mount(Mount::bind(&missing, "/made"))
            .options(&options)
            .build()
            .unwrap();
        let text = said(&bench, &config).await;
        assert!(text.starts_with("750\n1\n") && text.ends_with("refused\n"), "{text}");
        assert!(std::path::Path::new(&missing).is_dir());
    })
    .await;
}

#[tokio::test]
async fn d5_limits_of_processes_devices_and_kernel_settings_are_kept() {
    on_engine("limits", |bench| async move {
        let mut options = DockerOptions::default()
            .ulimit("nofile", Ulimit::new(100, 200))
            .ulimit("core", Ulimit::of(0));
        options.limits.shared_memory = Some(ByteSize::mib(8));
        options.limits.sysctls.insert("net.core.somaxconn".to_owned(), "77".to_owned());
        options.limits.out_of_memory_score = Some(500);
        options.storage.devices.push(DeviceOptions::new("/dev/full"));
        let script = "ulimit -Sn; ulimit -Hn; ulimit -c; grep ' /dev/shm ' /proc/mounts | grep -c size=8192k; \
                      cat /proc/sys/net/core/somaxconn; cat /proc/self/oom_score_adj; test -c /dev/full && echo there";
        let config = bench.script("a", script).options(&options).build().unwrap();
        assert_eq!(said(&bench, &config).await, "100\n200\n0\n1\n77\n500\nthere\n");
    })
    .await;
}

#[tokio::test]
async fn d7_pass_through_and_an_update_by_replacement() {
    on_engine("env", |bench| async move {
        let passed = std::env::var("HODEI_TEST_IMAGE").unwrap();
        let script = "echo $HODEI_TEST_IMAGE $COLOUR ${HODEI_TEST_NO_SUCH-unset}";
        let config = bench.script("a", script).env("COLOUR", "red");
        let config = config.env_from_host("HODEI_TEST_IMAGE").env_from_host("HODEI_TEST_NO_SUCH");
        assert_eq!(said(&bench, &config.build().unwrap()).await, format!("{passed} red unset\n"));
        let changed = bench.script("a", "echo $COLOUR").env("COLOUR", "blue").build().unwrap();
        let error = bench.provider.create_worker(&changed, &CreateOptions::default()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
        let second = CreateOptions::generation(hodei_worker_core::model::Generation::FIRST.next());
        let next = bench.provider.create_worker(&changed, &second).await.unwrap().worker;
        bench.provider.start_worker(&next, &StartOptions::default()).await.unwrap();
        bench.ended(&next).await;
        assert_eq!(bench.text(&next, &LogOptions::all()).await, "blue\n");
    })
    .await;
}

#[tokio::test]
async fn d3_a_volume_that_is_made_otherwise_is_not_what_was_asked_for() {
    on_engine("otherwise", |bench| async move {
        let (name, theirs) = (unique("sized"), unique("theirs"));
        let defined = |name: &str, size: &str| {
            let mut volume = VolumeOptions::default();
            volume.driver = Some("local".to_owned());
            volume.driver_options = [("type", "tmpfs"), ("device", "tmpfs"), ("o", size)]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into();
            DockerOptions::default().define_volume(name, volume)
        };
        let config = |id: &str, name: &str, options: &DockerOptions| {
            bench.script(id, "true").mount(Mount::volume(name, "/data")).options(options).build().unwrap()
        };
        bench.raw().create_volume(&theirs).await;
        for (id, options) in [("a", defined(&name, "size=1m")), ("b", defined(&name, "size=1m"))] {
            bench.create(&config(id, &name, &options)).await;
        }
        bench.create(&config("c", &name, &DockerOptions::default())).await;
        bench.create(&config("d", &theirs, &DockerOptions::default())).await;
        for (name, words) in [(&name, "`o` has another value"), (&theirs, "does not have the driver option")]
        {
            let other = config("e", name, &defined(name, "size=2m"));
            let error = bench.provider.create_worker(&other, &CreateOptions::default()).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Conflict, "{error}");
            assert!(error.to_string().contains(words), "`{words}` is missing in {error}");
            assert!(error.to_string().contains("another name"), "no help in {error}");
        }
        let d = hodei_worker_core::WorkerRef::first("d".parse().unwrap());
        bench.provider.delete_worker(&d, &DeleteOptions::default()).await.unwrap();
        bench.raw().remove_volume(&theirs).await;
    })
    .await;
}

#[tokio::test]
async fn d3_a_volume_whose_maker_died_before_it_was_given_gets_its_owner_from_the_next() {
    let proxy = Arc::new(Proxy::unix(socket()));
    let through = Arc::clone(&proxy);
    on_engine_with("notgiven", DockerSettings::at(&proxy.endpoint), |bench| async move {
        let names = ["new", "used", "chowned"].map(unique);
        let owned = |name: &str| {
            DockerOptions::default().define_volume(name, VolumeOptions::default().owned_by(1000, 1000))
        };
        let config = |id: &str, name: &str, script: &str, options: &DockerOptions| {
            bench.script(id, script).mount(Mount::volume(name, "/data")).options(options).build().unwrap()
        };
        for (n, name) in names.iter().enumerate() {
            through.set(Mode::Lose("/archive"));
            through.take();
            let creating = tokio::spawn({
                let config = config(&format!("dies-{n}"), name, "true", &owned(name));
                let provider = bench.provider.clone();
                async move { provider.create_worker(&config, &CreateOptions::default()).await }
            });
            through.asked("/archive").await;
            through.set(Mode::Pass);
            let error = creating.await.unwrap().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
            assert!(bench.raw().has_volume(name).await, "the test needs what is left");
        }
        let [new, used, chowned] = &names;
        let plain = DockerOptions::default();
        said(&bench, &config("user", used, "touch /data/mine", &plain)).await;
        said(&bench, &config("chown", chowned, "chown 5:6 /data", &plain)).await;
        let look = "stat -c '%u:%g %a' /data";
        for (id, name, seen) in
            [("a", new, "1000:1000 755\n"), ("b", used, "0:0 755\n"), ("c", chowned, "5:6 755\n")]
        {
            // What another says of new ones is not about it.
            let options =
                DockerOptions::default().define_volume(name, VolumeOptions::default().owned_by(7, 7));
            let stranger = bench.stranger().await;
            assert_eq!(said(&stranger, &config(id, name, look, &options)).await, seen, "{id}");
        }
        // What is known is not looked at again.
        said(&bench, &config("known-1", new, look, &owned(new))).await;
        through.take();
        assert_eq!(said(&bench, &config("known-2", new, look, &owned(new))).await, "1000:1000 755\n");
        let asked = through.take();
        assert!(!asked.iter().any(|line| line.contains("/archive")), "{asked:#?}");
        assert!(bench.raw().helpers(&bench.installation).await.is_empty(), "a helper is left");
    })
    .await;
}
