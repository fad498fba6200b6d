//! A large revocation list: how long it takes until it is in force, what it weighs, and what it adds to the check of a path.

use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::clock::{Clock as _, SystemClock};
use hub::trust::revocation::{Definition, ListName, Source};
use hyper::Method;
use rcgen::{
    CertificateRevocationListParams, KeyIdMethod, KeyPair, RevocationReason, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

use super::idle::SETTLE;
use crate::failure::Failure;
use crate::fleet::{self, Authority};
use crate::inside::Inside;
use crate::metric::Metric;
use crate::plan::runtime;
use crate::report::Report;
use crate::subject::{Ironhub, NAME};
use crate::{clock, cost};

/// Certificates that are looked up in turn, so that no cache holds all the ways through the list.
const LEAVES: usize = 10_000;

/// Checks that are timed.
const CHECKS: usize = 200_000;

/// What makes numbers look random: 2^64 by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Measures a list of so many serial numbers, so many times.
pub(crate) fn measure(
    program: &Path,
    folder: &Path,
    (count, rounds): (usize, usize),
    report: &mut Report,
) -> Result<(), Failure> {
    let root = fleet::authority("revocation root", None)?;
    let list = Bytes::from(signed_list(&root, count)?);
    let definition = serde_json::json!({ "issuer": STANDARD.encode(root.der()) }).to_string();
    for round in 0..rounds {
        eprintln!("revocation, round {}", round + 1);
        let data_dir = folder.join(format!("revocation-{round}"));
        let given = (definition.clone(), list.clone());
        runtime(2)?.block_on(load(program, &data_dir, given, report))?;
        let again = Ironhub::start(program, &data_dir)?;
        report.record(
            NAME,
            Metric::RevocationStartMillis,
            again.start.as_secs_f64() * 1e3,
        );
        again.running.stop()?;
        let inside = folder.join(format!("revocation-inside-{round}"));
        runtime(2)?.block_on(look_up(&inside, &root, list.clone(), report))?;
    }
    Ok(())
}

/// Hands the list to a fresh server, and weighs it before and after.
async fn load(
    program: &Path,
    data_dir: &Path,
    (definition, list): (String, Bytes),
    report: &mut Report,
) -> Result<(), Failure> {
    let hub = Ironhub::start(program, data_dir)?;
    let mut owner = hub.service.connect().await?;
    let path = "/$ironhub/v1/revocation/lists/root";
    owner.call(Method::PUT, path, definition).await?;
    tokio::time::sleep(SETTLE).await;
    let before = hub.running.process().anonymous_bytes()?;
    let start = clock::now();
    owner.call(Method::PUT, &format!("{path}/content"), list).await?;
    report.record(NAME, Metric::RevocationLoadSecs, start.elapsed().as_secs_f64());
    tokio::time::sleep(SETTLE).await;
    let growth = hub.running.process().anonymous_bytes()?.saturating_sub(before);
    report.record(NAME, Metric::RevocationMib, growth as f64 / 1_048_576.0);
    hub.running.stop()
}

/// Checks certificates that are on no list, as nearly all are, before and after the list is there: the whole way through it each time.
async fn look_up(folder: &Path, root: &Authority, list: Bytes, report: &mut Report) -> Result<(), Failure> {
    std::fs::create_dir_all(folder).map_err(|error| Failure::environment("making a folder", error))?;
    let hub = Inside::open(folder).await?;
    let leaves = leaves(root)?;
    let now = SystemClock::new().now();
    let check = |call: usize| {
        let leaf = leaves.get(call % LEAVES).map_or(&[][..], Vec::as_slice);
        hub.revocation.check(&[leaf, root.der()], now).is_ok()
    };
    let without = cost::micros(CHECKS, check);
    let name = ListName::parse("root").map_err(failed)?;
    let issuer = STANDARD.encode(root.der());
    let definition = Definition::new(name.clone(), &issuer, Source::Uploaded, false).map_err(failed)?;
    let owner = hub.owner();
    hub.revocation
        .define_list(&owner, definition)
        .await
        .map_err(failed)?;
    hub.revocation
        .upload_list(&owner, &name, list)
        .await
        .map_err(failed)?;
    if !check(0)
        || hub
            .revocation
            .check(&[&listed(&leaves, 0)?, root.der()], now)
            .is_ok()
    {
        return Err(failed("the list does not tell its certificates from others"));
    }
    let with = cost::micros(CHECKS, check);
    report.record(NAME, Metric::RevocationCheckMicros, without);
    report.record(NAME, Metric::RevocationAddedMicros, with - without);
    Ok(())
}

/// A list with so many serial numbers and reasons, in no order, signed by its CA.
fn signed_list(root: &Authority, count: usize) -> Result<Vec<u8>, Failure> {
    let revoked = (0..count).map(|number| RevokedCertParams {
        serial_number: SerialNumber::from_slice(&serial(number, Side::Listed)),
        revocation_time: date_time_ymd(2026, 1, 1),
        reason_code: Some(RevocationReason::KeyCompromise),
        invalidity_date: None,
    });
    let params = CertificateRevocationListParams {
        this_update: date_time_ymd(2026, 1, 1),
        next_update: date_time_ymd(2096, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: revoked.collect(),
        key_identifier_method: KeyIdMethod::Sha256,
    };
    let list = params.signed_by(root).map_err(failed)?;
    Ok(list.der().to_vec())
}

/// Whether a serial number is on the list.
#[derive(Clone, Copy)]
enum Side {
    Listed = 0,
    Other = 1,
}

/// 20 bytes as CAs draw them at random; those that are listed lie among those that are not.
fn serial(number: usize, side: Side) -> [u8; 20] {
    let mut serial = [0x5a; 20];
    let spread = (2 * number as u64 + side as u64).wrapping_mul(SPREAD);
    // Positive, and without a zero in front.
    let front = spread >> 1 | 1 << 62;
    for (to, from) in serial.iter_mut().zip(front.to_be_bytes()) {
        *to = from;
    }
    for (to, from) in serial.iter_mut().rev().zip(spread.to_le_bytes()) {
        *to = from;
    }
    serial
}

/// Certificates that are on no list. One is signed; the others differ from it in their serial number, as nobody's signature is looked
/// at by the check that is measured.
fn leaves(root: &Authority) -> Result<Vec<Vec<u8>>, Failure> {
    let mut params = fleet::named("device");
    params.serial_number = Some(SerialNumber::from_slice(&serial(0, Side::Other)));
    let key = KeyPair::generate().map_err(failed)?;
    let leaf = params.signed_by(&key, root).map_err(failed)?.der().to_vec();
    (0..LEAVES)
        .map(|number| with_serial(&leaf, serial(number, Side::Other)))
        .collect()
}

/// The same certificate with the serial number of an entry.
fn listed(leaves: &[Vec<u8>], number: usize) -> Result<Vec<u8>, Failure> {
    let leaf = leaves.first().map_or(&[][..], Vec::as_slice);
    with_serial(leaf, serial(number, Side::Listed))
}

fn with_serial(leaf: &[u8], serial: [u8; 20]) -> Result<Vec<u8>, Failure> {
    let mut changed = leaf.to_vec();
    let at = leaf.windows(2).position(|pair| pair == [0x02, 0x14]);
    let room = at.and_then(|at| changed.get_mut(at + 2..at + 22));
    room.ok_or_else(|| failed("a certificate without a serial number of 20 bytes"))?
        .copy_from_slice(&serial);
    Ok(changed)
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::environment("measuring revocation", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_list_tells_its_certificates_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let root = fleet::authority("root", None).unwrap();
        let list = Bytes::from(signed_list(&root, 100).unwrap());
        let mut report = Report::default();
        look_up(folder.path(), &root, list, &mut report).await.unwrap();
        assert!(report.median(NAME, Metric::RevocationCheckMicros).unwrap() > 0.0);
    }
}
