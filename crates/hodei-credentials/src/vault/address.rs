use std::fmt;

use http::uri::Authority;

/// The port that servers listen on by custom.
const PORT: u16 = 8200;

/// Where one node listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) tls: bool,
    pub(super) host: String,
    pub(super) port: u16,
}

impl Address {
    /// Reads `https://host:port` or `http://host:port`. What is wrong is told without repeating the text: it may hold a
    /// password.
    pub(super) fn parse(text: &str) -> Result<Self, &'static str> {
        let (tls, rest) = if let Some(rest) = text.strip_prefix("https://") {
            (true, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (false, rest)
        } else {
            return Err("must be `https://host:port` or `http://host:port`");
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains('@') {
            return Err("must not hold a user or password: say how to log in by `auth`");
        }
        if rest.contains(['/', '?', '#']) {
            return Err("must end after the port: the API's own path is known");
        }
        let wrong = "must be `https://host:port` or `http://host:port`";
        let authority: Authority = rest.parse().map_err(|_| wrong)?;
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let says_port =
            rest.rsplit_once(':').is_some_and(|(before, _)| !before.is_empty() && !rest.ends_with(']'));
        let port = match authority.port_u16() {
            Some(port) if port > 0 => port,
            None if !says_port => PORT,
            _ => return Err("the port must be a number from 1 to 65535"),
        };
        if host.is_empty() { Err(wrong) } else { Ok(Self { tls, host, port }) }
    }

    /// As it stands in a request.
    pub(super) fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// Whether nobody else can read on the way to it.
    pub(super) fn is_confidential(&self) -> bool {
        let loopback = || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
        self.tls || self.host == "localhost" || loopback()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c2_addresses_are_read() {
        for (text, shown) in [
            ("https://vault", "https://vault:8200"),
            ("http://127.0.0.1:8310/", "http://127.0.0.1:8310"),
            ("https://[::1]:1", "https://[::1]:1"),
            ("https://[::1]", "https://[::1]:8200"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
    }

    #[test]
    fn c2_a_wrong_address_is_told_without_its_password() {
        for text in [
            "",
            "vault:8200",
            "ftp://vault",
            "https://",
            "https://vault/v1",
            "https://vault:0",
            "https://vault:x",
        ] {
            assert!(Address::parse(text).is_err(), "{text}");
        }
        let why = Address::parse("https://me:hunter2@vault").unwrap_err();
        assert!(why.contains("password") && !why.contains("hunter2"), "{why}");
    }

    #[test]
    fn c2_a_way_that_others_can_read_on_is_told_from_one_that_they_cannot() {
        for (text, good) in [
            ("https://vault", true),
            ("http://127.0.0.1:1", true),
            ("http://[::1]:1", true),
            ("http://localhost", true),
            ("http://vault", false),
        ] {
            assert_eq!(Address::parse(text).unwrap().is_confidential(), good, "{text}");
        }
    }
}
