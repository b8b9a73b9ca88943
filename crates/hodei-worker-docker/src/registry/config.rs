//! The log-ins in the `config.json` of Docker's own client.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{LogIn, Registry, Text, header};

/// No such file is longer.
pub(crate) const LONGEST: u64 = 4 << 20;

#[derive(Deserialize)]
struct File<'a> {
    #[serde(borrow, default)]
    auths: Option<BTreeMap<String, Entry<'a>>>,
    #[serde(rename = "credHelpers", default)]
    helpers: Option<BTreeMap<String, String>>,
    #[serde(rename = "credsStore", default)]
    store: Option<String>,
}

/// A registry's own entry. It is empty where a helper keeps the log-in.
#[derive(Deserialize)]
struct Entry<'a> {
    #[serde(borrow, default)]
    auth: Option<Text<'a>>,
    #[serde(borrow, default)]
    username: Option<Text<'a>>,
    #[serde(borrow, default)]
    password: Option<Text<'a>>,
    #[serde(borrow, default)]
    identitytoken: Option<Text<'a>>,
    #[serde(borrow, default)]
    registrytoken: Option<Text<'a>>,
}

/// What such a file says about a registry.
#[derive(Debug)]
pub(crate) enum Known {
    Nothing,
    LogIn(LogIn),
    /// A credential helper has it, if anybody.
    Helper(String),
}

/// What the file says about a registry, or what is wrong with it. As for Docker's client, a helper that is named for
/// the registry comes first, then the one for all, then the file itself.
pub(crate) fn read(text: &[u8], registry: &Registry) -> Result<Known, String> {
    // serde's own words would quote what it does not like.
    let file: File<'_> = serde_json::from_slice(text).map_err(|error| {
        let what = if error.is_data() { "what stands there is no log-in" } else { "it is no JSON" };
        format!("is damaged: {what} (line {}, column {})", error.line(), error.column())
    })?;
    let helper = file.helpers.as_ref().and_then(|helpers| find(helpers, registry));
    let helper = helper.map(|(_, name)| name).or(file.store.as_ref()).filter(|name| !name.is_empty());
    if let Some(helper) = helper {
        return Ok(Known::Helper(helper.clone()));
    }
    let Some((key, entry)) = file.auths.as_ref().and_then(|auths| find(auths, registry)) else {
        return Ok(Known::Nothing);
    };
    let secret = |text: &Option<Text<'_>>| text.as_ref().and_then(Text::secret);
    if let Some(token) = secret(&entry.identitytoken) {
        return Ok(Known::LogIn(LogIn::IdentityToken(token)));
    }
    if let Some(token) = secret(&entry.registrytoken) {
        return Ok(Known::LogIn(LogIn::RegistryToken(token)));
    }
    if let Some(auth) = entry.auth.as_ref().map(Text::as_str).filter(|auth| !auth.is_empty()) {
        let log_in = header::decode(auth).and_then(|plain| {
            // Some old client filled it up with zeros.
            let (user, password) =
                std::str::from_utf8(&plain).ok()?.trim_end_matches('\0').split_once(':')?;
            Some(LogIn::Password { user: user.to_owned(), password: password.into() })
        });
        let wrong = || format!("is damaged: `auth` of `{key}` is no user and password in base64");
        return log_in.map(Known::LogIn).ok_or_else(wrong);
    }
    Ok(match (&entry.username, secret(&entry.password)) {
        (Some(user), Some(password)) => {
            Known::LogIn(LogIn::Password { user: user.as_str().to_owned(), password })
        }
        _ => Known::Nothing,
    })
}

/// The entry of a registry: by its own name, or else by one that an older client has written.
fn find<'m, T>(all: &'m BTreeMap<String, T>, registry: &Registry) -> Option<(&'m String, &'m T)> {
    let exact = [registry.server(), registry.host()].into_iter().find_map(|key| all.get_key_value(key));
    exact.or_else(|| all.iter().find(|(key, _)| Registry::of_key(key) == *registry))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;
    use serde_json::{Value, json};

    use super::*;

    fn known(file: &Value, registry: &str) -> Result<Known, String> {
        read(file.to_string().as_bytes(), &Registry::of_key(registry))
    }

    fn password(file: &Value, registry: &str) -> Option<(String, String)> {
        match known(file, registry).unwrap() {
            Known::LogIn(LogIn::Password { user, password }) => {
                Some((user, password.expose_secret().to_owned()))
            }
            Known::Nothing => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn d6_a_log_in_is_found_by_its_registry() {
        let file = json!({"auths": {
            "https://index.docker.io/v1/": {"auth": "aHViOmE6Yg=="},
            "registry.example:5000": {"auth": "Y2k6cHc="},
            "http://old.example/v1/": {"auth": "b2xkOnB3AAA="},
            "plain.example": {"username": "p", "password": "\"pw"},
            "empty.example": {},
        }, "HttpHeaders": {"User-Agent": "x"}});
        let found = |registry| password(&file, registry).map(|(user, password)| format!("{user} {password}"));
        assert_eq!(found("docker.io").as_deref(), Some("hub a:b"));
        assert_eq!(found("registry.example:5000").as_deref(), Some("ci pw"));
        assert_eq!(found("old.example").as_deref(), Some("old pw"));
        assert_eq!(found("plain.example").as_deref(), Some("p \"pw"));
        assert_eq!(found("empty.example"), None);
        assert_eq!(found("registry.example"), None, "another port is another registry");
    }

    #[test]
    fn d6_tokens_are_found() {
        let file = json!({"auths": {
            "a.example": {"auth": "Y2k6", "identitytoken": "t"}, "b.example": {"registrytoken": "t"},
        }});
        let known = |registry| known(&file, registry).unwrap();
        assert!(matches!(known("a.example"), Known::LogIn(LogIn::IdentityToken(_))));
        assert!(matches!(known("b.example"), Known::LogIn(LogIn::RegistryToken(_))));
    }

    #[test]
    fn d6_helpers_come_before_the_file() {
        let auths = json!({"a.example": {"auth": "Y2k6cHc="}, "c.example": {"auth": "Y2k6cHc="}});
        let helpers = json!({"https://a.example": "one", "c.example": ""});
        let file = json!({"auths": auths, "credHelpers": helpers, "credsStore": "all"});
        let helper = |registry| match known(&file, registry).unwrap() {
            Known::Helper(name) => Some(name),
            _ => None,
        };
        assert_eq!(helper("a.example").as_deref(), Some("one"));
        assert_eq!(helper("docker.io").as_deref(), Some("all"));
        assert_eq!(helper("c.example"), None, "one without a name is none");
    }

    #[test]
    fn d6_a_damaged_file_is_told_without_its_secrets() {
        for (file, part) in [
            ("{\n \"auths\": \"hunter2\"}", "line 2"),
            (r#"{"auths": {"a.example": {"auth": ["hunter2"]}}}"#, "line 1"),
            (r#"{"auths": {"a.example": {"auth": "hunter2"}}}"#, "`auth` of `a.example`"),
            (r#"{"auths": {"a.example": {"auth": "hunter2"#, "no JSON"),
        ] {
            let why = read(file.as_bytes(), &Registry::of_key("a.example")).unwrap_err();
            assert!(why.contains(part) && !why.contains("hunter2"), "{why}");
        }
    }
}
