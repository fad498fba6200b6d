//! Names that a CA may, or may not, certify (RFC 5280 4.2.1.10).
//!
//! Constraints reach the subject and the alternative names. A common name is not read as a host name: those of devices are ids.
//! A constraint of a kind that cannot be compared here refuses every name of its kind, permitted or excluded.

use std::fmt;

use x509_parser::extensions::{GeneralName, GeneralSubtree, NameConstraints as ParsedConstraints};
use x509_parser::prelude::FromDer;
use x509_parser::x509::X509Name;

use super::certificate::{Certificate, Malformed};

/// The attribute `emailAddress` of a subject.
const EMAIL_ADDRESS: &str = "1.2.840.113549.1.9.1";

/// One attribute of a name: its number, and its value in the form that is compared.
type Attribute = (String, Vec<u8>);

/// A name of a directory: sets of attributes from the root on.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct DirectoryName(Vec<Vec<Attribute>>);

/// A name beside the subject, or the base of a constraint.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum AlternativeName {
    Host(String),
    Email(String),
    Uri(String),
    Address(Vec<u8>),
    Directory(DirectoryName),
    /// One that is not compared, by the number of its kind.
    Other(u32),
}

impl AlternativeName {
    pub(super) fn read(name: &GeneralName<'_>) -> Self {
        match name {
            GeneralName::DNSName(host) => Self::Host(host.to_ascii_lowercase()),
            GeneralName::RFC822Name(email) => Self::Email((*email).to_owned()),
            GeneralName::URI(uri) => Self::Uri((*uri).to_owned()),
            GeneralName::IPAddress(address) => Self::Address(address.to_vec()),
            GeneralName::DirectoryName(name) => Self::Directory(DirectoryName::read(name)),
            GeneralName::OtherName(..) => Self::Other(0),
            GeneralName::X400Address(_) => Self::Other(3),
            GeneralName::EDIPartyName(_) => Self::Other(5),
            GeneralName::RegisteredID(_) => Self::Other(8),
            GeneralName::Invalid(tag, _) => Self::Other(tag.0),
        }
    }

    /// The number of its kind in the standard.
    const fn kind(&self) -> u32 {
        match self {
            Self::Other(kind) => *kind,
            Self::Email(_) => 1,
            Self::Host(_) => 2,
            Self::Directory(_) => 4,
            Self::Uri(_) => 6,
            Self::Address(_) => 7,
        }
    }
}

impl fmt::Display for AlternativeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) => write!(f, "the host name {host:?}"),
            Self::Email(email) => write!(f, "the mail address {email:?}"),
            Self::Uri(uri) => write!(f, "the URI {uri:?}"),
            Self::Address(address) => write!(f, "the address {address:?}"),
            Self::Directory(_) => f.write_str("the directory name"),
            Self::Other(kind) => write!(f, "a name of the kind {kind}"),
        }
    }
}

impl DirectoryName {
    pub(super) fn read(name: &X509Name<'_>) -> Self {
        let attributes = |set: &x509_parser::x509::RelativeDistinguishedName<'_>| {
            let mut attributes: Vec<Attribute> = set
                .iter()
                .map(|attribute| {
                    let value = match attribute.as_str() {
                        Ok(text) => comparable(text).into_bytes(),
                        Err(_) => attribute.as_slice().to_vec(),
                    };
                    (attribute.attr_type().to_id_string(), value)
                })
                .collect();
            attributes.sort();
            attributes
        };
        Self(name.iter_rdn().map(attributes).collect())
    }

    fn is_within(&self, base: &Self) -> bool {
        self.0.starts_with(&base.0)
    }
}

/// Text as compared: without regard to ASCII case and to runs of spaces.
fn comparable(text: &str) -> String {
    let words: Vec<&str> = text.split(' ').filter(|word| !word.is_empty()).collect();
    words.join(" ").to_ascii_lowercase()
}

