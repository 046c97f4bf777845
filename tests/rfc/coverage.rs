//! `COVERAGE.md`: which test shows which requirement, read from the tests themselves.

use super::requirements::REQUIREMENTS;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::PathBuf;

/// What a test's source says of it.
#[derive(Default)]
struct Shown {
    covers: BTreeSet<String>,
    /// Why it is not played against Linux.
    handfast_only: Option<String>,
    /// Why it is played in virtual time alone.
    in_memory_only: Option<String>,
    /// Where Linux does otherwise, and why.
    differences: Vec<String>,
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/rfc")
}

/// The string literals in `text`, one after another.
fn literals(text: &str) -> Vec<String> {
    let mut found = vec![];
    let mut rest = text;
    while let Some((_, after)) = rest.split_once('"') {
        let Some((literal, behind)) = after.split_once('"') else { break };
        // A literal may go on in the next line.
        found.push(literal.split_whitespace().collect::<Vec<_>>().join(" "));
        rest = behind;
    }
    found
}

/// The literals of the first call of `name` in `body`, up to its first `closing` mark.
fn after<'a>(body: &'a str, name: &str, closing: &str) -> Option<(Vec<String>, &'a str)> {
    let (_, rest) = body.split_once(name)?;
    let (inside, rest) = rest.split_once(closing)?;
    Some((literals(inside), rest))
}

fn read_test(body: &str) -> Shown {
    let mut shown = Shown::default();
    let mut rest = body;
    while let Some((ids, behind)) = after(rest, "covers!(", ")") {
        shown.covers.extend(ids);
        rest = behind;
    }
    let reason = |player: &str| after(body, player, "|").and_then(|(why, _)| why.into_iter().next());
    shown.handfast_only = reason("handfast_only(").or_else(|| reason("handfast_with("));
    shown.in_memory_only = reason("in_memory_only(").or_else(|| reason("in_memory_with("));
    for call in body.split(".on_linux(").skip(1) {
        shown.differences.extend(literals(call).into_iter().next());
    }
    shown
}

/// Every test of this crate, by `module::name`.
fn read_tests() -> BTreeMap<String, Shown> {
    let mut tests = BTreeMap::new();
    for entry in std::fs::read_dir(folder()).expect("tests/rfc") {
        let path = entry.expect("an entry").path();
        let module = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if path.extension().is_none_or(|e| e != "rs") || ["coverage", "stage"].contains(&module.as_str()) {
            continue;
        }
        let source = std::fs::read_to_string(&path).expect("a source file");
        for piece in source.split("#[test]").skip(1) {
            let Some((name, body)) = piece.trim_start().strip_prefix("fn ").and_then(|p| p.split_once('(')) else {
                continue;
            };
            tests.insert(format!("{module}::{name}"), read_test(body));
        }
    }
    tests
}

/// A row's last column: tests, or why there are none.
fn row_text(tests: &BTreeMap<String, Shown>, id: &str, note: &str) -> String {
    let show = |(name, _): &(&String, &Shown)| format!("`{name}`");
    let names: Vec<String> = tests.iter().filter(|(_, shown)| shown.covers.contains(id)).map(|t| show(&t)).collect();
    match (names.is_empty(), note) {
        (true, "") => "**no test**".into(),
        (true, note) => note.into(),
        (false, "") => names.join(", "),
        (false, note) => format!("{}; {note}", names.join(", ")),
    }
}

fn table() -> String {
    let tests = read_tests();
    let mut out = String::from("# Requirements and the tests that show them\n\n");
    out += "Made by `HANDFAST_BLESS=1 cargo test --test rfc coverage`; a test compares it. Names like `9293-MUST-10` carry\n";
    out += "the numbers of RFC 9293, appendix B; the others are ours.\n\n";
    let rows: Vec<String> = REQUIREMENTS.iter().map(|r| row_text(&tests, r.id, r.note)).collect();
    let count = |what: fn(&str) -> bool| rows.iter().filter(|row| what(row)).count();
    let _ = writeln!(
        out,
        "{} requirements: {} shown by tests, {} not done, {} not applicable.\n",
        rows.len(),
        count(|row| row.starts_with('`')),
        count(|row| row.starts_with("not done")),
        count(|row| row.starts_with("not applicable"))
    );
    out += "| Requirement | Where | What is asked | Shown by |\n|---|---|---|---|\n";
    for (requirement, row) in REQUIREMENTS.iter().zip(rows) {
        let _ = writeln!(out, "| {} | {} | {} | {row} |", requirement.id, requirement.section, requirement.what);
    }
    out += "\n## Where Linux does otherwise\n\nThe same scenarios run against the kernel's TCP, but for these differences.\n\n";
    out += "| Test | Linux |\n|---|---|\n";
    for (name, shown) in &tests {
        for why in &shown.differences {
            let _ = writeln!(out, "| `{name}` | {why} |");
        }
    }
    out += "\n## Not played against Linux\n\nIn memory and over veth.\n\n| Test | Why |\n|---|---|\n";
    list(&mut out, &tests, |shown| shown.handfast_only.as_ref());
    out += "\n## Played in virtual time alone\n\nIn memory.\n\n| Test | Why |\n|---|---|\n";
    list(&mut out, &tests, |shown| shown.in_memory_only.as_ref());
    out
}

fn list(out: &mut String, tests: &BTreeMap<String, Shown>, reason: impl Fn(&Shown) -> Option<&String>) {
    for (name, shown) in tests {
        if let Some(why) = reason(shown) {
            let _ = writeln!(out, "| `{name}` | {why} |");
        }
    }
}

#[test]
fn coverage_md_is_what_the_tests_say() {
    let path = folder().join("COVERAGE.md");
    let table = table();
    if std::env::var_os("HANDFAST_BLESS").is_some() {
        std::fs::write(&path, &table).expect("writing COVERAGE.md");
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        stored == table,
        "COVERAGE.md is out of date: `HANDFAST_BLESS=1 cargo test --test rfc coverage` rewrites it"
    );
}

#[test]
fn every_requirement_has_a_test_or_a_reason() {
    let tests = read_tests();
    let without: Vec<_> = REQUIREMENTS.iter().filter(|r| row_text(&tests, r.id, r.note) == "**no test**").collect();
    assert!(without.is_empty(), "without: {:?}", without.iter().map(|r| r.id).collect::<Vec<_>>());
}
