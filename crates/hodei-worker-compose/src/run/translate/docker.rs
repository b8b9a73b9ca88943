//! What only a Docker engine has, as data: its provider's typed options.

use hodei_worker_core::{model::WorkerSpec, quantity::ByteSize};
use serde_json::{Map, Value as Json, json};

use super::{DOCKER, Target};
use crate::{
    Project, Service,
    run::{names, refuse::Refusals},
};

/// Sets one of the options, with those that it lies in.
pub(in crate::run) fn set(spec: &mut WorkerSpec, path: &[&str], value: Json) {
    let mut place = spec.options.entry(DOCKER.to_owned()).or_insert_with(|| Json::Object(Map::new()));
    for name in path {
        if !place.is_object() {
            *place = Json::Object(Map::new());
        }
        place = &mut place[*name];
    }
    *place = value;
}

/// Sets the options that the service asks for. Gives the services whose namespaces it shares.
pub(super) fn translate(
    project: &Project,
    service: &Service,
    target: &Target<'_>,
    spec: &mut WorkerSpec,
    refusals: &mut Refusals<'_>,
) -> Vec<(String, Vec<&'static str>)> {
    let text =
        |value: &Option<String>| value.as_ref().filter(|text| !text.is_empty()).map(|text| json!(text));
    let list = |all: &[String]| (!all.is_empty()).then(|| json!(all));
    let yes = |set: bool| set.then_some(Json::Bool(true));
    let size = |bytes: i64| {
        u64::try_from(bytes).ok().filter(|bytes| *bytes > 0).map(|bytes| json!(ByteSize::new(bytes)))
    };
    let number = |value: i64| (value != 0).then(|| json!(value));
    let map = |all: &std::collections::BTreeMap<String, String>| (!all.is_empty()).then(|| json!(all));
    let extra_hosts: Vec<String> =
        service.extra_hosts.iter().map(|entry| entry.replacen('=', ":", 1)).collect();
    let fields: [(&[&str], Option<Json>); 36] = [
        (&["user"], text(&service.user)),
        (&["init"], service.init.map(|init| json!(init))),
        (&["stop_signal"], text(&service.stop_signal)),
        (&["platform"], text(&service.platform)),
        (&["tty"], yes(service.tty)),
        (&["open_stdin"], yes(service.stdin_open)),
        (&["annotations"], map(&service.annotations)),
        (&["networking", "hostname"], text(&service.hostname)),
        (&["networking", "domainname"], text(&service.domainname)),
        (&["networking", "dns"], list(&service.dns)),
        (&["networking", "dns_search"], list(&service.dns_search)),
        (&["networking", "dns_options"], list(&service.dns_opt)),
        (&["networking", "extra_hosts"], list(&extra_hosts)),
        (&["networking", "mac_address"], text(&service.mac_address)),
        (&["storage", "device_rules"], list(&service.device_cgroup_rules)),
        (&["limits", "cpuset"], text(&service.cpuset)),
        (&["limits", "cpu_shares"], number(service.cpu_shares)),
        (&["limits", "memory_and_swap"], swap(service)),
        (&["limits", "unlimited_swap"], yes(service.memswap_limit == -1)),
        (&["limits", "memory_swappiness"], number(service.mem_swappiness)),
        (&["limits", "out_of_memory_kill_disabled"], yes(service.oom_kill_disable)),
        (&["limits", "out_of_memory_score"], number(service.oom_score_adj)),
        (&["limits", "shared_memory"], size(service.shm_size)),
        (
            &["limits", "block_io_weight"],
            service.blkio_config.as_ref().filter(|block| block.weight > 0).map(|block| json!(block.weight)),
        ),
        (&["limits", "sysctls"], map(&service.sysctls)),
        (&["limits", "storage"], map(&service.storage_opt)),
        (&["limits", "cgroup_parent"], text(&service.cgroup_parent)),
        (&["security", "privileged"], yes(service.privileged)),
        (&["security", "added_capabilities"], list(&service.cap_add)),
        (&["security", "dropped_capabilities"], list(&service.cap_drop)),
        (&["security", "read_only_root"], yes(service.read_only)),
        (&["security", "groups"], list(&service.group_add)),
        (&["security", "uts"], text(&service.uts)),
        (&["security", "userns"], text(&service.userns_mode)),
        (&["security", "cgroupns"], text(&service.cgroup)),
        (&["security", "runtime"], text(&service.runtime)),
    ];
    for (path, value) in fields {
        if let Some(value) = value {
            set(spec, path, value);
        }
    }
    logging(service, spec);
    limits_and_devices(service, spec);
    security(project, service, spec, refusals);
    pulling(service, spec, refusals);
    if target.docker {
        // Only where there is somebody who takes them: others have no such networks.
        networks(project, service, spec, refusals);
        // As those of a container that is replaced are taken over by the next.
        set(spec, &["storage", "name_image_volumes"], json!(true));
        if !target.managed {
            native_restart(spec);
        }
    }
    namespaces(service, spec)
}

