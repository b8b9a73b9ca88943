//! Throw-away certificates: an authority, a server on loopback, a client. Valid for a week.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::failure::{Context, Result};
use crate::run;

/// Needs nothing of the machine's own configuration.
const CONFIG: &str = "\
[req]
distinguished_name = name
prompt = no
[name]
CN = hodei-test
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, digitalSignature, keyCertSign, cRLSign
subjectKeyIdentifier = hash
";

/// Whose a certificate is, and what it is good for.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    /// As `openssl` reads it: `/CN=somebody`.
    pub(crate) subject: &'a str,
    /// `serverAuth`, `clientAuth`, or both with a comma between them.
    pub(crate) usage: &'a str,
    /// Its other names, `IP:…` and `DNS:…`; may be empty.
    pub(crate) names: &'a str,
}

/// Writes `ca.pem`, `server.pem`, `server-key.pem`, and for the client `cert.pem` and `key.pem`.
pub(crate) fn make(folder: &Path) -> Result<()> {
    authority(folder)?;
    let server =
        Wanted { subject: "/CN=127.0.0.1", usage: "serverAuth", names: "IP:127.0.0.1, DNS:localhost" };
    issue(folder, &server, "server.pem", "server-key.pem")?;
    let client = Wanted { subject: "/CN=hodei-test client", usage: "clientAuth", names: "" };
    issue(folder, &client, "cert.pem", "key.pem")
}

/// Makes the folder with an authority in it: `ca.pem` and `ca-key.pem`.
pub(crate) fn authority(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).context(format_args!("creating {}", folder.display()))?;
    let own = ["-extensions", "authority", "-subj", "/CN=hodei-test authority"];
    request(folder, "ca.pem", "ca-key.pem", CONFIG, &own)
}

/// Writes a certificate that the folder's authority has signed.
pub(crate) fn issue(folder: &Path, wanted: &Wanted<'_>, certificate: &str, key: &str) -> Result<()> {
    let mut config =
        format!("{CONFIG}[wanted]\nbasicConstraints = CA:false\nextendedKeyUsage = {}\n", wanted.usage);
    if !wanted.names.is_empty() {
        config += &format!("subjectAltName = {}\n", wanted.names);
    }
    let signed = ["-extensions", "wanted", "-subj", wanted.subject, "-CA", "ca.pem", "-CAkey", "ca-key.pem"];
    request(folder, certificate, key, &config, &signed)
}

fn request(folder: &Path, certificate: &str, key: &str, config: &str, more: &[&str]) -> Result<()> {
    let file = format!("{certificate}.cnf");
    fs::write(folder.join(&file), config).context(format_args!("writing {file}"))?;
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    run::output(
        Command::new("openssl")
            .current_dir(folder)
            .args(["req", "-x509", "-config", &file, "-days", "7"])
            .args(curve)
            .args(["-out", certificate, "-keyout", key])
            .args(more),
    )
    .map(drop)
    .context(format_args!("making {certificate}"))
}
