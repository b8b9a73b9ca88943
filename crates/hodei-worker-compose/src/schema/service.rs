//! The keys of a service.

use super::{
    BOOL, BOOL_TEXT, Fields, Kind, NULL, NUMBER, NUMBER_TEXT, Names, PAIRS, Rule, SAME_TEXTS, TEXT,
    TEXT_OR_TEXTS, TEXTS, WHOLE_TEXT, fields,
    service_parts::{
        BUILD, COMMAND, DEPLOY, DEVELOP, GPUS, HEALTHCHECK, HOOK, HOSTS, MOUNT, START_HOOK, ULIMITS,
    },
    with,
};

pub(super) const SERVICE: Rule = Rule::Fields(&with(fields! {
    "develop": DEVELOP,
    "deploy": DEPLOY,
    "annotations": PAIRS,
    "attach": BOOL_TEXT,
    "build": BUILD,
    "blkio_config": BLKIO,
    "cap_add": TEXTS,
    "cap_drop": TEXTS,
    "cgroup": Rule::Word(&["host", "private"]),
    "cgroup_parent": TEXT,
    "command": COMMAND,
    "configs": FILES,
    "container_name": Rule::Text(container_name, "a container's name, which has two characters of letters, digits, `_`, `.` and `-` at least"),
    "cpu_count": Rule::Either(&[&TEXT, &Rule::Range(0, i64::MAX)]),
    "cpu_percent": Rule::Either(&[&TEXT, &Rule::Range(0, 100)]),
    "cpu_shares": NUMBER_TEXT,
    "cpu_quota": NUMBER_TEXT,
    "cpu_period": NUMBER_TEXT,
    "cpu_rt_period": NUMBER_TEXT,
    "cpu_rt_runtime": NUMBER_TEXT,
    "cpus": NUMBER_TEXT,
    "cpuset": TEXT,
    "credential_spec": Rule::Fields(&with(fields! { "config": TEXT, "file": TEXT, "registry": TEXT })),
    "depends_on": Rule::Either(&[&TEXTS, &Rule::Named { key: Names::Strict, value: &DEPENDENCY }]),
    "device_cgroup_rules": TEXTS,
    "devices": Rule::List { item: &DEVICE, distinct: false },
    "dns": TEXT_OR_TEXTS,
    "dns_opt": TEXTS,
    "dns_search": TEXT_OR_TEXTS,
    "domainname": TEXT,
    "entrypoint": COMMAND,
    "env_file": Rule::Either(&[&TEXT, &Rule::List { item: &ENV_FILE, distinct: false }]),
    "label_file": Rule::Either(&[&TEXT, &SAME_TEXTS]),
    "environment": PAIRS,
    "expose": Rule::List { item: &NUMBER_TEXT, distinct: true },
    "extends": Rule::Either(&[&TEXT, &Rule::Fields(&Fields {
        known: fields! { "service": TEXT, "file": TEXT },
        required: &["service"],
        extensions: false,
        open: false,
    })]),
    "provider": Rule::Fields(&Fields {
        known: fields! { "type": TEXT, "options": Rule::Named { key: Names::Every, value: &PROVIDER_OPTION } },
        required: &["type"],
        extensions: true,
        open: false,
    }),
    "external_links": TEXTS,
    "extra_hosts": HOSTS,
    "gpus": GPUS,
    "group_add": Rule::List { item: &NUMBER_TEXT, distinct: true },
    "healthcheck": HEALTHCHECK,
    "hostname": TEXT,
    "image": TEXT,
    "init": BOOL_TEXT,
    "ipc": TEXT,
    "isolation": TEXT,
    "labels": PAIRS,
    "links": TEXTS,
    "logging": Rule::Fields(&with(fields! {
        "driver": TEXT,
        "options": Rule::Named { key: Names::Every, value: &Rule::Kinds(&[Kind::Text, Kind::Number, Kind::Null]) },
    })),
    "mac_address": TEXT,
    "mem_limit": NUMBER_TEXT,
    "mem_reservation": WHOLE_TEXT,
    "mem_swappiness": WHOLE_TEXT,
    "memswap_limit": NUMBER_TEXT,
    "network_mode": TEXT,
    "models": Rule::Either(&[&TEXTS, &Rule::Named { key: Names::Loose, value: &USED_MODEL }]),
    "networks": Rule::Either(&[&TEXTS, &Rule::Named { key: Names::Strict, value: &USED_NETWORK }]),
    "oom_kill_disable": BOOL_TEXT,
    "oom_score_adj": Rule::Either(&[&TEXT, &Rule::Range(-1000, 1000)]),
    "pid": Rule::Kinds(&[Kind::Text, Kind::Null]),
    "pids_limit": NUMBER_TEXT,
    "platform": TEXT,
    "ports": Rule::List { item: &PORT, distinct: true },
    "pre_start": Rule::List { item: &START_HOOK, distinct: false },
    "post_start": Rule::List { item: &HOOK, distinct: false },
    "pre_stop": Rule::List { item: &HOOK, distinct: false },
    "privileged": BOOL_TEXT,
    "profiles": TEXTS,
    "pull_policy": Rule::Text(pull_policy, "a policy; there are `always`, `never`, `build`, `missing`, `daily`, `weekly` and such as `every_12h`"),
    "pull_refresh_after": TEXT,
    "read_only": BOOL_TEXT,
    "restart": TEXT,
    "runtime": TEXT,
    "scale": WHOLE_TEXT,
    "security_opt": TEXTS,
    "shm_size": NUMBER_TEXT,
    "secrets": FILES,
    "sysctls": PAIRS,
    "stdin_open": BOOL_TEXT,
    "stop_grace_period": TEXT,
    "stop_signal": TEXT,
    "storage_opt": Rule::Kinds(&[Kind::Map]),
    "tmpfs": TEXT_OR_TEXTS,
    "tty": BOOL_TEXT,
    "ulimits": ULIMITS,
    "use_api_socket": BOOL,
    "user": TEXT,
    "uts": TEXT,
    "userns_mode": TEXT,
    "volumes": Rule::List { item: &MOUNT, distinct: true },
    "volumes_from": TEXTS,
    "working_dir": TEXT,
}));

