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
pub(crate) const DIFFERENCES: &[(&str, Difference, &str)] = &[
    (
        "build-ssh-key-with-path",
        Difference::OnlyTheyRefuse,
        "docker compose reads the key and then fails to print it as JSON, which is its fault and not the file's",
    ),
    (
        "include-unknown-key",
        Difference::OnlyWeRefuse,
        "docker compose leaves unknown keys of `include` out without a word; here, nothing is ignored",
    ),
    (
        "size-with-exponent",
        Difference::OnlyWeRefuse,
        "docker compose leaves sizes with a fraction out without a word, so that there is no limit; here, nothing is",
    ),
    (
        "yaml-comment-without-space",
        Difference::OnlyWeRefuse,
        "the specification of YAML asks for a space before a comment, and the parser for what it says",
    ),
    (
        "yaml-directive",
        Difference::OnlyTheyRefuse,
        "the specification of YAML has the directive, and it changes nothing",
    ),
    (
        "yaml-lone-dash-in-flow",
        Difference::OnlyWeRefuse,
        "the specification of YAML asks for quotes around it, and the parser for what it says",
    ),
    (
        "yaml-tab-before-comment",
        Difference::OnlyTheyRefuse,
        "the specification of YAML allows tabs where nothing but a comment follows",
    ),
    (
        "yaml-tabs-in-flow",
        Difference::OnlyWeRefuse,
        "the specification of YAML forbids tabs for indentation, and the parser does too; the error says so",
    ),
];
