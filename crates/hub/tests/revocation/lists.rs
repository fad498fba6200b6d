//! Lists of CAs, made by OpenSSL.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::audit::{Filter, Trail};
use hub::clock::{Clock, SystemClock, Timestamp};
use hub::error::{Code, Error};
use hub::limits::Limit;
use hub::trust::revocation::{Cause, Definition, ListName, ListStatus, Missing, Reason, Source};

use crate::bench::{Bench, Server};
use crate::openssl::{Authority, P256};

fn name(text: &str) -> ListName {
    ListName::parse(text).unwrap()
}

fn definition(of: &Authority, source: Source, is_required: bool) -> Definition {
    Definition::new(
        name("root"),
        &STANDARD.encode(of.certificate()),
        source,
        is_required,
    )
    .unwrap()
}

async fn upload(bench: &Bench, list: Vec<u8>) -> Result<ListStatus, Error> {
    bench
        .revocation
        .upload_list(&bench.manage, &name("root"), Bytes::from(list))
        .await
}

async fn defined(of: &Authority, is_required: bool) -> Bench {
    let bench = Bench::new().await;
    let definition = definition(of, Source::Uploaded, is_required);
    assert!(
        bench
            .revocation
            .define_list(&bench.manage, definition)
            .await
            .unwrap()
    );
    bench
}

#[tokio::test]
async fn what_is_on_a_list_of_any_kind_of_key_is_refused() {
    let curve = |name| ["-newkey", "ec", "-pkeyopt", name];
    for key in [
        &["-newkey", "rsa:2048"][..],
        &["-newkey", "rsa:3072", "-sha512"],
        P256,
        &curve("ec_paramgen_curve:P-384"),
        &["-newkey", "ed25519"],
    ] {
        let root = Authority::new("Root", key);
        let (a, b) = (root.issue("a", "leaf"), root.issue("b", "leaf"));
        root.revoke("a", "keyCompromise");
        let ca = root.certificate();
        let bench = defined(&root, false).await;
        assert_eq!(bench.check(&[&a, &ca]), Ok(()), "nothing is loaded yet");
        let status = upload(&bench, root.list(&[])).await.unwrap();
        assert!(bench.told_to_recheck());
        let list = status.list.unwrap();
        assert_eq!(
            (list.entry_count(), list.number_shown().as_deref()),
            (1, Some("1"))
        );
        let revoked = bench.check(&[&a, &ca]).unwrap_err();
        let Cause::Listed { list, issuer, since } = &revoked.cause else {
            panic!("{revoked}");
        };
        assert_eq!(
            (&**list, &**issuer, since.reason),
            ("root", "CN=Root", Reason::KeyCompromise)
        );
        assert!(
            bench.now().since(since.since) < Duration::from_secs(60),
            "{revoked}"
        );
        assert_eq!(bench.check(&[&b, &ca]), Ok(()));
    }
}

#[tokio::test]
async fn a_list_of_a_pss_signature_is_taken() {
    let root = Authority::new("Root", &["-newkey", "rsa:2048"]);
    root.issue("a", "leaf");
    root.revoke("a", "superseded");
    let bench = defined(&root, false).await;
    let pss = [
        "-sigopt",
        "rsa_padding_mode:pss",
        "-sigopt",
        "rsa_pss_saltlen:digest",
    ];
    upload(&bench, root.list_der(&pss)).await.unwrap();
}

#[tokio::test]
async fn lists_survive_a_restart_and_do_not_go_back() {
    let root = Authority::new("Root", P256);
    let a = root.issue("a", "leaf");
    let ca = root.certificate();
    let first = root.list_der(&[]);
    root.revoke("a", "superseded");
    let second = root.list_der(&[]);
    let mut bench = defined(&root, false).await;
    upload(&bench, second.clone()).await.unwrap();
    bench.restart().await;
    assert!(bench.check(&[&a, &ca]).is_err());

    let refused = upload(&bench, first).await.unwrap_err();
    assert_eq!(refused.code(), Code::ArgumentInvalid);
    assert!(
        refused
            .message()
            .contains("older than the list in force: number 1"),
        "{refused}"
    );
    assert!(bench.check(&[&a, &ca]).is_err());
    // The same once more changes nothing and troubles nobody.
    bench.told_to_recheck();
    upload(&bench, second).await.unwrap();
    assert!(!bench.told_to_recheck());

    // A file that was damaged meanwhile is not believed.
    bench.files.damage(&name("root"));
    bench.restart().await;
    let status = bench.revocation.lists();
    assert!(
        status[0].list.is_none() && status[0].failure.is_some(),
        "{status:?}"
    );

    bench
        .revocation
        .remove_list(&bench.manage, &name("root"))
        .await
        .unwrap();
    assert!(bench.revocation.lists().is_empty() && bench.files.is_empty());
    let gone = bench.revocation.remove_list(&bench.manage, &name("root")).await;
    assert_eq!(gone.unwrap_err().code(), Code::GenericNotFound);
}

