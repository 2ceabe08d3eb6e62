//! Every case that fuzzing started from or found keeps its promise; see `tests/fuzz/run`.

use std::{fs, panic, path::Path};

use crate::fuzz_targets::TARGETS;

#[test]
fn every_case_that_was_ever_found_keeps_the_promise_of_its_parser() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus");
    let folders = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut folders: Vec<String> = folders.collect();
    folders.sort_unstable();
    let mut names = TARGETS.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(folders, names, "a folder for each target");

    let mut broken = Vec::new();
    for (name, target) in TARGETS {
        let mut cases = 0;
        for entry in fs::read_dir(corpus.join(name)).unwrap() {
            let case = entry.unwrap().path();
            let bytes = fs::read(&case).unwrap();
            cases += 1;
            if panic::catch_unwind(|| target(&bytes)).is_err() {
                broken.push(case);
            }
        }
        assert!(cases > 0, "{name} has no case");
    }
    assert!(broken.is_empty(), "{broken:#?}");
}
