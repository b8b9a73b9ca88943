use hodei_worker_core::ErrorKind;

use super::*;

struct Home {
    folder: tempfile::TempDir,
}

impl Home {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }
    fn write(&self, path: &str, text: &str) {
        let path = self.folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    fn context(&self, name: &str, host: &str, more: &str) -> String {
        let digest: String = Sha256::digest(name).iter().map(|byte| format!("{byte:02x}")).collect();
        let meta = format!(
            r#"{{"Name":"{name}","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"{host}"{more}}}}}}}"#
        );
        self.write(&format!("home/me/.docker/contexts/meta/{digest}/meta.json"), &meta);
        digest
    }
    fn environment(&self, variables: &[(&str, &str)]) -> Environment {
        let all = [("HOME", "/home/me")].into_iter().chain(variables.iter().copied());
        Environment::of(all, self.folder.path())
    }
}

fn shown(settings: &DockerSettings, environment: &Environment) -> String {
    let found = resolve(settings, environment).unwrap();
    format!("{found} by {}", found.source)
}

#[test]
fn d1_the_order_is_setting_variable_context_socket() {
    let home = Home::new();
    home.context("far", "tcp://10.0.0.1:2375", "");
    home.write("home/me/.docker/config.json", r#"{"auths":{},"currentContext":"far"}"#);
    let plain = DockerSettings::default();
    let with_variable = home.environment(&[("DOCKER_HOST", "unix:///run/other.sock")]);
    assert_eq!(
        shown(&DockerSettings::at("unix:///run/mine.sock"), &with_variable),
        "unix:///run/mine.sock by endpoint"
    );
    assert_eq!(shown(&plain, &with_variable), "unix:///run/other.sock by DOCKER_HOST");
    assert_eq!(shown(&plain, &home.environment(&[])), "tcp://10.0.0.1:2375 by the Docker context `far`");
    let default = home.environment(&[("DOCKER_CONTEXT", "default")]);
    assert!(shown(&plain, &default).ends_with("/var/run/docker.sock by the default socket"));
}

#[test]
fn d1_a_context_with_a_certificate_and_no_authority_is_not_spoken_to_in_the_clear() {
    let home = Home::new();
    let digest = home.context("half", "tcp://10.0.0.1:2376", "");
    home.write(&format!("home/me/.docker/contexts/tls/{digest}/docker/cert.pem"), "x");
    home.write(&format!("home/me/.docker/contexts/tls/{digest}/docker/key.pem"), "x");
    let error = resolve(&DockerSettings::in_context("half"), &home.environment(&[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("give the context a CA"), "{error}");
}

#[test]
fn d1_a_context_brings_its_certificates() {
    let home = Home::new();
    let digest = home.context("tls", "tcp://10.0.0.1:2376", "");
    home.write(&format!("home/me/.docker/contexts/tls/{digest}/docker/ca.pem"), "x");
    let settings = DockerSettings::in_context("tls");
    let tls = resolve(&settings, &home.environment(&[])).unwrap().tls.unwrap();
    assert!(tls.ca.ends_with("docker/ca.pem") && tls.cert.is_none());
    home.write(&format!("home/me/.docker/contexts/tls/{digest}/docker/cert.pem"), "x");
    home.write(&format!("home/me/.docker/contexts/tls/{digest}/docker/key.pem"), "x");
    let tls = resolve(&settings, &home.environment(&[])).unwrap().tls.unwrap();
    assert!(tls.cert.is_some() && tls.key.is_some());
}

#[test]
fn d1_the_environment_asks_for_tls_as_with_the_client() {
    let home = Home::new();
    let environment = home.environment(&[
        ("DOCKER_HOST", "tcp://10.0.0.1:2376"),
        ("DOCKER_TLS_VERIFY", "1"),
        ("DOCKER_CERT_PATH", "/certs"),
    ]);
    let found = resolve(&DockerSettings::default(), &environment).unwrap();
    assert_eq!(found.tls, Some(TlsSettings::in_folder("/certs")));
}

#[test]
fn d1_a_wrong_context_names_what_there_is() {
    let home = Home::new();
    home.context("near", "unix:///run/a.sock", "");
    let error = resolve(&DockerSettings::in_context("naer"), &home.environment(&[])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.to_string().contains("there are `near`"), "{error}");
    home.context("loose", "tcp://h:1", r#","SkipTLSVerify":true"#);
    let error = resolve(&DockerSettings::in_context("loose"), &home.environment(&[])).unwrap_err();
    assert!(error.to_string().contains("skips the check"), "{error}");
    let bad = home.environment(&[("DOCKER_HOST", "/run/docker.sock")]);
    let error = resolve(&DockerSettings::default(), &bad).unwrap_err();
    assert_eq!(error.context_value("field"), Some("DOCKER_HOST"));
}

#[test]
fn p2_docker_is_detected_with_its_reason() {
    let home = Home::new();
    assert!(detect(&home.environment(&[])).is_none());
    home.write("var/run/docker.sock", "");
    assert!(detect(&home.environment(&[])).unwrap().1.contains("/var/run/docker.sock exists"));
    home.write("home/me/.docker/config.json", r#"{"currentContext":"far"}"#);
    let (settings, reason) = detect(&home.environment(&[])).unwrap();
    assert_eq!((settings.context.as_deref(), reason.contains("`far`")), (Some("far"), true));
    let (_, reason) = detect(&home.environment(&[("DOCKER_HOST", "tcp://h")])).unwrap();
    assert_eq!(reason, "DOCKER_HOST is set");
}
