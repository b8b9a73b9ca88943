//! The typed model of a project that has a bit of everything.

use std::{collections::BTreeMap, fs, time::Duration};

use hodei_worker_compose::{
    Project, ProjectOptions,
    model::{DependencyCondition, MountKind, Ulimit},
};

const FILE: &str = r#"
name: shop
services:
  web:
    image: registry.example.com/web:${TAG:-latest}
    command: run --port 80 'two words'
    entrypoint: []
    environment: {A: 1, B: "$$x", GIVEN: }
    ports: ["127.0.0.1:8080:80", "443:443/udp"]
    volumes:
      - data:/data:ro
      - ./site:/site
      - {type: tmpfs, target: /run, tmpfs: {size: 10m, mode: 0o700}}
    networks:
      front: {aliases: [www]}
      back:
    depends_on:
      db: {condition: service_healthy, restart: true}
    deploy:
      replicas: 2
      resources: {limits: {cpus: "0.5", memory: 64m}, reservations: {memory: 32m}}
      restart_policy: {condition: on-failure, delay: 5s, max_attempts: 3}
    stop_grace_period: 1m30s
    shm_size: 1g
    ulimits: {nproc: 5, nofile: {soft: 1, hard: 2}}
    extra_hosts: ["host.docker.internal:host-gateway"]
    secrets: [token]
    configs: [{source: page, target: /page, mode: 0440}]
    labels: [a=b]
    x-team: blue
  db:
    image: postgres
    healthcheck: {test: pg_isready, interval: 10s, retries: 3}
    logging: {driver: json-file, options: {max-size: 1m}}
    init: true
    cap_drop: [ALL]
  debug:
    image: busybox
    profiles: [debug]
networks:
  front: {driver: bridge, ipam: {config: [{subnet: 10.9.0.0/24}]}}
  back: {internal: true}
  unused: {}
volumes:
  data: {labels: {keep: "yes"}}
secrets:
  token: {environment: TOKEN}
configs:
  page: {content: "<h1>$${title}</h1>"}
x-owner: [me]
"#;

fn read() -> Project {
    let options =
        ProjectOptions::new().variable("TAG", "2").variable("GIVEN", "g").variable("TOKEN", "hunter2");
    match Project::parse(FILE, &options) {
        Ok(project) => project,
        Err(error) => panic!("{error:#}"),
    }
}

#[test]
fn a_service_is_typed() {
    let project = read();
    let web = &project.services["web"];
    assert_eq!(web.name, "web");
    assert_eq!(web.image.as_deref(), Some("registry.example.com/web:2"));
    assert_eq!(web.command.as_deref(), Some(&["run", "--port", "80", "two words"].map(str::to_owned)[..]));
    assert_eq!(web.entrypoint.as_deref(), Some(&[][..]));
    let environment: BTreeMap<String, Option<String>> =
        [("A", "1"), ("B", "$x"), ("GIVEN", "g")].map(|(k, v)| (k.to_owned(), Some(v.to_owned()))).into();
    assert_eq!(web.environment, environment);
    assert_eq!(web.ports[0].host_ip.as_deref(), Some("127.0.0.1"));
    assert_eq!((web.ports[0].published.as_deref(), web.ports[0].target), (Some("8080"), 80));
    assert_eq!(web.ports[1].protocol.as_deref(), Some("udp"));
    assert_eq!((web.volumes[0].kind, web.volumes[0].read_only), (MountKind::Volume, true));
    assert_eq!(web.volumes[1].kind, MountKind::Bind);
    assert!(web.volumes[1].source.as_deref().is_some_and(|source| source.starts_with('/')));
    let tmpfs = web.volumes[2].tmpfs.as_ref().unwrap();
    assert_eq!((tmpfs.size, tmpfs.mode), (10 << 20, 0o700));
    assert_eq!(web.networks["front"].aliases, ["www"]);
    assert!(web.networks.contains_key("back"));
    assert_eq!(web.depends_on["db"].condition, DependencyCondition::ServiceHealthy);
    assert!(web.depends_on["db"].required && web.depends_on["db"].restart);
    assert_eq!(web.replicas(), 2);
    let deploy = web.deploy.as_ref().unwrap();
    let limits = deploy.resources.limits.as_ref().unwrap();
    assert_eq!((limits.cpus, limits.memory), (0.5, 64 << 20));
    let restart = deploy.restart_policy.as_ref().unwrap();
    assert_eq!((restart.delay, restart.max_attempts), (Some(Duration::from_secs(5)), Some(3)));
    assert_eq!(web.stop_grace_period, Some(Duration::from_secs(90)));
    assert_eq!(web.shm_size, 1 << 30);
    assert_eq!(web.ulimits["nproc"], Ulimit { soft: 5, hard: 5 });
    assert_eq!(web.ulimits["nofile"], Ulimit { soft: 1, hard: 2 });
    assert_eq!(web.extra_hosts, ["host.docker.internal=host-gateway"]);
    assert_eq!(web.secrets[0].target.as_deref(), Some("/run/secrets/token"));
    assert_eq!(web.configs[0].mode.as_deref(), Some("0440"));
    assert_eq!(web.labels["a"], "b");
    assert_eq!(web.extensions["x-team"], "blue");
    let db = &project.services["db"];
    let health = db.healthcheck.as_ref().unwrap();
    assert_eq!(health.test, ["CMD-SHELL", "pg_isready"]);
    assert_eq!((health.interval, health.retries), (Some(Duration::from_secs(10)), Some(3)));
    assert_eq!(db.logging.as_ref().unwrap().options["max-size"], "1m");
    assert_eq!((db.init, db.replicas()), (Some(true), 1));
}

