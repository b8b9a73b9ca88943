use std::{fmt, time::Duration};

use hodei_worker_core::{Error, Result, quantity::HumanDuration};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use tokio_postgres::config::Host;

use super::tls::TlsMode;

/// Nothing is waited for longer.
const LONGEST: Duration = Duration::from_secs(3600);

/// Where the database is, and how it is used.
///
/// # Examples
/// ```
/// use hodei_worker_store::PostgresSettings;
/// let settings = PostgresSettings::at("postgres://hodei:hunter2@db.example/workers?sslmode=require");
/// assert!(!format!("{settings:?}").contains("hunter2"));
/// ```
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[non_exhaustive]
pub struct PostgresSettings {
    /// `postgres://user:password@host:port/database?option=value`, or `key=value` words, as libpq has them. Of its TLS
    /// options `sslmode` (`disable`, `prefer`, `require`, `verify-ca`, `verify-full`) and `sslrootcert` (a file in PEM
    /// form; with it, `require` verifies the certificate, too) are understood. A pooler on the way has to keep a
    /// connection for a session. Of a cluster name all servers, with `target_session_attrs=read-write`.
    pub url: SecretString,
    /// The schema that holds everything of this installation: 1 to 63 lower-case letters, digits and `_`. Default:
    /// `hodei_worker`.
    pub schema: String,
    /// Time for a connection to come about, TLS and login included. Default: 5 s.
    pub connect_timeout: HumanDuration,
    /// Time for the database to do one thing. Default: 30 s.
    pub statement_timeout: HumanDuration,
    /// How often it is asked for new events while somebody waits for them, should notifications be lost. Default: 2 s.
    pub poll: HumanDuration,
}

impl Default for PostgresSettings {
    fn default() -> Self {
        Self {
            url: SecretString::default(),
            schema: "hodei_worker".to_owned(),
            connect_timeout: HumanDuration::secs(5),
            statement_timeout: HumanDuration::secs(30),
            poll: HumanDuration::secs(2),
        }
    }
}

impl PostgresSettings {
    /// The database at this address, otherwise the defaults.
    pub fn at(url: impl Into<SecretString>) -> Self {
        Self { url: url.into(), ..Self::default() }
    }
    /// In that schema.
    #[must_use]
    pub fn in_schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Checks everything that can be checked without the database.
    pub(super) fn resolve(&self) -> Result<Resolved> {
        let letter = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
        let schema = self.schema.as_bytes();
        let named = schema.first().is_some_and(|first| letter(*first));
        if !named || schema.len() > 63 || !schema.iter().all(|byte| letter(*byte) || byte.is_ascii_digit()) {
            return Err(Error::config(
                "schema",
                "a schema's name is 1 to 63 lower-case letters, digits and `_`, and begins with no digit",
            ));
        }
        for (name, time) in [
            ("connect_timeout", self.connect_timeout),
            ("statement_timeout", self.statement_timeout),
            ("poll", self.poll),
        ] {
            if time.0.is_zero() || time.0 > LONGEST {
                return Err(Error::config(name, "it is more than 0 and at most 1 h"));
            }
        }
        let (url, tls) = TlsMode::take_from(self.url.expose_secret())?;
        // What the parser says of a wrong address may quote it, password and all.
        let mut config: tokio_postgres::Config = url.parse().map_err(|_| {
            Error::config("url", "this is no address of a PostgreSQL database")
                .with_help("write postgres://user:password@host:port/database")
        })?;
        let nameless = |host: &Host| matches!(host, Host::Tcp(name) if name.is_empty());
        if config.get_hosts().iter().all(nameless) && config.get_hostaddrs().is_empty() {
            return Err(Error::config("url", "it names no host"));
        }
        if config.get_user().is_none_or(str::is_empty) {
            return Err(Error::config("url", "it names no user"));
        }
        // Ours was taken out of it: what is left was written in a way that we do not read, and would be passed over.
        if config.get_ssl_mode() != tokio_postgres::Config::new().get_ssl_mode() {
            return Err(Error::config("url", "its `sslmode` cannot be read")
                .with_help("write it as `sslmode=require`, without blanks"));
        }
        config
            .ssl_mode(tls.negotiation())
            .connect_timeout(self.connect_timeout.0)
            // A server that is gone without a word is noticed as soon as a statement would have ended.
            .tcp_user_timeout(self.statement_timeout.0)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(5))
            .keepalives_retries(3);
        if config.get_application_name().is_none() {
            config.application_name("hodei-worker");
        }
        let place = Place::of(&config, &self.schema);
        Ok(Resolved { config, tls, place })
    }
}

