//! Takes in what there is, one thing after the other, and says what could be better.

use std::collections::BTreeMap;
use std::time::Duration;

use super::check::Check;
use super::keys::{Keys, Shared};
use super::report::{Finding, Report, Tally};
use crate::access::{Policy, Rights, Rules};
use crate::clock::Timestamp;
use crate::identity::{Authentication, IdentityRef, Status};
use crate::limits::{Limit, Limits};
use crate::presence::Presence;
use crate::settings::TlsVersion;

/// The policy that holds every right by design.
const OWNER: &str = "iothubowner";

/// Below this share of certificates, in percent, more of them are advised.
const CERTIFICATES_PERCENT_MIN: u64 = 50;

/// Devices below which a share says nothing.
const SHARE_DEVICES_MIN: u64 = 10;

/// What is long and what is soon.
#[derive(Debug, Clone, Copy)]
pub struct Thresholds {
    /// Keys older than this are old.
    pub key_age: Duration,
    /// Devices and policies that were idle for longer are told of.
    pub idle: Duration,
    /// Certificates that expire within this are told of.
    pub expiry: Duration,
    /// Keys that are compared at most.
    pub keys_max: usize,
}

impl Thresholds {
    /// Those in force.
    pub fn of(limits: &Limits) -> Self {
        Self {
            key_age: limits.time(Limit::AdviseKeyAgeSecs),
            idle: limits.time(Limit::AdviseIdleSecs),
            expiry: limits.time(Limit::AdviseExpirySecs),
            keys_max: limits.size(Limit::AdviseKeysMax),
        }
    }
}

/// A policy, and when it was used last.
#[derive(Debug, Clone, Copy)]
pub struct PolicyState<'a> {
    /// The policy.
    pub policy: &'a Policy,
    /// When its key was used last, or else since when it is known; nothing for one that is new.
    pub used: Option<Timestamp>,
}

/// A revocation list of the hub.
#[derive(Debug, Clone, Copy)]
pub struct ListState<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it was issued and when it runs out, if it says so; nothing if none was ever loaded.
    pub validity: Option<(Timestamp, Option<Timestamp>)>,
}

/// A certificate that the server shows for the hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerCertificateState {
    /// What it is called: its file.
    pub name: String,
    /// When it expires, if that is understood.
    pub expires: Option<Timestamp>,
    /// Its files have changed, and cannot be used.
    pub is_refused: bool,
}

/// A CA certificate of the hub.
#[derive(Debug, Clone, Copy)]
pub struct AuthorityState<'a> {
    /// Its name.
    pub name: &'a str,
    /// When it expires.
    pub expires: Timestamp,
    /// Whether possession of its key was proven.
    pub is_verified: bool,
}

/// How the hub itself is set.
#[derive(Debug, Clone, Copy)]
pub struct Switches {
    /// Which ways in are closed.
    pub rules: Rules,
    /// The lowest version of TLS, if the owner set one.
    pub min_tls: Option<TlsVersion>,
    /// Since when TLS 1.2 was not used; nothing while no connection was seen.
    pub old_tls_idle_since: Option<Timestamp>,
    /// Whether it may be reached from anywhere.
    pub is_network_open: bool,
}

/// Everything that was taken in so far.
#[derive(Debug)]
pub struct Survey {
    now: Timestamp,
    thresholds: Thresholds,
    tallies: BTreeMap<Check, Tally>,
    keys: Option<Keys>,
    shared: Shared,
    devices: u64,
    modules: u64,
    with_certificates: u64,
    keys_not_compared: u64,
}

impl Survey {
    /// Nothing taken in yet. Everything is judged as of `now`.
    pub fn new(now: Timestamp, thresholds: Thresholds) -> Self {
        Self {
            now,
            thresholds,
            tallies: BTreeMap::new(),
            keys: Some(Keys::new(thresholds.keys_max)),
            shared: Keys::new(0).shared(),
            devices: 0,
            modules: 0,
            with_certificates: 0,
            keys_not_compared: 0,
        }
    }

    /// A device or module, and what is known of its connections.
    pub fn identity(&mut self, identity: IdentityRef<'_>, presence: Presence) {
        self.credential(identity);
        let IdentityRef::Device(device) = identity else {
            self.modules += 1;
            return;
        };
        self.devices += 1;
        let name = || device.id.to_string();
        if device.status == Status::Disabled {
            return self.add(Check::Disabled, name);
        }
        if presence.connected {
            return;
        }
        let is_idle = |since: Timestamp| self.now.since(since) > self.thresholds.idle;
        if presence.last_activity == Timestamp::NEVER {
            if is_idle(device.generation.created()) {
                self.add(Check::NeverSeen, name);
            }
        } else if is_idle(presence.last_activity) {
            self.add(Check::NotSeen, name);
        }
    }

