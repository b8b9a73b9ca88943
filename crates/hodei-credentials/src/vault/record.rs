//! How a credential stands in the fields of a secret.
//!
//! Each part is a field of its name, as text, so that whoever else reads the secret finds what it looks for. What the
//! fields do not say (kind, expiry, stage at birth, which parts are base64) is one more field, [`NOTE`].

use std::{collections::BTreeMap, fmt};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hodei_worker_core::{
    Error, ErrorKind, Result, Timestamp,
    credential::{CredentialContent, CredentialKind, CredentialStage, SecretMaterial},
};
use secrecy::zeroize::Zeroizing;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{self, Visitor, value::MapAccessDeserializer, value::SeqAccessDeserializer},
    ser::SerializeMap as _,
};
use serde_json::Value;

/// The field that is ours.
pub(super) const NOTE: &str = "_hodei";

/// What a version says beside its parts. Never changes, as the version does not.
#[derive(Debug, Clone, Serialize, Deserialize, Default)]
pub(super) struct Note {
    /// Absent in what others wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) kind: Option<CredentialKind>,
    /// By what the version is known again: the caller's token, or a number of chance.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) id: String,
    /// The stage that it got when it was stored. Default: current.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) stage: Option<CredentialStage>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) expires: Option<Timestamp>,
    /// The parts that are no text, and stand there in base64.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) encoded: Vec<String>,
}

impl Note {
    /// The stage that the version got when it was stored. What others write is in use at once.
    pub(super) fn born(&self) -> CredentialStage {
        self.stage.unwrap_or(CredentialStage::Current)
    }
}

/// A content on its way to the server.
pub(super) struct Outgoing<'a> {
    pub(super) content: &'a CredentialContent,
    pub(super) note: &'a Note,
}

impl Outgoing<'_> {
    /// The parts that are no text.
    pub(super) fn binary(content: &CredentialContent) -> Vec<String> {
        let parts = content.parts().filter(|(_, part)| part.expose_str().is_none());
        parts.map(|(name, _)| name.to_owned()).collect()
    }
}

impl Serialize for Outgoing<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, part) in self.content.parts() {
            match part.expose_str() {
                Some(text) => map.serialize_entry(name, text)?,
                None => map.serialize_entry(name, &*Zeroizing::new(STANDARD.encode(part.expose())))?,
            }
        }
        // As text: many readers take every field for one.
        let note = serde_json::to_string(self.note).map_err(serde::ser::Error::custom)?;
        map.serialize_entry(NOTE, &note)?;
        map.end()
    }
}

/// The fields of a secret as they were read.
#[derive(Deserialize)]
#[serde(transparent)]
pub(super) struct Fields(BTreeMap<String, Field>);

impl Fields {
    /// What stands there beside the parts. What others wrote has nothing of the kind.
    pub(super) fn note(&self) -> Note {
        let text = self.0.get(NOTE).and_then(|field| field.0.expose_str());
        text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
    }

    /// The credential that they are.
    pub(super) fn into_content(mut self, note: &Note) -> Result<CredentialContent> {
        let noted = self.0.remove(NOTE).is_some();
        let mut parts = BTreeMap::new();
        for (name, Field(mut part)) in self.0 {
            if note.encoded.contains(&name) {
                let decoded = STANDARD
                    .decode(part.expose())
                    .map_err(|_| damaged("a part that should be base64 is not"))?;
                part = SecretMaterial::from(decoded);
            }
            parts.insert(name, part);
        }
        match note.kind.filter(|_| noted) {
            Some(kind) => CredentialContent::from_parts(kind, parts)
                .ok_or_else(|| damaged("the main part of the credential's kind is missing")),
            None => of_others(parts),
        }
    }
}

fn damaged(message: &'static str) -> Error {
    Error::new(ErrorKind::Corrupt, message).with_help("somebody else has changed the secret: store it anew")
}

/// What others wrote, by the names of its fields. Of one field this is the secret; of several that are no kind of ours
/// the secret is all of them as JSON. Each field is a part as well.
fn of_others(mut parts: BTreeMap<String, SecretMaterial>) -> Result<CredentialContent> {
    let has = |kind: CredentialKind| {
        parts.contains_key(kind.main_part())
            && kind.needed_parts().iter().all(|part| parts.contains_key(*part))
    };
    use CredentialKind as K;
    // The more it takes, the surer it is.
    let known = [K::Certificate, K::KeyPair, K::Password, K::ServiceAccount, K::Token, K::Opaque];
    if let Some(kind) = known.into_iter().find(|kind| has(*kind)) {
        return CredentialContent::from_parts(kind, parts).ok_or_else(|| damaged("it has no main part"));
    }
    let whole = match parts.len() {
        0 => return Err(damaged("the secret has no fields")),
        1 => parts.values().next().cloned(),
        _ => {
            let texts: BTreeMap<&str, &str> =
                parts.iter().filter_map(|(name, part)| Some((name.as_str(), part.expose_str()?))).collect();
            serde_json::to_vec(&texts).ok().map(SecretMaterial::from)
        }
    };
    if let Some(whole) = whole {
        parts.insert(K::Opaque.main_part().to_owned(), whole);
    }
    CredentialContent::from_parts(K::Opaque, parts).ok_or_else(|| damaged("it has no main part"))
}

