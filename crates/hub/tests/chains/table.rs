//! The table: the CA certificates of the hub, what the device sends, leaf first, and for a refusal its reason and words of it.

use hub::access::Reason;

pub(crate) const DEVICE: &str = "dev1";

pub(crate) const TAKEN: &[(&str, &str)] = &[
    // Shapes.
    ("root", "leaf"),
    ("root", "leaf_int int"),
    ("root", "leaf_int2 int2 int"),
    ("root", "leaf_int2 int int2"),
    ("root", "leaf_int2 root int stranger int2"),
    ("int", "leaf_int"),
    ("int", "leaf_int int root"),
    ("int2 root? int?", "leaf_int2"),
    ("root", "leaf_int namesake_int int"),
    ("namesake root", "leaf"),
    ("root", "leaf_cross cross_of_stranger cross_of_root"),
    ("stranger", "leaf_cross cross_of_stranger cross_of_root"),
    ("stranger? root", "leaf_cross cross_of_stranger cross_of_root"),
    ("root", "leaf_c8 c8 c7 c6 c5 c4 c3 c2 c1"),
    ("ring_a", "leaf_ring ring_b ring_a_of_b"),
    // Algorithms.
    ("root_rsa2048", "leaf_rsa2048_sha256"),
    ("root_rsa2048", "leaf_rsa2048_sha384"),
    ("root_rsa2048", "leaf_rsa2048_sha512"),
    ("root_rsa3072", "leaf_rsa3072_sha256"),
    ("root_rsa2048", "leaf_pss_sha256"),
    ("root_rsa2048", "leaf_pss_sha384"),
    ("root_rsa3072", "leaf_pss_sha512"),
    ("root_p256", "leaf_p256_sha384"),
    ("root_p256", "leaf_p256_sha512"),
    ("root_p384", "leaf_p384_sha384"),
    ("root_p384", "leaf_p384_sha256"),
    ("root_p521", "leaf_p521_sha512"),
    ("root_p521", "leaf_p521_sha384"),
    ("root_ed25519", "leaf_ed25519_sha256"),
    ("root", "leaf_rsa_of_ec"),
    ("root_sha1", "leaf_root_sha1"),
    // Validity to the second.
    ("root", "leaf_last_second"),
    ("root", "leaf_first_second"),
    // Extensions.
    ("root", "leaf_int_no_usage int_no_usage"),
    ("root", "leaf_unknown"),
    ("root", "leaf_server_usage"),
    ("root", "leaf_policies"),
    ("root", "leaf_v1"),
    ("root", "leaf_bare"),
    ("root", "leaf_is_ca"),
    // Path lengths.
    ("root_0", "leaf_root_0"),
    ("root_0", "leaf_root_0_again root_0_again"),
    ("root", "leaf_int_0 int_0"),
    ("root_1", "leaf_int_root_1 int_root_1"),
    // Names.
    ("root_dir", "leaf_dir"),
    ("root_no_dir", "leaf_no_dir"),
    ("root_dns", "leaf_dns"),
    ("root_dns", "leaf_dns_none"),
    ("root_ip", "leaf_ip"),
    ("root_uri", "leaf_uri"),
];