    fn credential(&mut self, identity: IdentityRef<'_>) {
        let name = || identity.id().to_string();
        match identity.authentication() {
            Authentication::Sas { primary, secondary } => {
                if let Some(keys) = &mut self.keys {
                    keys.add(primary, secondary);
                }
                if primary.is_same(secondary) {
                    self.add(Check::KeysEqual, name);
                }
                if self.now.since(identity.authentication_set()) > self.thresholds.key_age {
                    self.add(Check::KeysOld, name);
                }
            }
            Authentication::SelfSigned { .. } | Authentication::CertificateAuthority => {
                if matches!(identity, IdentityRef::Device(_)) {
                    self.with_certificates += 1;
                }
            }
            // A survey is shown opened keys.
            Authentication::None | Authentication::SealedSas(_) => {}
        }
    }

    /// Ends the first look at the identities. Whether there are keys that several of them have, so that each must be shown to
    /// [`Self::holder`] once more.
    pub fn compare_keys(&mut self) -> bool {
        if let Some(keys) = self.keys.take() {
            self.keys_not_compared = keys.left_out;
            self.shared = keys.shared();
        }
        !self.shared.is_empty()
    }

    /// The second look at an identity: whether it has a key that another has, too.
    pub fn holder(&mut self, identity: IdentityRef<'_>) {
        if let Authentication::Sas { primary, secondary } = identity.authentication()
            && self.shared.holds(primary, secondary)
        {
            self.add(Check::KeysShared, || identity.id().to_string());
        }
    }

    /// A policy.
    pub fn policy(&mut self, state: PolicyState<'_>) {
        let PolicyState { policy, used } = state;
        let name = || policy.name.to_string();
        if policy.rights.contains(Rights::ALL) && *policy.name != *OWNER {
            self.add(Check::PolicyTooStrong, name);
        }
        if policy.primary.is_same(&policy.secondary) {
            self.add(Check::PolicyKeysEqual, name);
        }
        let idle = used.map_or(Duration::ZERO, |used| self.now.since(used));
        if *policy.name != *OWNER && idle > self.thresholds.idle {
            self.add(Check::PolicyUnused, name);
        }
    }

    /// A certificate that the server shows for the hub.
    pub fn server_certificate(&mut self, state: &ServerCertificateState) {
        let name = |expires: Timestamp| format!("{} ({expires})", state.name);
        if let Some(expires) = state.expires {
            if expires <= self.now {
                self.add(Check::ServerCertificateExpired, || name(expires));
            } else if expires.since(self.now) < self.thresholds.expiry {
                self.add(Check::ServerCertificateExpiring, || name(expires));
            }
        }
        if state.is_refused {
            self.add(Check::ServerCertificateRefused, || state.name.clone());
        }
    }

    /// A CA certificate of the hub.
    pub fn authority(&mut self, state: AuthorityState<'_>) {
        let name = || state.name.to_owned();
        if state.expires <= self.now {
            self.add(Check::AuthorityExpired, name);
        } else if state.expires.since(self.now) < self.thresholds.expiry {
            self.add(Check::AuthorityExpiring, name);
        }
        if !state.is_verified {
            self.add(Check::AuthorityUnverified, name);
        }
    }

    /// A revocation list. Lists of a day and lists of a year are both common: soon is within the last quarter of its own time.
    pub fn list(&mut self, state: ListState<'_>) {
        let name = || state.name.to_owned();
        match state.validity {
            None => self.add(Check::ListMissing, name),
            Some((_, None)) => {}
            Some((_, Some(ends))) if ends < self.now => self.add(Check::ListExpired, name),
            Some((issued, Some(ends))) => {
                let soon = (ends.since(issued) / 4).min(self.thresholds.expiry);
                if ends.since(self.now) < soon {
                    self.add(Check::ListExpiring, || format!("{} ({ends})", state.name));
                }
            }
        }
    }

    /// A policy of which a token was used that is good until then, which is long.
    pub fn long_policy_token(&mut self, policy: &str, expires: Timestamp) {
        if expires > self.now {
            self.add(Check::PolicyTokenLong, || format!("{policy} (until {expires})"));
        }
    }

    /// An identity that logged in with a token that is good until then, which is long.
    pub fn long_token(&mut self, identity: &str, expires: Timestamp) {
        if expires > self.now {
            self.add(Check::TokenLong, || format!("{identity} (until {expires})"));
        }
    }

    /// An identity that logged in with a certificate that expires then, which is soon.
    pub fn certificate(&mut self, identity: &str, expires: Timestamp) {
        self.add(Check::CertificateExpiring, || format!("{identity} ({expires})"));
    }