/// What a CA may certify.
#[derive(Clone, Default)]
pub(super) struct NameConstraints {
    permitted: Vec<AlternativeName>,
    excluded: Vec<AlternativeName>,
}

impl NameConstraints {
    /// # Errors
    /// When there are none: RFC 5280 does not allow it, and what was meant cannot be known.
    pub(super) fn read(parsed: &ParsedConstraints<'_>) -> Result<Self, Malformed> {
        let bases = |subtrees: &Option<Vec<GeneralSubtree<'_>>>| {
            let subtrees = subtrees.as_deref().unwrap_or_default();
            subtrees
                .iter()
                .map(|subtree| AlternativeName::read(&subtree.base))
                .collect()
        };
        let read = Self {
            permitted: bases(&parsed.permitted_subtrees),
            excluded: bases(&parsed.excluded_subtrees),
        };
        if read.permitted.is_empty() && read.excluded.is_empty() {
            return Err(Malformed("its name constraints are empty".to_owned()));
        }
        Ok(read)
    }

    /// The first name of a certificate that must not be there.
    pub(super) fn forbidden(&self, certificate: &Certificate) -> Option<String> {
        let names = names_of(certificate);
        let excluded = names.iter().find(|name| {
            self.excluded
                .iter()
                .any(|base| matches(name, base) != Match::Outside)
        });
        if let Some(name) = excluded {
            return Some(format!("{name} is excluded"));
        }
        let not_permitted = names.iter().find(|name| {
            let mut of_kind = self
                .permitted
                .iter()
                .filter(|base| base.kind() == name.kind())
                .peekable();
            of_kind.peek().is_some() && !of_kind.any(|base| matches(name, base) == Match::Within)
        });
        not_permitted.map(|name| format!("{name} is not among the permitted"))
    }
}

/// Every name of a certificate that a constraint can reach.
fn names_of(certificate: &Certificate) -> Vec<AlternativeName> {
    let mut names = certificate.extensions.alternative_names.clone();
    let has_email = names.iter().any(|name| matches!(name, AlternativeName::Email(_)));
    if let Ok((_, subject)) = X509Name::from_der(certificate.subject_der()) {
        let directory = DirectoryName::read(&subject);
        if !has_email {
            // RFC 5280 4.2.1.10: with no mail address beside it, the one in the subject counts.
            let emails = subject.iter_attributes().filter_map(|attribute| {
                let is_email = attribute.attr_type().to_id_string() == EMAIL_ADDRESS;
                is_email.then(|| attribute.as_str().ok())?
            });
            names.extend(emails.map(|email| AlternativeName::Email(email.to_owned())));
        }
        if !directory.0.is_empty() {
            names.push(AlternativeName::Directory(directory));
        }
    }
    names
}

#[derive(Debug, PartialEq, Eq)]
enum Match {
    Within,
    Outside,
    /// Cannot be told: neither permitted nor safe from being excluded.
    Unknown,
}

fn matches(name: &AlternativeName, base: &AlternativeName) -> Match {
    if name.kind() != base.kind() {
        return Match::Outside;
    }
    let within = match (name, base) {
        (AlternativeName::Host(host), AlternativeName::Host(base)) => is_host_within(host, base),
        (AlternativeName::Email(email), AlternativeName::Email(base)) => is_email_within(email, base),
        (AlternativeName::Uri(uri), AlternativeName::Uri(base)) => match host_of_uri(uri) {
            Some(host) => is_host_of_uri_within(&host, &base.to_ascii_lowercase()),
            None => return Match::Unknown,
        },
        (AlternativeName::Address(address), AlternativeName::Address(base)) => {
            match is_address_within(address, base) {
                Some(within) => within,
                None => return Match::Unknown,
            }
        }
        (AlternativeName::Directory(name), AlternativeName::Directory(base)) => name.is_within(base),
        _ => return Match::Unknown,
    };
    if within { Match::Within } else { Match::Outside }
}

