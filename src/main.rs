//! The `handfast` command; everything is in the library.

fn main() -> std::process::ExitCode {
    handfast::cli::run()
}