pub(crate) const REFUSED: &[(&str, &str, Reason, &str)] = &[
    // Shapes.
    (
        "",
        "leaf",
        Reason::IssuerUnknown,
        "issued by 'O=Contoso, CN=root'",
    ),
    ("stranger", "leaf", Reason::IssuerUnknown, "neither sent nor"),
    (
        "root",
        "leaf_int",
        Reason::IssuerUnknown,
        "issued by 'O=Contoso, CN=int'",
    ),
    (
        "root",
        "leaf_int2 int2",
        Reason::IssuerUnknown,
        "issued by 'O=Contoso, CN=int'",
    ),
    ("root", "leaf_alone", Reason::IssuerUnknown, "ends at 'CN=dev1'"),
    (
        "root",
        "leaf_stranger stranger",
        Reason::IssuerUnknown,
        "ends at 'O=Contoso, CN=stranger'",
    ),
    ("root?", "leaf", Reason::AuthorityUnverified, "'root'"),
    (
        "root? stranger",
        "leaf_int int",
        Reason::AuthorityUnverified,
        "'root'",
    ),
    (
        "root",
        "leaf_namesake",
        Reason::CertificateSignatureInvalid,
        "'CN=dev1' with another",
    ),
    (
        "root",
        "leaf_int namesake_int",
        Reason::CertificateSignatureInvalid,
        "'O=Contoso, CN=int'",
    ),
    (
        "root",
        "leaf_ring ring_a ring_b ring_a_of_b",
        Reason::IssuerUnknown,
        "ring",
    ),
    (
        "root",
        "leaf_c9 c9 c8 c7 c6 c5 c4 c3 c2 c1",
        Reason::ChainTooLong,
        "at most 10",
    ),
    // Algorithms.
    (
        "root_rsa2048",
        "leaf_sha1",
        Reason::CertificateSignatureRefused,
        "SHA-1",
    ),
    (
        "root_rsa2048",
        "leaf_md5",
        Reason::CertificateSignatureRefused,
        "MD5",
    ),
    (
        "root",
        "leaf_ec_sha1",
        Reason::CertificateSignatureRefused,
        "SHA-1",
    ),
    (
        "root_rsa2048",
        "leaf_pss_sha1",
        Reason::CertificateSignatureRefused,
        "SHA-1",
    ),
    (
        "root_rsa2048",
        "leaf_pss_salt",
        Reason::CertificateSignatureRefused,
        "salt",
    ),
    (
        "root_rsa2048",
        "leaf_int_sha1 int_sha1",
        Reason::CertificateSignatureRefused,
        "'CN=int sha1' with",
    ),
    (
        "root",
        "leaf_int_rsa1024 int_rsa1024",
        Reason::CertificateSignatureRefused,
        "1024 bits",
    ),
    (
        "root",
        "leaf_int_k256 int_k256",
        Reason::CertificateSignatureRefused,
        "1.3.132.0.10",
    ),
    // Validity.
    (
        "root",
        "leaf_past",
        Reason::CertificateExpired,
        "'CN=dev1', valid until 2027-01-01T00:00:00Z",
    ),
    (
        "root",
        "leaf_future",
        Reason::CertificateNotYetValid,
        "'CN=dev1', valid from 2028-01-01T00:00:00Z",
    ),
    (
        "root",
        "leaf_int_past int_past",
        Reason::CertificateExpired,
        "'CN=int past'",
    ),
    (
        "root",
        "leaf_int_future int_future",
        Reason::CertificateNotYetValid,
        "'CN=int future'",
    ),
    (
        "root_future",
        "leaf_root_future",
        Reason::CertificateNotYetValid,
        "'CN=root future'",
    ),
    // Authorities that are none.
    (
        "root",
        "leaf_int_plain int_plain",
        Reason::IssuerNotAuthority,
        "'CN=int plain'",
    ),
    (
        "root",
        "leaf_int_false int_false",
        Reason::IssuerNotAuthority,
        "'CN=int false'",
    ),
    (
        "root",
        "leaf_int_v1 int_v1",
        Reason::IssuerNotAuthority,
        "'CN=int v1'",
    ),
    ("root", "leaf_of_leaf leaf", Reason::IssuerNotAuthority, "CA:TRUE"),
    (
        "root",
        "leaf_int_usage int_usage",
        Reason::KeyUsageMissing,
        "'CN=int usage'",
    ),
    // Path lengths.
    (
        "root_0",
        "leaf_int_root_0 int_root_0",
        Reason::PathLengthExceeded,
        "at most 0 CAs below 'CN=root 0'",
    ),
    (
        "root",
        "leaf_below_int_0 below_int_0 int_0",
        Reason::PathLengthExceeded,
        "'CN=int 0'",
    ),
    (
        "int_0",
        "leaf_below_int_0 below_int_0",
        Reason::PathLengthExceeded,
        "'CN=int 0'",
    ),
    // Names.
    (
        "root_dir",
        "leaf_dir_outside",
        Reason::CertificateNameForbidden,
        "not among the permitted",
    ),
    (
        "root_no_dir",
        "leaf_no_dir_inside",
        Reason::CertificateNameForbidden,
        "is excluded",
    ),
    (
        "root_dns",
        "leaf_dns_outside",
        Reason::CertificateNameForbidden,
        "badexample.test",
    ),
    (
        "root_no_dns",
        "leaf_no_dns_inside",
        Reason::CertificateNameForbidden,
        "is excluded",
    ),
    (
        "root_ip",
        "leaf_ip_outside",
        Reason::CertificateNameForbidden,
        "address",
    ),
    (
        "root_email",
        "leaf_email_outside",
        Reason::CertificateNameForbidden,
        "a@example.org",
    ),
    (
        "root_email",
        "leaf_email_subject",
        Reason::CertificateNameForbidden,
        "a@example.org",
    ),
    (
        "root_uri",
        "leaf_uri_outside",
        Reason::CertificateNameForbidden,
        "example.org",
    ),
    (
        "root_uri",
        "leaf_uri_hostless",
        Reason::CertificateNameForbidden,
        "urn:x",
    ),
    (
        "root_other",
        "leaf_other",
        Reason::CertificateNameForbidden,
        "kind 0",
    ),
    (
        "root",
        "leaf_int_dir_outside int_dir",
        Reason::CertificateNameForbidden,
        "'O=Contoso, CN=int dir'",
    ),
    // Extensions.
    (
        "root",
        "leaf_critical",
        Reason::CriticalExtensionUnknown,
        "1.2.3.4.5 of 'CN=dev1'",
    ),
    (
        "root",
        "leaf_int_critical int_critical",
        Reason::CriticalExtensionUnknown,
        "'CN=int critical'",
    ),
    // Common names.
    ("root", "leaf_case", Reason::CommonNameMismatch, "CN=Dev1"),
    ("root", "leaf_longer", Reason::CommonNameMismatch, "CN=dev12"),
    ("root", "leaf_nameless", Reason::CommonNameMismatch, "O=dev1"),
    (
        "root",
        "leaf_twice",
        Reason::CommonNameMismatch,
        "CN=dev1, CN=dev1",
    ),
    ("root", "leaf_alternative", Reason::CommonNameMismatch, "CN=other"),
    ("root", "leaf_module", Reason::CommonNameMismatch, "CN=dev1/mod1"),
];
