//! A CA that the command `openssl` keeps: a second implementation makes every certificate, list and answer that is read here.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

/// A CA in a folder of its own.
pub(crate) struct Authority {
    folder: TempDir,
}

const CONFIG: &str = "\
[ca]
default_ca = here
[here]
dir = .
database = index.txt
new_certs_dir = .
certificate = ca.pem
private_key = ca.key
serial = serial
crlnumber = crlnumber
default_md = sha256
default_days = 30
default_crl_days = 7
policy = any
copy_extensions = copy
unique_subject = no
[any]
commonName = supplied
[leaf]
basicConstraints = CA:false
[leaf_with_responder]
basicConstraints = CA:false
authorityInfoAccess = OCSP;URI:http://responder.test/ocsp
[responder]
basicConstraints = CA:false
extendedKeyUsage = OCSPSigning
[intermediate]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign,cRLSign
[delta]
2.5.29.27 = critical,DER:02:01:01
[indirect]
issuingDistributionPoint = critical,@indirect_point
[indirect_point]
indirectCRL = TRUE
[users]
issuingDistributionPoint = critical,@users_point
[users_point]
onlyuser = TRUE
[some_reasons]
issuingDistributionPoint = critical,@some_reasons_point
[some_reasons_point]
onlysomereasons = keyCompromise
[unknown]
1.2.3.4 = critical,DER:05:00
";

/// A process of `openssl ocsp`, ended with this value.
pub(crate) struct RunningResponder {
    process: Child,
    port: u16,
}

impl RunningResponder {
    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address())
    }

    pub(crate) fn address(&self) -> SocketAddr {
        ([127, 0, 0, 1], self.port).into()
    }
}

impl Drop for RunningResponder {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

impl Authority {
    /// A CA of this name that signed itself; `key` are arguments of `openssl req` (`-newkey rsa:2048`).
    pub(crate) fn new(name: &str, key: &[&str]) -> Self {
        Self::with_usage(name, key, "critical,keyCertSign,cRLSign")
    }

    pub(crate) fn with_usage(name: &str, key: &[&str], usage: &str) -> Self {
        let authority = Self::empty();
        let subject = format!("/CN={name}");
        let usage = format!("keyUsage={usage}");
        let made = [
            "req", "-x509", "-nodes", "-keyout", "ca.key", "-out", "ca.pem", "-days", "30",
        ];
        let rest = ["-subj", &subject, "-addext", &usage, "-config", "req.cnf"];
        authority.run(&[&made[..], key, &rest[..]].concat());
        authority
    }

    /// A CA whose certificate this one issued.
    pub(crate) fn intermediate(&self, name: &str) -> Self {
        let below = Self::empty();
        below.request(name, "ca");
        let request = below.path("ca.csr");
        self.sign(&request, &below.path("ca.pem"), "intermediate");
        below
    }

    fn empty() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let authority = Self { folder };
        for (name, content) in [
            ("ca.cnf", CONFIG),
            (
                "req.cnf",
                "[req]\ndistinguished_name=n\nx509_extensions=e\n[n]\n[e]\nbasicConstraints=critical,CA:true\n",
            ),
            ("index.txt", ""),
            ("crlnumber", "01"),
        ] {
            std::fs::write(authority.path(name), content).unwrap();
        }
        authority
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// DER of the CA's own certificate.
    pub(crate) fn certificate(&self) -> Vec<u8> {
        self.der("ca.pem")
    }

    /// Issues a certificate to this name with the extensions of a section of the configuration. Its files bear the name.
    pub(crate) fn issue(&self, name: &str, extensions: &str) -> Vec<u8> {
        self.request(name, name);
        let file = format!("{name}.pem");
        self.sign(&self.path(&format!("{name}.csr")), &self.path(&file), extensions);
        self.der(&file)
    }

    pub(crate) fn revoke(&self, name: &str, reason: &str) {
        let file = format!("{name}.pem");
        self.run(&["ca", "-config", "ca.cnf", "-revoke", &file, "-crl_reason", reason]);
    }