/// One field. What is no text is its JSON.
struct Field(SecretMaterial);

impl<'de> Deserialize<'de> for Field {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Field;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field of a secret")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Field, E> {
                Ok(Field(text.into()))
            }
            fn visit_string<E: de::Error>(self, text: String) -> Result<Field, E> {
                Ok(Field(text.into_bytes().into()))
            }
            fn visit_bool<E: de::Error>(self, value: bool) -> Result<Field, E> {
                json(&value)
            }
            fn visit_u64<E: de::Error>(self, value: u64) -> Result<Field, E> {
                json(&value)
            }
            fn visit_i64<E: de::Error>(self, value: i64) -> Result<Field, E> {
                json(&value)
            }
            fn visit_f64<E: de::Error>(self, value: f64) -> Result<Field, E> {
                json(&value)
            }
            fn visit_unit<E: de::Error>(self) -> Result<Field, E> {
                json(&Value::Null)
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, items: A) -> Result<Field, A::Error> {
                json(&Value::deserialize(SeqAccessDeserializer::new(items))?)
            }
            fn visit_map<A: de::MapAccess<'de>>(self, entries: A) -> Result<Field, A::Error> {
                json(&Value::deserialize(MapAccessDeserializer::new(entries))?)
            }
        }
        deserializer.deserialize_any(Any)
    }
}

fn json<E: de::Error>(value: &impl Serialize) -> Result<Field, E> {
    serde_json::to_vec(value).map(|bytes| Field(bytes.into())).map_err(E::custom)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(content: &CredentialContent, note: &Note) -> String {
        serde_json::to_string(&Outgoing { content, note }).unwrap()
    }

    fn read(text: &str) -> Result<CredentialContent> {
        let fields: Fields = serde_json::from_str(text).unwrap();
        let note = fields.note();
        fields.into_content(&note)
    }

    #[test]
    fn c2_a_credential_comes_back_from_its_fields() {
        let content =
            CredentialContent::password("app", "hunter2").with("host", "db").with("raw", vec![0xff, 0]);
        let note =
            Note { kind: Some(content.kind()), encoded: Outgoing::binary(&content), ..Note::default() };
        let text = sent(&content, &note);
        // As others read it.
        let plain: BTreeMap<String, String> = serde_json::from_str(&text).unwrap();
        assert_eq!((plain["username"].as_str(), plain["password"].as_str()), ("app", "hunter2"));
        assert!(read(&text).unwrap().is_same(&content));
    }

    #[test]
    fn c2_what_others_wrote_is_a_credential_by_its_fields() {
        for (text, kind, secret) in [
            (r#"{"username":"a","password":"p"}"#, CredentialKind::Password, "p"),
            (r#"{"client_id":"a","client_secret":"s"}"#, CredentialKind::ServiceAccount, "s"),
            (r#"{"token":"t"}"#, CredentialKind::Token, "t"),
            (r#"{"value":"v","more":"m"}"#, CredentialKind::Opaque, "v"),
            (r#"{"api_key":"k"}"#, CredentialKind::Opaque, "k"),
            (r#"{"a":"1","b":"x\ny"}"#, CredentialKind::Opaque, r#"{"a":"1","b":"x\ny"}"#),
            (r#"{"port":5432}"#, CredentialKind::Opaque, "5432"),
            (r#"{"list":[1,{"a":null}]}"#, CredentialKind::Opaque, r#"[1,{"a":null}]"#),
        ] {
            let content = read(text).unwrap();
            assert_eq!((content.kind(), content.secret().expose_str()), (kind, Some(secret)), "{text}");
        }
        assert_eq!(read(r#"{"a":"1","b":"2"}"#).unwrap().text("b"), Some("2"));
        assert_eq!(read("{}").unwrap_err().kind(), ErrorKind::Corrupt);
    }

    #[test]
    fn c2_what_others_damaged_is_told_without_it() {
        let error = read(r#"{"value":"hunter2!","_hodei":"{\"kind\":\"opaque\",\"encoded\":[\"value\"]}"}"#)
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(!format!("{error:?}").contains("hunter2"));
        let error = read(r#"{"username":"a","_hodei":"{\"kind\":\"password\"}"}"#).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}
