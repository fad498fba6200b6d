//! The binary under test: how it is started, asked and stopped.

#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "part of several tests, each of which uses some of it"
)]

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

/// A call of the binary, in an environment of its own: nothing of the machine's contexts is seen or changed.
pub(crate) fn ironhub(home: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ironhub"));
    command
        .env_clear()
        .env("HOME", home)
        .env("COLUMNS", "100")
        .stdin(Stdio::null());
    command
}

/// Runs a call to its end, and gives its exit code, standard output and standard error.
pub(crate) fn ask(command: &mut Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

/// A process that does not outlive its test.
pub(crate) struct Process(pub(crate) Child);

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.spawn().unwrap())
    }

    /// Its standard output, which must have been piped.
    pub(crate) fn stdout(&mut self) -> BufReader<std::process::ChildStdout> {
        BufReader::new(self.0.stdout.take().unwrap())
    }

    /// Asks it to stop.
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A development server on free ports.
pub(crate) struct Dev {
    home: PathBuf,
    process: Process,
    stdout: BufReader<std::process::ChildStdout>,
    /// What its line of JSON said.
    pub(crate) said: Value,
}

impl Dev {
    /// Starts one with its data in `home/data`, and waits for its line of JSON.
    pub(crate) fn start(home: &Path, more: &[&str]) -> Self {
        Self::start_logging(home, more, Stdio::inherit())
    }

    /// The same, with its log somewhere else.
    pub(crate) fn start_logging(home: &Path, more: &[&str], log: Stdio) -> Self {
        let mut process = Process::start(Self::command(home, more).stderr(log).stdout(Stdio::piped()));
        let mut stdout = process.stdout();
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        assert!(
            !line.is_empty(),
            "the server did not start: {:?}",
            process.0.wait()
        );
        let said = serde_json::from_str(&line).unwrap();
        Self {
            home: home.to_owned(),
            process,
            stdout,
            said,
        }
    }

    /// The call that starts one.
    pub(crate) fn command(home: &Path, more: &[&str]) -> Command {
        let mut command = ironhub(home);
        command
            .arg("dev")
            .arg("--data")
            .arg(home.join("data"))
            .args(["--output", "json"])
            // Most tests count telemetry; those that want the hub's own events say so in `more`.
            .args(["--set", "hubs.hub1.event_sources="]);
        for listener in ["mqtt", "amqp", "https", "amqp-plain", "admin"] {
            command.args([&format!("--{listener}-port"), "0"]);
        }
        command.args(more);
        command
    }

    /// A text of the line of JSON.
    pub(crate) fn text(&self, name: &str) -> &str {
        self.said[name].as_str().unwrap()
    }

    /// A port of the line of JSON.
    pub(crate) fn port(&self, listener: &str) -> u16 {
        u16::try_from(self.said["ports"][listener].as_u64().unwrap()).unwrap()
    }

    /// The whole answer of its listener for health and metrics.
    pub(crate) fn admin(&self, path: &str) -> String {
        let mut tcp = TcpStream::connect(("127.0.0.1", self.port("admin"))).unwrap();
        // Against a server that hangs; one that does not is not waited for longer than it takes.
        tcp.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        tcp.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        tcp.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.0.id()
    }

    /// Runs a command against the server; it must succeed. Gives what it wrote.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.ask(arguments);
        assert_eq!(code, 0, "{arguments:?}\n{stdout}\n{stderr}");
        stdout
    }

    /// Runs a command with `--output json`, and reads what it wrote.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let arguments = [arguments, &["--output", "json"]].concat();
        serde_json::from_str(&self.run(&arguments)).unwrap()
    }

    /// Runs a command against the server.
    pub(crate) fn ask(&self, arguments: &[&str]) -> (i32, String, String) {
        ask(ironhub(&self.home).args(arguments))
    }

    /// Ends it with SIGKILL: nothing of it runs any more, not even an orderly end.
    pub(crate) fn kill(mut self) {
        self.process.0.kill().unwrap();
        self.process.0.wait().unwrap();
    }

    /// Ends it as an operator does; gives how it ended and what else it wrote to standard output.
    pub(crate) fn terminate(mut self) -> (ExitStatus, String) {
        self.process.terminate();
        let status = self.process.0.wait().unwrap();
        let mut rest = String::new();
        self.stdout.read_to_string(&mut rest).unwrap();
        (status, rest)
    }
}
