//! A server under test as the kernel sees it: its processor time, its resident memory, its end.

use std::process::{Child, ExitStatus};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::clock;
use crate::failure::Failure;

/// How long a server may take to stop after SIGTERM.
const STOP_SECS_MAX: u64 = 60;

/// A server that ends with this value.
pub(crate) struct Process {
    name: &'static str,
    child: Child,
}

impl Process {
    /// Takes charge of a child.
    pub(crate) fn new(name: &'static str, child: Child) -> Self {
        Self { name, child }
    }

    /// Asks the server to stop and waits until it has.
    pub(crate) fn stop(mut self) -> Result<(), Failure> {
        self.terminate()?;
        let deadline = clock::now() + Duration::from_secs(STOP_SECS_MAX);
        while self.exit_status()?.is_none() {
            if clock::now() > deadline {
                return Err(Failure::server(self.name, "it does not stop after SIGTERM"));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// How it ended, if it has.
    pub(crate) fn exit_status(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child
            .try_wait()
            .map_err(|error| Failure::environment("waiting for a server", error))
    }

    /// Its standard output, once, when it was piped.
    pub(crate) fn take_output(&mut self) -> Option<std::process::ChildStdout> {
        self.child.stdout.take()
    }

    /// Seconds of processor time that all its threads have used, in it and in the kernel for it (`proc_pid_stat(5)`).
    pub(crate) fn cpu_secs(&self) -> Result<f64, Failure> {
        let text = self.read("stat")?;
        // The second field is the program's name in parentheses and may hold anything; the third is the first after it.
        let fields = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = |at: usize| {
            fields
                .split_whitespace()
                .nth(at)
                .and_then(|field| field.parse::<u64>().ok())
        };
        match (ticks(11), ticks(12)) {
            (Some(user), Some(system)) => {
                Ok((user + system) as f64 / rustix::param::clock_ticks_per_second() as f64)
            }
            _ => Err(Failure::server(self.name, "its processor time cannot be read")),
        }
    }

    /// Its resident memory in bytes: code of the program and files that it has mapped are in it (`VmRSS` of `proc_pid_status(5)`).
    pub(crate) fn resident_bytes(&self) -> Result<u64, Failure> {
        self.status_bytes("VmRSS:")
    }

    /// What of it is its own: stacks, heap, nothing of a file (`RssAnon`).
    pub(crate) fn anonymous_bytes(&self) -> Result<u64, Failure> {
        self.status_bytes("RssAnon:")
    }

    fn status_bytes(&self, field: &str) -> Result<u64, Failure> {
        let text = self.read("status")?;
        text.lines()
            .find_map(|line| line.strip_prefix(field))
            .and_then(|value| value.trim().strip_suffix(" kB"))
            .and_then(|kib| kib.parse::<u64>().ok())
            .map(|kib| kib * 1_024)
            .ok_or_else(|| Failure::server(self.name, "its resident memory cannot be read"))
    }

    fn read(&self, file: &str) -> Result<String, Failure> {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.child.id()))
            .map_err(|error| Failure::server(self.name, format!("it is gone: {error}")))
    }

    fn terminate(&mut self) -> Result<(), Failure> {
        // A child that was waited for has no process id any more that would be ours to signal.
        if self.exit_status()?.is_some() {
            return Ok(());
        }
        let id = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(id) = id {
            kill_process(id, Signal::TERM)
                .map_err(|error| Failure::environment("stopping a server", error))?;
        }
        Ok(())
    }
}

/// A run that ends early leaves no server behind.
impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_busy_child_uses_time_and_memory_and_stops() {
        let child = Command::new("sh")
            .args(["-c", "while :; do :; done"])
            .spawn()
            .unwrap();
        let mut process = Process::new("child", child);
        let deadline = clock::now() + Duration::from_secs(20);
        while process.cpu_secs().unwrap() < 0.05 {
            assert!(clock::now() < deadline, "a busy loop uses no time");
            std::thread::sleep(Duration::from_millis(10));
        }
        let (resident, anonymous) = (
            process.resident_bytes().unwrap(),
            process.anonymous_bytes().unwrap(),
        );
        assert!(resident > 100_000);
        // The code of the shell is in the first alone.
        assert!(anonymous > 0 && anonymous < resident);
        assert!(process.exit_status().unwrap().is_none());
        process.stop().unwrap();
    }
}
