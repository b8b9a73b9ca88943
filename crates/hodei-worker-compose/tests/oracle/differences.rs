//! Where the reader and docker compose come to different results, and why that is right.

/// How results differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// Both read it, and the models differ.
    Model,
    /// Only the reader refuses it.
    OnlyWeRefuse,
    /// Only docker compose refuses it.
    OnlyTheyRefuse,
}

/// The case, how it differs, and the reason.
pub(crate) const DIFFERENCES: &[(&str, Difference, &str)] = &[(
    "yaml-tab-after-value",
    Difference::OnlyWeRefuse,
    "the parser of YAML takes spaces alone between a key and its value; the error says so",
)];