/// What the settings come to.
pub(super) struct Resolved {
    pub(super) config: tokio_postgres::Config,
    pub(super) tls: TlsMode,
    pub(super) place: Place,
}

/// Where a store is, in words that hold no secret.
#[derive(Debug, Clone)]
pub(super) struct Place(String);

impl Place {
    fn of(config: &tokio_postgres::Config, schema: &str) -> Self {
        let names = config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            #[cfg(unix)]
            Host::Unix(path) => path.display().to_string(),
        });
        let names: Vec<_> = match config.get_hosts() {
            [] => config.get_hostaddrs().iter().map(ToString::to_string).collect(),
            _ => names.collect(),
        };
        let port =
            |index: usize| config.get_ports().get(index).or(config.get_ports().first()).unwrap_or(&5432);
        let hosts: Vec<_> =
            names.iter().enumerate().map(|(index, name)| format!("{name}:{}", port(index))).collect();
        let user = config.get_user().unwrap_or_default();
        let database = config.get_dbname().unwrap_or(user);
        Self(format!("postgres://{user}@{}/{database}, schema {schema}", hosts.join(",")))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use hodei_worker_core::ErrorKind;

    use super::*;

    #[test]
    fn l6_a_place_names_everything_but_the_password() {
        let resolved = PostgresSettings::at("postgres://me:planted@a,b:7/work").resolve().unwrap();
        assert_eq!(resolved.place.to_string(), "postgres://me@a:5432,b:7/work, schema hodei_worker");
        let words = PostgresSettings::at("host=/run/x user=me password=planted").in_schema("two");
        assert_eq!(words.resolve().unwrap().place.to_string(), "postgres://me@/run/x:5432/me, schema two");
    }

    #[test]
    fn l6_what_cannot_be_an_address_is_refused_without_repeating_it() {
        for url in [
            "",
            "mysql://me:planted@a/b",
            "postgres://me:planted@a:x/b",
            "postgres://me:planted@/b",
            "postgres://:planted@a/b",
            "postgres://me:planted@a/b?sslmode=planted",
            "host=a password='planted",
        ] {
            let error = PostgresSettings::at(url).resolve().err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(!format!("{error:?}{error:#}").contains("planted"), "{error:?}");
        }
    }

    #[test]
    fn l6_a_schema_is_a_plain_name() {
        let settings = PostgresSettings::at("postgres://me@a/b");
        for bad in ["", "Big", "1a", "a-b", "a\"b", &"x".repeat(64)] {
            assert!(settings.clone().in_schema(bad).resolve().is_err(), "{bad}");
        }
        assert!(settings.in_schema("_user_1").resolve().is_ok());
    }

    #[test]
    fn l6_what_is_said_of_tls_is_read_or_refused_and_never_passed_over() {
        for url in [
            "host=a user=me password=planted sslmode = disable",
            "host=a user=me password=planted sslmode =require",
            "host=a user=me password='planted sslmode=disable x'",
        ] {
            let error = PostgresSettings::at(url).resolve().err().unwrap();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(!error.to_string().contains("planted"), "{error}");
        }
        assert!(PostgresSettings::at("host=a user=me password=planted sslmode=require").resolve().is_ok());
    }
}
