//! The steps of a decision, written down while it is made.
//!
//! The questions of the gate take a trail and note what they found; a silent one, which every ordinary decision has, costs a test for
//! nothing and builds no text. So an explanation walks the very code that decides. A step that fails ends a decision, and is the
//! [`Refusal`] itself: [`Explanation`] puts it behind the steps that passed.

use super::refusal::{Refusal, Step};

/// A question that was answered well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassedStep {
    /// Which part of the decision it belongs to.
    pub step: Step,
    /// The question, for people: `Is the identity enabled?`.
    pub question: &'static str,
    /// What would have been accepted. Never a secret.
    pub expected: String,
    /// What was found. Never a secret.
    pub found: String,
}

/// Where the questions of the gate note what they found.
#[derive(Debug, Default)]
pub(super) struct Trail(Option<Vec<PassedStep>>);

impl Trail {
    /// Keeps nothing.
    pub(super) const fn silent() -> Self {
        Self(None)
    }

    /// Keeps every step.
    pub(super) const fn kept() -> Self {
        Self(Some(Vec::new()))
    }

    /// Whether the decision is only explained: then nothing may count it.
    pub(super) const fn is_kept(&self) -> bool {
        self.0.is_some()
    }

    /// Notes a question that was answered well; `answer` gives what was expected and what was found, and is asked for only if
    /// somebody reads it.
    pub(super) fn passed(
        &mut self,
        step: Step,
        question: &'static str,
        answer: impl FnOnce() -> (String, String),
    ) {
        if let Some(steps) = &mut self.0 {
            let (expected, found) = answer();
            steps.push(PassedStep {
                step,
                question,
                expected,
                found,
            });
        }
    }

    pub(super) fn into_steps(self) -> Vec<PassedStep> {
        self.0.unwrap_or_default()
    }
}

/// A decision step by step: what passed, in the order in which it was asked, and what came of it.
///
/// ```text
/// for step in &explanation.passed { /* step.question, step.expected, step.found */ }
/// match &explanation.decision { Ok(_) => .., Err(refusal) => /* refusal.step(), .expected, .found, .advice() */ }
/// ```
#[derive(Debug)]
pub struct Explanation<T> {
    /// The steps that passed.
    pub passed: Vec<PassedStep>,
    /// What was decided; a refusal is the step that failed.
    pub decision: Result<T, Refusal>,
}

impl<T> Explanation<T> {
    pub(super) fn new(trail: Trail, decision: Result<T, Refusal>) -> Self {
        Self {
            passed: trail.into_steps(),
            decision,
        }
    }

    /// The same explanation of something else that came of the decision.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Explanation<U> {
        Explanation {
            passed: self.passed,
            decision: self.decision.map(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silent_trail_asks_for_no_text() {
        let mut silent = Trail::silent();
        silent.passed(Step::Scope, "asked?", || unreachable!("nobody reads it"));
        assert!(silent.into_steps().is_empty());
        let mut kept = Trail::kept();
        kept.passed(Step::Scope, "asked?", || ("a".to_owned(), "b".to_owned()));
        assert_eq!(kept.into_steps().len(), 1);
    }
}
