//! The larger parts of a service.

use super::{
    BOOL, BOOL_TEXT, Fields, Kind, NULL, NUMBER_TEXT, Names, PAIRS, Rule, SAME_TEXTS, TEXT, TEXT_OR_TEXTS,
    TEXTS, WHOLE_TEXT, fields, service::FILES, with,
};

pub(super) const COMMAND: Rule = Rule::Either(&[&Rule::Kinds(&[Kind::Null, Kind::Text]), &SAME_TEXTS]);

pub(super) const BUILD: Rule = Rule::Either(&[
    &TEXT,
    &Rule::Fields(&with(fields! {
        "context": TEXT,
        "dockerfile": TEXT,
        "dockerfile_inline": TEXT,
        "entitlements": SAME_TEXTS,
        "args": PAIRS,
        "ssh": PAIRS,
        "labels": PAIRS,
        "cache_from": SAME_TEXTS,
        "cache_to": SAME_TEXTS,
        "no_cache": BOOL_TEXT,
        "no_cache_filter": TEXT_OR_TEXTS,
        "additional_contexts": PAIRS,
        "network": TEXT,
        "provenance": BOOL_TEXT,
        "sbom": BOOL_TEXT,
        "pull": BOOL_TEXT,
        "target": TEXT,
        "shm_size": WHOLE_TEXT,
        "extra_hosts": HOSTS,
        "isolation": TEXT,
        "privileged": BOOL_TEXT,
        "secrets": FILES,
        "tags": SAME_TEXTS,
        "ulimits": ULIMITS,
        "platforms": SAME_TEXTS,
    })),
]);

pub(super) const HOSTS: Rule =
    Rule::Either(&[&Rule::Named { key: Names::Filled, value: &Rule::Either(&[&TEXT, &SAME_TEXTS]) }, &TEXTS]);

pub(super) const ULIMITS: Rule = Rule::Named {
    key: Names::Limits,
    value: &Rule::Either(&[
        &WHOLE_TEXT,
        &Rule::Fields(&Fields {
            known: fields! { "hard": WHOLE_TEXT, "soft": WHOLE_TEXT },
            required: &["soft", "hard"],
            extensions: true,
            open: false,
        }),
    ]),
};

pub(super) const HEALTHCHECK: Rule = Rule::Fields(&with(fields! {
    "disable": BOOL_TEXT,
    "interval": TEXT,
    "retries": NUMBER_TEXT,
    "test": Rule::Either(&[&TEXT, &SAME_TEXTS]),
    "timeout": TEXT,
    "start_period": TEXT,
    "start_interval": TEXT,
}));

pub(super) const HOOK: Rule = Rule::Fields(&Fields {
    known: fields! {
        "command": COMMAND,
        "user": TEXT,
        "privileged": BOOL_TEXT,
        "working_dir": TEXT,
        "environment": PAIRS,
    },
    required: &["command"],
    extensions: true,
    open: false,
});

pub(super) const START_HOOK: Rule = Rule::Fields(&with(fields! {
    "command": COMMAND,
    "image": TEXT,
    "user": TEXT,
    "privileged": BOOL_TEXT,
    "working_dir": TEXT,
    "environment": PAIRS,
    "per_replica": BOOL_TEXT,
}));

const TRIGGER: Rule = Rule::Fields(&Fields {
    known: fields! {
        "ignore": TEXT_OR_TEXTS,
        "include": TEXT_OR_TEXTS,
        "path": TEXT,
        "action": Rule::Word(&["rebuild", "sync", "restart", "sync+restart", "sync+exec"]),
        "target": TEXT,
        "exec": HOOK,
        "initial_sync": BOOL,
    },
    required: &["path", "action"],
    extensions: true,
    open: false,
});

pub(super) const DEVELOP: Rule = Rule::Either(&[
    &NULL,
    &Rule::Fields(&with(fields! { "watch": Rule::List { item: &TRIGGER, distinct: false } })),
]);

