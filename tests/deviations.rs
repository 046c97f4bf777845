//! Every departure from an RFC stands in the README's table and is marked where the code departs, in the same words.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const README: &str = include_str!("../README.md");
const MARK: &str = "Deviation: ";

/// The first cell of each row of the table.
fn rows() -> BTreeSet<String> {
    let (_, section) = README.split_once("## Deviations from the RFCs\n").expect("the README has the section");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.split_once(" | "));
    cells.map(|(place, _)| place.to_string()).filter(|place| place != "where").collect()
}

/// What follows each mark in the comments of `folder`, which may go on in the next lines.
fn marks(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            marks(&entry.path(), found);
        } else if entry.path().extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(entry.path()).unwrap();
            let comments = text.lines().map(str::trim_start).filter(|line| line.starts_with("//"));
            let words: Vec<_> = comments.map(|line| line.trim_start_matches(['/', '!', ' '])).collect();
            found.extend(words.join(" ").split(MARK).skip(1).map(str::to_string));
        }
    }
}

#[test]
fn each_row_of_the_readme_is_marked_in_the_code_and_each_mark_has_its_row() {
    let mut rows = rows();
    assert!(!rows.is_empty(), "the table is found");
    let mut found = Vec::new();
    marks(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    for mark in found {
        let row = rows.iter().find(|row| mark.strip_prefix(row.as_str()).is_some_and(|rest| rest.starts_with('.')));
        let row = row.unwrap_or_else(|| panic!("no row of its own in the README: {MARK}{mark:.100}")).clone();
        rows.remove(&row);
    }
    assert!(rows.is_empty(), "`{MARK}` and these words are nowhere in src: {rows:#?}");
}