#[test]
fn resources_are_typed_and_those_that_nobody_uses_left_out() {
    let project = read();
    assert_eq!(project.name, "shop");
    let networks: Vec<&str> = project.networks.keys().map(String::as_str).collect();
    assert_eq!(networks, ["back", "default", "front"]);
    assert_eq!(project.networks["front"].name, "shop_front");
    assert_eq!(project.networks["front"].ipam.config[0].subnet.as_deref(), Some("10.9.0.0/24"));
    assert!(project.networks["back"].internal);
    assert_eq!(project.volumes["data"].labels["keep"], "yes");
    assert_eq!(project.secrets["token"].content.as_deref(), Some("hunter2"));
    assert_eq!(project.configs["page"].content.as_deref(), Some("<h1>${title}</h1>"));
    assert_eq!(project.extensions["x-owner"], serde_json::json!(["me"]));
    assert!(project.disabled_services.contains_key("debug") && !project.services.contains_key("debug"));
}

#[test]
fn secrets_are_not_shown() {
    let project = read();
    assert!(!project.to_value().to_string().contains("hunter2"));
    assert!(!format!("{project:?} {:?}", project.secrets).contains("hunter2"));
    assert_eq!(project.to_value()["configs"]["page"]["content"], "<h1>$${title}</h1>");
}

#[test]
fn fields_have_places() {
    let project = read();
    let line = |path: &str| project.place(path).map(|place| place.line);
    assert_eq!(line("services.web.image"), Some(5));
    assert_eq!(line("services.web.volumes[1].source"), Some(12));
    assert_eq!(line("services.web.deploy.resources.limits.memory"), Some(21));
    assert_eq!(line("services.db.user"), line("services.db"));
    assert_eq!(line("networks.default"), Some(1));
}

/// The canonical form is a compose file again, and means the same.
#[test]
fn the_canonical_form_can_be_read() {
    let first = read().to_value();
    let again =
        Project::parse(&first.to_string(), &ProjectOptions::new().variable("TOKEN", "hunter2")).unwrap();
    assert_eq!(again.to_value(), first);
}

#[test]
fn files_are_found_and_laid_over_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("My Shop").join("src");
    fs::create_dir_all(&inner).unwrap();
    let shop = folder.path().join("My Shop");
    fs::write(shop.join("compose.yml"), "services: {a: {image: 'x:$TAG'}}\n").unwrap();
    fs::write(shop.join("compose.override.yml"), "services:\n  a:\n    user: me\n").unwrap();
    fs::write(shop.join(".env"), "TAG=7\n").unwrap();
    let project = Project::load(&ProjectOptions::new().working_directory(&inner)).unwrap();
    assert_eq!(project.name, "myshop");
    assert_eq!(project.services["a"].image.as_deref(), Some("x:7"));
    let place = project.place("services.a.user").unwrap();
    assert_eq!((place.file.file_name().unwrap().to_str(), place.line), (Some("compose.override.yml"), 3));
    assert_eq!(project.files.len(), 2);

    let options = ProjectOptions::new()
        .working_directory(folder.path())
        .variable("COMPOSE_FILE", "My Shop/compose.yml")
        .variable("COMPOSE_PROJECT_NAME", "other")
        .variable("TAG", "8");
    let project = Project::load(&options).unwrap();
    assert_eq!((project.name.as_str(), project.files.len()), ("other", 1));
    assert_eq!(project.services["a"].image.as_deref(), Some("x:8"));

    let nothing = Project::load(&ProjectOptions::new().working_directory("/")).unwrap_err();
    assert!(nothing.message().contains("there is no compose file"), "{nothing}");
}
