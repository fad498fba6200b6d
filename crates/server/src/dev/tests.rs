use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::*;

const NOW: Timestamp = Timestamp::from_secs(1_790_000_000);

fn options(data_dir: &Path) -> Options {
    Options {
        data_dir: data_dir.to_owned(),
        hosts: Vec::new(),
        environment: Vec::new(),
        flags: Vec::new(),
    }
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// OpenSSL's judgement of a server certificate, as independent of the library that made it.
fn openssl_accepts(prepared: &Prepared, name: &str, at: Timestamp) -> bool {
    let kind = if name.parse::<IpAddr>().is_ok() {
        "-verify_ip"
    } else {
        "-verify_hostname"
    };
    let output = Command::new("openssl")
        .args([
            "verify",
            "-x509_strict",
            "-purpose",
            "sslserver",
            "-attime",
            &at.as_secs().to_string(),
            kind,
            name,
        ])
        .arg("-CAfile")
        .arg(&prepared.ca_file)
        .arg(&prepared.config.tls.certificate[0])
        .output()
        .expect("the openssl program is needed for this test");
    output.status.success()
}

#[test]
fn makes_folder_authority_and_certificate() {
    let parent = tempfile::tempdir().unwrap();
    let data = parent.path().join("a/data");
    let prepared = prepare(&options(&data), NOW).unwrap();
    assert!(prepared.authority_is_new);
    let tls = data.canonicalize().unwrap().join("tls");
    assert_eq!(prepared.ca_file, tls.join("ca.pem"));
    for (path, expected) in [
        (data.as_path(), 0o700),
        (&tls, 0o700),
        (&tls.join("ca.key"), 0o600),
        (&tls.join("ca.pem"), 0o644),
        (&tls.join("server.pem"), 0o600),
    ] {
        assert_eq!(mode(path), expected, "{}", path.display());
    }
    for name in HOST_NAMES {
        assert!(openssl_accepts(&prepared, name, NOW), "{name}");
    }
    assert!(!openssl_accepts(&prepared, "hub2.ironhub.test", NOW));
    assert!(!openssl_accepts(
        &prepared,
        "localhost",
        NOW.plus(Duration::from_secs(398 * 86_400))
    ));
}

#[test]
fn the_key_is_of_the_curve_p_256() {
    let data = tempfile::tempdir().unwrap();
    let prepared = prepare(&options(data.path()), NOW).unwrap();
    for file in [&prepared.ca_file, &prepared.config.tls.certificate[0]] {
        let output = Command::new("openssl")
            .args(["x509", "-noout", "-text", "-in"])
            .arg(file)
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("prime256v1") && text.contains("ecdsa-with-SHA256"),
            "{text}"
        );
    }
}

#[test]
fn a_second_start_keeps_everything() {
    let data = tempfile::tempdir().unwrap();
    let first = prepare(&options(data.path()), NOW).unwrap();
    let read = |prepared: &Prepared| {
        (
            std::fs::read(&prepared.ca_file).unwrap(),
            std::fs::read(&prepared.config.tls.certificate[0]).unwrap(),
        )
    };
    let before = read(&first);
    let second = prepare(&options(data.path()), NOW.plus(Duration::from_secs(86_400))).unwrap();
    assert!(!second.authority_is_new);
    assert_eq!(read(&second), before);
    assert_eq!(second.config, first.config);
}

#[test]
fn a_new_host_gets_a_certificate_of_the_same_authority() {
    let data = tempfile::tempdir().unwrap();
    let first = prepare(&options(data.path()), NOW).unwrap();
    let authority = std::fs::read(&first.ca_file).unwrap();
    let named = Options {
        hosts: vec!["Gateway.Lan".to_owned(), "localhost".to_owned()],
        ..options(data.path())
    };
    let second = prepare(&named, NOW).unwrap();
    assert_eq!(std::fs::read(&second.ca_file).unwrap(), authority);
    assert_eq!(
        second.config.hubs[0].host_names,
        [
            "gateway.lan",
            "localhost",
            "127.0.0.1",
            "::1",
            "hub1.ironhub.test"
        ]
    );
    for name in ["gateway.lan", "localhost", "::1"] {
        assert!(openssl_accepts(&second, name, NOW), "{name}");
    }
}