/// Memory and swap in all. An engine gives as much swap as memory where nothing is said.
fn swap(service: &Service) -> Option<Json> {
    let limits = service.deploy.as_ref().and_then(|deploy| deploy.resources.limits.as_ref());
    let memory = Some(service.mem_limit).filter(|bytes| *bytes > 0).or(limits.map(|limits| limits.memory));
    let bytes = match service.memswap_limit {
        0 => memory.unwrap_or_default().saturating_mul(2),
        bytes => bytes,
    };
    u64::try_from(bytes).ok().filter(|bytes| *bytes > 0).map(|bytes| json!(ByteSize::new(bytes)))
}

fn logging(service: &Service, spec: &mut WorkerSpec) {
    let Some(logging) = &service.logging else { return };
    if let Some(driver) = &logging.driver {
        set(spec, &["log_driver"], json!(driver));
    }
    if !logging.options.is_empty() {
        set(spec, &["log_options"], json!(logging.options));
    }
}

fn limits_and_devices(service: &Service, spec: &mut WorkerSpec) {
    for (name, limit) in &service.ulimits {
        set(spec, &["limits", "ulimits", name], json!({"soft": limit.soft, "hard": limit.hard}));
    }
    let devices = service.devices.iter().map(|device| {
        let target = device.target.as_ref().unwrap_or(&device.source);
        let permissions = device.permissions.as_deref().unwrap_or("rwm");
        json!({"source": device.source, "target": target, "permissions": permissions})
    });
    let devices: Vec<_> = devices.collect();
    if !devices.is_empty() {
        set(spec, &["storage", "devices"], json!(devices));
    }
}

fn security(project: &Project, service: &Service, spec: &mut WorkerSpec, refusals: &mut Refusals<'_>) {
    let mut labels = Vec::new();
    for (n, option) in service.security_opt.iter().enumerate() {
        let (name, value) = option.split_once(['=', ':']).unwrap_or((option, ""));
        match (name, value) {
            ("no-new-privileges", "" | "true") => set(spec, &["security", "no_new_privileges"], json!(true)),
            ("no-new-privileges", "false") => set(spec, &["security", "no_new_privileges"], json!(false)),
            ("seccomp", "unconfined") => set(spec, &["security", "seccomp"], json!(value)),
            ("seccomp", file) => match std::fs::read_to_string(project.directory.join(file)) {
                Ok(profile) => set(spec, &["security", "seccomp"], json!(profile)),
                Err(error) => refusals.add(
                    format!("services.{}.security_opt[{n}]", service.name),
                    format!("the profile `{file}` cannot be read: {error}"),
                ),
            },
            ("apparmor", profile) => set(spec, &["security", "apparmor"], json!(profile)),
            ("label", label) => labels.push(label.to_owned()),
            _ => refusals.add(
                format!("services.{}.security_opt[{n}]", service.name),
                format!(
                    "`{option}` is not supported: there are no-new-privileges, seccomp, apparmor and label"
                ),
            ),
        }
    }
    if !labels.is_empty() {
        set(spec, &["security", "selinux"], json!(labels));
    }
}

