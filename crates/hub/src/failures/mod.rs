//! Failed logins: how many, by whom, from where, and who is refused unread because of them.
//!
//! Keys are too long to be guessed, so what a flood of wrong logins costs is work and records. Two counts bound both. One is for each
//! claimed identity or policy at each address: over it, further logins of that claim from that address are refused before registry,
//! signature or certificate are looked at. The other is for each address: over it, a claim that has failed from there already is refused
//! much sooner, and single failures leave no records any more.
//!
//! A policy is never refused unread: its key is shared by many, any of whom could keep the others out, and looking at its token costs one HMAC
//! of a key that lies in memory. Over the count its failures leave one record a minute.
//!
//! Nobody is refused for what happens elsewhere, nor for what others do at his address: an identity that logged in from an address within
//! the last day is never refused unread there, and one that has not failed there is always looked at. A whole site behind one address
//! therefore outlives a broken device and an attacker in its midst (docs/decisions/0014).
//!
//! Both counts drain steadily: a limit of 30 a minute gives a new attempt every two seconds. They lie in tables of fixed size, under keyed
//! hashes; where many meet, the one that matters least makes room.

mod table;

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::access::{Reason, Refusal, Step, Subject};
use crate::clock::Clock;
use crate::identity::IdentityId;
use crate::limits::{Limit, Limits};
use crate::tenancy::HubName;

use self::table::Table;

/// The time over which failures are counted.
const WINDOW: Duration = Duration::from_secs(60);

/// How long a login vouches for its identity at its address.
const VOUCHED: Duration = Duration::from_secs(24 * 60 * 60);

/// At an address with too many failures, a claim that failed there has this part of its own limit.
const STRICTER: u32 = 10;

/// Bits of an IPv6 address that name its site; the rest is its owner's to choose.
const SITE_BITS: u32 = 64;

/// Whom a peer claims to be.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Claim {
    /// A device or module.
    Identity(IdentityId),
    /// The holder of a policy's key.
    Policy(String),
    /// Nobody who could be told apart.
    Nobody,
}

/// The failed logins of a server.
pub struct Failures {
    clock: Arc<dyn Clock>,
    limits: Arc<Limits>,
    hasher: RandomState,
    claims: Table,
    addresses: Table,
}

impl Failures {
    /// None yet. The tables have the size that the limit has now.
    pub fn new(clock: Arc<dyn Clock>, limits: Arc<Limits>) -> Self {
        let tracked = limits.size(Limit::FailedLoginsTrackedMax);
        Self {
            clock,
            limits,
            hasher: RandomState::new(),
            claims: Table::new(tracked),
            addresses: Table::new(tracked / 4),
        }
    }

    /// Whether a login is worth looking at. Asked before anything is done for it.
    ///
    /// # Errors
    /// [`Reason::TooManyFailures`]; the refusal is [hushed](Refusal::is_hushed) but for one in a burst.
    pub fn check(&self, hub: &HubName, claim: &Claim, address: IpAddr) -> Result<(), Refusal> {
        if !matches!(claim, Claim::Identity(_)) {
            // It would be a refusal of everybody at the address, or of everybody there who shares the policy.
            return Ok(());
        }
        let now = self.clock.elapsed();
        let site = site_of(address);
        let claim_limit = self.limits.get(Limit::FailedLoginsPerMinuteMax);
        let is_over = self
            .addresses
            .look(self.key(&site), |account| account.is_over(now, 1));
        let part = if is_over { STRICTER } else { 1 };
        self.claims.with(self.key(&(&site, hub, claim)), now, |account| {
            if account.is_vouched(now) || !account.is_over(now, part) {
                return Ok(());
            }
            self.limits.hit(Limit::FailedLoginsPerMinuteMax);
            let told = account.tell(now);
            let unheard = if told {
                std::mem::take(&mut account.unheard)
            } else {
                0
            };
            let text = match unheard {
                0 => format!("over {claim_limit} a minute from {site}"),
                more => {
                    format!("over {claim_limit} a minute from {site}; {more} were refused before this one")
                }
            };
            let refusal = Refusal::new(Reason::TooManyFailures, subject_of(claim)).finding(&text);
            Err(if told { refusal } else { refusal.hushed() })
        })
    }

    /// Counts a refusal, if it is one of a credential. Gives it back, hushed when its address has too many for each to be told.
    pub fn note(&self, hub: &HubName, claim: &Claim, address: IpAddr, refusal: Refusal) -> Refusal {
        if !counts(&refusal) {
            return refusal;
        }
        let now = self.clock.elapsed();
        let site = site_of(address);
        let each = interval(self.limits.get(Limit::FailedLoginsPerMinuteMax));
        let is_of_policy = matches!(claim, Claim::Policy(_));
        let is_claim_told = self.claims.with(self.key(&(&site, hub, claim)), now, |account| {
            let was_over = account.is_over(now, 1);
            account.fail(now, each);
            if !is_of_policy || !was_over {
                return true;
            }
            self.limits.hit(Limit::FailedLoginsPerMinuteMax);
            account.tell(now)
        });
        let each = interval(self.address_limit());
        let is_told = self.addresses.with(self.key(&site), now, |account| {
            let was_over = account.is_over(now, 1);
            account.fail(now, each);
            if !was_over {
                return true;
            }
            self.limits.hit(Limit::FailedAuthenticationsPerMinuteMax);
            account.tell(now)
        });
        if is_told && is_claim_told {
            refusal
        } else {
            refusal.hushed()
        }
    }

    /// A login was good: its identity is known at its address.
    pub fn vouch(&self, hub: &HubName, claim: &Claim, address: IpAddr) {
        let now = self.clock.elapsed();
        let site = site_of(address);
        self.claims
            .with(self.key(&(&site, hub, claim)), now, |account| account.vouch(now));
    }

    fn address_limit(&self) -> u64 {
        self.limits.get(Limit::FailedAuthenticationsPerMinuteMax)
    }

    fn key(&self, of: &impl Hash) -> u64 {
        self.hasher.hash_one(of)
    }
}

impl std::fmt::Debug for Failures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Failures").finish_non_exhaustive()
    }
}

/// Whether a refusal says that a credential was wrong. What may pass, and what was refused although the credential was right, says
/// nothing of the kind: a disabled device, an expired token, an address that is denied.
fn counts(refusal: &Refusal) -> bool {
    let is_of_credential = matches!(
        refusal.step(),
        Step::Parse | Step::Registry | Step::Signature | Step::Certificate
    );
    let is_other = matches!(
        refusal.reason,
        Reason::HostUnknown
            | Reason::KeyReplaced
            | Reason::IdentityReplaced
            | Reason::CredentialUnset
            | Reason::CertificateStatusUnknown
    );
    is_of_credential && !is_other && !refusal.is_passing()
}

fn subject_of(claim: &Claim) -> Subject {
    match claim {
        Claim::Identity(identity) => Subject::Identity(identity.clone()),
        Claim::Policy(name) => Subject::Policy(name.chars().flat_map(char::escape_debug).take(128).collect()),
        Claim::Nobody => Subject::Peer,
    }
}

/// An IPv4 address, or the network of an IPv6 one.
fn site_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let site = u128::from(address) >> SITE_BITS << SITE_BITS;
            IpAddr::V6(Ipv6Addr::from(site))
        }
        address @ IpAddr::V4(_) => address,
    }
}

/// The part of the window that one failure takes up.
fn interval(per_window: u64) -> Duration {
    u32::try_from(per_window).map_or(Duration::ZERO, |count| WINDOW / count.max(1))
}