    /// Makes a list, in PEM; `arguments` are those of `openssl ca -gencrl`.
    pub(crate) fn list(&self, arguments: &[&str]) -> Vec<u8> {
        let made = ["ca", "-config", "ca.cnf", "-gencrl", "-out", "list.pem"];
        self.run(&[&made[..], arguments].concat());
        std::fs::read(self.path("list.pem")).unwrap()
    }

    /// The same in DER.
    pub(crate) fn list_der(&self, arguments: &[&str]) -> Vec<u8> {
        self.list(arguments);
        self.run(&["crl", "-in", "list.pem", "-outform", "DER", "-out", "list.der"]);
        std::fs::read(self.path("list.der")).unwrap()
    }

    /// What `openssl` prints.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = Command::new("openssl")
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .expect("openssl is installed");
        assert!(
            output.status.success(),
            "openssl {arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A responder of this CA's database, on a free port of the loopback interface. It signs with the key of a certificate that
    /// [`Self::issue`] made, or of the CA itself (`ca`). `arguments` are those of `openssl ocsp`.
    pub(crate) fn respond(&self, signer: &str, arguments: &[&str]) -> RunningResponder {
        self.respond_on(0, signer, arguments)
    }

    /// The same at the address of another one, which ends: `openssl ocsp` reads its database once.
    pub(crate) fn respond_again(
        &self,
        before: RunningResponder,
        signer: &str,
        arguments: &[&str],
    ) -> RunningResponder {
        let port = before.port;
        drop(before);
        self.respond_on(port, signer, arguments)
    }

    fn respond_on(&self, port: u16, signer: &str, arguments: &[&str]) -> RunningResponder {
        let port = port.to_string();
        let (certificate, key) = (format!("{signer}.pem"), format!("{signer}.key"));
        let mut process = Command::new("openssl")
            .args(["ocsp", "-port", &port, "-index", "index.txt", "-CA", "ca.pem"])
            .args(["-rsigner", &certificate, "-rkey", &key])
            .args(arguments)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("openssl is installed");
        let output = process.stdout.take().unwrap();
        let (told, port) = std::sync::mpsc::channel();
        // What it prints afterwards is read, too, so that it is never kept waiting.
        std::thread::spawn(move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                if let Some(port) = line
                    .strip_prefix("ACCEPT ")
                    .and_then(|line| line.split(' ').next()?.rsplit(':').next()?.parse::<u16>().ok())
                {
                    let _ = told.send(port);
                }
            }
        });
        let port = port
            .recv_timeout(Duration::from_secs(20))
            .expect("the responder listens");
        RunningResponder { process, port }
    }

    fn request(&self, name: &str, file: &str) {
        let (key, request, subject) = (
            format!("{file}.key"),
            format!("{file}.csr"),
            format!("/CN={name}"),
        );
        let made = [
            "req",
            "-new",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
        ];
        let rest = [
            "-keyout", &key, "-out", &request, "-subj", &subject, "-config", "req.cnf",
        ];
        self.run(&[&made[..], &rest[..]].concat());
    }

    fn sign(&self, request: &Path, certificate: &Path, extensions: &str) {
        let (request, certificate) = (request.to_str().unwrap(), certificate.to_str().unwrap());
        let made = ["ca", "-batch", "-notext", "-rand_serial", "-config", "ca.cnf"];
        let rest = ["-in", request, "-out", certificate, "-extensions", extensions];
        self.run(&[&made[..], &rest[..]].concat());
    }

    fn der(&self, file: &str) -> Vec<u8> {
        let out = format!("{file}.der");
        self.run(&["x509", "-in", file, "-outform", "DER", "-out", &out]);
        std::fs::read(self.path(&out)).unwrap()
    }
}

/// Arguments for a key on the curve P-256.
pub(crate) const P256: &[&str] = &["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"];
