//! Every target over its corpus and over thousands of small changes of it. The count is fixed, so that a run is the same everywhere.

#![allow(clippy::unwrap_used, clippy::panic, reason = "helpers of tests")]

use std::path::Path;

use targets::{Mutations, TARGETS};

/// Changed inputs of each target.
const MUTATIONS: u64 = 40_000;

/// Those of targets that work on files.
const SLOW_MUTATIONS: u64 = 150;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap_or_else(|error| panic!("{}: {error}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).unwrap()).collect()
}

#[test]
fn every_target_bears_its_corpus_and_changes_of_it() {
    for (name, run) in TARGETS {
        let inputs = corpus(name);
        assert!(!inputs.is_empty(), "{name} has no corpus");
        for input in &inputs {
            run(input);
        }
        run(&[]);
        let count = if *name == "segment_recovery" {
            SLOW_MUTATIONS
        } else {
            MUTATIONS
        };
        let mut mutations = Mutations::new(0x1205_7ab5);
        for at in 0..count {
            let pick = |step: u64| &inputs[usize::try_from((at * step) % inputs.len() as u64).unwrap()];
            run(&mutations.mutate(pick(1), pick(7)));
        }
    }
}

#[test]
fn every_target_has_its_file_for_the_fuzzer() {
    for (name, _) in TARGETS {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("fuzz_targets")
            .join(format!("{name}.rs"));
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(text.contains(&format!("\"{name}\"")), "{name}");
    }
}
