use std::time::Duration;

use rcgen::KeyPair;

use super::*;
use crate::config::{HubConfig, TlsFiles};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);

/// Writes a certificate for the name that is good for so many days from a moment, with its key.
fn write(file: &Path, name: &str, from: Timestamp, days: i64) {
    let at = |secs| {
        let at: std::time::SystemTime =
            std::time::UNIX_EPOCH + Duration::from_secs(u64::try_from(secs).unwrap());
        at.into()
    };
    let key = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
    params.not_before = at(from.as_secs());
    params.not_after = at(from.as_secs() + days * 86_400);
    let made = params.self_signed(&key).unwrap();
    // As certificate tools do it: another file takes the place of the old one.
    let beside = file.with_extension("new");
    std::fs::write(&beside, made.pem() + &key.serialize_pem()).unwrap();
    std::fs::rename(beside, file).unwrap();
}

fn config(file: &Path) -> Config {
    Config {
        hubs: vec![HubConfig {
            host_names: vec!["hub1.example".to_owned()],
            tls: TlsFiles::single(file.to_owned()),
            ..HubConfig::new("hub1")
        }],
        ..Config::default()
    }
}

struct Bench {
    file: PathBuf,
    files: CertificateFiles,
    _folder: tempfile::TempDir,
}

fn bench() -> Bench {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("hub1.pem");
    write(&file, "hub1.example", NOW, 10);
    let files = CertificateFiles::open(&config(&file)).unwrap();
    Bench {
        file,
        files,
        _folder: folder,
    }
}

impl Bench {
    fn days_left(&self) -> u64 {
        let status = self.files.status();
        status[0].expires.unwrap().since(NOW).as_secs() / 86_400
    }

    fn problem(&self) -> Option<String> {
        self.files.status().remove(0).problem
    }
}

#[test]
fn a_changed_file_is_taken_once_it_stands_still() {
    let bench = bench();
    bench.files.look(NOW);
    assert_eq!((bench.days_left(), bench.files.counts()), (10, (0, 0)));
    write(&bench.file, "hub1.example", NOW, 20);
    bench.files.look(NOW);
    assert_eq!(bench.days_left(), 10, "it might still be written");
    bench.files.look(NOW);
    assert_eq!((bench.days_left(), bench.files.counts()), (20, (1, 0)));
    bench.files.look(NOW);
    bench.files.look(NOW);
    assert_eq!(bench.files.counts(), (1, 0), "it is read once");
}

#[test]
fn told_to_it_reads_at_once() {
    let bench = bench();
    write(&bench.file, "hub1.example", NOW, 20);
    bench.files.reload(NOW);
    assert_eq!((bench.days_left(), bench.files.counts()), (20, (1, 0)));
}

#[test]
fn what_cannot_be_used_is_refused_and_the_one_before_stays() {
    let bench = bench();
    let expired = NOW.plus(Duration::from_secs(86_400 * 400));
    for (what, change, now, expected) in [
        (
            "damaged",
            Box::new(|file: &Path| std::fs::write(file, "damaged").unwrap()) as Box<dyn Fn(&Path)>,
            NOW,
            "it holds no certificate",
        ),
        (
            "another name",
            Box::new(|file: &Path| write(file, "hub2.example", NOW, 20)),
            NOW,
            "does not name hub1.example",
        ),
        (
            "expired",
            Box::new(|file: &Path| write(file, "hub1.example", NOW, 20)),
            expired,
            "has expired",
        ),
        (
            "gone",
            Box::new(|file: &Path| std::fs::remove_file(file).unwrap()),
            NOW,
            "cannot read",
        ),
    ] {
        change(&bench.file);
        let refused = bench.files.counts().1;
        bench.files.look(now);
        bench.files.look(now);
        bench.files.look(now);
        let problem = bench.problem().unwrap_or_default();
        assert!(problem.contains(expected), "{what}: {problem}");
        assert_eq!(bench.days_left(), 10, "{what}");
        assert_eq!(bench.files.counts().1, refused + 1, "{what} is told once");
    }
    write(&bench.file, "hub1.example", NOW, 30);
    bench.files.look(NOW);
    bench.files.look(NOW);
    assert_eq!((bench.days_left(), bench.problem()), (30, None));
}

#[test]
fn a_key_of_another_certificate_is_refused() {
    let bench = bench();
    let other = bench.file.with_file_name("other.pem");
    write(&other, "hub1.example", NOW, 20);
    let pem = std::fs::read_to_string(&bench.file).unwrap();
    let key = std::fs::read_to_string(&other).unwrap();
    let (certificate, _) = pem.split_once("-----BEGIN PRIVATE").unwrap();
    let (_, key) = key.split_once("-----BEGIN PRIVATE").unwrap();
    std::fs::write(&bench.file, format!("{certificate}-----BEGIN PRIVATE{key}")).unwrap();
    bench.files.reload(NOW);
    let problem = bench.problem().unwrap();
    assert!(problem.contains("cannot be used with its key"), "{problem}");
}
