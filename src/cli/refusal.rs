//! What clap refuses, in our words: what, the cause, the cure, on one line.

use super::{command_of, one_line};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::ffi::OsString;

/// A refusal of flags. Shown on one line: `{what}: {cause}; {cure}`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// Which flag.
    pub what: Option<String>,
    /// Why.
    pub cause: String,
    /// What would do, where that is known.
    pub cure: Option<String>,
}

impl Refusal {
    /// Reads an error that is neither help nor version, about these arguments.
    pub fn of(error: &clap::Error, typed: &[OsString]) -> Refusal {
        let text = |kind| text(error, kind);
        let flag = flag(error, ContextKind::InvalidArg);
        let value = text(ContextKind::InvalidValue).filter(|value| !value.is_empty());
        let meant = |kind| text(kind).map(|name| format!("did you mean `{name}`?"));
        match error.kind() {
            ErrorKind::ValueValidation => {
                let source = std::error::Error::source(error).map_or_else(|| brief(error), ToString::to_string);
                let (cause, cure) = split(&source);
                Refusal { what: flag, cause, cure }
            }
            ErrorKind::InvalidValue => {
                let known = match error.get(ContextKind::ValidValue) {
                    Some(ContextValue::Strings(known)) if !known.is_empty() => Some(format!("choose {}", or(known))),
                    _ => None,
                };
                let cause =
                    value.map_or("its value is missing".into(), |value| format!("`{value}` is none of its values"));
                Refusal { what: flag, cause, cure: known }
            }
            ErrorKind::UnknownArgument => {
                let flag = flag.unwrap_or_default();
                if !flag.starts_with('-') {
                    let cause = format!("`{flag}` stands where no word is awaited");
                    return Refusal { what: None, cause, cure: None };
                }
                if let Some(cause) = of_number(&flag, typed) {
                    return Refusal { what: None, cause, cure: None };
                }
                // What clap thinks near is often far.
                let near = text(ContextKind::SuggestedArg).filter(|name| is_near(&flag, name));
                let cause = format!("there is no such flag as `{flag}`");
                Refusal { what: None, cause, cure: near.map(|name| format!("did you mean `{name}`?")) }
            }
            ErrorKind::InvalidSubcommand => {
                let name = text(ContextKind::InvalidSubcommand).unwrap_or_default();
                let cure = meant(ContextKind::SuggestedSubcommand);
                Refusal { what: None, cause: format!("there is no such command as `{name}`"), cure }
            }
            ErrorKind::ArgumentConflict => match contradiction(error) {
                Some((_, other)) => {
                    let cause = format!("it contradicts `{other}`");
                    Refusal { what: flag, cause, cure: Some("remove one of the two".into()) }
                }
                None => Refusal { what: flag, cause: "given twice".into(), cure: Some("remove one of them".into()) },
            },
            _ => Refusal { what: None, cause: brief(error), cure: None },
        }
    }

    /// The line, with this cure where the refusal has none.
    pub fn line(self, cure: impl FnOnce() -> String) -> String {
        let cure = self.cure.unwrap_or_else(cure);
        one_line(&self.what.into_iter().chain([format!("{}; {cure}", self.cause)]).collect::<Vec<_>>().join(": "))
    }
}

/// Whether somebody who wrote the one may have meant the other: a letter in four is wrong at most, or the end is missing.
pub(super) fn is_near(typed: &str, name: &str) -> bool {
    let wrong = strsim::damerau_levenshtein(typed, name);
    let cut_off = typed.len() >= 3 && name.starts_with(typed);
    cut_off || wrong <= 1 || 4 * wrong <= name.chars().count()
}

/// What is said of a dash before a digit: `-4` and `-6` are what ping(8) and curl(1) take, so where addresses are given they
/// are meant as there; anything else is meant as a value.
fn of_number(flag: &str, typed: &[OsString]) -> Option<String> {
    // clap tells the first digit alone.
    let flag = typed.iter().filter_map(|arg| arg.to_str()).find(|arg| arg.starts_with(flag)).unwrap_or(flag);
    let has_addresses = matches!(command_of(typed).as_deref(), Some("serve" | "load"));
    match flag.strip_prefix('-')? {
        "4" | "6" if has_addresses => {
            Some(format!("`{flag}` is no flag: IPv4 or IPv6 follows from the addresses given, and no value is below 0"))
        }
        digits if digits.starts_with(|c: char| c.is_ascii_digit()) => {
            Some(format!("`{flag}` is no flag, and no value is below 0"))
        }
        _ => None,
    }
}