    /// What could be better, the worst first.
    pub fn finish(mut self, switches: Switches) -> Report {
        let certificates_percent = (self.with_certificates * 100)
            .checked_div(self.devices)
            .unwrap_or(0);
        if self.devices >= SHARE_DEVICES_MIN && certificates_percent < CERTIFICATES_PERCENT_MIN {
            let (with, all) = (self.with_certificates, self.devices);
            self.add(Check::FewCertificates, || format!("{with} of {all}"));
        }
        let all_certified = self.devices > 0 && self.with_certificates == self.devices;
        if all_certified && !switches.rules.device_sas_disabled {
            self.add(Check::LocalAuthIdle, || "disableDeviceSAS".to_owned());
        }
        let is_idle = |since: Timestamp| self.now.since(since) > self.thresholds.idle;
        let takes_old_tls = switches.min_tls.is_none_or(|min| min < TlsVersion::V1_3);
        if takes_old_tls && switches.old_tls_idle_since.is_some_and(is_idle) {
            self.add(Check::TlsOld, || "minTlsVersion".to_owned());
        }
        if switches.is_network_open {
            self.add(Check::NetworkOpen, || "network rules".to_owned());
        }
        let mut findings: Vec<Finding> = self
            .tallies
            .iter()
            .filter_map(|(check, tally)| tally.finding(*check))
            .collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.severity));
        Report {
            time: self.now,
            devices: self.devices,
            modules: self.modules,
            certificates_percent,
            keys_not_compared: self.keys_not_compared,
            findings,
        }
    }

    fn add(&mut self, check: Check, name: impl FnOnce() -> String) {
        self.tallies.entry(check).or_default().add(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entropy::SystemEntropy;
    use crate::identity::{Device, DeviceId, Etag, GenerationId, Placement};

    const DAY: Duration = Duration::from_secs(86_400);

    fn now() -> Timestamp {
        Timestamp::from_secs(1_800_000_000)
    }

    fn before(duration: Duration) -> Timestamp {
        Timestamp::from_micros(now().as_micros() - i64::try_from(duration.as_micros()).unwrap())
    }

    fn survey() -> Survey {
        let thresholds = Thresholds {
            key_age: 90 * DAY,
            idle: 30 * DAY,
            expiry: 30 * DAY,
            keys_max: 1_000,
        };
        Survey::new(now(), thresholds)
    }

    fn device(id: &str, age: Duration, authentication: Authentication) -> Device {
        Device {
            id: DeviceId::parse(id).unwrap(),
            generation: GenerationId::from_ticks(before(age).as_ticks()),
            etag: Etag::from_counter(1),
            status: Status::Enabled,
            status_reason: None,
            status_updated: Timestamp::NEVER,
            authentication,
            authentication_updated: Timestamp::NEVER,
            placement: Placement::Leaf { parent: None },
        }
    }

    /// A hub with nothing to say of its own switches.
    fn closed() -> Switches {
        Switches {
            rules: Rules::default(),
            min_tls: Some(TlsVersion::V1_3),
            old_tls_idle_since: Some(before(365 * DAY)),
            is_network_open: false,
        }
    }

    fn found(report: &Report) -> Vec<(&str, u64)> {
        let findings = report.findings.iter();
        findings.map(|finding| (finding.check, finding.count)).collect()
    }

    #[test]
    fn a_key_of_two_devices_is_found_and_one_of_its_own_is_not() {
        let shared = Authentication::generate(&SystemEntropy);
        let devices = [
            device("a", DAY, shared.clone()),
            device("b", DAY, Authentication::generate(&SystemEntropy)),
            device("c", DAY, shared),
        ];
        let mut survey = survey();
        for device in &devices {
            survey.identity(IdentityRef::Device(device), Presence::NEVER);
        }
        assert!(survey.compare_keys());
        for device in &devices {
            survey.holder(IdentityRef::Device(device));
        }
        let report = survey.finish(closed());
        assert_eq!(found(&report), [("keys-shared", 2)]);
        assert_eq!(report.findings[0].examples, ["a", "c"]);
    }

    #[test]
    fn age_and_silence_are_told_apart() {
        let mut survey = survey();
        let old = device("old", 100 * DAY, Authentication::generate(&SystemEntropy));
        let heard = |ago| Presence {
            connected: false,
            changed: before(ago),
            last_activity: before(ago),
        };
        survey.identity(IdentityRef::Device(&old), Presence::NEVER);
        survey.identity(IdentityRef::Device(&old), heard(31 * DAY));
        survey.identity(IdentityRef::Device(&old), heard(29 * DAY));
        assert!(survey.compare_keys());
        survey.authority(AuthorityState {
            name: "gone",
            expires: before(DAY),
            is_verified: true,
        });
        survey.authority(AuthorityState {
            name: "soon",
            expires: now().plus(DAY),
            is_verified: false,
        });
        let report = survey.finish(closed());
        assert_eq!(
            found(&report),
            [
                ("authority-expired", 1),
                ("authority-expiring", 1),
                ("keys-old", 3),
                ("authority-unverified", 1),
                ("never-seen", 1),
                ("not-seen", 1),
            ]
        );
    }

    #[test]
    fn what_the_server_shows_is_looked_at() {
        let mut survey = survey();
        let mut shown = |name: &str, expires, is_refused| {
            survey.server_certificate(&ServerCertificateState {
                name: name.to_owned(),
                expires,
                is_refused,
            });
        };
        shown("gone.pem", Some(before(DAY)), false);
        shown("soon.pem", Some(now().plus(DAY)), true);
        shown("good.pem", Some(now().plus(100 * DAY)), false);
        shown("odd.pem", None, false);
        let report = survey.finish(closed());
        assert_eq!(
            found(&report),
            [
                ("server-certificate-expired", 1),
                ("server-certificate-expiring", 1),
                ("server-certificate-refused", 1)
            ]
        );
    }

    #[test]
    fn keys_for_nobody_are_told_where_all_have_certificates() {
        let mut survey = survey();
        let device = device("a", DAY, Authentication::CertificateAuthority);
        survey.identity(IdentityRef::Device(&device), Presence::NEVER);
        let report = survey.finish(closed());
        assert_eq!(found(&report), [("local-auth-idle", 1)]);
        assert_eq!(report.certificates_percent, 100);
    }

    #[test]
    fn lists_are_soon_over_by_their_own_measure() {
        let mut survey = survey();
        for (name, issued, ends) in [
            ("of a day, new", before(DAY / 24), Some(now().plus(DAY * 23 / 24))),
            (
                "of a day, over soon",
                before(DAY * 20 / 24),
                Some(now().plus(DAY * 4 / 24)),
            ),
            (
                "of a year, in two months",
                before(300 * DAY),
                Some(now().plus(60 * DAY)),
            ),
            (
                "of a year, in a month",
                before(340 * DAY),
                Some(now().plus(25 * DAY)),
            ),
            ("without an end", before(DAY), None),
            ("over", before(DAY), Some(before(DAY / 24))),
        ] {
            let validity = Some((issued, ends));
            survey.list(ListState { name, validity });
        }
        survey.list(ListState {
            name: "never loaded",
            validity: None,
        });
        let report = survey.finish(closed());
        assert_eq!(
            found(&report),
            [("list-expired", 1), ("list-expiring", 2), ("list-missing", 1)]
        );
        assert!(report.findings[1].examples[0].starts_with("of a day, over soon"));
        assert!(report.findings[1].examples[1].starts_with("of a year, in a month"));
    }

    #[test]
    fn what_stays_open_without_need_is_told() {
        let with = |min_tls, idle: Option<Duration>, is_network_open| {
            let switches = Switches {
                min_tls,
                old_tls_idle_since: idle.map(before),
                is_network_open,
                ..closed()
            };
            let report = survey().finish(switches);
            let findings = report.findings.iter();
            findings.map(|finding| finding.check).collect::<Vec<_>>()
        };
        assert_eq!(with(None, Some(31 * DAY), true), ["tls-old", "network-open"]);
        assert_eq!(with(Some(TlsVersion::V1_2), Some(31 * DAY), false), ["tls-old"]);
        assert!(with(None, Some(29 * DAY), false).is_empty(), "it was used");
        assert!(with(None, None, false).is_empty(), "nobody came yet");
        assert!(with(Some(TlsVersion::V1_3), Some(31 * DAY), false).is_empty());
    }

    #[test]
    fn a_policy_is_idle_since_it_was_used_or_is_known() {
        let policy = |name: &str| {
            let key = || crate::secret::SymmetricKey::generate(&SystemEntropy);
            Policy::with_keys(name, Rights::SERVICE_CONNECT, key(), key()).unwrap()
        };
        let mut survey = survey();
        for (name, used) in [
            ("used", Some(before(DAY))),
            ("idle", Some(before(31 * DAY))),
            ("new", None),
            (OWNER, Some(before(31 * DAY))),
        ] {
            survey.policy(PolicyState {
                policy: &policy(name),
                used,
            });
        }
        survey.long_policy_token("used", now().plus(400 * DAY));
        survey.long_policy_token("over", before(DAY));
        let report = survey.finish(closed());
        assert_eq!(found(&report), [("policy-token-long", 1), ("policy-unused", 1)]);
        assert_eq!(report.findings[1].examples, ["idle"]);
    }
}
