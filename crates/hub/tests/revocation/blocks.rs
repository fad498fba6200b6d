//! What the operator blocks.

use hub::error::Code;
use hub::limits::Limit;
use hub::store::StoreError;
use hub::trust::revocation::{Cause, InvalidTarget, Named, Reason, Target};

use crate::bench::Bench;
use crate::openssl::{Authority, P256};

const WHY: (Reason, &str) = (Reason::KeyCompromise, "stolen");

#[tokio::test]
async fn certificates_are_blocked_by_thumbprint_and_by_issuer_and_serial() {
    let (root, other) = (Authority::new("Root", P256), Authority::new("Other", P256));
    let (a, b) = (root.issue("a", "leaf"), root.issue("b", "leaf"));
    let ca = root.certificate();
    let mut bench = Bench::new().await;
    assert_eq!(bench.check(&[&a, &ca]), Ok(()));

    let (target, name) = Target::certificate(&a).unwrap();
    assert_eq!(name.shown, "CN=a");
    let block = bench
        .revocation
        .block(&bench.manage, target.clone(), &name, WHY)
        .await
        .unwrap();
    assert!(bench.told_to_recheck());
    let revoked = bench.check(&[&a, &ca]).unwrap_err();
    let serial = revoked.serial.clone();
    let id = target.id();
    assert_eq!(
        revoked.to_string(),
        format!(
            "the certificate CN=a (serial {serial}) is blocked by entry {id} since {}, reason keyCompromise; \
             `ironhub revoke remove` lifts it",
            block.since
        )
    );
    assert_eq!(block.by, "the operator");
    assert_eq!(bench.check(&[&b, &ca]), Ok(()));
    assert!(bench.revocation.refusals().any(|refused| refused == ("block", 1)));

    // A restart changes nothing.
    bench.restart().await;
    assert!(bench.check(&[&a, &ca]).is_err());
    assert_eq!(bench.revocation.blocks(&bench.manage), [block]);
    bench.revocation.unblock(&bench.manage, &target).await.unwrap();
    assert!(bench.told_to_recheck());
    assert_eq!(bench.check(&[&a, &ca]), Ok(()));
    let again = bench.revocation.unblock(&bench.manage, &target).await;
    assert_eq!(again.unwrap_err().code(), Code::GenericNotFound);

    // By serial: that of another issuer is another certificate.
    let printed = root.run(&["x509", "-in", "b.pem", "-noout", "-serial"]);
    let digits = printed.trim().trim_start_matches("serial=");
    for (issuer, is_blocked) in [(other.certificate(), false), (ca.clone(), true)] {
        let (target, name) = Target::serial(&issuer, digits).unwrap();
        bench
            .revocation
            .block(&bench.manage, target, &name, WHY)
            .await
            .unwrap();
        assert_eq!(bench.check(&[&b, &ca]).is_err(), is_blocked, "{name:?}");
    }
    assert_eq!(bench.check(&[&a, &ca]), Ok(()));
}

#[tokio::test]
async fn a_blocked_ca_takes_everything_under_it_along() {
    let root = Authority::new("Root", P256);
    let middle = root.intermediate("Middle");
    let leaf = middle.issue("leaf", "leaf");
    let beside = root.issue("beside", "leaf");
    let (middle, root) = (middle.certificate(), root.certificate());
    let bench = Bench::new().await;

    let (target, name) = Target::authority(&middle).unwrap();
    bench
        .revocation
        .block(&bench.manage, target.clone(), &name, WHY)
        .await
        .unwrap();
    let revoked = bench.check(&[&leaf, &middle, &root]).unwrap_err();
    assert!(
        matches!(&revoked.cause, Cause::AuthorityBlocked(name, _) if &**name == "CN=Middle"),
        "{revoked}"
    );
    // Also where the hub's anchor is the blocked CA itself.
    assert!(bench.check(&[&leaf, &middle]).is_err());
    assert!(bench.check(&[&middle]).is_err());
    assert_eq!(bench.check(&[&beside, &root]), Ok(()));
    bench.revocation.unblock(&bench.manage, &target).await.unwrap();

    let (target, name) = Target::authority(&root).unwrap();
    bench
        .revocation
        .block(&bench.manage, target, &name, WHY)
        .await
        .unwrap();
    assert!(bench.check(&[&leaf, &middle, &root]).is_err());
    assert!(bench.check(&[&beside, &root]).is_err());
    let refused = Target::authority(&leaf).unwrap_err();
    assert_eq!(refused, InvalidTarget::NoAuthority("CN=leaf".to_owned()));
}