/// The two flags that contradict each other, if that is what is wrong.
pub(super) fn contradiction(error: &clap::Error) -> Option<(String, String)> {
    let [one, other] = [ContextKind::InvalidArg, ContextKind::PriorArg].map(|kind| flag(error, kind));
    let two = one.zip(other).filter(|(one, other)| one != other);
    two.filter(|_| error.kind() == ErrorKind::ArgumentConflict)
}

/// A flag that the error speaks of: `--xdp <MODE>` without the name of its value.
fn flag(error: &clap::Error, kind: ContextKind) -> Option<String> {
    text(error, kind).map(|arg| arg.split([' ', '=']).next().unwrap_or(&arg).to_string())
}

fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind) {
        Some(ContextValue::String(text)) => Some(text.clone()),
        Some(ContextValue::Strings(all)) => all.first().cloned(),
        _ => None,
    }
}

/// Cause and cure of a value parser's sentence.
fn split(sentence: &str) -> (String, Option<String>) {
    match sentence.split_once("; ") {
        Some((cause, cure)) => (cause.to_string(), Some(cure.to_string())),
        None => (sentence.to_string(), None),
    }
}

fn or(names: &[String]) -> String {
    match names {
        [most @ .., last] if !most.is_empty() => format!("{} or {last}", most.join(", ")),
        names => names.concat(),
    }
}

/// The sentence of a clap error, without its usage text and tips.
fn brief(error: &clap::Error) -> String {
    let text = error.to_string();
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    one_line(text.split("\n\n").next().unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Cli;
    use clap::CommandFactory;

    fn line(flags: &str) -> String {
        let typed: Vec<_> = flags.split(' ').map(OsString::from).collect();
        let error = Cli::command().try_get_matches_from(&typed).unwrap_err();
        Refusal::of(&error, &typed).line(|| "HELP".into())
    }

    #[test]
    fn every_refusal_has_one_cure() {
        for (flags, expected) in [
            ("h serve --nonsense", "there is no such flag as `--nonsense`; HELP"),
            ("h serve --interfac lo", "there is no such flag as `--interfac`; did you mean `--interface`?"),
            ("h load --threads 4", "there is no such flag as `--threads`; HELP"),
            ("h load --conections 4", "there is no such flag as `--conections`; did you mean `--connections`?"),
            ("h load --max-conn 4", "there is no such flag as `--max-conn`; did you mean `--max-connections`?"),
            ("h load --rate -5", "`-5` is no flag, and no value is below 0; HELP"),
            (
                "h load -6",
                "`-6` is no flag: IPv4 or IPv6 follows from the addresses given, and no value is below 0; HELP",
            ),
            (
                "h serve -4",
                "`-4` is no flag: IPv4 or IPv6 follows from the addresses given, and no value is below 0; HELP",
            ),
            // They are given no addresses.
            ("h stats -4", "`-4` is no flag, and no value is below 0; HELP"),
            ("h sim -6", "`-6` is no flag, and no value is below 0; HELP"),
            ("h -4", "`-4` is no flag, and no value is below 0; HELP"),
            ("h load --rate -400", "`-400` is no flag, and no value is below 0; HELP"),
            ("h stats foo", "`foo` stands where no word is awaited; HELP"),
            ("h walk", "there is no such command as `walk`; HELP"),
            ("h serv", "there is no such command as `serv`; did you mean `serve`?"),
            ("h serve --xdp fast", "--xdp: `fast` is none of its values; choose auto, native or generic"),
            ("h serve --time-wait", "--time-wait: its value is missing; HELP"),
            ("h serve --time-wait soon", "--time-wait: `soon` is no time; write 500ms, 30s or 2h"),
            ("h load --connections 0", "--connections: `0` will not do; write a whole number from 1 on"),
            ("h demo --duration 2h", "--duration: `2h` is too long; write 1h at most"),
            ("h sim --hosts abc", "--hosts: `abc` will not do; write a whole number from 2 to 100"),
            ("h load --http / --send x", "--http: it contradicts `--send`; remove one of the two"),
            ("h serve --drain 1s --drain 2s", "--drain: given twice; remove one of them"),
        ] {
            assert_eq!(line(flags), expected, "{flags}");
        }
    }
}
