//! The committed object of the XDP program is what its sources make. Says so and skips where clang-14 or libbpf's
//! headers are missing.

mod common;

use std::process::Command;

#[test]
fn committed_object_is_what_its_sources_make() {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/xdp/build.sh");
    let output = Command::new("sh").args([script, "--check"]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    match output.status.code() {
        Some(0) => {}
        Some(2) => {
            common::skip("the committed object", &format!("cannot build the XDP program here: {}", said.trim()));
        }
        _ => panic!("{said}{}", String::from_utf8_lossy(&output.stdout)),
    }
}