const UPDATE: Rule = Rule::Fields(&with(fields! {
    "parallelism": WHOLE_TEXT,
    "delay": TEXT,
    "failure_action": TEXT,
    "monitor": TEXT,
    "max_failure_ratio": NUMBER_TEXT,
    "order": Rule::Word(&["start-first", "stop-first"]),
}));

const DEVICE_FIELDS: &[(&str, &Rule)] = fields! {
    "capabilities": TEXTS,
    "count": WHOLE_TEXT,
    "device_ids": TEXTS,
    "driver": TEXT,
    "options": PAIRS,
};

const RESERVED_DEVICES: Rule = Rule::List {
    item: &Rule::Fields(&Fields {
        known: DEVICE_FIELDS,
        required: &["capabilities"],
        extensions: true,
        open: false,
    }),
    distinct: false,
};

/// The specification closes the list, not what is in it.
pub(super) const GPUS: Rule = Rule::Either(&[
    &Rule::Word(&["all"]),
    &Rule::List {
        item: &Rule::Fields(&Fields { known: DEVICE_FIELDS, required: &[], extensions: true, open: true }),
        distinct: false,
    },
]);

const GENERIC: Rule = Rule::List {
    item: &Rule::Fields(&with(fields! {
        "discrete_resource_spec": Rule::Fields(&with(fields! { "kind": TEXT, "value": NUMBER_TEXT })),
    })),
    distinct: false,
};

pub(super) const DEPLOY: Rule = Rule::Either(&[
    &NULL,
    &Rule::Fields(&with(fields! {
        "mode": TEXT,
        "endpoint_mode": TEXT,
        "replicas": WHOLE_TEXT,
        "labels": PAIRS,
        "rollback_config": UPDATE,
        "update_config": UPDATE,
        "resources": Rule::Fields(&with(fields! {
            "limits": Rule::Fields(&with(fields! { "cpus": NUMBER_TEXT, "memory": TEXT, "pids": WHOLE_TEXT })),
            "reservations": Rule::Fields(&with(fields! {
                "cpus": NUMBER_TEXT,
                "memory": TEXT,
                "generic_resources": GENERIC,
                "devices": RESERVED_DEVICES,
            })),
        })),
        "restart_policy": Rule::Fields(&with(fields! {
            "condition": TEXT,
            "delay": TEXT,
            "max_attempts": WHOLE_TEXT,
            "window": TEXT,
        })),
        "placement": Rule::Fields(&with(fields! {
            "constraints": SAME_TEXTS,
            "preferences": Rule::List {
                item: &Rule::Fields(&with(fields! { "spread": TEXT })),
                distinct: false,
            },
            "max_replicas_per_node": WHOLE_TEXT,
        })),
    })),
]);

const OPTION: Rule = Rule::Fields(&with(fields! { "subpath": TEXT }));

pub(super) const MOUNT: Rule = Rule::Either(&[
    &TEXT,
    &Rule::Fields(&Fields {
        known: fields! {
            "type": Rule::Word(&["bind", "volume", "tmpfs", "cluster", "npipe", "image"]),
            "source": TEXT,
            "target": TEXT,
            "read_only": BOOL_TEXT,
            "consistency": TEXT,
            "bind": Rule::Fields(&with(fields! {
                "propagation": TEXT,
                "create_host_path": BOOL_TEXT,
                "recursive": Rule::Word(&["enabled", "disabled", "writable", "readonly"]),
                "selinux": Rule::Word(&["z", "Z"]),
            })),
            "volume": Rule::Fields(&with(fields! { "labels": PAIRS, "nocopy": BOOL_TEXT, "subpath": TEXT })),
            "tmpfs": Rule::Fields(&with(fields! {
                "size": Rule::Either(&[&TEXT, &Rule::Range(0, i64::MAX)]),
                "mode": NUMBER_TEXT,
            })),
            "image": OPTION,
        },
        required: &["type"],
        extensions: true,
        open: false,
    }),
]);