fn pulling(service: &Service, spec: &mut WorkerSpec, refusals: &mut Refusals<'_>) {
    match service.pull_policy.as_deref() {
        None | Some("missing" | "if_not_present" | "") => {}
        Some(policy @ ("always" | "never")) => set(spec, &["pull"], json!(policy)),
        Some(other) => refusals.add(
            format!("services.{}.pull_policy", service.name),
            format!("`{other}` is not supported: there are always, missing and never"),
        ),
    }
}

fn native_restart(spec: &mut WorkerSpec) {
    use hodei_worker_core::model::RestartPolicy;
    let policy = match spec.restart_policy {
        Some(RestartPolicy::Always) => json!("unless_stopped"),
        Some(RestartPolicy::OnFailure { max_retries }) => json!({"on_failure": {"max_retries": max_retries}}),
        _ => return,
    };
    set(spec, &["native_restart"], policy);
}

/// How the service's networks are made.
fn networks(project: &Project, service: &Service, spec: &mut WorkerSpec, refusals: &mut Refusals<'_>) {
    for key in service.networks.keys().filter(|_| service.network_mode.is_none()) {
        let Some(network) = project.networks.get(key) else { continue };
        let top = format!("networks.{key}");
        if network.external {
            set(spec, &["networking", "networks", &network.name], json!({"external": true}));
            continue;
        }
        let mut labels = network.labels.clone();
        labels.insert(names::PROJECT.to_owned(), project.name.clone());
        labels.insert(names::NETWORK.to_owned(), key.clone());
        let mut definition = json!({"labels": labels});
        for (name, set) in [
            ("internal", network.internal),
            ("attachable", network.attachable),
            ("ipv6", network.enable_ipv6 == Some(true)),
        ] {
            if set {
                definition[name] = true.into();
            }
        }
        if let Some(driver) = &network.driver {
            definition["driver"] = json!(driver);
        }
        if !network.driver_opts.is_empty() {
            definition["driver_options"] = json!(network.driver_opts);
        }
        let pools = network.ipam.config.iter().map(|pool| {
            let all = [("subnet", &pool.subnet), ("gateway", &pool.gateway), ("ip_range", &pool.ip_range)];
            let all =
                all.into_iter().filter_map(|(name, value)| Some((name.to_owned(), json!(value.as_ref()?))));
            Json::Object(all.collect())
        });
        let pools: Vec<_> = pools.collect();
        if !pools.is_empty() {
            definition["subnets"] = json!(pools);
        }
        refusals.unless(&network.ipam.options, format!("{top}.ipam.options"), "is not supported");
        let driver = network.ipam.driver.clone().filter(|driver| driver != "default");
        refusals.unless(&driver, format!("{top}.ipam.driver"), "is not supported");
        if network.ipam.config.iter().any(|pool| !pool.aux_addresses.is_empty()) {
            refusals.add(format!("{top}.ipam.config"), "`aux_addresses` is not supported");
        }
        if network.enable_ipv4 == Some(false) {
            refusals.add(format!("{top}.enable_ipv4"), "networks without IPv4 are not supported");
        }
        set(spec, &["networking", "networks", &network.name], definition);
    }
}

/// Namespaces of the machine and of other services.
fn namespaces(service: &Service, spec: &mut WorkerSpec) -> Vec<(String, Vec<&'static str>)> {
    let mut shares = Vec::new();
    for (mode, path) in [
        (&service.network_mode, vec!["network"]),
        (&service.pid, vec!["security", "pid"]),
        (&service.ipc, vec!["security", "ipc"]),
    ] {
        let Some(mode) = mode.as_ref().filter(|mode| !mode.is_empty()) else { continue };
        match mode.strip_prefix("service:") {
            Some(other) => {
                // Its container is known when it is there.
                set(spec, &path, json!(format!("container:{other}")));
                shares.push((other.to_owned(), path));
            }
            None => set(spec, &path, json!(mode)),
        }
    }
    shares
}

