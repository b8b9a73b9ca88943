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
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[server]
basicConstraints = CA:false
extendedKeyUsage = serverAuth
subjectAltName = IP:127.0.0.1, DNS:localhost
[client]
basicConstraints = CA:false
extendedKeyUsage = clientAuth
";

/// Writes `ca.pem`, `server.pem`, `server-key.pem`, and for the client `cert.pem` and `key.pem`.
pub(crate) fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join("openssl.cnf"), CONFIG).context("writing openssl.cnf")?;
    let own: &[&str] = &[];
    issue(folder, "authority", "/CN=hodei-test authority", "ca.pem", "ca-key.pem", own)?;
    let signed = &["-CA", "ca.pem", "-CAkey", "ca-key.pem"];
    issue(folder, "server", "/CN=127.0.0.1", "server.pem", "server-key.pem", signed)?;
    issue(folder, "client", "/CN=hodei-test client", "cert.pem", "key.pem", signed)
}

fn issue(
    folder: &Path,
    section: &str,
    name: &str,
    certificate: &str,
    key: &str,
    signer: &[&str],
) -> Result<()> {
    let curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
    run::output(
        Command::new("openssl")
            .current_dir(folder)
            .args(["req", "-x509", "-config", "openssl.cnf", "-days", "7"])
            .args(curve)
            .args(["-extensions", section, "-subj", name, "-out", certificate, "-keyout", key])
            .args(signer),
    )
    .map(drop)
    .context(format_args!("making {certificate}"))
}
