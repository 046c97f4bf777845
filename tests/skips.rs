//! What a test skips is seen: under nextest, which shows nothing of a test that passes, whoever skips must be named in its
//! configuration.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use toml::{Table, Value};

const NEXTEST: &str = include_str!("../.config/nextest.toml");

/// The filters of the tests whose output is shown also when they pass.
fn shown() -> String {
    let config: Table = NEXTEST.parse().expect("TOML");
    let overrides = config["profile"]["default"]["overrides"].as_array().expect("several");
    let shown = overrides.iter().filter(|one| one.get("success-output").and_then(Value::as_str) == Some("immediate"));
    shown.map(|one| one["filter"].as_str().expect("a filter")).collect::<Vec<_>>().join("\n")
}

/// The text of a file, or of all that a folder holds.
fn text(path: &Path) -> String {
    if path.is_dir() {
        return fs::read_dir(path).unwrap().map(|entry| text(&entry.unwrap().path())).collect();
    }
    if path.extension().is_some_and(|end| end == "rs") { fs::read_to_string(path).unwrap() } else { String::new() }
}

/// The modules of `folder` whose own tests skip, as `driver::af_xdp::umem`.
fn skipping_modules(folder: &Path, name: &str, found: &mut BTreeSet<String>) {
    for path in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let module = format!("{name}{}", path.file_stem().unwrap().to_str().unwrap());
        if path.is_dir() {
            skipping_modules(&path, &format!("{module}::"), found);
        } else if text(&path).contains("\"SKIPPED: ") {
            found.insert(module);
        }
    }
}

#[test]
fn whoever_skips_is_shown_by_nextest_also_when_it_passes() {
    let (shown, root) = (shown(), Path::new(env!("CARGO_MANIFEST_DIR")));
    let mut wanted = BTreeSet::new();
    skipping_modules(&root.join("src"), "", &mut wanted);
    let mut wanted: Vec<_> = wanted.into_iter().map(|module| format!("test({module})")).collect();
    for path in fs::read_dir(root.join("tests")).unwrap().map(|entry| entry.unwrap().path()) {
        let skips = ["lab", "root", "skip"].map(|how| format!("common::{how}("));
        let is_binary = path.is_file() || path.join("main.rs").is_file();
        if is_binary && skips.iter().any(|how| text(&path).contains(how)) {
            wanted.push(format!("binary({})", path.file_stem().unwrap().to_str().unwrap()));
        }
    }
    assert!(wanted.iter().any(|one| one == "binary(rfc)"), "they are found: {wanted:?}");
    let missing: Vec<_> = wanted.iter().filter(|one| !shown.contains(one.as_str())).collect();
    assert!(missing.is_empty(), "what these skip is not shown: {missing:?}");
}