/// Fields of a service that become an option of Docker's, by the beginning of its path.
const FIELDS: [(&str, &str); 51] = [
    ("user", "user"),
    ("init", "init"),
    ("stop_signal", "stop_signal"),
    ("platform", "platform"),
    ("tty", "tty"),
    ("open_stdin", "stdin_open"),
    ("annotations", "annotations"),
    ("pull", "pull_policy"),
    ("log_driver", "logging"),
    ("log_options", "logging"),
    ("network", "network_mode"),
    ("health.disabled", "healthcheck"),
    ("health.timeout", "healthcheck.timeout"),
    ("health.start_interval", "healthcheck.start_interval"),
    ("networking.port_ranges", "ports"),
    ("networking.hostname", "hostname"),
    ("networking.domainname", "domainname"),
    ("networking.dns", "dns"),
    ("networking.dns_search", "dns_search"),
    ("networking.dns_options", "dns_opt"),
    ("networking.extra_hosts", "extra_hosts"),
    ("networking.mac_address", "mac_address"),
    ("storage.device_rules", "device_cgroup_rules"),
    ("storage.devices", "devices"),
    ("storage.volumes", "volumes"),
    ("storage.mounts", "volumes"),
    ("limits.cpuset", "cpuset"),
    ("limits.cpu_shares", "cpu_shares"),
    ("limits.memory_and_swap", "memswap_limit"),
    ("limits.unlimited_swap", "memswap_limit"),
    ("limits.memory_swappiness", "mem_swappiness"),
    ("limits.out_of_memory_kill_disabled", "oom_kill_disable"),
    ("limits.out_of_memory_score", "oom_score_adj"),
    ("limits.shared_memory", "shm_size"),
    ("limits.block_io_weight", "blkio_config"),
    ("limits.sysctls", "sysctls"),
    ("limits.storage", "storage_opt"),
    ("limits.cgroup_parent", "cgroup_parent"),
    ("limits.ulimits", "ulimits"),
    ("security.privileged", "privileged"),
    ("security.added_capabilities", "cap_add"),
    ("security.dropped_capabilities", "cap_drop"),
    ("security.read_only_root", "read_only"),
    ("security.groups", "group_add"),
    ("security.runtime", "runtime"),
    ("security.pid", "pid"),
    ("security.ipc", "ipc"),
    ("security.uts", "uts"),
    ("security.userns", "userns_mode"),
    ("security.cgroupns", "cgroup"),
    ("security", "security_opt"),
];

/// Refuses each field that another provider has nothing for.
pub(super) fn refuse(service: &Service, spec: &WorkerSpec, refusals: &mut Refusals<'_>) {
    let Some(options) = spec.options.get(DOCKER).and_then(Json::as_object) else { return };
    let mut told = Vec::new();
    for (name, value) in options {
        let inner = value
            .as_object()
            .filter(|_| ["health", "networking", "storage", "limits", "security"].contains(&name.as_str()));
        let paths: Vec<String> = match inner {
            Some(inner) => inner.keys().map(|key| format!("{name}.{key}")).collect(),
            None => vec![name.clone()],
        };
        for path in paths {
            let exact = FIELDS.iter().find(|(option, _)| *option == path);
            let field = exact.or_else(|| FIELDS.iter().find(|(option, _)| path.starts_with(option)));
            let field = field.map_or(path.as_str(), |(_, field)| field);
            if !told.contains(&field.to_owned()) {
                told.push(field.to_owned());
                refusals.add(format!("services.{}.{field}", service.name), "only a Docker engine has this");
            }
        }
    }
}