/// A host lies in the domain of its own name and in each above it. A leading dot is widely written for "below".
fn is_host_within(host: &str, base: &str) -> bool {
    let host = host.trim_end_matches('.');
    if base.is_empty() {
        return true;
    }
    match base.strip_prefix('.') {
        Some(_) => host.ends_with(base),
        None => host == base || host.strip_suffix(base).is_some_and(|rest| rest.ends_with('.')),
    }
}

/// A base is a mailbox, a host, or, with a leading dot, every host below a domain.
fn is_email_within(email: &str, base: &str) -> bool {
    let Some((mailbox, host)) = email.rsplit_once('@') else {
        return false;
    };
    match base.rsplit_once('@') {
        Some((base_mailbox, base_host)) => mailbox == base_mailbox && host.eq_ignore_ascii_case(base_host),
        None if base.starts_with('.') => host.to_ascii_lowercase().ends_with(&base.to_ascii_lowercase()),
        None => base.is_empty() || host.eq_ignore_ascii_case(base),
    }
}

/// A base is one host, or, with a leading dot, every host below a domain.
fn is_host_of_uri_within(host: &str, base: &str) -> bool {
    if base.starts_with('.') {
        host.ends_with(base)
    } else {
        base.is_empty() || host == base
    }
}

/// The host of a URI, where it has one that is a name.
fn host_of_uri(uri: &str) -> Option<String> {
    let (_, rest) = uri.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let host = authority.rsplit('@').next()?;
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    let is_name = !host.is_empty() && !host.contains([':', '[', ']']);
    is_name.then(|| host.to_ascii_lowercase())
}

/// A base is an address and a mask. `None` when either is malformed.
fn is_address_within(address: &[u8], base: &[u8]) -> Option<bool> {
    if !matches!(address.len(), 4 | 16) || !matches!(base.len(), 8 | 32) {
        return None;
    }
    if base.len() != address.len() * 2 {
        return Some(false);
    }
    let (network, mask) = base.split_at(address.len());
    Some(
        address
            .iter()
            .zip(network)
            .zip(mask)
            .all(|((address, network), mask)| address & mask == network & mask),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_lie_in_the_domains_above_them() {
        for (host, base, within) in [
            ("a.example", "example", true),
            ("example", "example", true),
            ("badexample", "example", false),
            ("a.example", ".example", true),
            ("example", ".example", false),
            ("a.example.", "example", true),
            ("a", "", true),
        ] {
            assert_eq!(is_host_within(host, base), within, "{host} {base}");
        }
    }

    #[test]
    fn mail_addresses_uris_and_addresses_are_compared_by_their_own_rules() {
        assert!(is_email_within("a@Example.Test", "example.test"));
        assert!(is_email_within("a@example.test", "a@example.test"));
        assert!(!is_email_within("b@example.test", "a@example.test"));
        assert!(!is_email_within("a@x.example.test", "example.test"));
        assert!(is_email_within("a@x.example.test", ".example.test"));
        assert_eq!(host_of_uri("https://u@A.b:1/x@y").as_deref(), Some("a.b"));
        assert_eq!(host_of_uri("urn:a"), None);
        assert_eq!(host_of_uri("https://[::1]/"), None);
        assert!(is_host_of_uri_within("a.b", ".b") && !is_host_of_uri_within("a.b", "b"));
        assert_eq!(
            is_address_within(&[10, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]),
            Some(true)
        );
        assert_eq!(
            is_address_within(&[11, 1, 2, 3], &[10, 0, 0, 0, 255, 0, 0, 0]),
            Some(false)
        );
        assert_eq!(is_address_within(&[0; 16], &[0; 8]), Some(false));
        assert_eq!(is_address_within(&[0; 5], &[0; 10]), None);
    }

    #[test]
    fn directory_names_compare_without_case_and_runs_of_spaces() {
        assert_eq!(comparable("  Con  toso "), "con toso");
    }
}
