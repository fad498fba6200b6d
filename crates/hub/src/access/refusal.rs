//! A refused peer: which step failed, what was expected, what came, what to do.
//!
//! The text is for the operator alone; a peer is told no more than [`Refusal::to_peer`]. What the peer sent is repeated only in
//! part, escaped and cut, and never a signature, a key or a whole token: people paste keys into the wrong fields.

use std::fmt;

use crate::error::{Code, Error};
use crate::identity::IdentityId;

/// The step of a connection or request that failed; label of records and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The address that the peer comes from.
    Network,
    /// TLS handshake.
    Tls,
    /// Reading what the peer sent.
    Parse,
    /// Finding identity or policy.
    Registry,
    /// Whether the identity is enabled.
    Status,
    /// The signature of a token.
    Signature,
    /// The expiry of a token.
    Expiry,
    /// The scope of a token.
    Scope,
    /// The certificate of a peer.
    Certificate,
    /// The right for the operation.
    Right,
    /// Limits and quotas.
    Quota,
}

impl Step {
    /// Stable label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Parse => "parse",
            Self::Registry => "registry",
            Self::Status => "status",
            Self::Signature => "signature",
            Self::Expiry => "expiry",
            Self::Scope => "scope",
            Self::Certificate => "certificate",
            Self::Right => "right",
            Self::Quota => "quota",
        }
    }
}

macro_rules! reasons {
    ($($name:ident $label:literal $step:ident $meaning:literal $advice:literal;)*) => {
        /// Why a peer was refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Reason {
            $(#[doc = $meaning] $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Stable label of records and metrics.
            pub const fn label(self) -> &'static str {
                match self { $(Self::$name => $label,)* }
            }

            /// The step that failed.
            pub const fn step(self) -> Step {
                match self { $(Self::$name => Step::$step,)* }
            }

            /// What is wrong, as a sentence.
            pub const fn meaning(self) -> &'static str {
                match self { $(Self::$name => $meaning,)* }
            }

            /// What the operator can do.
            pub const fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)* }
            }
        }
    };
}

