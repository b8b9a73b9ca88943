//! The database engine in front of a real PostgreSQL: the one that `HODEI_TEST_POSTGRES` names.

use hodei_worker_core::credential::Credential;
use serde_json::json;
use tokio_postgres::{Config, NoTls};

use super::{Api, unique, variable};

/// Members of it need their password, whoever connects from where.
const MEMBERS: &str = "hodei_test_login";

pub(crate) fn server() -> Config {
    variable("HODEI_TEST_POSTGRES").parse().unwrap()
}

/// What somebody says who logs in by that credential.
pub(crate) async fn log_in(credential: &Credential) -> Result<String, tokio_postgres::Error> {
    let mut config = server();
    config.user(credential.content.text("username").unwrap());
    config.password(credential.content.text("password").unwrap());
    let (client, connection) = config.connect(NoTls).await?;
    let connection = tokio::spawn(connection);
    let row = client.query_one("SELECT current_user::text", &[]).await?;
    connection.abort();
    Ok(row.get(0))
}

/// Runs statements as the administrator.
pub(crate) async fn execute(statements: &str) {
    let (client, connection) = server().connect(NoTls).await.unwrap();
    let connection = tokio::spawn(connection);
    client.batch_execute(statements).await.unwrap();
    connection.abort();
}

/// The engine under a name that nobody else has, with roles whose log-ins last so long.
pub(crate) struct Database {
    pub(crate) mount: String,
}

impl Database {
    pub(crate) async fn new(api: &Api) -> Self {
        // Two tests that make it at once would meet in the catalogue.
        execute(&format!(
            "DO $$ BEGIN PERFORM pg_advisory_xact_lock(7355608); \
             IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{MEMBERS}') THEN CREATE ROLE {MEMBERS} NOLOGIN; \
             END IF; END $$"
        ))
        .await;
        let mount = unique("database");
        api.post(&format!("sys/mounts/{mount}"), json!({"type": "database"})).await;
        let config = server();
        let (tokio_postgres::config::Host::Tcp(host), port) = (&config.get_hosts()[0], config.get_ports()[0])
        else {
            panic!("the server is reached by TCP")
        };
        let password = config.get_password().map_or("none".into(), String::from_utf8_lossy).into_owned();
        let url =
            format!("postgresql://{{{{username}}}}:{{{{password}}}}@{host}:{port}/postgres?sslmode=disable");
        let body = json!({
            "plugin_name": "postgresql-database-plugin", "connection_url": url, "allowed_roles": ["*"],
            "username": config.get_user().unwrap(), "password": password,
        });
        api.post(&format!("{mount}/config/server"), body).await;
        Self { mount }
    }

    pub(crate) async fn role(&self, api: &Api, name: &str, ttl: &str, max_ttl: &str) {
        let create = format!(
            "CREATE ROLE \"{{{{name}}}}\" WITH LOGIN PASSWORD '{{{{password}}}}' VALID UNTIL '{{{{expiration}}}}' \
             IN ROLE {MEMBERS}"
        );
        let body = json!({
            "db_name": "server", "creation_statements": [create], "default_ttl": ttl, "max_ttl": max_ttl,
        });
        api.post(&format!("{}/roles/{name}", self.mount), body).await;
    }
}
