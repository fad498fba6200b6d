//! A list of a million serial numbers, as the largest CAs have them. How long it takes is measured by `benches`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hub::trust::revocation::{Cause, Definition, ListName, Source};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair};

use crate::bench::Bench;
use crate::openssl::{Authority, P256};

const ENTRIES: u64 = 1_000_000;
const MEMORY_MAX: usize = 64 * 1_024 * 1_024;

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let mut whole = vec![tag];
    if length < 0x80 {
        whole.push(u8::try_from(length).unwrap());
    } else {
        let digits: Vec<u8> = length
            .to_be_bytes()
            .into_iter()
            .skip_while(|byte| *byte == 0)
            .collect();
        whole.push(0x80 | u8::try_from(digits.len()).unwrap());
        whole.extend_from_slice(&digits);
    }
    whole.extend_from_slice(content);
    whole
}

/// 20 bytes that are spread like random ones, so that the list is not sorted.
fn serial(number: u64) -> [u8; 20] {
    let mut serial = [0x5a; 20];
    serial[..8].copy_from_slice(&(number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 1 | 1 << 62).to_be_bytes());
    serial[12..].copy_from_slice(&number.to_be_bytes());
    serial
}

fn signed_list(root: &Authority, subject: &[u8]) -> Vec<u8> {
    root.run(&[
        "pkcs8", "-topk8", "-nocrypt", "-in", "ca.key", "-outform", "DER", "-out", "ca.p8",
    ]);
    let key = std::fs::read(root.path("ca.p8")).unwrap();
    let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &key).unwrap();
    let algorithm = element(
        0x30,
        &element(0x06, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]),
    );
    let mut entries = Vec::new();
    for number in 0..ENTRIES {
        let entry = [element(0x02, &serial(number)), element(0x17, b"260101000000Z")].concat();
        entries.extend_from_slice(&element(0x30, &entry));
    }
    let fields = [
        element(0x02, &[1]),
        algorithm.clone(),
        subject.to_vec(),
        element(0x17, b"260101000000Z"),
        element(0x30, &entries),
    ];
    let message = element(0x30, &fields.concat());
    let signature = key.sign(&SystemRandom::new(), &message).unwrap();
    let bits = element(0x03, &[&[0], signature.as_ref()].concat());
    element(0x30, &[message, algorithm, bits].concat())
}

#[tokio::test]
async fn a_million_serials_are_loaded_compactly_and_found() {
    let root = Authority::new("Root", P256);
    let leaf = root.issue("leaf", "leaf");
    let ca = root.certificate();
    // CN=Root as OpenSSL writes it.
    let subject = element(
        0x30,
        &element(0x31, &element(0x30, b"\x06\x03\x55\x04\x03\x0c\x04Root")),
    );
    let bench = Bench::new().await;
    let name = ListName::parse("root").unwrap();
    let definition = Definition::new(name.clone(), &STANDARD.encode(&ca), Source::Uploaded, false).unwrap();
    bench
        .revocation
        .define_list(&bench.manage, definition)
        .await
        .unwrap();
    let list = Bytes::from(signed_list(&root, &subject));
    let status = bench
        .revocation
        .upload_list(&bench.manage, &name, list)
        .await
        .unwrap();
    let list = status.list.unwrap();
    assert_eq!(list.entry_count(), 1_000_000);
    assert!(list.memory_bytes() < MEMORY_MAX, "{} bytes", list.memory_bytes());

    // A certificate whose serial number is on the list: its own is put in the leaf's place, as nobody's signature is looked at here.
    let at = leaf
        .windows(2)
        .position(|pair| pair == [0x02, 0x14])
        .expect("a serial number of 20 bytes")
        + 2;
    for number in [0, 1, 499_999, ENTRIES - 1, ENTRIES] {
        let mut listed = leaf.clone();
        listed[at..at + 20].copy_from_slice(&serial(number));
        let checked = bench.check(&[&listed, &ca]);
        assert_eq!(checked.is_err(), number < ENTRIES, "{number}");
        if let Err(revoked) = checked {
            assert!(matches!(revoked.cause, Cause::Listed { .. }));
        }
    }
    assert!(bench.check(&[&leaf, &ca]).is_ok());
}