reasons! {
    NetworkDenied "network_denied" Network "The network rules of the hub deny the address."
        "Allow the address with 'ironhub network allow', or leave it denied if it has no business here.";
    TlsTooOld "tls_too_old" Tls "The hub demands a newer version of TLS."
        "Update the client's TLS, or lower the setting: 'ironhub hub set min-tls-version=1.2'.";
    CipherRefused "tls_cipher_refused" Tls "The peer and the hub have no cipher suite in common."
        "Enable one of the expected suites at the client, or change the setting: 'ironhub hub set cipher-suites=default'.";
    HandshakeFailed "handshake_failed" Tls "The TLS handshake failed."
        "Check that the device trusts the hub's CA and speaks TLS 1.2 or later.";
    HostUnknown "host_unknown" Parse "The host name belongs to no hub."
        "Check the host name in the connection string, or add it to the hub's names.";
    Malformed "malformed" Parse "What the peer sent cannot be understood."
        "Check the client's protocol and the form of its user name or address.";
    CredentialMissing "credential_missing" Parse "No credential was presented."
        "Give the device a token, or a certificate if its identity asks for one.";
    TokenMalformed "token_malformed" Parse "The text is no shared access signature."
        "Check that the client sends a token and not the key or the connection string.";
    BearerUnsupported "bearer_unsupported" Parse "The token is a bearer token, which is not configured."
        "Use a shared access signature.";
    TokenIssuerUnknown "token_issuer_unknown" Registry "The token is of an issuer that the hub does not trust."
        "Check the claim iss of the token, or let the hub trust the issuer.";
    TokenIssuerUnavailable "token_issuer_unavailable" Registry "The keys of the token's issuer could not be read."
        "See the warning in the log; check that the server reaches the issuer, or give it a key set.";
    TokenIssuerClosed "token_issuer_closed" Registry "The issuer, or the key that signed the token, is not trusted any more."
        "None needed: the peer may come with a token that is signed with a present key of a trusted issuer.";
    KeyUnknown "key_unknown" Signature "The token's issuer has no key of the id and kind that the token names."
        "Wait for the keys to be read again if they were just changed, or give the hub the present key set.";
    BearerSignature "bearer_signature" Signature "The token was not signed with the key that it names."
        "Get a new token from the issuer; a token that somebody changed is not taken.";
    TokenEarly "token_early" Expiry "The token is not valid yet."
        "Check the clocks of the issuer and of this server.";
    AudienceForeign "audience_foreign" Scope "The token was made for another audience."
        "Ask the issuer for a token for https://iothubs.azure.net, or add the audience to the hub's issuer.";
    TenantForeign "tenant_foreign" Scope "The token is of another tenant."
        "Use an account of the tenant that the hub trusts.";
    UserMismatch "user_mismatch" Parse "User name and token speak of different identities."
        "Use a token that was made for this user name.";
    IdentityUnknown "identity_unknown" Registry "The identity is not registered."
        "Register it, or check the id; ids are case-sensitive.";
    IdentityReplaced "identity_replaced" Registry "The identity was deleted and registered again."
        "None needed: the device may connect with the new identity's credentials.";
    PolicyUnknown "policy_unknown" Registry "The shared access policy does not exist."
        "Check the field skn of the token; names are case-sensitive.";
    CredentialUnset "credential_unset" Registry "The identity has no credentials of its own yet."
        "Start the edge runtime: it registers the keys of its modules.";
    RegistryUnavailable "registry_unavailable" Registry "The registry could not be read."
        "See the store's error beside this; the peer was told to try again.";
    IdentityDisabled "identity_disabled" Status "The identity is disabled."
        "Enable it in the registry.";
    SasDisabled "sas_disabled" Status "The hub does not take shared access signatures for this."
        "Change the hub's setting, or use another kind of credential.";
    SignatureMismatch "signature_mismatch" Signature "The signature was made with another key, or over another text."
        "Copy the key again; a token must be signed over its sr field exactly as sent.";
    KeyReplaced "key_replaced" Signature "The key that the connection logged in with is no longer valid."
        "None needed: the peer may connect with a token of a present key.";
    TokenExpired "token_expired" Expiry "The token has expired."
        "Check the device's clock, and that the client renews its token.";
    ScopeMismatch "scope_mismatch" Scope "The token does not cover the resource."
        "Make a token whose sr is the resource or a part of its path from the left.";
    HostForeign "host_foreign" Scope "The token was made for another host."
        "Make the token for a name of this hub, or add the name to the hub.";
    CertificateExpected "certificate_expected" Certificate "The identity logs in with a certificate, and a token came."
        "Connect with the certificate, or change the identity's authentication to sas.";
    TokenExpected "token_expected" Certificate "The identity logs in with a token, and a certificate came."
        "Connect with a token, or change the identity's authentication to selfSigned or certificateAuthority.";
    ThumbprintMismatch "thumbprint_mismatch" Certificate "The certificate is none of those that are registered."
        "Register the thumbprint of the device's present certificate, or give the device the registered one.";
    CertificateMalformed "certificate_malformed" Certificate "A certificate cannot be read."
        "Make the certificate anew; it must be X.509 in DER without contradictions.";
    CertificateExpired "certificate_expired" Certificate "A certificate of the chain has expired."
        "Renew it; check the server's clock if it should be valid.";
    CertificateNotYetValid "certificate_not_yet_valid" Certificate "A certificate of the chain is not valid yet."
        "Check the clock of the machine that issued it, and the server's.";
    CommonNameMismatch "common_name_mismatch" Certificate "The certificate was issued for another name."
        "Issue a certificate whose common name is the device id, or {device}/{module}; case counts.";
    IssuerUnknown "issuer_unknown" Certificate "No chain leads to a CA certificate of the hub."
        "Let the device send its intermediate certificates, or register and verify the CA that issued them.";
    AuthorityUnverified "authority_unverified" Certificate "The chain ends at a CA certificate that is not verified."
        "Verify it: generate a code, let the CA issue a certificate with this common name, and hand it in.";
    AuthorityExpired "authority_expired" Certificate "The CA certificate of the hub has expired."
        "Register and verify its successor, and give the devices certificates of it.";
    AuthorityWithdrawn "authority_withdrawn" Certificate "The CA certificate that the connection stood on was withdrawn."
        "Register and verify the CA again if its devices shall connect.";
    CertificateSignatureInvalid "certificate_signature_invalid" Certificate "A certificate was not signed by the key of its issuer."
        "Check that the chain holds the certificates of the very CA that issued it, not those of a namesake or of its former key.";
    CertificateSignatureRefused "certificate_signature_refused" Certificate "The signature of a certificate proves nothing."
        "Issue the certificate anew with a sound key and digest.";
    IssuerNotAuthority "issuer_not_authority" Certificate "A certificate was issued by one that is no CA."
        "Issue it by a CA: a certificate whose basic constraints say CA:TRUE.";
    KeyUsageMissing "key_usage_missing" Certificate "An issuer may not sign certificates."
        "Give the CA a certificate with keyCertSign in its key usage.";
    PathLengthExceeded "path_length_exceeded" Certificate "There are more CAs below an issuer than it allows."
        "Shorten the chain, or give the CA a certificate with a longer path length.";
    CertificateNameForbidden "certificate_name_forbidden" Certificate "A CA certified a name that it may not certify."
        "Issue the certificate by another CA, or with names within the constraints.";
    CriticalExtensionUnknown "critical_extension_unknown" Certificate "A certificate has a critical extension that is not known."
        "Issue the certificate without it, or with the extension not critical.";
    ChainTooLong "chain_too_long" Certificate "The chain has too many certificates."
        "Shorten the chain, or register an intermediate CA closer to the devices.";
    CertificateRevoked "certificate_revoked" Certificate "A certificate of the chain was revoked."
        "Give the device a new certificate; lift the block if it was set by mistake.";
    CertificateStatusUnknown "certificate_status_unknown" Certificate "Whether a certificate of the chain is revoked is not known, and the hub demands to know it."
        "See that the responder can be reached and the list is current: ironhub ocsp list, ironhub crl list.";
    PrincipalUnassigned "principal_unassigned" Right "No role of the token's bearer grants the action."
        "Assign a role that grants it: ironhub assignment create.";
    RightMissing "right_missing" Right "The policy lacks the right."
        "Use a policy that holds the right, or add it to this one.";
    Throttled "throttled" Quota "Too many of these operations."
        "Slow the client down, or raise the limit.";
    TooManyFailures "too_many_failures" Quota "Too many failed logins from this address."
        "Find the device that retries with a wrong credential.";
    TooManyGrants "too_many_grants" Quota "The connection holds too many tokens."
        "Spread the devices over more connections.";
    QuotaExceeded "quota_exceeded" Quota "The quota of the hub is used up."
        "Raise the limit, or wait until the quota starts anew.";
}

