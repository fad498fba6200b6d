//! What a survey found.

use serde::Serialize;

use super::check::{Check, Severity};
use crate::clock::Timestamp;

/// Names that a finding gives; more are only counted.
pub(super) const EXAMPLES_MAX: usize = 10;

/// Something that could be better.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Word of the check.
    pub check: &'static str,
    /// How much it matters.
    pub severity: Severity,
    /// Of how many it is true.
    pub count: u64,
    /// Some of them, the first by id.
    pub examples: Vec<String>,
    /// What it means.
    pub meaning: &'static str,
    /// What to do.
    pub advice: &'static str,
}

/// What a survey found.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The server's clock.
    pub time: Timestamp,
    /// Devices that were looked at.
    pub devices: u64,
    /// Modules that were looked at.
    pub modules: u64,
    /// Share of the devices that log in with certificates, in percent, rounded down.
    pub certificates_percent: u64,
    /// Keys that were not compared with each other, because there are more than a survey may hold.
    pub keys_not_compared: u64,
    /// What could be better, the worst first.
    pub findings: Vec<Finding>,
}

/// What a check has found so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) count: u64,
    examples: Vec<String>,
}

impl Tally {
    pub(super) fn add(&mut self, name: impl FnOnce() -> String) {
        self.count += 1;
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(name());
        }
    }

    pub(super) fn finding(&self, check: Check) -> Option<Finding> {
        (self.count > 0).then(|| Finding {
            check: check.word(),
            severity: check.severity(),
            count: self.count,
            examples: self.examples.clone(),
            meaning: check.meaning(),
            advice: check.advice(),
        })
    }
}
