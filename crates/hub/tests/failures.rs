//! Failed logins: who is refused unread, who never is, and what is told.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code; the exemption in clippy.toml sees only functions marked as tests"
)]

mod doubles;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use doubles::{NOW_SECS, device};
use hub::access::{Reason, Refusal, Subject};
use hub::clock::{ManualClock, Timestamp};
use hub::failures::{Claim, Failures};
use hub::limits::{Fidelity, Limit, Limits};
use hub::tenancy::HubName;

struct World {
    clock: Arc<ManualClock>,
    limits: Arc<Limits>,
    failures: Failures,
    hub: HubName,
}

impl World {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::at(Timestamp::from_secs(NOW_SECS)));
        let limits = Arc::new(Limits::new(Fidelity::Native));
        Self {
            failures: Failures::new(Arc::<ManualClock>::clone(&clock), Arc::clone(&limits)),
            clock,
            limits,
            hub: HubName::parse("hub1").unwrap(),
        }
    }

    fn check(&self, claim: &Claim, from: &str) -> Result<(), Refusal> {
        self.failures.check(&self.hub, claim, address(from))
    }

    /// One login that fails for a reason; whether it was looked at, and whether it leaves a record.
    fn fail(&self, claim: &Claim, from: &str, reason: Reason) -> (bool, bool) {
        if let Err(refusal) = self.check(claim, from) {
            return (false, !refusal.is_hushed());
        }
        let refusal = Refusal::new(reason, Subject::Peer);
        let noted = self.failures.note(&self.hub, claim, address(from), refusal);
        (true, !noted.is_hushed())
    }

    fn vouch(&self, claim: &Claim, from: &str) {
        self.failures.vouch(&self.hub, claim, address(from));
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn claim(id: &str) -> Claim {
    Claim::Identity(device(id))
}

#[test]
fn a_claim_that_fails_too_often_is_refused_unread_at_that_address_alone() {
    let world = World::new();
    let looked_at = (0..100).filter(|_| world.fail(&claim("d"), "192.0.2.1", Reason::SignatureMismatch).0);
    assert_eq!(looked_at.count(), 30);
    let refusal = world.check(&claim("d"), "192.0.2.1").unwrap_err();
    assert_eq!(refusal.reason, Reason::TooManyFailures);
    assert!(refusal.is_passing(), "SDKs must not stop for good");
    // The same device from elsewhere, another device from the same place.
    assert!(world.check(&claim("d"), "192.0.2.2").is_ok());
    assert!(world.check(&claim("e"), "192.0.2.1").is_ok());
    assert_eq!(world.limits.hits(Limit::FailedLoginsPerMinuteMax), 71);
    // The limit drains: one more attempt every two seconds.
    world.clock.advance(Duration::from_secs(2));
    assert!(world.fail(&claim("d"), "192.0.2.1", Reason::SignatureMismatch).0);
    assert!(!world.fail(&claim("d"), "192.0.2.1", Reason::SignatureMismatch).0);
}

#[test]
fn an_identity_that_logged_in_is_never_refused_unread_there() {
    let world = World::new();
    world.vouch(&claim("d"), "192.0.2.1");
    for _ in 0..1_000 {
        assert!(world.fail(&claim("d"), "192.0.2.1", Reason::SignatureMismatch).0);
    }
    assert!(world.check(&claim("d"), "192.0.2.1").is_ok());
    world.clock.advance(Duration::from_secs(25 * 3_600));
    for _ in 0..30 {
        world.fail(&claim("d"), "192.0.2.1", Reason::SignatureMismatch);
    }
    assert!(world.check(&claim("d"), "192.0.2.1").is_err(), "it is a day ago");
}

#[test]
fn a_policy_is_looked_at_whatever_fails_in_its_name() {
    let world = World::new();
    let policy = Claim::Policy("gateway".to_owned());
    let mut told = 0;
    for _ in 0..1_000 {
        let (looked_at, is_told) = world.fail(&policy, "192.0.2.1", Reason::SignatureMismatch);
        assert!(looked_at);
        told += usize::from(is_told);
    }
    assert_eq!(told, 31, "each until the limit, then one a minute");
    assert_eq!(world.limits.hits(Limit::FailedLoginsPerMinuteMax), 970);
    // The gateway behind the same address never logged in from there: the server was just started, say.
    assert!(world.check(&policy, "192.0.2.1").is_ok());
    // Its devices are looked at, too, though their address is over its own limit.
    assert!(world.check(&claim("behind-the-gateway"), "192.0.2.1").is_ok());
}

#[test]
fn a_site_outlives_what_others_do_at_its_address() {
    let world = World::new();
    let records = (0..2_000)
        .filter(|number| {
            world
                .fail(
                    &claim(&format!("x{number}")),
                    "192.0.2.1",
                    Reason::IdentityUnknown,
                )
                .1
        })
        .count();
    assert!((300..=302).contains(&records), "{records}");
    // A device that never failed here is looked at; one that did is refused much sooner.
    assert!(world.check(&claim("good"), "192.0.2.1").is_ok());
    let looked_at = (0..30).filter(|_| {
        world
            .fail(&claim("bad"), "192.0.2.1", Reason::SignatureMismatch)
            .0
    });
    assert_eq!(looked_at.count(), 3);
    assert!(world.check(&claim("bad"), "192.0.2.2").is_ok());
}

#[test]
fn a_burst_is_told_once_a_minute() {
    let world = World::new();
    let mut told = 0;
    for _ in 0..1_000 {
        let (looked_at, is_told) = world.fail(&claim("d"), "192.0.2.1", Reason::SignatureMismatch);
        told += usize::from(!looked_at && is_told);
    }
    assert_eq!(told, 1);
    world.clock.advance(Duration::from_secs(60));
    for _ in 0..30 {
        world.fail(&claim("d"), "192.0.2.1", Reason::SignatureMismatch);
    }
    let refusal = world.check(&claim("d"), "192.0.2.1").unwrap_err();
    assert!(!refusal.is_hushed());
    assert!(
        refusal.found.contains("969 were refused before"),
        "{}",
        refusal.found
    );
}

#[test]
fn what_says_nothing_of_a_credential_does_not_count() {
    let world = World::new();
    for reason in [
        Reason::IdentityDisabled,
        Reason::TokenExpired,
        Reason::ScopeMismatch,
        Reason::SasDisabled,
        Reason::RegistryUnavailable,
        Reason::RightMissing,
        Reason::NetworkDenied,
        Reason::CredentialUnset,
    ] {
        for _ in 0..100 {
            assert_eq!(
                world.fail(&claim("d"), "192.0.2.1", reason),
                (true, true),
                "{}",
                reason.label()
            );
        }
    }
    for _ in 0..100 {
        assert!(
            world.fail(&Claim::Nobody, "192.0.2.1", Reason::TokenMalformed).0,
            "nobody is everybody"
        );
    }
}

#[test]
fn ipv6_networks_are_one_site_and_mapped_addresses_are_ipv4() {
    let world = World::new();
    for number in 0..30 {
        let from = format!("2001:db8:1:2::{number:x}");
        world.fail(&claim("d"), &from, Reason::SignatureMismatch);
        world.fail(&claim("e"), "::ffff:192.0.2.1", Reason::SignatureMismatch);
    }
    assert!(world.check(&claim("d"), "2001:db8:1:2:ffff::1").is_err());
    assert!(world.check(&claim("d"), "2001:db8:1:3::1").is_ok());
    assert!(world.check(&claim("e"), "192.0.2.1").is_err());
}
