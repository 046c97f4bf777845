//! The command line: what is asked, checked before anything is touched.
//!
//! Results go to stdout (with `--json` exactly one JSON object), everything else to stderr. An error is one line,
//! `handfast: what: cause; cure`, and exit code 2; a run whose result is bad ends with 1.
#![forbid(unsafe_code)]

mod defence;
mod demo;
mod doctor;
mod file;
mod interrupt;
mod link;
mod load;
mod refusal;
mod secret_file;
mod serve;
mod sim;
mod sources;
mod stats;
mod tables;
mod values;

use crate::SetupError;
use crate::host::huge_pages;
use clap::error::ErrorKind;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use jiff::Timestamp;
use link::LinkArgs;
use refusal::Refusal;
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::time::SystemTime;

/// What a command ends with: an exit code, or the line that says what went wrong.
pub type Outcome = Result<ExitCode, SetupError>;

const EXAMPLES: &str = "\
Examples:
  handfast doctor --interface eth1
  handfast serve --interface eth1 --address 10.0.0.2/24 --service http@80
  handfast load --interface eth2 --address 10.0.0.3/24 --target 10.0.0.2:80
  handfast stats --json
  handfast demo

Exit codes:
  0    it went well
  1    it ran, and the result is bad: `doctor` found what does not work, of
       `load` not one connection went well, it could not go on or found no rate,
       `sim` found a fault, a ledger is not exact
  2    bad input, it could not be set up, the interface went away or stands
       still, or the output was lost
  130  cut short by a further SIGINT or SIGTERM

`handfast COMMAND --help` tells each command's flags. RUST_LOG=debug makes it more talkative; HANDFAST_HUGE_PAGES=1 puts the \
tables of `serve` and `load` on transparent huge pages, and the log says whether it could.";

/// A user-space TCP stack on AF_XDP, for servers whose hard part is connections.
#[derive(Debug, Parser)]
#[command(name = "handfast", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve TCP services on an interface
    Serve(Box<serve::Args>),
    /// Open and close connections against a TCP server, and report
    Load(Box<load::Args>),
    /// Show states, counters and the ledger of a running stack
    Stats(stats::Args),
    /// Serve and load in network namespaces made for it, and report
    Demo(demo::Args),
    /// Say what this host and NIC can do, and what mends each lack
    Doctor(doctor::Args),
    /// Play simulated networks that lose, reorder, corrupt and kill, and check everything
    Sim(Box<sim::Args>),
}

/// Runs the command that the process was started with.
pub fn run() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    if matches!(command_of(&args).as_deref(), Some("serve" | "load")) {
        huge_pages::ask();
    }
    let (cli, joined) = match parse(args.clone()) {
        Ok(parsed) => parsed,
        Err(file::Error::Flags(e)) => return refuse(&e, &args),
        Err(file::Error::File(e)) => return fail(&e),
    };
    // The doctor's findings say all that is told of each queue at start.
    log_to_stderr(if matches!(cli.command, Command::Doctor(_)) { "warn" } else { "info" });
    if matches!(cli.command, Command::Serve(_) | Command::Load(_)) {
        match huge_pages::outcome() {
            Some(Ok(said)) => tracing::info!("{said}"),
            Some(Err(why)) => tracing::warn!("{why}"),
            None => {}
        }
    }
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Load(args) => load::run(*args, &joined),
        Command::Stats(args) => stats::run(args),
        Command::Demo(args) => demo::run(args),
        Command::Doctor(args) => doctor::run(args),
        Command::Sim(args) => sim::run(*args),
    };
    outcome.unwrap_or_else(|e| fail(&e))
}

/// Reads flags, and the configuration file that they name; says also what both come to, as flags.
fn parse(args: Vec<OsString>) -> Result<(Cli, Vec<OsString>), file::Error> {
    let flags = |e: clap::Error| file::Error::Flags(Box::new(e));
    let args = file::with_file(&Cli::command(), args)?;
    let matches = Cli::command().try_get_matches_from(&args).map_err(flags)?;
    Ok((Cli::from_arg_matches(&matches).map_err(flags)?, args))
}

fn fail(error: &SetupError) -> ExitCode {
    eprintln!("handfast: {}", one_line(&error.to_string()));
    ExitCode::from(2)
}

/// Shows help and version as they are, and every refusal on one line.
fn refuse(error: &clap::Error, args: &[OsString]) -> ExitCode {
    if !error.use_stderr() || error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        let _ = error.print();
        return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
    }
    let line = Refusal::of(error, args).line(|| match command_of(args) {
        Some(command) => format!("`handfast {command} --help` lists the flags"),
        None => "`handfast --help` lists the commands".into(),
    });
    eprintln!("handfast: {line}");
    ExitCode::from(2)
}

