//! The README's capability matrix against what the providers detect. `HODEI_WRITE_MATRIX=1` writes it anew.
#![cfg(all(feature = "process", feature = "docker", feature = "kubernetes"))]

use std::{fmt::Write as _, path::Path};

use hodei_worker::{
    Capability, ConnectContext, ProviderCapabilities, Support, WorkerProvider as _, docker::DockerSettings,
    kubernetes::KubernetesSettings, process::ProcessSettings,
};

const BEGIN: &str = "<!-- matrix: checked by crates/hodei-worker/tests/matrix.rs -->\n";
const END: &str = "<!-- end of matrix -->";

/// What differs from machine to machine.
const DETECTED: [(&str, Capability); 12] = [
    ("process", Capability::SurvivesHost),
    ("process", Capability::CpuLimit),
    ("process", Capability::MemoryLimit),
    ("process", Capability::PidsLimit),
    ("docker", Capability::RawBytes),
    ("docker", Capability::CpuLimit),
    ("docker", Capability::MemoryLimit),
    ("docker", Capability::PidsLimit),
    ("docker", Capability::SecretFiles),
    ("kubernetes", Capability::Networking),
    ("kubernetes", Capability::Monitoring),
    ("kubernetes", Capability::OwnAddresses),
];

fn cell(provider: &str, capability: Capability, capabilities: &ProviderCapabilities) -> &'static str {
    match capabilities.support(capability) {
        _ if DETECTED.contains(&(provider, capability)) => "detected",
        Support::Native => "yes",
        Support::Fallback(_) => "software",
        _ => "–",
    }
}

#[tokio::test]
async fn p3_the_matrix_of_the_readme_is_what_is_detected() {
    let context = || ConnectContext::new("matrix".parse().unwrap(), "matrix".parse().unwrap());
    let part =
        |name: &str| std::env::var(name).expect("run this by `cargo xtask test`, which starts the parts");
    let engine = DockerSettings::at(part("HODEI_TEST_DOCKER_HOST"));
    let cluster = KubernetesSettings::from_kubeconfig(part("HODEI_TEST_KUBECONFIG"));
    let providers = [
        ("process", hodei_worker::connect(ProcessSettings::default(), context()).await.unwrap()),
        ("docker", hodei_worker::connect(engine, context()).await.unwrap()),
        ("kubernetes", hodei_worker::connect(cluster, context()).await.unwrap()),
    ];
    let mut columns = Vec::new();
    for (name, provider) in providers {
        columns.push((name, provider.get_capabilities().await.unwrap()));
    }

    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let mut table = format!("\n| | {} |\n|---|{}\n", names.join(" | "), "---|".repeat(names.len()));
    for capability in Capability::ALL {
        let cells: Vec<_> = columns.iter().map(|(name, all)| cell(name, *capability, all)).collect();
        writeln!(table, "| {} | {} |", capability.as_str().replace('_', " "), cells.join(" | ")).unwrap();
    }
    table.push('\n');

    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let readme = std::fs::read_to_string(&path).unwrap();
    let (before, rest) = readme.split_once(BEGIN).unwrap();
    let (shown, after) = rest.split_once(END).unwrap();
    if std::env::var_os("HODEI_WRITE_MATRIX").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{table}{END}{after}")).unwrap();
    } else {
        assert_eq!(shown, table, "the README's matrix is not what was detected");
    }
}