/// Who was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A device or module.
    Identity(IdentityId),
    /// The holder of a policy key, by the policy's name; escaped and cut.
    Policy(String),
    /// The bearer of a token, by the id that its issuer gives; escaped and cut.
    Principal(String),
    /// Nobody known.
    Peer,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Identity(identity) if identity.module.is_some() => write!(f, "module '{identity}'"),
            Self::Identity(identity) => write!(f, "device '{identity}'"),
            Self::Policy(name) => write!(f, "policy '{name}'"),
            Self::Principal(id) => write!(f, "principal '{id}'"),
            Self::Peer => f.write_str("the peer"),
        }
    }
}

/// A refused login, request or link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Why.
    pub reason: Reason,
    /// Who.
    pub subject: Subject,
    /// What would have been accepted; empty when the reason says it all.
    pub expected: String,
    /// What came; empty when the reason says it all. For [`Reason::TokenExpired`] the seconds since the expiry.
    pub found: String,
    is_hushed: bool,
}

/// Characters of a foreign text that a refusal repeats.
const ECHO_CHARS_MAX: usize = 300;

impl Refusal {
    /// A refusal that says no more than its reason.
    pub const fn new(reason: Reason, subject: Subject) -> Self {
        Self {
            reason,
            subject,
            expected: String::new(),
            found: String::new(),
            is_hushed: false,
        }
    }

