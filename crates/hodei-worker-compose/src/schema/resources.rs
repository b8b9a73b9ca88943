//! The sections of a project besides its services.

use super::{
    BOOL_TEXT, Fields, NULL, Names, OPTIONS, PAIRS, Rule, SAME_TEXTS, TEXT, TEXT_OR_TEXTS, WHOLE, fields,
    service::SERVICE, with,
};

pub(super) const PROJECT: Rule = Rule::Fields(&with(fields! {
    "version": TEXT,
    "name": TEXT,
    "include": INCLUDES,
    "services": Rule::Named { key: Names::Strict, value: &SERVICE },
    "models": Rule::Named { key: Names::Loose, value: &MODEL },
    "networks": Rule::Named { key: Names::Loose, value: &NETWORK },
    "volumes": Rule::Named { key: Names::Strict, value: &VOLUME },
    "secrets": Rule::Named { key: Names::Strict, value: &SECRET },
    "configs": Rule::Named { key: Names::Strict, value: &CONFIG },
}));

pub(super) const INCLUDES: Rule = Rule::List { item: &INCLUDE, distinct: false };

const INCLUDE: Rule = Rule::Either(&[
    &TEXT,
    &Rule::Fields(&Fields {
        known: fields! { "path": TEXT_OR_TEXTS, "env_file": TEXT_OR_TEXTS, "project_directory": TEXT },
        required: &[],
        extensions: false,
        open: false,
    }),
]);

const MODEL: Rule = Rule::Fields(&Fields {
    known: fields! { "name": TEXT, "model": TEXT, "context_size": WHOLE, "runtime_flags": SAME_TEXTS },
    required: &["model"],
    extensions: true,
    open: false,
});

/// Whether something is there already, with its name in the older form.
const EXTERNAL: Rule = Rule::Either(&[&BOOL_TEXT, &Rule::Fields(&with(fields! { "name": TEXT }))]);
const OPEN_EXTERNAL: Rule = Rule::Either(&[
    &BOOL_TEXT,
    &Rule::Fields(&Fields { known: fields! { "name": TEXT }, required: &[], extensions: true, open: true }),
]);

const POOL: Rule = Rule::Fields(&with(fields! {
    "subnet": TEXT,
    "ip_range": TEXT,
    "gateway": TEXT,
    "aux_addresses": Rule::Named { key: Names::Filled, value: &TEXT },
}));

const NETWORK: Rule = Rule::Either(&[
    &NULL,
    &Rule::Fields(&with(fields! {
        "name": TEXT,
        "driver": TEXT,
        "driver_opts": OPTIONS,
        "ipam": Rule::Fields(&with(fields! {
            "driver": TEXT,
            "config": Rule::List { item: &POOL, distinct: false },
            "options": Rule::Named { key: Names::Filled, value: &TEXT },
        })),
        "external": EXTERNAL,
        "internal": BOOL_TEXT,
        "enable_ipv4": BOOL_TEXT,
        "enable_ipv6": BOOL_TEXT,
        "attachable": BOOL_TEXT,
        "labels": PAIRS,
    })),
]);

const VOLUME: Rule = Rule::Either(&[
    &NULL,
    &Rule::Fields(&with(fields! {
        "name": TEXT,
        "driver": TEXT,
        "driver_opts": OPTIONS,
        "external": EXTERNAL,
        "labels": PAIRS,
    })),
]);

const SECRET: Rule = Rule::Fields(&with(fields! {
    "name": TEXT,
    "environment": TEXT,
    "file": TEXT,
    "external": OPEN_EXTERNAL,
    "labels": PAIRS,
    "driver": TEXT,
    "driver_opts": OPTIONS,
    "template_driver": TEXT,
}));

const CONFIG: Rule = Rule::Fields(&with(fields! {
    "name": TEXT,
    "content": TEXT,
    "environment": TEXT,
    "file": TEXT,
    "external": OPEN_EXTERNAL,
    "labels": PAIRS,
    "template_driver": TEXT,
}));