#[tokio::test]
async fn blocks_are_stored_before_they_hold_and_are_limited() {
    let bench = Bench::new().await;
    let target = |number: u8| Target::Certificate([number; 32]);
    bench.world.store.fail(Some(StoreError::Full("/data".into())));
    let full = bench
        .revocation
        .block(&bench.manage, target(1), &Named::default(), WHY)
        .await;
    assert_eq!(full.unwrap_err().code(), Code::ServiceUnavailable);
    assert!(!bench.told_to_recheck());
    assert_eq!(bench.revocation.block_count(), 0);
    bench.world.store.fail(None);

    bench.world.limits.set(Limit::RevocationBlocksMax, 2);
    for number in [1, 2, 2] {
        bench
            .revocation
            .block(&bench.manage, target(number), &Named::default(), WHY)
            .await
            .unwrap();
    }
    let over = bench
        .revocation
        .block(&bench.manage, target(3), &Named::default(), WHY)
        .await;
    assert_eq!(over.unwrap_err().code(), Code::GenericConflict);
    let long = "x".repeat(257);
    let refused = bench
        .revocation
        .block(&bench.manage, target(1), &Named::default(), (WHY.0, &long))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::ArgumentInvalid);
}

#[tokio::test]
async fn what_cannot_be_read_is_not_taken() {
    let bench = Bench::new().await;
    let root = Authority::new("Root", P256);
    let leaf = root.issue("a", "leaf");
    for end in 0..leaf.len() {
        let revoked = bench.check(&[&leaf[..end], &root.certificate()]).unwrap_err();
        assert_eq!(revoked.cause, Cause::Unreadable, "{end} bytes");
    }
    assert_eq!(Target::certificate(b"x"), Err(InvalidTarget::Certificate));
    assert_eq!(Target::thumbprint("ab"), Err(InvalidTarget::Thumbprint));
    assert_eq!(Target::serial(&leaf, ""), Err(InvalidTarget::Serial));
}

#[tokio::test]
async fn a_ca_above_an_anchor_is_blocked_by_its_name() {
    let (root, twin) = (Authority::new("Root", P256), Authority::new("Other", P256));
    let middle = root.intermediate("Middle");
    let leaf = middle.issue("leaf", "leaf");
    let anchor = middle.certificate();
    let mut bench = Bench::new().await;
    let (other, other_name) = Target::authority(&twin.certificate()).unwrap();
    let (above, name) = Target::authority(&root.certificate()).unwrap();
    for (target, name) in [(&other, &other_name), (&above, &name)] {
        assert_eq!(bench.check(&[&leaf, &anchor]), Ok(()));
        let block = bench.revocation.block(&bench.manage, target.clone(), name, WHY);
        block.await.unwrap();
    }
    bench.restart().await;
    let revoked = bench.check(&[&leaf, &anchor]).unwrap_err();
    assert!(
        matches!(&revoked.cause, Cause::AuthorityBlocked(name, _) if &**name == "CN=Root"),
        "{revoked}"
    );
    assert_eq!(revoked.subject, "CN=Middle");
    bench.revocation.unblock(&bench.manage, &above).await.unwrap();
    assert_eq!(bench.check(&[&leaf, &anchor]), Ok(()));
}