#[tokio::test]
async fn an_expired_list_counts_and_a_required_one_must_be_current() {
    let root = Authority::new("Root", P256);
    let (a, b) = (root.issue("a", "leaf"), root.issue("b", "leaf"));
    root.revoke("a", "superseded");
    let ca = root.certificate();
    for is_required in [false, true] {
        let bench = defined(&root, is_required).await;
        let before = bench.check(&[&b, &ca]);
        assert_eq!(before.is_err(), is_required);
        if let Err(revoked) = before {
            let missing = Missing::List("root".into());
            assert!(matches!(&revoked.cause, Cause::Unknown { missing: found, .. } if *found == missing));
            assert!(revoked.cause.is_passing());
        }
        upload(&bench, root.list(&["-crlhours", "1"])).await.unwrap();
        assert_eq!(bench.check(&[&b, &ca]), Ok(()));
        bench.clock.advance(Duration::from_secs(7_200));
        let listed = bench.check(&[&a, &ca]).unwrap_err();
        assert!(matches!(listed.cause, Cause::Listed { .. }), "{listed}");
        let after = bench.check(&[&b, &ca]);
        assert_eq!(after.is_err(), is_required);
        if let Err(revoked) = after {
            assert!(
                revoked
                    .to_string()
                    .contains("the revocation list 'root' expired at"),
                "{revoked}"
            );
        }
        // Nothing is demanded of an anchor.
        assert_eq!(bench.check(&[&ca]), Ok(()));
    }
}

#[tokio::test]
async fn a_list_speaks_of_its_issuer_alone() {
    let (root, twin) = (Authority::new("Root", P256), Authority::new("Root", P256));
    let middle = root.intermediate("Middle");
    let leaf = middle.issue("leaf", "leaf");
    let (middle_ca, ca) = (middle.certificate(), root.certificate());
    // The list of the root holds the intermediate.
    std::fs::copy(middle.path("ca.pem"), root.path("middle.pem")).unwrap();
    root.revoke("middle", "cACompromise");
    let bench = defined(&root, false).await;
    upload(&bench, root.list(&[])).await.unwrap();
    let revoked = bench.check(&[&leaf, &middle_ca, &ca]).unwrap_err();
    assert_eq!(revoked.subject, "CN=Middle");
    // Also when the hub's anchor is the intermediate, whose issuer does not come along.
    assert!(bench.check(&[&leaf, &middle_ca]).is_err());
    // A CA of the same name with another key is another one.
    assert_eq!(bench.check(&[&leaf, &middle_ca, &twin.certificate()]), Ok(()));

    for (list, wanted) in [
        (
            twin.list(&[]),
            "its signature does not hold: the signature is not by the key of the issuer",
        ),
        (middle.list(&[]), "it was issued by CN=Middle, not by CN=Root"),
        (b"hello".to_vec(), "it is no revocation list"),
        (ca.clone(), "it is no revocation list"),
    ] {
        let refused = upload(&bench, list).await.unwrap_err();
        assert!(refused.message().contains(wanted), "{refused}");
    }
    let no_lists = Authority::with_usage("Root", P256, "critical,keyCertSign");
    let refused = Definition::new(
        name("x"),
        &STANDARD.encode(no_lists.certificate()),
        Source::Uploaded,
        false,
    );
    assert!(refused.unwrap_err().to_string().contains("cRLSign"));
}

