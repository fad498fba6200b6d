//! What a token says of its bearer.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Deserializer};

use crate::access::Subject;
use crate::clock::Timestamp;

use super::jws::Malformed;

/// The claims that are looked at; which of them Azure reads for groups is not confirmed (service-rest.md 21).
#[derive(Debug)]
pub(super) struct Claims {
    pub(super) issuer: String,
    pub(super) audiences: Vec<String>,
    pub(super) expires: Timestamp,
    pub(super) not_before: Timestamp,
    pub(super) tenant: Option<String>,
    raw: Raw,
}

/// Who bears a token, as an issuer names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Principal {
    /// The hub's name for the issuer. Ids of one issuer say nothing about those of another.
    pub issuer: Arc<str>,
    /// How it is called in messages: its object id or subject.
    pub id: Arc<str>,
    /// Ids by which roles may be assigned to it: object id, subject and, for an application, its client id.
    pub subjects: Vec<String>,
    /// Groups that it is in.
    pub groups: Vec<String>,
    /// App roles that it has.
    pub app_roles: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Raw {
    iss: String,
    #[serde(default, deserialize_with = "one_or_many")]
    aud: Vec<String>,
    exp: Date,
    nbf: Option<Date>,
    tid: Option<String>,
    sub: Option<String>,
    oid: Option<String>,
    appid: Option<String>,
    azp: Option<String>,
    client_id: Option<String>,
    idtyp: Option<String>,
    scp: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    groups: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    roles: Vec<String>,
}

/// Seconds since 1970, with or without a fraction (RFC 7519 2).
#[derive(Debug, Clone, Copy)]
struct Date(i64);

impl<'de> Deserialize<'de> for Date {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let secs = f64::deserialize(deserializer)?;
        if !secs.is_finite() {
            return Err(serde::de::Error::custom("not a time"));
        }
        #[allow(
            clippy::cast_possible_truncation,
            reason = "the cast saturates, which is what is wanted"
        )]
        Ok(Self(secs as i64))
    }
}

fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match Option::<OneOrMany>::deserialize(deserializer)? {
        None => Vec::new(),
        Some(OneOrMany::One(one)) => vec![one],
        Some(OneOrMany::Many(many)) => many,
    })
}

impl Claims {
    /// Reads a payload. Who bears the token must be said, by its object id or its subject.
    pub(super) fn parse(payload: &[u8]) -> Result<Self, Malformed> {
        let mut raw: Raw = serde_json::from_slice(payload)
            .map_err(|_| Malformed("claims without iss and exp, or of another form than theirs"))?;
        if raw.oid.as_ref().or(raw.sub.as_ref()).is_none_or(String::is_empty) {
            return Err(Malformed("claims without oid and sub"));
        }
        Ok(Self {
            issuer: std::mem::take(&mut raw.iss),
            audiences: std::mem::take(&mut raw.aud),
            expires: Timestamp::from_secs(raw.exp.0),
            not_before: raw
                .nbf
                .map_or(Timestamp::NEVER, |nbf| Timestamp::from_secs(nbf.0)),
            tenant: raw.tid.take(),
            raw,
        })
    }

    /// Who bears the token.
    pub(super) fn principal(&self, issuer: &Arc<str>) -> Principal {
        let raw = &self.raw;
        let is_application = self.is_application();
        let clients = [&raw.appid, &raw.azp, &raw.client_id];
        let clients = clients.into_iter().filter(|_| is_application);
        let given = [&raw.oid, &raw.sub].into_iter().chain(clients).flatten();
        let mut subjects: Vec<String> = given.filter(|id| !id.is_empty()).cloned().collect();
        let id = subjects.first().map_or("", String::as_str).into();
        subjects.sort_unstable();
        subjects.dedup();
        Principal {
            issuer: Arc::clone(issuer),
            id,
            subjects,
            groups: raw.groups.clone(),
            app_roles: raw.roles.clone(),
        }
    }

    /// Whether an application speaks for itself. Its client id is then its own; in the token of a person it names the
    /// application that the person used, and must give the person nothing.
    fn is_application(&self) -> bool {
        let raw = &self.raw;
        if let Some(kind) = &raw.idtyp {
            return kind == "app";
        }
        let is_sub = |client: &Option<String>| client.is_some() && *client == raw.sub;
        // Entra: a token without scopes of a person, whose subject is its own object.
        let is_service_principal =
            self.tenant.is_some() && raw.scp.is_none() && raw.oid.is_some() && raw.oid == raw.sub;
        is_sub(&raw.appid) || is_sub(&raw.azp) || is_sub(&raw.client_id) || is_service_principal
    }
}

impl Principal {
    /// Whom to name in refusals and records.
    pub fn subject(&self) -> Subject {
        Subject::Principal(
            self.id
                .chars()
                .take(SHOWN_CHARS_MAX)
                .flat_map(char::escape_debug)
                .collect(),
        )
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.subject())
    }
}

/// Characters of an id that are shown; a GUID has 36.
const SHOWN_CHARS_MAX: usize = 100;

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects(claims: &str) -> Vec<String> {
        let json = format!(r#"{{"iss":"i","exp":1,{claims}}}"#);
        Claims::parse(json.as_bytes())
            .unwrap()
            .principal(&"i".into())
            .subjects
    }

    #[test]
    fn a_client_id_counts_for_applications_alone() {
        for (claims, expected) in [
            (r#""sub":"user","azp":"app""#, &["user"][..]),
            (
                r#""sub":"user","oid":"object","appid":"app","scp":"x""#,
                &["object", "user"],
            ),
            (r#""sub":"app","azp":"app""#, &["app"]),
            (r#""sub":"app","client_id":"app""#, &["app"]),
            (r#""sub":"o","oid":"o","appid":"app","tid":"t""#, &["app", "o"]),
            (r#""sub":"o","oid":"o","appid":"app","tid":"t","scp":"x""#, &["o"]),
            (r#""sub":"o","oid":"o","appid":"app""#, &["o"]),
            (
                r#""sub":"s","oid":"o","appid":"app","idtyp":"app""#,
                &["app", "o", "s"],
            ),
            (r#""sub":"app","azp":"app","idtyp":"user""#, &["app"]),
        ] {
            assert_eq!(subjects(claims), expected, "{claims}");
        }
    }

    #[test]
    fn forms_of_claims() {
        let read = |text: &str| Claims::parse(text.as_bytes());
        let claims =
            read(r#"{"iss":"i","exp":1.9,"aud":"a","sub":"s","roles":"r","groups":["g"],"nbf":1e300}"#)
                .unwrap();
        assert_eq!(claims.audiences, ["a"]);
        assert_eq!(claims.expires, Timestamp::from_secs(1));
        let principal = claims.principal(&"i".into());
        assert_eq!(
            (principal.groups, principal.app_roles),
            (vec!["g".to_owned()], vec!["r".to_owned()])
        );
        for bad in [
            r#"{"exp":1,"sub":"s"}"#,
            r#"{"iss":"i","sub":"s"}"#,
            r#"{"iss":"i","exp":"1","sub":"s"}"#,
            r#"{"iss":"i","exp":1}"#,
            r#"{"iss":"i","exp":1,"sub":""}"#,
            r#"{"iss":"i","exp":1,"exp":9999999999,"sub":"s"}"#,
            r#"{"iss":"i","exp":1,"sub":"s","aud":[1]}"#,
            "[]",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }
}
