use hodei_worker_core::{
    WorkerConfig, WorkerRef,
    model::{Mount, NetworkAttachment, Port, SecretReference},
    quantity::{ByteSize, HumanDuration},
};
use serde_json::{Value, json};

use super::*;

fn described(config: &WorkerConfig) -> Value {
    let options = config.options::<DockerOptions>().unwrap().unwrap_or_default();
    let worker = WorkerRef::first(config.worker_id.clone());
    let ownership = Ownership::new("ci".parse().unwrap(), worker);
    let parts = Parts {
        settings: &DockerSettings::default(),
        options: &options,
        hardened: &Hardened::default(),
        ownership: &ownership,
        files: &[],
        variables: Vec::new(),
        attempt: "1",
        networks: config.networks.len(),
        image: None,
        declared: &[],
        makes_paths: true,
        start_interval: true,
    };
    serde_json::to_value(body(config, parts).unwrap()).unwrap()
}

#[test]
fn d5_limits_are_the_engines_numbers() {
    let config = WorkerConfig::builder("a")
        .image("a:1")
        .cpu_limit("1.5")
        .cpu_request("500m")
        .memory_limit("64Mi")
        .memory_request("32Mi")
        .pids_limit(50)
        .build()
        .unwrap();
    let host = &described(&config)["HostConfig"];
    assert_eq!(host["NanoCpus"], json!(1_500_000_000));
    assert_eq!(host["CpuShares"], json!(512));
    let much = WorkerConfig::builder("a").image("a:1").cpu_request("18014398509481984m").build().unwrap();
    assert_eq!(described(&much)["HostConfig"]["CpuShares"], json!(u64::MAX / 1000));
    assert_eq!((&host["Memory"], &host["MemorySwap"]), (&json!(64 << 20), &json!(64 << 20)));
    assert_eq!(host["MemoryReservation"], json!(32 << 20));
    assert_eq!(host["PidsLimit"], json!(50));
    assert_eq!(host["RestartPolicy"]["Name"], json!("no"));
    assert_eq!(host["LogConfig"]["Type"], json!("local"));
}

#[test]
fn d2_a_command_replaces_the_entry_point() {
    let config =
        WorkerConfig::builder("a").image("a:1").command(["sh", "-c"]).args(["exit 3"]).build().unwrap();
    let body = described(&config);
    assert_eq!((&body["Entrypoint"], &body["Cmd"]), (&json!(["sh", "-c"]), &json!(["exit 3"])));
    let plain = described(&WorkerConfig::builder("a").image("a:1").build().unwrap());
    assert!(plain["Entrypoint"].is_null() && plain["Cmd"].is_null());
}

#[test]
fn d3_mounts_and_d4_ports_are_described() {
    let config = WorkerConfig::builder("a")
        .image("a:1")
        .mount(Mount::bind("/data", "/in").read_only())
        .mount(Mount::volume("store", "/out"))
        .mount(Mount::tmpfs("/tmp", Some(ByteSize::mib(1))))
        .port(Port::tcp(80))
        .port(Port::tcp(81).on_host_port(8081))
        .build()
        .unwrap();
    let body = described(&config);
    let mounts = &body["HostConfig"]["Mounts"];
    assert_eq!((&mounts[0]["Type"], &mounts[0]["ReadOnly"]), (&json!("bind"), &json!(true)));
    assert_eq!(mounts[1]["VolumeOptions"]["Labels"]["hodei-worker/installation"], json!("ci"));
    assert_eq!(mounts[2]["TmpfsOptions"]["SizeBytes"], json!(1 << 20));
    let ports = &body["HostConfig"]["PortBindings"];
    assert_eq!(ports["80/tcp"], json!([{"HostIp": "127.0.0.1", "HostPort": ""}]));
    assert_eq!(ports["81/tcp"], json!([{"HostIp": "127.0.0.1", "HostPort": "8081"}]));
}

#[test]
fn d7_labels_hold_references_only() {
    let config = WorkerConfig::builder("a")
        .image("a:1")
        .secret(SecretReference::file("db/password", "/run/secrets/db"))
        .stop_grace("1500ms")
        .worker_type("web")
        .label("team", "x")
        .build()
        .unwrap();
    let labels = &described(&config)["Labels"];
    assert!(labels[names::SECRETS].as_str().unwrap().contains("db/password"));
    assert_eq!(labels[names::STOP_GRACE], json!("1s500ms"));
    assert_eq!((&labels["hodei-worker/type"], &labels["team"]), (&json!("web"), &json!("x")));
}

#[test]
fn d9_a_command_check_is_the_engines() {
    let check = HealthCheckConfig::new(Probe::Command(vec!["true".to_owned()])).every(HumanDuration::secs(2));
    let config = WorkerConfig::builder("a").image("a:1").health_check(check).build().unwrap();
    let health = &described(&config)["Healthcheck"];
    assert_eq!(health["Test"], json!(["CMD", "true"]));
    assert_eq!((&health["Interval"], &health["Retries"]), (&json!(2_000_000_000_i64), &json!(3)));
}

#[test]
fn d2_an_image_is_required() {
    let config = WorkerConfig::builder("a").command(["true"]).build().unwrap();
    let ownership = Ownership::new("ci".parse().unwrap(), WorkerRef::first(config.worker_id.clone()));
    let parts = Parts {
        settings: &DockerSettings::default(),
        options: &DockerOptions::default(),
        hardened: &Hardened::default(),
        ownership: &ownership,
        files: &[],
        variables: Vec::new(),
        attempt: "1",
        networks: 0,
        image: None,
        declared: &[],
        makes_paths: true,
        start_interval: true,
    };
    let error = body(&config, parts).unwrap_err();
    assert_eq!(error.context_value("field"), Some("image"));
}

#[test]
fn d4_a_container_joins_what_the_engine_takes() {
    let config = WorkerConfig::builder("a")
        .image("a:1")
        .network(NetworkAttachment::new("front").alias("web").address("172.30.0.5".parse().unwrap()))
        .network(NetworkAttachment::new("back"))
        .build()
        .unwrap();
    let body = described(&config);
    assert_eq!(body["HostConfig"]["NetworkMode"], json!("front"));
    let joined = &body["NetworkingConfig"]["EndpointsConfig"];
    assert_eq!(joined["front"]["Aliases"], json!(["web"]));
    assert_eq!(joined["front"]["IPAMConfig"]["IPv4Address"], json!("172.30.0.5"));
    assert!(joined["back"].is_object());
}

#[test]
fn d5_d11_limits_and_rights_are_the_engines() {
    use crate::{SecurityOptions, Ulimit};
    let security = SecurityOptions {
        apparmor: Some("strict".to_owned()),
        selinux: vec!["type:t".to_owned()],
        ..SecurityOptions::default()
            .drop_all_capabilities()
            .add_capability("cap_kill")
            .no_new_privileges()
            .read_only_root()
    };
    let options = DockerOptions::default().ulimit("nofile", Ulimit::new(10, 20)).security(security);
    let config = WorkerConfig::builder("a").image("a:1").options(&options).build().unwrap();
    let host = &described(&config)["HostConfig"];
    assert_eq!(host["Ulimits"], json!([{"Name": "nofile", "Soft": 10, "Hard": 20}]));
    assert_eq!((&host["CapAdd"], &host["CapDrop"]), (&json!(["KILL"]), &json!(["ALL"])));
    assert_eq!(host["ReadonlyRootfs"], json!(true));
    assert_eq!(host["SecurityOpt"], json!(["no-new-privileges:true", "apparmor=strict", "label=type:t"]));
}