/// The name only has to hold a part that fits, as in the specification.
fn container_name(text: &str) -> bool {
    let part = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-');
    text.as_bytes().windows(2).any(|pair| pair[0].is_ascii_alphanumeric() && part(&pair[1]))
}

fn pull_policy(text: &str) -> bool {
    const WORDS: [&str; 8] =
        ["always", "never", "build", "if_not_present", "missing", "refresh", "daily", "weekly"];
    WORDS.iter().any(|word| text.contains(word))
        || text.match_indices("every_").any(|(at, word)| {
            let rest = text[at + word.len()..].trim_start_matches(|c: char| c.is_ascii_digit());
            rest.starts_with(['w', 'd', 'h', 'm', 's'])
        })
}

const BLKIO_LIMIT: Rule = Rule::Fields(&Fields {
    known: fields! { "path": TEXT, "rate": WHOLE_TEXT },
    required: &[],
    extensions: false,
    open: false,
});
const BLKIO_LIMITS: Rule = Rule::List { item: &BLKIO_LIMIT, distinct: false };
const BLKIO: Rule = Rule::Fields(&Fields {
    known: fields! {
        "device_read_bps": BLKIO_LIMITS,
        "device_read_iops": BLKIO_LIMITS,
        "device_write_bps": BLKIO_LIMITS,
        "device_write_iops": BLKIO_LIMITS,
        "weight": WHOLE_TEXT,
        "weight_device": Rule::List {
            item: &Rule::Fields(&Fields {
                known: fields! { "path": TEXT, "weight": WHOLE_TEXT },
                required: &[],
                extensions: false,
                open: false,
            }),
            distinct: false,
        },
    },
    required: &[],
    extensions: false,
    open: false,
});

const DEPENDENCY: Rule = Rule::Fields(&Fields {
    known: fields! {
        "restart": BOOL_TEXT,
        "required": BOOL,
        "condition": Rule::Word(&["service_started", "service_healthy", "service_completed_successfully"]),
    },
    required: &["condition"],
    extensions: true,
    open: false,
});

const DEVICE: Rule = Rule::Either(&[
    &TEXT,
    &Rule::Fields(&Fields {
        known: fields! { "source": TEXT, "target": TEXT, "permissions": TEXT },
        required: &["source"],
        extensions: true,
        open: false,
    }),
]);

const ENV_FILE: Rule = Rule::Either(&[
    &TEXT,
    &Rule::Fields(&Fields {
        known: fields! { "path": TEXT, "format": TEXT, "required": BOOL_TEXT },
        required: &["path"],
        extensions: false,
        open: false,
    }),
]);

const SIMPLE: Rule = Rule::Kinds(&[Kind::Text, Kind::Number, Kind::Bool]);
const PROVIDER_OPTION: Rule = Rule::Either(&[&SIMPLE, &Rule::List { item: &SIMPLE, distinct: false }]);

/// Secrets and configs that a service is given.
pub(super) const FILES: Rule = Rule::List {
    item: &Rule::Either(&[
        &TEXT,
        &Rule::Fields(&with(fields! {
            "source": TEXT,
            "target": TEXT,
            "uid": TEXT,
            "gid": TEXT,
            "mode": NUMBER_TEXT,
        })),
    ]),
    distinct: false,
};

const USED_MODEL: Rule =
    Rule::Either(&[&NULL, &Rule::Fields(&with(fields! { "endpoint_var": TEXT, "model_var": TEXT }))]);

const USED_NETWORK: Rule = Rule::Either(&[
    &NULL,
    &Rule::Fields(&with(fields! {
        "aliases": TEXTS,
        "interface_name": TEXT,
        "ipv4_address": TEXT,
        "ipv6_address": TEXT,
        "link_local_ips": TEXTS,
        "mac_address": TEXT,
        "driver_opts": Rule::Named { key: Names::Every, value: &NUMBER_TEXT },
        "priority": NUMBER,
        "gw_priority": NUMBER,
    })),
]);

const PORT: Rule = Rule::Either(&[
    &NUMBER_TEXT,
    &Rule::Fields(&with(fields! {
        "name": TEXT,
        "mode": TEXT,
        "host_ip": TEXT,
        "target": WHOLE_TEXT,
        "published": WHOLE_TEXT,
        "protocol": TEXT,
        "app_protocol": TEXT,
    })),
]);