#[test]
fn a_certificate_near_its_end_or_damaged_is_made_anew() {
    let data = tempfile::tempdir().unwrap();
    prepare(&options(data.path()), NOW).unwrap();
    let later = NOW.plus(Duration::from_secs(370 * 86_400));
    let renewed = prepare(&options(data.path()), later).unwrap();
    assert!(openssl_accepts(
        &renewed,
        "localhost",
        later.plus(Duration::from_secs(300 * 86_400))
    ));
    std::fs::write(&renewed.config.tls.certificate[0], "damaged").unwrap();
    assert!(openssl_accepts(
        &prepare(&options(data.path()), later).unwrap(),
        "localhost",
        later
    ));
}

#[test]
fn an_interrupted_first_start_goes_on_with_its_key() {
    let data = tempfile::tempdir().unwrap();
    let first = prepare(&options(data.path()), NOW).unwrap();
    std::fs::remove_file(&first.ca_file).unwrap();
    let second = prepare(&options(data.path()), NOW).unwrap();
    assert!(openssl_accepts(&second, "localhost", NOW));
}

#[test]
fn a_lost_key_is_told_only_when_it_is_needed() {
    let data = tempfile::tempdir().unwrap();
    let first = prepare(&options(data.path()), NOW).unwrap();
    std::fs::remove_file(first.ca_file.with_file_name("ca.key")).unwrap();
    prepare(&options(data.path()), NOW).unwrap();
    let named = Options {
        hosts: vec!["gateway.lan".to_owned()],
        ..options(data.path())
    };
    let error = prepare(&named, NOW).unwrap_err().to_string();
    assert!(error.contains("ca.key") && error.contains("Restore"), "{error}");
}

#[test]
fn a_folder_of_something_else_is_left_alone() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("letter.txt"), "dear").unwrap();
    std::fs::set_permissions(data.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let error = prepare(&options(data.path()), NOW).unwrap_err().to_string();
    assert!(
        error.contains("it holds other files and none of a hub"),
        "{error}"
    );
    assert_eq!(mode(data.path()), 0o755);
}

#[test]
fn an_open_empty_folder_is_closed_to_others() {
    let data = tempfile::tempdir().unwrap();
    std::fs::set_permissions(data.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    prepare(&options(data.path()), NOW).unwrap();
    assert_eq!(mode(data.path()), 0o700);
}

#[test]
fn flags_and_environment_change_the_configuration() {
    let data = tempfile::tempdir().unwrap();
    let chosen = Options {
        environment: vec![("IRONHUB_LIMITS_SAS_CLOCK_SKEW_SECS".to_owned(), "0".to_owned())],
        flags: vec![
            Flag::new("--mqtt-port", "listeners.mqtt", "127.0.0.1:0"),
            Flag::any("hubs.hub1.partition_count=2").unwrap(),
        ],
        ..options(data.path())
    };
    let config = prepare(&chosen, NOW).unwrap().config;
    assert_eq!(config.listeners.mqtt, ["127.0.0.1:0".parse().unwrap()]);
    assert_eq!(config.listeners.amqp_plain[0], "127.0.0.1:5672".parse().unwrap());
    assert_eq!(config.hubs[0].partition_count, 2);
    assert_eq!(
        config.limits.to_vec(),
        [(hub::limits::Limit::SasClockSkewSecs, 0)]
    );
}

#[test]
fn a_name_that_is_none_is_told_as_such() {
    let data = tempfile::tempdir().unwrap();
    let wrong = Options {
        hosts: vec!["https://x".to_owned()],
        ..options(data.path())
    };
    let error = prepare(&wrong, NOW).unwrap_err().to_string();
    assert_eq!(
        error,
        "configuration: hubs.hub1.host_names: \"https://x\" is not a host name or an address, without scheme and port"
    );
}

#[test]
fn plain_amqp_stays_on_loopback() {
    let data = tempfile::tempdir().unwrap();
    let open = Options {
        flags: vec![Flag::any("listeners.amqp_plain=0.0.0.0:5672").unwrap()],
        ..options(data.path())
    };
    let error = prepare(&open, NOW).unwrap_err().to_string();
    assert!(
        error.contains("0.0.0.0:5672 is not a loopback address"),
        "{error}"
    );
}
