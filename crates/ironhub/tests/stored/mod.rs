//! What a server has stored: read back to the end through its monitor, and checked offline.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "part of several tests, each of which uses some of it"
)]

use std::collections::BTreeMap;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};

use rustls::{ClientConnection, StreamOwned};
use rustls_pki_types::ServerName;
use serde_json::Value;

use crate::device::{Access, HOST, PATIENCE};
use crate::subject::{Dev, ask, ironhub};

/// A message as the monitor shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) partition: String,
    pub(crate) sequence: u64,
    pub(crate) device: String,
    pub(crate) body: String,
}

/// Records that the monitor left out because they are damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Unreadable {
    pub(crate) partition: String,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

/// All that a server shows of what it stored.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    pub(crate) messages: Vec<Message>,
    pub(crate) unreadable: Vec<Unreadable>,
}

/// A line of the monitor.
enum Line {
    Message(Message),
    Unreadable(Unreadable),
}

/// Reads from the beginning to the end that the server says there is, message by message; gives what is unreadable. Sequence
/// numbers must start at 0 and have no gap but what is said to be unreadable.
pub(crate) fn read_each(server: &Dev, mut take: impl FnMut(Message)) -> Vec<Unreadable> {
    let status = server.json(&["status"]);
    let partitions = status["log"]["partitions"].as_array().unwrap();
    // By partition, the number that is expected and the end.
    let mut left: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for (number, partition) in partitions.iter().enumerate() {
        let next = partition["nextSequence"].as_u64().unwrap();
        assert_eq!(
            partition["firstSequence"], 0,
            "nothing is old enough to be deleted"
        );
        if next > 0 {
            left.insert(number.to_string(), (0, next));
        }
    }
    let mut unreadable = Vec::new();
    let mut monitor = Monitor::open(server);
    while !left.is_empty() {
        let line = monitor.line();
        let line = line.unwrap_or_else(|error| panic!("{error}, but these have not ended: {left:?}"));
        let line = Line::parse(&serde_json::from_slice(&line).unwrap());
        let (partition, first, last) = match &line {
            Line::Message(message) => (&message.partition, message.sequence, message.sequence),
            Line::Unreadable(run) => (&run.partition, run.first, run.last),
        };
        let (expected, next) = left.get_mut(partition).expect("a partition that has not ended");
        assert_eq!(first, *expected, "partition {partition} has a gap or goes back");
        *expected = last + 1;
        if *expected >= *next {
            left.remove(partition);
        }
        match line {
            Line::Message(message) => take(message),
            Line::Unreadable(run) => unreadable.push(run),
        }
    }
    unreadable
}

impl Line {
    fn parse(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        let partition = text("partition");
        if let Some(unreadable) = line.get("unreadable") {
            let number = |name: &str| unreadable[name].as_u64().unwrap();
            return Self::Unreadable(Unreadable {
                partition,
                first: number("firstSequenceNumber"),
                last: number("lastSequenceNumber"),
            });
        }
        Self::Message(Message {
            partition,
            sequence: line["sequenceNumber"].as_u64().unwrap(),
            device: text("device"),
            body: text("body"),
        })
    }
}

impl Stored {
    pub(crate) fn read(server: &Dev) -> Self {
        let mut messages = Vec::new();
        let unreadable = read_each(server, |message| messages.push(message));
        Self { messages, unreadable }
    }

    /// The bodies of a device's messages, in order.
    pub(crate) fn bodies(&self, device: &str) -> Vec<&str> {
        let own = self.messages.iter().filter(|message| message.device == device);
        own.map(|message| message.body.as_str()).collect()
    }
}

/// The monitor's answer, chunk by chunk. `ironhub monitor` would do as well, were it not built for people.
struct Monitor(BufReader<StreamOwned<ClientConnection, TcpStream>>);

impl Monitor {
    fn open(server: &Dev) -> Self {
        let access = Access::of(server);
        let tcp = TcpStream::connect(("127.0.0.1", server.port("https"))).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        let name = ServerName::try_from(HOST).unwrap();
        let tls = ClientConnection::new(access.client_config.clone(), name).unwrap();
        let mut monitor = Self(BufReader::with_capacity(64 * 1_024, StreamOwned::new(tls, tcp)));
        let token = access.token(HOST);
        let request = format!(
            "GET /$ironhub/v1/monitor?from=earliest HTTP/1.1\r\nHost: {HOST}\r\nAuthorization: {token}\r\n\r\n"
        );
        monitor.0.get_mut().write_all(request.as_bytes()).unwrap();
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            assert!(monitor.0.read_line(&mut head).unwrap() > 0, "{head}");
        }
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert!(
            head.to_ascii_lowercase().contains("transfer-encoding: chunked"),
            "{head}"
        );
        monitor
    }

    /// The next line, which is a chunk.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut size = String::new();
        self.0.read_line(&mut size)?;
        let size = usize::from_str_radix(size.trim_end(), 16).map_err(io::Error::other)?;
        let mut line = vec![0; size + 2];
        self.0.read_exact(&mut line)?;
        line.truncate(size);
        Ok(line)
    }
}

/// Runs `ironhub log check`; gives its exit code and the report of the one hub.
pub(crate) fn check(home: &Path) -> (i32, Value) {
    let mut command = ironhub(home);
    command
        .args(["log", "check", "--output", "json", "--data"])
        .arg(home.join("data"));
    let (code, stdout, stderr) = ask(&mut command);
    let report: Value = serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{code} {stdout}{stderr}"));
    (code, report["hubs"][0].clone())
}

/// Folder of the log of a development server's hub.
pub(crate) fn log_folder(home: &Path) -> PathBuf {
    home.join("data/hubs/hub1/log")
}

/// The segment files, oldest first.
pub(crate) fn segments(home: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(log_folder(home)).unwrap();
    let paths = entries.map(|entry| entry.unwrap().path());
    let mut segments: Vec<PathBuf> = paths
        .filter(|path| path.extension().is_some_and(|extension| extension == "segment"))
        .collect();
    segments.sort();
    segments
}
