use crate::{
    model::{FlappingConfig, HealthCheckConfig, HttpProbe, Probe},
    settings::Problems,
};

pub(super) fn check(check: &HealthCheckConfig, path: &str, problems: &mut Problems) {
    problems.require(!check.interval.is_zero(), format!("{path}.interval"), "must be longer than 0");
    problems.require(!check.timeout.is_zero(), format!("{path}.timeout"), "must be longer than 0");
    problems.require(
        check.timeout <= check.interval,
        format!("{path}.timeout"),
        format!("{} is longer than the interval of {}", check.timeout, check.interval),
    );
    for (name, threshold) in [
        ("success_threshold", check.success_threshold),
        ("failure_threshold", check.failure_threshold),
        ("slow_threshold", check.slow_threshold),
    ] {
        problems.require(threshold > 0, format!("{path}.{name}"), "must be at least 1");
    }
    if let Some(slow_after) = check.slow_after {
        let field = format!("{path}.slow_after");
        problems.require(!slow_after.is_zero(), &field, "must be longer than 0; leave it out for never");
        problems.require(
            slow_after < check.timeout,
            field,
            format!(
                "{slow_after} is not shorter than the timeout of {}, after which it has failed",
                check.timeout
            ),
        );
    }
    if let Some(flapping) = &check.flapping {
        self::flapping(flapping, &format!("{path}.flapping"), problems);
    }
    let path = format!("{path}.probe.{}", check.probe.kind());
    match &check.probe {
        Probe::Command(words) => {
            let good = words.first().is_some_and(|program| !program.is_empty());
            problems.require(good, path, "a program is required");
        }
        Probe::Http(probe) => http(probe, &path, problems),
        Probe::Tcp { port } => self::port(*port, &path, problems),
        Probe::Heartbeat { within } => {
            problems.require(!within.is_zero(), format!("{path}.within"), "must be longer than 0")
        }
        Probe::Native => {}
    }
}

fn flapping(flapping: &FlappingConfig, path: &str, problems: &mut Problems) {
    problems.require(
        flapping.changes != 1,
        format!("{path}.changes"),
        "one change is no flapping; must be 2 at least, or 0 for never",
    );
    problems.require(!flapping.within.is_zero(), format!("{path}.within"), "must be longer than 0");
    problems.require(!flapping.calm.is_zero(), format!("{path}.calm"), "must be longer than 0");
}

fn port(port: u16, path: &str, problems: &mut Problems) {
    problems.require(port != 0, format!("{path}.port"), "must lie between 1 and 65535");
}

fn http(probe: &HttpProbe, path: &str, problems: &mut Problems) {
    port(probe.port, path, problems);
    // What cannot stand in a request's first line would end it.
    let visible = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    let page = format!("{path}.path");
    problems.require(probe.path.starts_with('/'), &page, "must begin with `/`");
    problems.require(
        visible(&probe.path) && !probe.path.contains('#'),
        page,
        "may hold visible ASCII characters only, and no `#`: write others as `%20` and the like",
    );
    if let Some(host) = &probe.host {
        let good = !host.is_empty() && visible(host) && !host.contains(['/', '@', '?', '#']);
        problems.require(good, format!("{path}.host"), "must be the name or the address of a host");
    }
    for (name, value) in &probe.headers {
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(token) {
            problems.add(format!("{path}.headers"), format!("{name:?} cannot be the name of a header"));
            continue;
        }
        let field = format!("{path}.headers.{name}");
        problems.require(!name.eq_ignore_ascii_case("host"), &field, "is set by `host`");
        let framing = ["content-length", "transfer-encoding", "connection"];
        problems.require(
            !framing.iter().any(|one| name.eq_ignore_ascii_case(one)),
            &field,
            "belongs to the connection, which is not the check's",
        );
        let good = value.bytes().all(|byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
        problems.require(good, field, "holds a control character");
    }
}
