use super::nearest;
use crate::{Project, ProjectOptions};

/// The line, the field and the remedy of the error that a text leads to.
fn fault(text: &str) -> (String, String, String) {
    let error = Project::parse(text, &ProjectOptions::new().project_name("p")).unwrap_err();
    let value = |name: &str| error.context_value(name).unwrap_or_default().to_owned();
    (value("line"), value("field"), error.help().unwrap_or_default().to_owned())
}

#[test]
fn unknown_keys_are_named_with_the_nearest_known_one() {
    for (text, line, field, help) in [
        ("services:\n  a:\n    image: x\n    prots: []\n", "4", "services.a.prots", "did you mean `ports`?"),
        ("service: {}\n", "1", "service", "did you mean `services`?"),
        (
            "services:\n  a:\n    image: x\n    healthcheck:\n      intervall: 1s\n",
            "5",
            "services.a.healthcheck.intervall",
            "did you mean `interval`?",
        ),
        ("networks:\n  n:\n    drivr: x\n", "3", "networks.n.drivr", "did you mean `driver`?"),
        (
            "services:\n  a:\n    image: x\n    qqq: 1\n",
            "4",
            "services.a.qqq",
            "remove it, or write `x-qqq` if it is for other programs",
        ),
        ("include:\n  - pth: a\n", "2", "include[0].pth", "did you mean `path`?"),
    ] {
        assert_eq!(fault(text), (line.to_owned(), field.to_owned(), help.to_owned()), "{text}");
    }
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    for (text, line, field) in [
        ("services:\n  a:\n    image: 5\n", "3", "services.a.image"),
        ("services: []\n", "1", "services"),
        (
            "services:\n  a:\n    image: x\n    ports:\n      - '1'\n      - true\n",
            "6",
            "services.a.ports[1]",
        ),
        ("services:\n  a:\n    image: x\n    cpu_percent: 200\n", "4", "services.a.cpu_percent"),
        (
            "services:\n  a:\n    image: x\n    cap_add: [A, A]\n    security_opt: [b, b]\n",
            "5",
            "services.a.security_opt",
        ),
        ("services:\n  a b: {image: x}\n", "2", "services.a b"),
        (
            "services:\n  a:\n    image: x\n    depends_on:\n      b: {condition: never}\n",
            "5",
            "services.a.depends_on.b.condition",
        ),
        ("services:\n  a:\n    image: x\n    volumes:\n      - target: /x\n", "5", "services.a.volumes[0]"),
    ] {
        let (at, of, _) = fault(text);
        assert_eq!((at.as_str(), of.as_str()), (line, field), "{text}");
    }
}

#[test]
fn near_is_near() {
    assert_eq!(nearest("enviroment", ["env_file", "environment"].into_iter()), Some("environment"));
    assert_eq!(nearest("zzz", ["environment"].into_iter()), None);
    assert_eq!(nearest(&"x".repeat(1000), ["x"].into_iter()), None);
}