#[tokio::test]
async fn lists_that_say_only_a_part_are_refused_clearly() {
    let root = Authority::new("Root", P256);
    let (a, middle) = (root.issue("a", "leaf"), root.issue("m", "intermediate"));
    let ca = root.certificate();
    let bench = defined(&root, true).await;
    for (extensions, wanted) in [
        ("delta", "it is a delta list"),
        ("indirect", "it is an indirect list"),
        ("some_reasons", "it is a partial list"),
        ("unknown", "it has the critical extension 2a0304"),
    ] {
        let refused = upload(&bench, root.list(&["-crlexts", extensions]))
            .await
            .unwrap_err();
        assert!(refused.message().contains(wanted), "{refused}");
        assert!(bench.revocation.lists()[0].list.is_none());
    }
    // A list of users alone says nothing of CAs.
    upload(&bench, root.list(&["-crlexts", "users"])).await.unwrap();
    assert_eq!(bench.check(&[&a, &ca]), Ok(()));
    assert!(bench.check(&[&a, &middle, &ca]).is_err());
    let hour_ago = Timestamp::from_secs(SystemClock::new().now().as_secs() - 3_600);
    let early = Bench::at(hour_ago, Arc::<Server>::default()).await;
    early
        .revocation
        .define_list(&early.manage, definition(&root, Source::Uploaded, false))
        .await
        .unwrap();
    let refused = upload(&early, root.list(&[])).await.unwrap_err();
    assert!(refused.message().contains("yet to come"), "{refused}");
}

#[tokio::test]
async fn a_damaged_list_is_never_taken() {
    let root = Authority::new("Root", P256);
    for name in ["a", "b", "c"] {
        root.issue(name, "leaf");
        root.revoke(name, "superseded");
    }
    let bench = defined(&root, false).await;
    let list = root.list_der(&[]);
    for end in 0..list.len() {
        assert!(
            upload(&bench, list[..end].to_vec()).await.is_err(),
            "cut to {end} bytes"
        );
    }
    for at in 0..list.len() {
        let mut damaged = list.clone();
        damaged[at] ^= 0x01;
        assert!(upload(&bench, damaged).await.is_err(), "byte {at}");
    }
    let mut longer = list.clone();
    longer.push(0);
    assert!(upload(&bench, longer).await.is_err());
    assert!(bench.revocation.lists()[0].list.is_none());
    bench.world.limits.set(Limit::RevocationListEntriesMax, 2);
    let refused = upload(&bench, list.clone()).await.unwrap_err();
    assert!(refused.message().contains("over 2 entries"), "{refused}");
    bench.world.limits.set(Limit::RevocationListBytesMax, 10);
    let refused = upload(&bench, list).await.unwrap_err();
    assert!(refused.message().contains("over 10 bytes"), "{refused}");
}

#[tokio::test]
async fn urls_are_read_on_a_schedule_and_the_last_good_list_stays() {
    let root = Authority::new("Root", P256);
    let a = root.issue("a", "leaf");
    let ca = root.certificate();
    let server = Arc::new(Server::default());
    let mut bench = Bench::with(Arc::clone(&server)).await;
    let url = "http://ca.test/root.crl";
    let source = Source::url(url, Some(600)).unwrap();
    bench
        .revocation
        .define_list(&bench.manage, definition(&root, source, false))
        .await
        .unwrap();
    assert!(
        upload(&bench, Vec::new()).await.is_err(),
        "it comes from elsewhere"
    );

    server.serve(url, root.list(&[]));
    bench.revocation.refresh_due().await;
    assert_eq!(server.asked(), 1);
    assert_eq!(bench.check(&[&a, &ca]), Ok(()));
    root.revoke("a", "superseded");
    server.serve(url, root.list(&[]));
    bench.revocation.refresh_due().await;
    assert_eq!(server.asked(), 1, "it is not time yet");
    bench.clock.advance(Duration::from_secs(661));
    bench.revocation.refresh_due().await;
    assert!(bench.check(&[&a, &ca]).is_err());

    // The CA is gone: what is known stays, tries become rare, and a restart without network knows it, too.
    server.fail(url);
    bench.clock.advance(Duration::from_secs(661));
    for _ in 0..3 {
        bench.revocation.refresh_due().await;
    }
    assert_eq!(server.asked(), 3);
    let status = &bench.revocation.lists()[0];
    assert!(
        status.failure.as_deref().unwrap().contains("cannot be fetched"),
        "{status:?}"
    );
    for (secs, asked) in [(20, 3), (20, 4), (40, 4), (30, 5)] {
        bench.clock.advance(Duration::from_secs(secs));
        bench.revocation.refresh_due().await;
        assert_eq!(server.asked(), asked);
    }
    bench.restart().await;
    bench.revocation.refresh_due().await;
    assert!(bench.check(&[&a, &ca]).is_err());
    assert_eq!(bench.revocation.loads(), (0, 1));
    // By hand, at once.
    server.serve(url, root.list(&[]));
    let status = bench
        .revocation
        .refresh_list(&bench.manage, &name("root"))
        .await
        .unwrap();
    assert_eq!(
        (status.failure, status.list.unwrap().number_shown().as_deref()),
        (None, Some("3"))
    );
}

