//! Responders: `openssl ocsp` answers, over the loopback interface.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::BoxFuture;
use hub::error::Code;
use hub::fetch::{Fetch, FetchError, Wanted};
use hub::limits::Limit;
use hub::trust::revocation::{
    Cause, Demand, Digest, Doubt, ListName, Missing, Reason, Responder, Revoked, Target,
};

use crate::bench::{Bench, Server};
use crate::openssl::{Authority, P256, RunningResponder};

/// Posts over HTTP/1.0.
#[derive(Default)]
struct Poster {
    asked: AtomicUsize,
}

impl Poster {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

impl Fetch for Poster {
    fn fetch<'a>(&'a self, wanted: Wanted<'a>) -> BoxFuture<'a, Result<Bytes, FetchError>> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        assert!(wanted.patience.is_some(), "a login does not wait for ever");
        let url = wanted.url.to_owned();
        let (media_type, body) = wanted.post.expect("a question is posted");
        let head = format!(
            "POST / HTTP/1.0\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let question = [head.as_bytes(), body].concat();
        Box::pin(async move {
            let exchange = tokio::task::spawn_blocking(move || post(&url, &question));
            exchange.await.unwrap()
        })
    }
}

fn post(url: &str, question: &[u8]) -> Result<Bytes, FetchError> {
    let unreachable = |reason: String| FetchError::Unreachable {
        url: url.to_owned(),
        reason,
    };
    let exchange = || {
        let address = url.strip_prefix("http://").unwrap().trim_end_matches('/');
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(question)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        std::io::Result::Ok(answer)
    };
    let mut answer = exchange().map_err(|error| unreachable(error.to_string()))?;
    match answer.windows(4).position(|window| window == b"\r\n\r\n") {
        Some(head) => Ok(Bytes::from(answer.split_off(head + 4))),
        None => Err(unreachable("no answer of HTTP".to_owned())),
    }
}

fn name(text: &str) -> ListName {
    ListName::parse(text).unwrap()
}

fn responder(of: &Authority, url: &str, demand: Demand) -> Responder {
    let mut responder = Responder::new(name("root"), &STANDARD.encode(of.certificate()))
        .unwrap()
        .at(url)
        .unwrap();
    responder.demand = demand;
    responder
}

async fn defined(responder: Responder) -> (Bench, Arc<Poster>) {
    let poster = Arc::new(Poster::default());
    let bench = Bench::with(Arc::<Poster>::clone(&poster)).await;
    define(&bench, responder).await;
    (bench, poster)
}

async fn define(bench: &Bench, responder: Responder) {
    bench
        .revocation
        .define_responder(&bench.manage, responder)
        .await
        .unwrap();
}

async fn doubt(bench: &Bench, path: &[&[u8]]) -> Option<Doubt> {
    bench.decide(path).await.unwrap().1
}

async fn refused(bench: &Bench, path: &[&[u8]]) -> Revoked {
    bench.decide(path).await.unwrap_err()
}

/// A CA with a good certificate `a`, and one `b` that is revoked.
fn root_with_two(key: &[&str]) -> (Authority, Vec<u8>, Vec<u8>) {
    let root = Authority::new("Root", key);
    let (a, b) = (root.issue("a", "leaf"), root.issue("b", "leaf"));
    root.revoke("b", "keyCompromise");
    (root, a, b)
}

#[tokio::test]
async fn good_revoked_and_unknown_are_told_apart() {
    for (key, digest, has_nonce) in [
        (P256, Digest::Sha1, false),
        (P256, Digest::Sha256, true),
        (&["-newkey", "rsa:2048"], Digest::Sha1, true),
    ] {
        let (root, a, b) = root_with_two(key);
        let ca = root.certificate();
        // Issued behind the back of the responder's database.
        let database = std::fs::read(root.path("index.txt")).unwrap();
        let c = root.issue("c", "leaf");
        std::fs::write(root.path("index.txt"), database).unwrap();
        let running = root.respond("ca", &[]);
        for demand in [Demand::Required, Demand::Preferred] {
            let mut responder = responder(&root, &running.url(), demand);
            (responder.digest, responder.has_nonce) = (digest, has_nonce);
            let (bench, poster) = defined(responder).await;
            assert!(bench.told_to_recheck());
            assert_eq!(doubt(&bench, &[&a, &ca]).await, None);
            let revoked = refused(&bench, &[&b, &ca]).await;
            let Cause::Answered {
                responder,
                issuer,
                since,
            } = &revoked.cause
            else {
                panic!("{revoked}");
            };
            assert_eq!(
                (&**responder, &**issuer, since.reason, revoked.subject.as_str()),
                ("root", "CN=Root", Reason::KeyCompromise, "CN=b")
            );
            assert!(!revoked.cause.is_passing());
            let unknown = bench.decide(&[&c, &ca]).await;
            match demand {
                Demand::Required => {
                    let revoked = unknown.unwrap_err();
                    assert!(
                        matches!(
                            &revoked.cause,
                            Cause::Unknown {
                                missing: Missing::Answer { .. },
                                ..
                            }
                        ),
                        "{revoked}"
                    );
                    assert!(
                        revoked.cause.is_passing() && revoked.to_string().contains("does not know it"),
                        "{revoked}"
                    );
                }
                Demand::Preferred => {
                    let doubt = unknown.unwrap().1.unwrap();
                    assert!(
                        doubt.to_string().contains("does not know it") && doubt.is_news,
                        "{doubt}"
                    );
                }
            }
            assert_eq!(poster.asked(), 3);
            // Nobody waits for what is known.
            assert_eq!(doubt(&bench, &[&a, &ca]).await, None);
            refused(&bench, &[&b, &ca]).await;
            assert_eq!(poster.asked(), 3);
            let counts = bench.revocation.refusals().find(|(label, _)| *label == "ocsp");
            assert_eq!(counts, Some(("ocsp", 2)));
        }
    }
}

#[tokio::test]
async fn an_answer_that_is_over_or_yet_to_come_is_not_taken() {
    let (root, a, _) = root_with_two(P256);
    let ca = root.certificate();
    let running = root.respond("ca", &["-nmin", "1"]);
    let (bench, _) = defined(responder(&root, &running.url(), Demand::Required)).await;
    bench.clock.advance(Duration::from_secs(600));
    let late = refused(&bench, &[&a, &ca]).await;
    assert!(late.to_string().contains("the answer was good until"), "{late}");
    let hour_ago = hub::clock::Timestamp::from_secs(bench.now().as_secs() - 4_200);
    let early = Bench::at(hour_ago, Arc::new(Poster::default())).await;
    define(&early, responder(&root, &running.url(), Demand::Required)).await;
    let early = refused(&early, &[&a, &ca]).await;
    assert!(early.to_string().contains("yet to come"), "{early}");
}

#[tokio::test]
async fn only_the_issuer_and_whom_it_appoints_may_sign() {
    let (root, a, _) = root_with_two(P256);
    let ca = root.certificate();
    let delegate = root.issue("responder", "responder");
    root.issue("plain", "leaf");
    let twin = Authority::new("Root", P256);
    let stranger = Authority::new("Stranger", P256);
    for (name, of) in [("twin", &twin), ("stranger", &stranger)] {
        for kind in ["pem", "key"] {
            std::fs::copy(
                of.path(&format!("ca.{kind}")),
                root.path(&format!("{name}.{kind}")),
            )
            .unwrap();
        }
    }
    for (signer, arguments, wanted) in [
        ("ca", &["-resp_key_id"][..], None),
        ("ca", &["-resp_no_certs"], None),
        ("responder", &[], None),
        ("responder", &["-resp_key_id"], None),
        // Nobody says who that is.
        (
            "responder",
            &["-resp_no_certs"],
            Some("is signed by CN=responder, which is neither the issuer nor"),
        ),
        (
            "plain",
            &[],
            Some("the extended key usage OCSPSigning is missing"),
        ),
        (
            "twin",
            &[],
            Some("does not hold: the signature is not by the key of the issuer"),
        ),
        (
            "twin",
            &["-resp_no_certs"],
            Some("does not hold: the signature is not by the key of the issuer"),
        ),
        (
            "stranger",
            &[],
            Some("is signed by CN=Stranger, which is neither the issuer nor"),
        ),
    ] {
        let running = root.respond(signer, arguments);
        let (bench, _) = defined(responder(&root, &running.url(), Demand::Required)).await;
        match (bench.decide(&[&a, &ca]).await, wanted) {
            (Ok((_, doubt)), None) => assert_eq!(doubt, None, "{signer}"),
            (Err(revoked), Some(wanted)) => {
                assert!(revoked.to_string().contains(wanted), "{signer}: {revoked}");
            }
            (found, wanted) => panic!("{signer} {arguments:?}: {found:?}, wanted {wanted:?}"),
        }
    }
    let running = root.respond("responder", &[]);
    let (bench, _) = defined(responder(&root, &running.url(), Demand::Required)).await;
    // Who was appointed is believed for as long as its certificate is good.
    let (target, subject) = Target::certificate(&delegate).unwrap();
    bench
        .revocation
        .block(
            &bench.manage,
            target.clone(),
            &subject,
            (Reason::KeyCompromise, ""),
        )
        .await
        .unwrap();
    let blocked = refused(&bench, &[&a, &ca]).await;
    assert!(
        blocked
            .to_string()
            .contains("CN=responder, whose certificate is revoked"),
        "{blocked}"
    );
    bench.revocation.unblock(&bench.manage, &target).await.unwrap();
    bench.clock.advance(Duration::from_secs(31 * 86_400));
    let expired = refused(&bench, &[&a, &ca]).await;
    assert!(
        expired.to_string().contains("whose certificate is not valid now"),
        "{expired}"
    );
}

#[tokio::test]
async fn a_responder_that_is_down_costs_one_login_its_patience() {
    let (root, a, b) = root_with_two(P256);
    let ca = root.certificate();
    let running = root.respond("ca", &[]);
    let url = running.url();
    drop(running);
    for demand in [Demand::Required, Demand::Preferred] {
        let (bench, poster) = defined(responder(&root, &url, demand)).await;
        for leaf in [&a, &b, &a] {
            match bench.decide(&[leaf, &ca]).await {
                Ok((_, doubt)) => {
                    assert_eq!(demand, Demand::Preferred);
                    assert!(doubt.unwrap().why.contains("cannot be read"));
                }
                Err(revoked) => {
                    assert_eq!(demand, Demand::Required);
                    assert!(revoked.to_string().contains("cannot be read"), "{revoked}");
                    assert!(revoked.cause.is_passing());
                }
            }
        }
        assert_eq!(
            poster.asked(),
            1,
            "the second certificate did not wait, nor did the first one again"
        );
        bench.clock.advance(Duration::from_secs(11));
        assert_eq!(
            bench.decide(&[&a, &ca]).await.is_ok(),
            demand == Demand::Preferred
        );
        assert_eq!(poster.asked(), 2);
        let status = &bench.revocation.responders()[0];
        assert!(
            status.failure.as_ref().unwrap().contains("cannot be read"),
            "{status:?}"
        );
        assert_eq!((status.counts.0, status.answers, status.watched), (0, 2, 0));
    }
}

#[tokio::test]
async fn askers_of_one_certificate_share_a_question() {
    let (root, a, _) = root_with_two(P256);
    let ca = root.certificate();
    let running = root.respond("ca", &[]);
    let (bench, poster) = defined(responder(&root, &running.url(), Demand::Required)).await;
    let path: [&[u8]; 2] = [&a, &ca];
    let asked = futures_util::future::join_all((0..32).map(|_| bench.decide(&path))).await;
    assert!(asked.iter().all(Result::is_ok));
    assert_eq!(poster.asked(), 1);
    // An answer without a nextUpdate is asked for again after an hour, and counts for another one.
    drop(running);
    for (secs, counts) in [(3_601, true), (3_600, false)] {
        bench.clock.advance(Duration::from_secs(secs));
        assert_eq!(bench.decide(&[&a, &ca]).await.is_ok(), counts, "{secs}");
    }
    assert_eq!(poster.asked(), 3);
}

#[tokio::test]
async fn what_is_revoked_later_ends_the_connections_that_stand_on_it() {
    let root = Authority::new("Root", P256);
    let (a, b) = (root.issue("a", "leaf"), root.issue("b", "leaf"));
    let ca = root.certificate();
    let running = root.respond("ca", &["-nmin", "10"]);
    let (bench, poster) = defined(responder(&root, &running.url(), Demand::Preferred)).await;
    let (path, other): ([&[u8]; 2], [&[u8]; 2]) = ([&a, &ca], [&b, &ca]);
    let (held, _) = bench.decide(&path).await.unwrap();
    drop(bench.decide(&other).await.unwrap());
    bench.told_to_recheck();
    assert_eq!(bench.revocation.responders()[0].watched, 1);

    root.revoke("a", "cessationOfOperation");
    let running = root.respond_again(running, "ca", &["-nmin", "10"]);
    bench.revocation.refresh_answers().await;
    assert_eq!(poster.asked(), 2, "it is not time yet");
    // Nine tenths of the ten minutes are over.
    bench.clock.advance(Duration::from_secs(541));
    bench.revocation.refresh_answers().await;
    assert_eq!(poster.asked(), 3, "nobody stands on the other one");
    assert!(bench.told_to_recheck());
    let revoked = bench.revocation.stands(&path).unwrap_err();
    assert!(matches!(revoked.cause, Cause::Answered { .. }), "{revoked}");
    assert!(bench.revocation.stands(&other).is_ok());
    bench.revocation.refresh_answers().await;
    assert!(!bench.told_to_recheck(), "once");
    drop((held, running));
}

#[tokio::test]
async fn an_answer_that_runs_out_ends_connections_only_where_one_is_required() {
    let (root, a, _) = root_with_two(P256);
    let ca = root.certificate();
    let path: [&[u8]; 2] = [&a, &ca];
    for demand in [Demand::Required, Demand::Preferred] {
        let running = root.respond("ca", &["-nmin", "10"]);
        let (bench, _) = defined(responder(&root, &running.url(), demand)).await;
        let held = bench.decide(&path).await.unwrap();
        bench.told_to_recheck();
        drop(running);
        bench.clock.advance(Duration::from_secs(590));
        bench.revocation.refresh_answers().await;
        assert!(!bench.told_to_recheck(), "the answer still counts");
        bench.clock.advance(Duration::from_secs(400));
        bench.revocation.refresh_answers().await;
        let is_required = demand == Demand::Required;
        assert_eq!(bench.told_to_recheck(), is_required);
        assert_eq!(bench.revocation.stands(&path).is_err(), is_required);
        drop(held);
    }
}

#[tokio::test]
async fn connections_that_are_there_already_are_asked_about_later() {
    let (root, a, b) = root_with_two(P256);
    let ca = root.certificate();
    let running = root.respond("ca", &[]);
    let (bench, poster) = defined(responder(&root, &running.url(), Demand::Required)).await;
    bench.told_to_recheck();
    // Nobody waits for the network when connections look at their ground, and none is put out before the responder was asked.
    let held = [
        bench.revocation.stands(&[&a, &ca]).unwrap(),
        bench.revocation.stands(&[&b, &ca]).unwrap(),
    ];
    assert_eq!(poster.asked(), 0);
    bench.revocation.refresh_answers().await;
    assert_eq!(poster.asked(), 2);
    assert!(bench.told_to_recheck());
    assert!(bench.revocation.stands(&[&a, &ca]).is_ok());
    assert!(bench.revocation.stands(&[&b, &ca]).is_err());
    drop(held);
}

#[tokio::test]
async fn certificates_say_where_to_ask() {
    let root = Authority::new("Root", P256);
    let (a, b) = (root.issue("a", "leaf_with_responder"), root.issue("b", "leaf"));
    let ca = root.certificate();
    let running = root.respond("ca", &[]);
    let (url, server) = (running.url(), Arc::new(Server::default()));
    server.answer("http://responder.test/ocsp", move |question| {
        let question = question.unwrap();
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", question.len());
        post(&url, &[head.as_bytes(), question].concat())
            .ok()
            .map(Vec::from)
    });
    let bench = Bench::with(Arc::clone(&server)).await;
    let mut asks = Responder::new(name("root"), &STANDARD.encode(root.certificate())).unwrap();
    asks.demand = Demand::Required;
    define(&bench, asks.clone()).await;
    assert_eq!(doubt(&bench, &[&a, &ca]).await, None);
    assert_eq!(server.asked(), 1);
    let nowhere = refused(&bench, &[&b, &ca]).await;
    assert!(nowhere.to_string().contains("names no responder"), "{nowhere}");
    // Of an anchor nothing is demanded. Who issued it is not proven, so nobody goes where it points.
    let fresh = Bench::with(Arc::clone(&server)).await;
    define(&fresh, asks).await;
    assert_eq!(doubt(&fresh, &[&a]).await, None);
    assert_eq!(server.asked(), 1);
    // An answer counts as a known status.
    let bench = Bench::with(server).await;
    bench
        .revocation
        .require_status(&bench.manage, true)
        .await
        .unwrap();
    refused(&bench, &[&a, &ca]).await;
    define(
        &bench,
        Responder::new(name("root"), &STANDARD.encode(root.certificate())).unwrap(),
    )
    .await;
    assert_eq!(doubt(&bench, &[&a, &ca]).await, None);
    let unknown = refused(&bench, &[&b, &ca]).await;
    assert!(
        matches!(
            &unknown.cause,
            Cause::Unknown {
                missing: Missing::Nothing,
                ..
            }
        ),
        "{unknown}"
    );
}

#[tokio::test]
async fn a_damaged_or_foreign_answer_lets_nobody_in() {
    let (root, a, b) = root_with_two(P256);
    let ca = root.certificate();
    let running = root.respond("ca", &["-resp_no_certs"]);
    let server = Arc::new(Server::default());
    let url = "http://ca.test/ocsp";
    let bench = Bench::with(Arc::clone(&server)).await;
    let mut asks = responder(&root, url, Demand::Required);
    asks.has_nonce = true;
    define(&bench, asks.clone()).await;
    let answer_to = Arc::new(std::sync::Mutex::new(Vec::new()));
    let (kept, to) = (Arc::clone(&answer_to), running.url());
    server.answer(url, move |question| {
        let question = question.unwrap();
        let head = format!("POST / HTTP/1.0\r\nContent-Length: {}\r\n\r\n", question.len());
        let answer = post(&to, &[head.as_bytes(), question].concat()).unwrap().to_vec();
        kept.lock().unwrap().clone_from(&answer);
        Some(answer)
    });
    assert_eq!(doubt(&bench, &[&a, &ca]).await, None);
    let good = answer_to.lock().unwrap().clone();
    refused(&bench, &[&b, &ca]).await;
    let of_another = answer_to.lock().unwrap().clone();

    // The answer of a minute ago has the nonce of a minute ago.
    server.serve(url, good.clone());
    define(&bench, asks.clone()).await;
    let replayed = refused(&bench, &[&a, &ca]).await;
    assert!(replayed.to_string().contains("another nonce"), "{replayed}");

    asks.has_nonce = false;
    define(&bench, asks).await;
    server.serve(url, of_another);
    let foreign = refused(&bench, &[&a, &ca]).await;
    assert!(
        foreign.to_string().contains("about another certificate"),
        "{foreign}"
    );
    let mut damaged: Vec<Vec<u8>> = (0..good.len()).map(|end| good[..end].to_vec()).collect();
    damaged.extend((0..good.len()).map(|at| {
        let mut damaged = good.clone();
        damaged[at] ^= 1;
        damaged
    }));
    damaged.push([&good[..], &[0]].concat());
    for (at, answer) in damaged.into_iter().enumerate() {
        server.serve(url, answer);
        bench.clock.advance(Duration::from_secs(11));
        assert!(bench.decide(&[&a, &ca]).await.is_err(), "{at} of {}", good.len());
    }
    server.serve(url, good);
    bench.clock.advance(Duration::from_secs(11));
    assert_eq!(doubt(&bench, &[&a, &ca]).await, None);
}

#[tokio::test]
async fn responders_are_kept_bounded_and_asked_by_hand() {
    let (root, a, b) = root_with_two(P256);
    let other = Authority::new("Other", P256);
    let running: RunningResponder = root.respond("ca", &[]);
    let (mut bench, _) = defined(responder(&root, &running.url(), Demand::Required)).await;
    bench.restart().await;
    let root_name = name("root");
    let ask = async |certificate: &[u8]| {
        let revocation = &bench.revocation;
        revocation
            .ask_responder(&bench.manage, &root_name, certificate)
            .await
    };
    assert_eq!(ask(&a).await.unwrap(), "good");
    assert!(ask(&b).await.unwrap().starts_with("revoked since "));
    let foreign = ask(&other.certificate()).await.unwrap_err();
    assert!(
        foreign.message().contains("was not issued by CN=Root"),
        "{foreign}"
    );

    let mut twice = responder(&root, &running.url(), Demand::Required);
    twice.name = name("again");
    let conflict = bench
        .revocation
        .define_responder(&bench.manage, twice)
        .await
        .unwrap_err();
    assert_eq!(conflict.code(), Code::GenericConflict);
    bench.world.limits.set(Limit::OcspRespondersMax, 1);
    let mut second = responder(&other, &running.url(), Demand::Required);
    second.name = name("other");
    let full = bench
        .revocation
        .define_responder(&bench.manage, second)
        .await
        .unwrap_err();
    assert_eq!(full.code(), Code::GenericConflict);
    let leaf = Responder::new(name("leaf"), &STANDARD.encode(&a)).unwrap_err();
    assert!(leaf.to_string().contains("none of a CA"), "{leaf}");

    bench.world.limits.set(Limit::OcspAnswersMax, 1);
    let c = root.issue("c", "leaf");
    let _running = root.respond_again(running, "ca", &[]);
    ask(&c).await.unwrap();
    assert_eq!(bench.revocation.responders()[0].answers, 2, "one of three went");

    bench
        .revocation
        .remove_responder(&bench.manage, &name("root"))
        .await
        .unwrap();
    assert!(bench.told_to_recheck());
    assert!(bench.decide(&[&b, &root.certificate()]).await.is_ok());
    let gone = bench
        .revocation
        .remove_responder(&bench.manage, &name("root"))
        .await;
    assert_eq!(gone.unwrap_err().code(), Code::GenericNotFound);
    bench.restart().await;
    assert!(bench.revocation.responders().is_empty());
}
