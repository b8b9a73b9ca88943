//! Variables in all texts of a file, and the fields whose text then becomes a number or a boolean.

use std::{cell::RefCell, collections::BTreeMap};

use hodei_worker_core::{Error, Result};

use crate::{
    limits::Budget,
    number::go_parse_float,
    place::{Place, brief},
    project::Warning,
    template::{Template, TemplateError},
    tree::{Node, Path, Value, each_child},
};

/// What the text of a field becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cast {
    Whole,
    Float,
    Bool,
}

macro_rules! fields {
    ($cast:ident: $($path:literal),+ $(,)?) => { [$(($path, Cast::$cast)),+] };
}

const SERVICE_WHOLE: [(&str, Cast); 19] = fields!(Whole:
    "cpu_count", "cpu_period", "cpu_quota", "cpu_rt_period", "cpu_rt_runtime", "cpu_shares", "deploy.replicas",
    "deploy.update_config.parallelism", "deploy.rollback_config.parallelism", "deploy.restart_policy.max_attempts",
    "deploy.placement.max_replicas_per_node", "healthcheck.retries", "oom_score_adj", "pids_limit", "ports.[].target",
    "scale", "ulimits.*", "ulimits.*.hard", "ulimits.*.soft",
);
const SERVICE_FLOAT: [(&str, Cast); 4] = fields!(Float:
    "cpu_percent", "cpus", "deploy.update_config.max_failure_ratio", "deploy.rollback_config.max_failure_ratio",
);
const SERVICE_BOOL: [(&str, Cast); 11] = fields!(Bool:
    "init", "depends_on.*.required", "depends_on.*.restart", "healthcheck.disable", "oom_kill_disable", "privileged",
    "read_only", "stdin_open", "tty", "volumes.[].read_only", "volumes.[].volume.nocopy",
);
const OTHER_BOOL: [(&str, Cast); 8] = fields!(Bool:
    "networks.*.external", "networks.*.internal", "networks.*.attachable", "networks.*.enable_ipv4",
    "networks.*.enable_ipv6", "volumes.*.external", "secrets.*.external", "configs.*.external",
);

/// Fills in variables.
pub(crate) struct Interpolation<'a> {
    pub(crate) environment: &'a BTreeMap<String, String>,
    pub(crate) budget: &'a Budget,
    pub(crate) warnings: &'a RefCell<Vec<Warning>>,
}

impl Interpolation<'_> {
    /// Fills in the variables of a whole tree.
    pub(crate) fn tree(&self, root: &mut Node) -> Result<()> {
        self.node(root, &mut Path::default())
    }

    fn node(&self, node: &mut Node, path: &mut Path) -> Result<()> {
        let Value::Text(text) = &node.value else {
            return each_child(node, path, |child, path| self.node(child, path));
        };
        let filled = if text.contains('$') { Some(self.text(text, path, &node.place)?) } else { None };
        if let Some(cast) = cast_of(path) {
            let text = filled.as_deref().unwrap_or(text);
            node.value = cast.apply(text).ok_or_else(|| {
                node.place
                    .refuse(&*path, format!("`{text}` is not {}", cast.name()))
                    .with_help(format!("write {}, or a variable that holds one", cast.example()))
            })?;
        } else if let Some(filled) = filled {
            node.value = Value::Text(filled.into());
        }
        Ok(())
    }

    /// Fills in the variables of one text.
    pub(crate) fn text(&self, text: &str, path: &Path, place: &Place) -> Result<String> {
        let template = Template {
            lookup: &|name| self.environment.get(name).cloned(),
            budget: self.budget,
            unset: &|name| {
                let mut warnings = self.warnings.borrow_mut();
                if warnings.len() < Warning::MOST {
                    warnings.push(Warning::new(
                        format!("the variable `{name}` is not set; it counts as empty"),
                        Some(place.clone()),
                    ));
                }
            },
        };
        template.fill(text).map_err(|error| template_error(error, place, &path.to_string()))
    }
}

/// The error of a template at a place.
pub(crate) fn template_error(error: TemplateError, place: &Place, field: &str) -> Error {
    match error {
        TemplateError::Invalid(text) => place
            .refuse(field, format!("`{text}` has a `$` that is no variable"))
            .with_help("write `${NAME}` or `${NAME:-default}` on one line, or `$$` for a dollar sign"),
        TemplateError::Required(name, reason) if reason.is_empty() => place
            .refuse(field, format!("the variable `{name}` is required and not set"))
            .with_help(format!("set `{}` in the environment or in `.env`", brief(&name, 80))),
        TemplateError::Required(name, reason) => place
            .refuse(field, format!("the variable `{name}` is required and not set: {reason}"))
            .with_help(format!("set `{}` in the environment or in `.env`", brief(&name, 80))),
        TemplateError::Exceeded(what) => place.refuse(field, format!("this project is too large: {what}")),
    }
}

fn cast_of(path: &Path) -> Option<Cast> {
    use crate::tree::Step;
    let steps = path.steps();
    let (Some(Step::Key(section)), 2..) = (steps.first(), steps.len()) else { return None };
    let fits = |(pattern, _): &&(&str, Cast), from: usize| {
        let rest = &steps[from..];
        pattern.split('.').count() == rest.len()
            && pattern.split('.').zip(rest).all(|(word, step)| match (word, step) {
                ("*", _) | ("[]", Step::Index(_)) => true,
                (word, Step::Key(key)) => word == &**key,
                _ => false,
            })
    };
    let found = match &**section {
        "services" => SERVICE_WHOLE
            .iter()
            .chain(&SERVICE_FLOAT)
            .chain(&SERVICE_BOOL)
            .find(|entry| steps.len() > 2 && fits(entry, 2)),
        _ => OTHER_BOOL.iter().find(|entry| fits(entry, 0)),
    };
    found.map(|(_, cast)| *cast)
}

impl Cast {
    fn apply(self, text: &str) -> Option<Value> {
        match self {
            Self::Whole => whole(text).map(Value::Int),
            Self::Float => go_parse_float(text).map(Value::Float),
            Self::Bool => boolean(text).map(Value::Bool),
        }
    }
    fn name(self) -> &'static str {
        match self {
            Self::Whole => "a whole number",
            Self::Float => "a number",
            Self::Bool => "a boolean",
        }
    }
    fn example(self) -> &'static str {
        match self {
            Self::Whole => "a number such as `3`",
            Self::Float => "a number such as `0.5`",
            Self::Bool => "`true` or `false`",
        }
    }
}

/// A whole number in decimal digits.
pub(crate) fn whole(text: &str) -> Option<i64> {
    text.parse().ok()
}

/// A boolean, in the words of YAML 1.1 too.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    match text.to_lowercase().as_str() {
        "true" | "y" | "yes" | "on" => Some(true),
        "false" | "n" | "no" | "off" => Some(false),
        _ => None,
    }
}