    /// One of so many that it leaves no record of its own.
    pub fn hushed(mut self) -> Self {
        self.is_hushed = true;
        self
    }

    /// Whether it leaves no record: those before it in the same burst have told the operator.
    pub const fn is_hushed(&self) -> bool {
        self.is_hushed
    }

    /// Says what would have been accepted.
    pub fn expecting(mut self, expected: &str) -> Self {
        self.expected = echo(expected);
        self
    }

    /// Says what came. Must not be a secret.
    pub fn finding(mut self, found: &str) -> Self {
        self.found = echo(found);
        self
    }

    /// Names who was refused, if the refusal does not say so already.
    pub fn by(mut self, subject: Subject) -> Self {
        if self.subject == Subject::Peer {
            self.subject = subject;
        }
        self
    }

    pub(super) fn of(identity: &IdentityId, reason: Reason) -> Self {
        Self::new(reason, Subject::Identity(identity.clone()))
    }

    pub(super) fn of_policy(name: &str, reason: Reason) -> Self {
        Self::new(reason, Subject::Policy(echo(name)))
    }

    /// The registry could not answer.
    pub(super) fn unavailable(subject: Subject, error: &Error) -> Self {
        let detail = error.detail().unwrap_or_else(|| error.message());
        Self::new(Reason::RegistryUnavailable, subject).finding(detail)
    }

    /// The step that failed.
    pub const fn step(&self) -> Step {
        self.reason.step()
    }

    /// What the operator can do.
    pub const fn advice(&self) -> &'static str {
        self.reason.advice()
    }

    /// The code of the error table. Unknown and disabled identities have the same one (device-mqtt-https.md 11.7).
    pub const fn code(&self) -> Code {
        match self.reason {
            Reason::IdentityUnknown | Reason::IdentityReplaced | Reason::IdentityDisabled => {
                match &self.subject {
                    Subject::Identity(IdentityId { module: Some(_), .. }) => Code::ModuleNotFound,
                    _ => Code::DeviceNotFound,
                }
            }
            Reason::RegistryUnavailable | Reason::TokenIssuerUnavailable => Code::ServiceUnavailable,
            Reason::Throttled | Reason::TooManyFailures => Code::ThrottlingException,
            Reason::TooManyGrants => Code::IotHubMaxCbsTokenExceeded,
            Reason::QuotaExceeded => Code::IotHubQuotaExceeded,
            Reason::HostUnknown => Code::ArgumentInvalid,
            _ => Code::IotHubUnauthorizedAccess,
        }
    }

    /// Whether the same credential may be accepted later without a change by the peer: then a protocol must not answer with
    /// its final "not authorised" (device-mqtt-https.md 3.3).
    pub const fn is_passing(&self) -> bool {
        matches!(
            self.reason,
            Reason::RegistryUnavailable
                | Reason::TokenIssuerUnavailable
                | Reason::Throttled
                | Reason::TooManyFailures
                | Reason::TooManyGrants
                | Reason::QuotaExceeded
        )
    }

    /// The error for the peer: a code and a bare word. The whole sentence goes into the log.
    pub fn to_peer(&self) -> Error {
        let message = match self.code() {
            Code::DeviceNotFound | Code::ModuleNotFound => match &self.subject {
                Subject::Identity(identity) => identity.to_string(),
                _ => "Not found".to_owned(),
            },
            // The service names the address too (service-rest.md 19).
            Code::IotHubUnauthorizedAccess if self.reason == Reason::NetworkDenied => {
                format!("Unauthorized. The network rules of the hub deny {}", self.found)
            }
            Code::IotHubUnauthorizedAccess => "Unauthorized".to_owned(),
            Code::ArgumentInvalid => "Requested Host is not supported".to_owned(),
            Code::ServiceUnavailable => {
                return Error::environment(Code::ServiceUnavailable, self.to_string());
            }
            code => code.meaning().to_owned(),
        };
        Error::peer(self.code(), message).with_detail(self.to_string())
    }
}

