use std::path::Path;

use super::*;

/// A configuration with all that has no default.
const MINIMAL: &str = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\n[hubs.hub1]\nhost_names = [\"hub1.example\"]\n";

struct Bench {
    folder: tempfile::TempDir,
    sources: Sources,
}

impl Bench {
    fn new(file: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ironhub.toml");
        std::fs::write(&path, file).unwrap();
        let sources = Sources {
            file: Some(path),
            ..Sources::default()
        };
        Self { folder, sources }
    }

    fn variable(mut self, name: &str, value: &str) -> Self {
        self.sources.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    fn set(mut self, argument: &str) -> Self {
        self.sources.flags.push(Flag::any(argument).unwrap());
        self
    }

    fn load(&self) -> Config {
        load(Config::default(), &self.sources).unwrap()
    }

    /// The message, with the folder of the file left out.
    fn error(&self) -> String {
        let error = load(Config::default(), &self.sources).unwrap_err().to_string();
        error.replace(&format!("{}/", self.folder.path().display()), "")
    }
}

fn hub(config: &Config) -> &HubConfig {
    &config.hubs[0]
}

#[test]
fn a_minimal_file_gets_the_defaults() {
    let bench = Bench::new(MINIMAL);
    let config = bench.load();
    assert_eq!(config.data_dir, Path::new("/var/lib/ironhub"));
    assert_eq!(config.tls.certificate, [bench.folder.path().join("server.pem")]);
    let mqtt: Vec<String> = config.listeners.mqtt.iter().map(ToString::to_string).collect();
    assert_eq!(mqtt, ["0.0.0.0:8883", "[::]:8883"]);
    assert_eq!(hub(&config).host_names, ["hub1.example"]);
    assert_eq!(hub(&config).partition_count, 4);
    assert_eq!(hub(&config).retention_age, Duration::from_secs(86_400));
    assert_eq!(hub(&config).commit_within, Duration::from_micros(2_500));
}

#[test]
fn every_section_is_read() {
    let config = Bench::new(
        "data_dir = \"data\"\nfidelity = \"azure\"\n\
         listeners.mqtt = [\"127.0.0.1:1883\"]\nlisteners.admin = []\n\
         [tls]\ncertificate = \"/c.pem\"\nkey = \"/k.pem\"\n\
         [log]\nlevel = \"debug\"\nformat = \"json\"\n\
         [limits]\nmessage_bytes_max = \"1 MiB\"\nsas_clock_skew_secs = 0\ndevices_per_hub_max = \"unlimited\"\n\
         [hubs.plant-1]\nhost_names = [\"Plant-1.Example\", \"10.0.0.1\"]\npartition_count = 8\n\
         retention_age = \"7 days\"\nretention_bytes = \"10 GiB\"\nsegment_bytes = \"128 MiB\"\ncommit_within = \"0 s\"\n\
         event_sources = [\"lifecycle\"]\n\
         file_notifications = true\n\
         [hubs.plant-1.storage]\nkind = \"azure\"\naccount = \"acct\"\ncontainer = \"files\"\nkey = \"MDEyMzQ1Njc4OWFiY2RlZg==\"\n",
    )
    .load();
    assert!(config.data_dir.ends_with("data") && config.data_dir.is_absolute());
    assert_eq!(config.fidelity, Fidelity::Azure);
    assert_eq!(config.listeners.admin, []);
    assert_eq!(
        config.log,
        LogConfig {
            level: "debug".to_owned(),
            format: LogFormat::Json
        }
    );
    assert_eq!(
        config.limits.to_vec(),
        [
            (Limit::MessageBytesMax, 1 << 20),
            (Limit::DevicesPerHubMax, u64::MAX),
            (Limit::SasClockSkewSecs, 0)
        ]
    );
    let expected = HubConfig {
        name: "plant-1".to_owned(),
        host_names: vec!["plant-1.example".to_owned(), "10.0.0.1".to_owned()],
        tls: TlsFiles::default(),
        partition_count: 8,
        retention_age: Duration::from_secs(7 * 86_400),
        retention_bytes: Some(10 << 30),
        segment_bytes: 128 << 20,
        commit_within: Duration::ZERO,
        event_sources: hub::events::EventSources {
            lifecycle: true,
            ..hub::events::EventSources::default()
        },
        file_notifications: true,
        storage: StorageConfig {
            kind: StorageKind::Azure,
            container: "files".to_owned(),
            account: "acct".to_owned(),
            key: engines::external::StoreKey::new("MDEyMzQ1Njc4OWFiY2RlZg=="),
            ..StorageConfig::default()
        },
    };
    assert_eq!(config.hubs, [expected]);
}

#[test]
fn flags_beat_the_environment_and_it_beats_the_file() {
    let file =
        format!("{MINIMAL}partition_count = 2\nretention_age = \"2 days\"\nsegment_bytes = \"2 MiB\"\n");
    let config = Bench::new(&file)
        .variable("IRONHUB_HUBS_HUB1_PARTITION_COUNT", "3")
        .variable("IRONHUB_HUBS_HUB1_RETENTION_AGE", "3 days")
        .set("hubs.hub1.partition_count=5")
        .load();
    assert_eq!(hub(&config).partition_count, 5);
    assert_eq!(hub(&config).retention_age, Duration::from_secs(3 * 86_400));
    assert_eq!(hub(&config).segment_bytes, 2 << 20);
}

/// A store of its own for the files of a hub.
const STORAGE: &str = "storage.kind = \"s3\"\nstorage.account = \"id\"\nstorage.container = \"files\"\n";

#[test]
fn the_key_of_a_store_comes_from_anywhere_and_is_never_shown() {
    let file = format!("{MINIMAL}{STORAGE}");
    let missing = Bench::new(&file).error();
    assert!(
        missing.contains("hubs.hub1.storage: there is no key"),
        "{missing}"
    );
    let config = Bench::new(&file)
        .variable("IRONHUB_HUBS_HUB1_STORAGE_KEY", "a-secret")
        .load();
    assert!(!print(&config).contains("a-secret"));
    assert!(!format!("{config:?}").contains("a-secret"));
    let bench = Bench::new(&format!("{file}storage.key_file = \"key\"\n"));
    let unreadable = bench.error();
    assert!(unreadable.contains("the file key with the key"), "{unreadable}");
    std::fs::write(bench.folder.path().join("key"), "a-secret\n").unwrap();
    let settings = hub(&bench.load()).storage.external().unwrap().unwrap();
    assert_eq!(settings.key, engines::external::StoreKey::new("a-secret"));
    let twice = bench.set("hubs.hub1.storage.key=another").error();
    assert!(twice.contains("are both given"), "{twice}");
    assert!(!twice.contains("another"), "{twice}");
}

#[test]
fn everything_can_come_from_the_environment() {
    let mut bench = Bench::new("")
        .variable("IRONHUB_TLS_CERTIFICATE", "c.pem")
        .variable("IRONHUB_TLS_KEY", "k.pem")
        .variable("IRONHUB_LISTENERS_AMQP", "127.0.0.1:1,[::1]:2")
        .variable("IRONHUB_LIMITS_IDLE_SECS_MAX", "2 min")
        .variable("IRONHUB_LOG", "warn")
        .variable("IRONHUB_HUBS_PLANT_1_HOST_NAMES", "a.example, b.example")
        .variable("PATH", "/bin");
    bench.sources.file = None;
    let config = bench.load();
    assert_eq!(config.tls.certificate, [Path::new("c.pem")]);
    assert_eq!(config.listeners.amqp.len(), 2);
    assert_eq!(config.limits.to_vec(), [(Limit::IdleSecsMax, 120)]);
    assert_eq!(config.log.level, "warn");
    assert_eq!(hub(&config).name, "plant-1");
    assert_eq!(hub(&config).host_names, ["a.example", "b.example"]);
}

#[test]
fn variables_of_others_are_left_alone() {
    let config = Bench::new(MINIMAL)
        .variable("IRONHUB_SERVICE_HOST", "10.0.0.1")
        .variable("IRONHUB_PORT_8883_TCP_ADDR", "10.0.0.1")
        .variable("IRONHUB_CONTEXT", "dev")
        .load();
    assert_eq!(config, Bench::new(MINIMAL).load_with_files_of(&config));
}

impl Bench {
    /// Loads, with the certificate files of another configuration: each bench has a folder of its own.
    fn load_with_files_of(&self, other: &Config) -> Config {
        Config {
            tls: other.tls.clone(),
            ..self.load()
        }
    }
}

#[test]
fn wrong_files_are_told_with_line_and_reason() {
    let more = |text: &str| format!("{MINIMAL}{text}");
    for (file, expected) in [
        (
            more("partition_cout = 2\n"),
            "ironhub.toml:7: unknown key hubs.hub1.partition_cout; the nearest known key is hubs.hub1.partition_count",
        ),
        (
            more("[listener]\nmqtt = []\n"),
            "ironhub.toml:8: unknown key listener.mqtt; the nearest known key is listeners.mqtt",
        ),
        (
            more("[limits]\n\nmessage_byte_max = 1\n"),
            "ironhub.toml:9: unknown key limits.message_byte_max; the nearest known key is limits.message_bytes_max",
        ),
        (
            more("[limits]\n\"idle.secs\" = 1\n"),
            "ironhub.toml:8: unknown key limits.\"idle.secs\"; the nearest known key is limits.idle_secs_max",
        ),
        (
            more("retention_age = 7\n"),
            "ironhub.toml:7: hubs.hub1.retention_age: a duration with its unit, such as \"10 s\", is expected here, not a number",
        ),
        (
            more("retention_age = \"7 weeks\"\n"),
            "ironhub.toml:7: hubs.hub1.retention_age: \"7 weeks\" is not a duration; give a whole number and one of us, ms, s, min, h, day",
        ),
        (
            more("segment_bytes = \"64 M\"\n"),
            "ironhub.toml:7: hubs.hub1.segment_bytes: \"64 M\" is not a size; give a whole number and one of B, kB, KiB, MB, MiB, GB, GiB, TB, TiB",
        ),
        (
            more("partition_count = -1\n"),
            "ironhub.toml:7: hubs.hub1.partition_count: a whole number is expected here, not a negative or very large number",
        ),
        (
            more("[listeners]\nmqtt = [\"8883\"]\n"),
            "ironhub.toml:8: listeners.mqtt: \"8883\" is not an address with a port; write \"0.0.0.0:8883\", or \"[::]:8883\" for IPv6",
        ),
        (
            more("[log]\nformat = \"xml\"\n"),
            "ironhub.toml:8: log.format: \"xml\" is none of \"auto\", \"text\" and \"json\"",
        ),
        (
            more("[hubs.a_b]\n"),
            "ironhub.toml:7: hubs: 'a_b' is not a hub name: 3 to 50 letters, digits and inner dashes, not digits alone",
        ),
    ] {
        assert_eq!(Bench::new(&file).error(), expected);
    }
}

#[test]
fn broken_toml_is_told_with_its_line() {
    let error = Bench::new("data_dir = \"x\"\nfidelity =\n").error();
    assert!(error.starts_with("ironhub.toml:2: not TOML: "), "{error}");
    let error = Bench::new("a = 1\na = 2\n").error();
    assert!(
        error.starts_with("ironhub.toml:2: not TOML: duplicate key"),
        "{error}"
    );
    let error = Bench::new("[[hubs]]\nname = \"hub1\"\n").error();
    assert_eq!(
        error,
        "ironhub.toml:1: hubs is not a table; give each hub a table of its own, [hubs.NAME]"
    );
}

#[test]
fn a_missing_file_is_told() {
    let mut bench = Bench::new("");
    bench.sources.file = Some(bench.folder.path().join("none.toml"));
    assert_eq!(
        bench.error(),
        "none.toml: the file cannot be read: No such file or directory (os error 2)"
    );
}

#[test]
fn all_mistakes_of_all_sources_are_told_together() {
    let error = Bench::new("x = 1\n[log]\nformat = 1\n")
        .variable("IRONHUB_LISTENERS_MQQT", "127.0.0.1:1")
        .set("lgo.level=debug")
        .error();
    assert_eq!(
        error,
        "ironhub.toml:1: unknown key x; the nearest known key is tls.key\n\
         ironhub.toml:3: log.format: \"auto\", \"text\" or \"json\" is expected here, not a number\n\
         environment variable IRONHUB_LISTENERS_MQQT: unknown variable; the nearest known one is IRONHUB_LISTENERS_MQTT\n\
         --set lgo.level: unknown key lgo.level; the nearest known key is log.level"
    );
}

#[test]
fn what_does_not_fit_together_is_told() {
    for (change, expected) in [
        (
            "hubs.hub1.host_names=",
            "hubs.hub1.host_names: at least one name is needed, such as \"hub1.example.com\"",
        ),
        (
            "hubs.hub1.host_names=a.example:443",
            "hubs.hub1.host_names: \"a.example:443\" is not a host name or an address, without scheme and port",
        ),
        (
            "hubs.hub2.host_names=hub1.example",
            "\"hub1.example\" is given to the hubs hub1 and hub2: a host name names one hub",
        ),
        (
            "hubs.hub1.host_names=a.example,A.example",
            "hubs.hub1.host_names: \"a.example\" is there twice",
        ),
        (
            "hubs.hub1.partition_count=33",
            "hubs.hub1.partition_count: 33 is not between 1 and 32",
        ),
        (
            "hubs.hub1.segment_bytes=1 KiB",
            "hubs.hub1.segment_bytes: give a size between 1 MiB and 1 GiB",
        ),
        (
            "hubs.hub1.retention_age=5 s",
            "hubs.hub1.retention_age: give at least 1 min",
        ),
        (
            "hubs.hub1.retention_bytes=1 MiB",
            "hubs.hub1.retention_bytes: give at least segment_bytes: telemetry is removed by whole segments",
        ),
        (
            "hubs.hub1.commit_within=2 s",
            "hubs.hub1.commit_within: give at most 1 s: devices wait for it",
        ),
        (
            "listeners.amqp_plain=127.0.0.1:5672",
            "listeners.amqp_plain is not encrypted and exists in `ironhub dev` only: remove it and use listeners.amqp",
        ),
        (
            "listeners.amqp=0.0.0.0:8883",
            "0.0.0.0:8883 is given to listeners.mqtt and listeners.amqp",
        ),
    ] {
        assert_eq!(
            Bench::new(MINIMAL).set(change).error(),
            format!("configuration: {expected}")
        );
    }
}

#[test]
fn every_certificate_needs_its_key_and_every_hub_a_certificate() {
    let hub = "[hubs.hub1]\nhost_names = [\"hub1.example\"]\n";
    let own = "tls.certificate = [\"ec.pem\", \"rsa.pem\"]\ntls.key = [\"ec.key\", \"rsa.key\"]\n";
    let bench = Bench::new(&format!("{hub}{own}"));
    let config = bench.load();
    let pairs = config.pairs();
    assert_eq!(pairs.len(), 2, "the server needs none when every hub has its own");
    let (owner, names, pair) = &pairs[1];
    assert_eq!(*owner, Some("hub1"));
    assert_eq!(*names, [("hub1".to_owned(), "hub1.example".to_owned())]);
    assert_eq!(pair.key, bench.folder.path().join("rsa.key"));

    let other = "[hubs.hub2]\nhost_names = [\"hub2.example\"]\n";
    let error = Bench::new(&format!("{hub}{own}{other}")).error();
    assert!(error.contains("tls.certificate is missing"), "{error}");
    let shared = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.pem\"\n";
    let config = Bench::new(&format!("{shared}{hub}{own}{other}")).load();
    let (owner, names, _) = &config.pairs()[0];
    assert_eq!(
        (*owner, names.as_slice()),
        (None, &[("hub2".to_owned(), "hub2.example".to_owned())][..])
    );
    let error = Bench::new(&format!(
        "{hub}tls.certificate = [\"a.pem\", \"b.pem\"]\ntls.key = \"a.key\"\n"
    ))
    .error();
    assert!(
        error.contains("must be as many, in the same order: there are 2 and 1"),
        "{error}"
    );
    let error = Bench::new(&format!("{shared}{hub}tls.certificate = \"a.pem\"\n")).error();
    assert!(error.contains("hubs.hub1.tls.key is missing"), "{error}");
}

#[test]
fn an_empty_configuration_names_all_that_is_missing() {
    assert_eq!(
        Bench::new("").error(),
        "configuration: there is no hub: add a table [hubs.NAME] with host_names\n\
         configuration: tls.certificate is missing: every listener but the plain ones needs a certificate\n\
         configuration: tls.key is missing: every listener but the plain ones needs a certificate"
    );
}

#[test]
fn what_is_printed_reads_back() {
    let config = Bench::new(MINIMAL)
        .set("limits.idle_secs_max=7")
        .set("fidelity=azure")
        .set("hubs.hub2.host_names=hub2.example")
        .set("hubs.hub2.retention_bytes=1 GiB")
        .load();
    let printed = print(&config);
    assert_eq!(Bench::new(&printed).load(), config);
    assert!(
        printed.contains("\n# devices_per_hub_max = 1000000\n"),
        "{printed}"
    );
    assert!(printed.contains("\nidle_secs_max = 7\n"), "{printed}");
}

#[test]
fn the_reference_names_every_key_once() {
    let reference = reference();
    for limit in Limit::ALL {
        assert_eq!(
            reference
                .matches(&format!("| `limits.{}` |", limit.name()))
                .count(),
            1
        );
    }
    for key in ["data_dir", "listeners.amqp_plain", "hubs.NAME.host_names"] {
        assert_eq!(reference.matches(&format!("| `{key}` |")).count(), 1, "{key}");
    }
}

mod certificates {
    use hub::clock::Timestamp;
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    /// Writes a certificate for `hub1.example` that is good in 2026, with its key.
    fn write_certificate(folder: &Path) -> KeyPair {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["hub1.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2027, 1, 1);
        std::fs::write(folder.join("server.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        std::fs::write(folder.join("server.key"), key.serialize_pem()).unwrap();
        key
    }

    fn at(time: &str) -> Timestamp {
        time.parse().unwrap()
    }

    fn error(bench: &Bench, now: &str) -> String {
        let error = check_certificates(&bench.load(), at(now))
            .unwrap_err()
            .to_string();
        error.replace(&format!("{}/", bench.folder.path().display()), "")
    }

    #[test]
    fn a_certificate_in_force_that_names_the_hub_is_good() {
        let bench = Bench::new(MINIMAL);
        write_certificate(bench.folder.path());
        assert_eq!(
            check_certificates(&bench.load(), at("2026-06-01T00:00:00Z")),
            Ok(())
        );
    }

    #[test]
    fn an_unfit_certificate_is_told() {
        let bench = Bench::new(MINIMAL).set("hubs.hub1.host_names=hub1.example,10.0.0.1");
        write_certificate(bench.folder.path());
        assert_eq!(
            error(&bench, "2027-06-01T00:00:00Z"),
            "configuration: the certificate server.pem does not name 10.0.0.1, a host name of hub hub1: clients would refuse it\n\
             configuration: the certificate server.pem has expired: renew it"
        );
        let early = error(&bench, "2025-06-01T00:00:00Z");
        assert!(
            early.contains("is not valid yet: check the clock of this machine"),
            "{early}"
        );
    }

    #[test]
    fn missing_and_foreign_keys_are_told() {
        let bench = Bench::new(MINIMAL);
        let missing = error(&bench, "2026-06-01T00:00:00Z");
        assert!(
            missing.starts_with("configuration: cannot read a certificate chain from server.pem: "),
            "{missing}"
        );
        write_certificate(bench.folder.path());
        let foreign = KeyPair::generate().unwrap();
        std::fs::write(bench.folder.path().join("server.key"), foreign.serialize_pem()).unwrap();
        let unfit = error(&bench, "2026-06-01T00:00:00Z");
        assert!(
            unfit.contains("the certificate server.pem cannot be used with its key"),
            "{unfit}"
        );
    }
}