#[tokio::test]
async fn watched_files_are_read_when_they_change() {
    let root = Authority::new("Root", P256);
    let a = root.issue("a", "leaf");
    let ca = root.certificate();
    let bench = Bench::new().await;
    let file = name("root.crl");
    let source = Source::File(file.clone());
    bench
        .revocation
        .define_list(&bench.manage, definition(&root, source, false))
        .await
        .unwrap();
    let look = async || {
        bench.clock.advance(Duration::from_secs(5));
        bench.revocation.refresh_due().await;
        bench.revocation.lists()[0].failure.clone()
    };
    assert!(look().await.unwrap().contains("no file 'root.crl'"));
    bench.files.put_watched(&file, root.list(&[]));
    assert_eq!(look().await, None);
    bench.files.put_watched(&file, b"half".to_vec());
    for _ in 0..2 {
        assert!(
            look().await.unwrap().contains("not taken"),
            "also at the second look"
        );
    }
    root.revoke("a", "superseded");
    bench.files.put_watched(&file, root.list(&[]));
    assert_eq!(look().await, None);
    assert!(bench.check(&[&a, &ca]).is_err());
}

#[tokio::test]
async fn a_hub_may_demand_to_know_every_status() {
    let root = Authority::new("Root", P256);
    let middle = root.intermediate("Middle");
    let leaf = middle.issue("leaf", "leaf");
    let (middle_ca, ca) = (middle.certificate(), root.certificate());
    let mut bench = defined(&root, false).await;
    bench
        .revocation
        .require_status(&bench.manage, true)
        .await
        .unwrap();
    assert!(bench.told_to_recheck());
    bench.restart().await;
    assert!(bench.revocation.requires_status());
    upload(&bench, root.list(&[])).await.unwrap();
    let revoked = bench.check(&[&leaf, &middle_ca, &ca]).unwrap_err();
    assert!(
        matches!(
            &revoked.cause,
            Cause::Unknown {
                missing: Missing::Nothing,
                ..
            }
        ),
        "{revoked}"
    );
    let below = Definition::new(
        name("middle"),
        &STANDARD.encode(&middle_ca),
        Source::Uploaded,
        false,
    )
    .unwrap();
    bench.revocation.define_list(&bench.manage, below).await.unwrap();
    let list = Bytes::from(middle.list(&[]));
    bench
        .revocation
        .upload_list(&bench.manage, &name("middle"), list)
        .await
        .unwrap();
    assert_eq!(bench.check(&[&leaf, &middle_ca, &ca]), Ok(()));
    // Who signed itself has nobody who could revoke it.
    assert_eq!(bench.check(&[&ca]), Ok(()));
    bench
        .revocation
        .require_status(&bench.manage, false)
        .await
        .unwrap();
    assert!(!bench.revocation.requires_status());
}

/// A list that is handed in is told of before it is in force, and once; one that is not taken is not.
#[tokio::test]
async fn a_list_that_is_handed_in_is_in_the_trail() {
    let ca = Authority::new("root", P256);
    let bench = defined(&ca, false).await;
    let list = ca.list(&[]);
    upload(&bench, list.clone()).await.unwrap();
    upload(&bench, list.clone()).await.unwrap();
    assert!(upload(&bench, b"nonsense".to_vec()).await.is_err());
    let trail = Trail::new(
        bench.ports.store.clone(),
        bench.ports.clock.clone(),
        bench.world.limits.clone(),
    );
    let filter = Filter {
        operation: Some("revocation.update".to_owned()),
        ..Filter::default()
    };
    let told = async || {
        trail
            .page(&bench.manage, &filter, None, 10)
            .await
            .unwrap()
            .lines
            .len()
    };
    assert_eq!(told().await, 1);
    // Where nothing can be told, nothing is taken.
    let failing = bench.world.store.clone();
    failing.fail(Some(hub::store::StoreError::Full("no room".into())));
    let loads = bench.revocation.lists()[0].list.clone().unwrap();
    assert!(upload(&bench, ca.list(&[])).await.is_err());
    failing.fail(None);
    let kept = bench.revocation.lists()[0].list.clone().unwrap();
    assert!(Arc::ptr_eq(&loads, &kept));
    assert_eq!(told().await, 1);
}