/// The command that the arguments name.
fn command_of(args: &[OsString]) -> Option<String> {
    let first = args.iter().skip(1).find_map(|arg| arg.to_str().filter(|arg| !arg.starts_with('-')))?;
    Cli::command().find_subcommand(first).map(|command| command.get_name().to_string())
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Logs from this level on, unless the environment (`RUST_LOG`) asks for another.
fn log_to_stderr(level: &str) {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(level));
    // A second initialisation (a command run twice in one test process) changes nothing.
    let _ = tracing_subscriber::fmt()
        .compact()
        .with_env_filter(filter)
        .with_target(false)
        .with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr()))
        .with_writer(std::io::stderr)
        .try_init();
}

/// The width of the terminal that stdout is; `None` where it is none: in a pipe or file each sentence keeps its line.
fn columns() -> Option<u16> {
    let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok()?;
    Some(size.ws_col).filter(|columns| *columns > 0)
}

/// Writes to stdout; a reader that has gone (EPIPE) has seen what it wanted.
///
/// # Errors
/// The text is lost: the disk is full, for example.
pub(crate) fn say(text: &str) -> Result<(), SetupError> {
    say_or_gone(text).map(drop)
}

/// As [`say`]; tells whether the reader is still there.
///
/// # Errors
/// As there.
fn say_or_gone(text: &str) -> Result<bool, SetupError> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => Ok(false),
        Err(e) => Err(SetupError::new("writing to stdout", e.to_string(), "make room, or send the output elsewhere")),
    }
}

/// 0 where all is well, else 1: it ran, and the result is bad.
fn verdict(well: bool) -> ExitCode {
    if well { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints one JSON object on stdout.
pub(crate) fn print_json<T: serde::Serialize>(value: &T) -> Outcome {
    say(&format!("{}\n", as_json(value, serde_json::to_string_pretty)?))?;
    Ok(ExitCode::SUCCESS)
}

fn as_json<T>(value: &T, write: impl Fn(&T) -> serde_json::Result<String>) -> Result<String, SetupError> {
    write(value)
        .map_err(|e| SetupError::new("writing the report as JSON", e.to_string(), "please report this as a bug"))
}

/// A time of day in UTC as RFC 3339 writes it; a clock that stands beyond the year 9999 says so by itself.
fn utc(at: SystemTime) -> String {
    let seconds = at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
    Timestamp::from_second(i64::try_from(seconds).unwrap_or(i64::MAX)).unwrap_or(Timestamp::MAX).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    /// Each key of a file is tried by itself, before the flags beside which it means something.
    #[test]
    fn no_flag_that_a_file_may_hold_needs_another_one() {
        for name in ["serve", "load"] {
            let command = Cli::command().find_subcommand(name).expect("it has a file").clone();
            let command = command.mut_args(|arg| match arg.get_action().takes_values() {
                true => arg.value_parser(clap::value_parser!(String)),
                false => arg,
            });
            for arg in command.get_arguments().filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
                let flag = format!("--{}", arg.get_long().expect("all have names"));
                let value = arg.get_action().takes_values().then_some("x".to_string());
                let alone = [name.to_string(), flag.clone()].into_iter().chain(value);
                let refused = command.clone().try_get_matches_from(alone).err().map(|e| e.to_string());
                assert_eq!(refused, None, "{name} {flag}");
            }
        }
    }

    #[test]
    fn every_command_tells_its_exit_codes() {
        let top = Cli::command();
        for command in [&top].into_iter().chain(top.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let codes = help.split("\n\n").find(|block| block.starts_with("Exit codes:\n  0    "));
            assert!(codes.is_some_and(|codes| codes.contains("\n  2    ")), "{}: {help}", command.get_name());
        }
    }

    /// Broken by hand and again by a terminal, a sentence would come out ragged; and an example must be one that can be copied.
    #[test]
    fn below_the_flags_prose_is_broken_by_the_terminal_alone_and_lists_fit_80_columns() {
        let top = Cli::command();
        for command in [&top].into_iter().chain(top.get_subcommands()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            for block in help.split("\n\n") {
                let (first, rest) = block.split_once('\n').unwrap_or((block, ""));
                assert!(rest.is_empty() || first.ends_with(':'), "{}: {block}", command.get_name());
                for line in rest.lines() {
                    assert!(line.starts_with("  ") && line.len() <= 80, "{}: {line}", command.get_name());
                }
            }
        }
    }

    #[test]
    fn the_date_is_one_that_programs_read() {
        let at = SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_795_914_246_700);
        assert_eq!(utc(at), "2026-11-29T01:04:06Z");
    }
}