impl Refusal {
    /// The error for a peer that asked for something over HTTP. Whoever has no role for it is told so in Azure's words
    /// (service-rest.md 2.2); the issuer knows who that is, so nothing is given away.
    pub fn to_peer_on(&self, verb: &str, path: &str) -> Error {
        match (&self.subject, self.reason) {
            (Subject::Principal(id), Reason::PrincipalUnassigned) => {
                let message = format!(
                    "Principal {id} is not authorized for {verb} on {} due to no assigned permissions",
                    echo(path)
                );
                Error::peer(self.code(), message).with_detail(self.to_string())
            }
            _ => self.to_peer(),
        }
    }
}

/// One sentence for the operator, without capital and full stop, to stand in a log line.
impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            subject,
            expected,
            found,
            ..
        } = self;
        match self.reason {
            Reason::NetworkDenied => write!(f, "the network rules deny {found}: {expected}"),
            Reason::TokenExpired => write!(f, "token expired {found} s ago by the server's clock"),
            Reason::SignatureMismatch => write!(
                f,
                "signature matches neither the primary nor the secondary key of {subject}"
            ),
            Reason::ScopeMismatch => write!(f, "scope {found} does not cover {expected}"),
            Reason::HostForeign => write!(f, "the token is for the host {found}, not for {expected}"),
            Reason::IdentityDisabled => write!(f, "{subject} is disabled"),
            Reason::IdentityUnknown => write!(f, "{subject} is not registered"),
            Reason::IdentityReplaced => write!(f, "{subject} was deleted and registered again"),
            Reason::PolicyUnknown => write!(f, "{subject} does not exist"),
            Reason::CredentialUnset => write!(f, "{subject} has no credentials of its own yet"),
            Reason::KeyReplaced => write!(f, "the key of {subject} that was used is no longer valid"),
            Reason::RightMissing => write!(f, "{subject} holds {found} and lacks {expected}"),
            Reason::RegistryUnavailable => write!(f, "the registry could not be read: {found}"),
            Reason::TokenMalformed => write!(f, "the token is malformed: {found}, expected {expected}"),
            Reason::CredentialMissing => write!(f, "{subject} presented no credential, expected {expected}"),
            Reason::CertificateExpected => {
                write!(f, "{subject} logs in with a certificate, and a token came")
            }
            Reason::TokenExpected => {
                write!(f, "{subject} logs in with a token, and a certificate came")
            }
            // The words of the service's own log (device-mqtt-https.md 2.4).
            Reason::ThumbprintMismatch => write!(
                f,
                "Thumbprint does not match configuration: Thumbprint: {found}; Configuration: {expected}"
            ),
            Reason::AuthorityWithdrawn => {
                write!(f, "the CA certificate that {subject} stood on was withdrawn")
            }
            Reason::CertificateRevoked | Reason::CertificateStatusUnknown => {
                write!(f, "the certificate of {subject} was refused: {found}")
            }
            Reason::SasDisabled => write!(f, "the hub takes no shared access signature of {subject}"),
            Reason::PrincipalUnassigned => write!(f, "no role of {subject} grants {expected}"),
            Reason::BearerUnsupported => f.write_str("a bearer token came, and none is configured"),
            Reason::UserMismatch => write!(f, "the token does not belong to the user name {expected}"),
            reason => {
                write!(f, "{}", reason.label().replace('_', " "))?;
                if !expected.is_empty() {
                    write!(f, ", expected {expected}")?;
                }
                if !found.is_empty() {
                    write!(f, ", found {found}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Refusal {}

/// A character as it may stand in a log line. Quotes are harmless there, and names of certificates stand in them.
fn escaped(char: char) -> impl Iterator<Item = char> {
    let keeps = matches!(char, '\'' | '"');
    let kept = keeps.then_some(char);
    kept.into_iter()
        .chain((!keeps).then(|| char.escape_debug()).into_iter().flatten())
}

/// Makes a foreign text safe for a log line.
fn echo(text: &str) -> String {
    // Nearly every text is safe as it is.
    if text.len() <= ECHO_CHARS_MAX
        && text
            .bytes()
            .all(|byte| (b' '..=b'~').contains(&byte) && byte != b'\\')
    {
        return text.to_owned();
    }
    let mut chars = text.chars();
    let mut safe: String = chars.by_ref().take(ECHO_CHARS_MAX).flat_map(escaped).collect();
    if chars.next().is_some() {
        safe.push_str("...");
    }
    safe
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::identity::{DeviceId, ModuleId};

    fn device() -> IdentityId {
        IdentityId::device(DeviceId::parse("a").unwrap())
    }

    #[test]
    fn labels_are_unique_and_advice_is_a_sentence() {
        let labels: HashSet<_> = Reason::ALL.iter().map(|reason| reason.label()).collect();
        assert_eq!(labels.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert!(reason.advice().ends_with('.'), "{}", reason.label());
        }
    }

    #[test]
    fn sentences_are_for_people() {
        for (refusal, sentence) in [
            (
                Refusal::of(&device(), Reason::TokenExpired).finding("93"),
                "token expired 93 s ago by the server's clock",
            ),
            (
                Refusal::of(&device(), Reason::SignatureMismatch),
                "signature matches neither the primary nor the secondary key of device 'a'",
            ),
            (
                Refusal::of(&device(), Reason::ScopeMismatch)
                    .finding("hub/devices/a")
                    .expecting("hub/devices/b"),
                "scope hub/devices/a does not cover hub/devices/b",
            ),
            (
                Refusal::of(&device(), Reason::IdentityDisabled),
                "device 'a' is disabled",
            ),
            (
                Refusal::of_policy("service", Reason::RightMissing)
                    .finding("ServiceConnect")
                    .expecting("DeviceConnect"),
                "policy 'service' holds ServiceConnect and lacks DeviceConnect",
            ),
        ] {
            assert_eq!(refusal.to_string(), sentence);
        }
    }

    #[test]
    fn the_peer_learns_only_the_code() {
        let refusal = Refusal::of(&device(), Reason::SignatureMismatch);
        assert_eq!(refusal.to_peer().message(), "Unauthorized");
        assert_eq!(refusal.code(), Code::IotHubUnauthorizedAccess);
        let module = IdentityId::module(device().device, ModuleId::parse("m").unwrap());
        assert_eq!(
            Refusal::of(&module, Reason::IdentityUnknown).code(),
            Code::ModuleNotFound
        );
        let disabled = Refusal::of(&device(), Reason::IdentityDisabled);
        assert_eq!(disabled.to_peer().code(), Code::DeviceNotFound);
        assert_eq!(disabled.to_peer().message(), "a");
        let down = Refusal::unavailable(Subject::Peer, &Error::bug("torn page"));
        assert!(down.is_passing() && !down.to_peer().message().contains("torn"));
    }

    #[test]
    fn foreign_text_is_escaped_and_cut() {
        let refusal = Refusal::of_policy(&"\n\u{1b}[31m".repeat(1_000), Reason::PolicyUnknown);
        let text = refusal.to_string();
        assert!(!text.contains('\n') && !text.contains('\u{1b}') && text.len() < 5_000);
        assert!(text.contains("..."));
    }
}
