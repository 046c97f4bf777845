#![no_main]

#[path = "../cases/mod.rs"]
mod cases;

libfuzzer_sys::fuzz_target!(|input: &[u8]| drop(cases::parse::run(input)));
