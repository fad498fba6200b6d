use super::*;

fn settings(min: Option<TlsVersion>, suites: &[&str]) -> TlsSettings {
    TlsSettings {
        min_tls_version: min,
        cipher_suites: Some(CipherSuites::parse(suites.iter().copied()).unwrap()),
    }
}

#[test]
fn no_version_may_be_left_without_a_suite() {
    let modern = "TLS_AES_256_GCM_SHA384";
    let older = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384";
    let cases = [
        (None, vec![modern, older], Ok(())),
        (Some(TlsVersion::V1_3), vec![modern], Ok(())),
        (None, vec![modern], Err(InvalidTlsSettings::NoneOfTls12)),
        (
            Some(TlsVersion::V1_2),
            vec![modern],
            Err(InvalidTlsSettings::NoneOfTls12),
        ),
        (None, vec![older], Err(InvalidTlsSettings::NoneOfTls13)),
        (
            Some(TlsVersion::V1_3),
            vec![older],
            Err(InvalidTlsSettings::NoneOfTls13),
        ),
        (None, vec![], Err(InvalidTlsSettings::NoneOfTls13)),
    ];
    for (min, suites, expected) in cases {
        assert_eq!(settings(min, &suites).check(), expected, "{min:?} {suites:?}");
    }
    assert_eq!(TlsSettings::default().check(), Ok(()));
}

#[test]
fn what_was_agreed_upon_must_be_new_enough_and_chosen() {
    let agreed = |version, suite| {
        Some(TlsAgreement {
            version,
            cipher_suite: Some(suite),
        })
    };
    let new = agreed(TlsVersion::V1_3, CipherSuite::Tls13Aes128);
    let old = agreed(TlsVersion::V1_2, CipherSuite::EcdheRsaAes256);
    assert!(TlsSettings::default().admit(old).is_ok());
    assert!(TlsSettings::default().admit(None).is_ok());
    let only_new = TlsSettings {
        min_tls_version: Some(TlsVersion::V1_3),
        cipher_suites: None,
    };
    assert!(only_new.admit(new).is_ok());
    let refusal = only_new.admit(old).unwrap_err();
    assert_eq!(refusal.reason, Reason::TlsTooOld);
    assert_eq!(refusal.expected, "TLS 1.3 or later");
    let strong = settings(None, &["aes-256"]);
    assert!(strong.admit(old).is_ok());
    let refusal = strong.admit(new).unwrap_err();
    assert_eq!(refusal.reason, Reason::CipherRefused);
    assert_eq!(refusal.found, "TLS_AES_128_GCM_SHA256");
    assert!(
        refusal.expected.contains("TLS_AES_256_GCM_SHA384"),
        "{}",
        refusal.expected
    );
    let unknown = TlsAgreement {
        version: TlsVersion::V1_3,
        cipher_suite: None,
    };
    assert!(strong.admit(Some(unknown)).is_err());
}
