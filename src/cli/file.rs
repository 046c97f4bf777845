//! The configuration file: the same keys as the flags, in TOML; a flag wins.
//!
//! A key is turned into the flag of its name and read by the flag's own parser, so the two cannot drift apart. So that
//! each can be read by itself, no flag may be required of clap: what a command needs, it asks for when both are joined.

use super::one_line;
use super::refusal::{Refusal, contradiction, is_near};
use crate::SetupError;
use clap::parser::ValueSource;
use std::ffi::OsString;
use std::io::Read;
use std::path::Path;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// Why flags and file could not be joined.
#[derive(Debug)]
pub(super) enum Error {
    /// The flags themselves (help and version arrive here as well).
    Flags(Box<clap::Error>),
    /// The file: names file, line and key.
    File(SetupError),
}

/// The largest file that is read, in octets.
const MAX_FILE: u64 = 1 << 20;

/// Appends what the file named by `--config` says, as flags, to the flags in `args`; those given win.
///
/// # Errors
/// The flags that [`clap`] refuses; a file that cannot be read, is no TOML, or has a key or value that is none, or a key that
/// contradicts a flag.
pub(super) fn with_file(root: &clap::Command, mut args: Vec<OsString>) -> Result<Vec<OsString>, Error> {
    let matches = root.clone().try_get_matches_from(&args).map_err(|e| Error::Flags(Box::new(e)))?;
    let Some((name, given)) = matches.subcommand() else { return Ok(args) };
    let Ok(Some(path)) = given.try_get_one::<std::path::PathBuf>("config") else { return Ok(args) };
    let command = root.find_subcommand(name).expect("clap matched it");
    let text = read(path).map_err(Error::File)?;
    let file = File { path, text: &text, command };
    let mut keys = file.keys().map_err(Error::File)?;
    keys.retain(|key| given.value_source(&key.id) != Some(ValueSource::CommandLine));
    args.extend(keys.iter().flat_map(|key| key.arguments.iter().cloned()));
    match root.clone().try_get_matches_from(&args) {
        Ok(_) => Ok(args),
        Err(e) => Err(file.contradiction(&e, &keys).map_or_else(|| Error::Flags(Box::new(e)), Error::File)),
    }
}

fn read(path: &Path) -> Result<String, SetupError> {
    let what = || format!("reading {}", path.display());
    let fail = |e: std::io::Error| SetupError::of_system(what(), &e, "check the path given to `--config`");
    let refuse = |cause: &str| SetupError::new(what(), cause, "is this the right file?");
    let mut octets = Vec::new();
    // What a device or pipe holds nobody knows before.
    std::fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut octets)).map_err(fail)?;
    if octets.len() as u64 > MAX_FILE {
        return Err(refuse("more than 1 MiB"));
    }
    String::from_utf8(octets).map_err(|_| refuse("it is no text in UTF-8"))
}

/// A key of the file.
struct Key {
    name: String,
    /// Where it stands, in octets.
    at: usize,
    /// The id of the flag of that name.
    id: String,
    /// What it stands for.
    arguments: Vec<OsString>,
}

struct File<'a> {
    path: &'a Path,
    text: &'a str,
    command: &'a clap::Command,
}

impl File<'_> {
    /// All keys, in the order of the file.
    fn keys(&self) -> Result<Vec<Key>, SetupError> {
        let table = DeTable::parse(self.text).map_err(|e| {
            let at = e.span().map_or(0, |span| span.start);
            let cure = match e.message() {
                "duplicate key" => "remove one of the two",
                _ => r#"write `key = "text"`, `key = 5`, `key = true` or `key = ["one", "two"]`"#,
            };
            self.error_with(at, &self.key_near(at), e.message(), Some(cure.into()))
        })?;
        let mut keys: Vec<_> = table.get_ref().iter().collect();
        keys.sort_by_key(|(key, _)| key.span().start);
        keys.into_iter().map(|(key, value)| self.key(key.get_ref(), key.span().start, value)).collect()
    }

    fn key(&self, key: &str, at: usize, value: &Spanned<DeValue<'_>>) -> Result<Key, SetupError> {
        let arg = self.command.get_arguments().find(|arg| arg.get_long() == Some(key) && key != "config");
        let Some(arg) = arg.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) else {
            let meant = self.known().filter(|name| is_near(key, name));
            let nearest = meant.min_by_key(|name| strsim::damerau_levenshtein(key, name));
            let cure = nearest.map(|name| format!("did you mean `{name}`?"));
            return Err(self.error_with(at, key, "there is no such key", cure));
        };
        let is_switch = !arg.get_action().takes_values();
        if is_switch && !matches!(value.get_ref(), DeValue::Boolean(_)) {
            return Err(self.error_with(at, key, "it is on or off", Some("write true or false".into())));
        }
        let arguments = arguments(key, value.get_ref()).map_err(|cause| self.error(at, key, &cause))?;
        let trial = std::iter::once(OsString::from(self.command.get_name())).chain(arguments.iter().cloned());
        if let Err(e) = self.command.clone().try_get_matches_from(trial) {
            let Refusal { cause, cure, .. } = Refusal::of(&e, &arguments);
            return Err(self.error_with(at, key, &cause, cure));
        }
        Ok(Key { name: key.to_string(), at, id: arg.get_id().to_string(), arguments })
    }

    /// Of two that contradict each other, what stands in the file is named by its place there.
    fn contradiction(&self, error: &clap::Error, keys: &[Key]) -> Option<SetupError> {
        let (one, other) = contradiction(error)?;
        let find = |flag: &str| keys.iter().find(|key| flag.strip_prefix("--") == Some(&key.name));
        let (key, against) = match (find(&one), find(&other)) {
            (Some(key), Some(other)) => (key, format!("key `{}` of line {}", other.name, self.line_of(other.at))),
            (Some(key), None) => (key, format!("`{other}`")),
            (None, Some(key)) => (key, format!("`{one}`")),
            (None, None) => return None,
        };
        let cure = Some("remove one of the two".into());
        Some(self.error_with(key.at, &key.name, &format!("it contradicts {against}"), cure))
    }

    fn known(&self) -> impl Iterator<Item = &str> {
        let names = self.command.get_arguments().filter_map(|arg| arg.get_long());
        names.filter(|name| !matches!(*name, "config" | "help" | "version"))
    }

    fn line_of(&self, at: usize) -> usize {
        1 + self.text.as_bytes()[..at.min(self.text.len())].iter().filter(|octet| **octet == b'\n').count()
    }

    /// The key whose value goes on at `at`; else what stands before the `=` or `:` on that line.
    fn key_near(&self, at: usize) -> String {
        let lines: Vec<_> = self.text.lines().collect();
        let (before, from) = lines.split_at((self.line_of(at) - 1).min(lines.len()));
        let is_open = |begin: usize| DeTable::parse(&before[begin..].join("\n")).is_err();
        let begin = before.iter().rposition(|line| name_before(line, '=').is_some()).filter(|begin| is_open(*begin));
        let line = begin.map_or(from.first(), |begin| before.get(begin)).map_or("", |line| line.trim());
        let name = name_before(line, '=').or_else(|| name_before(line, ':')).unwrap_or(line);
        name.chars().take(40).collect()
    }

    fn error(&self, at: usize, key: &str, cause: &str) -> SetupError {
        self.error_with(at, key, cause, None)
    }

    fn error_with(&self, at: usize, key: &str, cause: &str, cure: Option<String>) -> SetupError {
        let name = self.command.get_name();
        SetupError::new(
            format!("{} line {}, key `{key}`", self.path.display(), self.line_of(at)),
            one_line(cause),
            cure.unwrap_or_else(|| format!("`handfast {name} --help` tells the flags, which are the keys")),
        )
    }
}

/// What stands before this sign, if it may be a key; in quotes it is one as well.
fn name_before(line: &str, sign: char) -> Option<&str> {
    let name = line.split_once(sign)?.0.trim();
    let bare = name.strip_prefix('"').and_then(|name| name.strip_suffix('"')).unwrap_or(name);
    let is_key = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    (!bare.is_empty() && bare.chars().all(is_key)).then_some(name)
}

/// The flags that one key stands for; an array repeats the flag.
fn arguments(key: &str, value: &DeValue<'_>) -> Result<Vec<OsString>, String> {
    match value {
        DeValue::Boolean(true) => Ok(vec![format!("--{key}").into()]),
        DeValue::Boolean(false) => Ok(Vec::new()),
        DeValue::Array(items) => {
            items.iter().map(|item| scalar(item.get_ref()).map(|text| format!("--{key}={text}").into())).collect()
        }
        one => Ok(vec![format!("--{key}={}", scalar(one)?).into()]),
    }
}

fn scalar(value: &DeValue<'_>) -> Result<String, String> {
    match value {
        DeValue::String(text) => Ok(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Ok(number.as_str().to_string()),
        DeValue::Float(number) => Ok(number.as_str().to_string()),
        _ => Err("not a string, a decimal number, true, false, or an array of those".to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{Arg, ArgAction, Command};

    fn command() -> Command {
        let serve = Command::new("serve")
            .arg(Arg::new("config").long("config").value_parser(clap::value_parser!(std::path::PathBuf)))
            .arg(Arg::new("drain").long("drain").value_parser(humantime::parse_duration))
            .arg(Arg::new("names").long("name").action(ArgAction::Append))
            .arg(Arg::new("share").long("share").action(ArgAction::SetTrue))
            .arg(Arg::new("workers").long("workers").value_parser(clap::value_parser!(u32)))
            .arg(Arg::new("alone").long("alone").action(ArgAction::SetTrue).conflicts_with_all(["workers", "names"]));
        Command::new("handfast").subcommand(serve)
    }

    /// Runs `with_file` on a file of this text and these further flags.
    fn joined(text: &str, flags: &[&str]) -> Result<clap::ArgMatches, String> {
        let dir =
            std::env::temp_dir().join(format!("hf-config-{}-{:?}", std::process::id(), std::thread::current().id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = dir.join("c.toml");
        std::fs::write(&path, text).unwrap();
        let mut args: Vec<OsString> = vec!["handfast".into(), "serve".into(), "--config".into(), path.into()];
        args.extend(flags.iter().map(OsString::from));
        let joined = with_file(&command(), args);
        std::fs::remove_dir_all(&dir).unwrap();
        match joined {
            Ok(args) => {
                Ok(command().try_get_matches_from(args).expect("flags and file fit").subcommand().unwrap().1.clone())
            }
            Err(Error::File(e)) => Err(e.to_string()),
            Err(Error::Flags(e)) => panic!("{e}"),
        }
    }

    #[test]
    fn every_kind_of_value_reaches_its_flag() {
        let m = joined("drain = \"7s\"\nname = [\"a\", \"b\"]\nshare = true\nworkers = 3\n", &[]).unwrap();
        assert_eq!(m.get_one::<std::time::Duration>("drain").unwrap().as_secs(), 7);
        assert_eq!(m.get_many::<String>("names").unwrap().collect::<Vec<_>>(), ["a", "b"]);
        assert!(m.get_flag("share"));
        assert_eq!(m.get_one::<u32>("workers"), Some(&3));
    }

    #[test]
    fn a_flag_wins_over_the_file() {
        let m = joined("name = [\"file\"]\nworkers = 3\nshare = false\n", &["--name", "flag", "--workers=4"]).unwrap();
        assert_eq!(m.get_many::<String>("names").unwrap().collect::<Vec<_>>(), ["flag"]);
        assert_eq!(m.get_one::<u32>("workers"), Some(&4));
        assert!(!m.get_flag("share"));
    }

    #[test]
    fn a_key_that_contradicts_a_flag_or_another_key_is_named_by_its_place() {
        for (text, flags, place, cause) in [
            ("workers = 3\n", &["--alone"][..], "line 1, key `workers`", "it contradicts `--alone`"),
            ("\nalone = true\n", &["--workers=3"], "line 2, key `alone`", "it contradicts `--workers`"),
            ("alone = true\nworkers = 3\n", &[], "line 1, key `alone`", "it contradicts key `workers` of line 2"),
        ] {
            let error = joined(text, flags).unwrap_err();
            assert!(error.contains(&format!("c.toml {place}: {cause}; remove one of the two")), "{text:?}: {error}");
        }
        assert!(joined("alone = false\nworkers = 3\n", &[]).is_ok());
    }

    #[test]
    fn a_mistyped_key_is_told_which_it_may_be_and_a_switch_what_it_takes() {
        for (text, cure) in [
            ("wrokers = 2\n", "there is no such key; did you mean `workers`?"),
            ("work = 2\n", "there is no such key; did you mean `workers`?"),
            ("brain = \"5s\"\n", "there is no such key; did you mean `drain`?"),
            ("threads = 2\n", "there is no such key; `handfast serve --help` tells"),
            ("share = \"yes\"\n", "it is on or off; write true or false"),
            ("share = [true]\n", "it is on or off; write true or false"),
        ] {
            let error = joined(text, &[]).unwrap_err();
            assert!(error.contains(cure), "{text:?}: {error}");
        }
        assert!(joined("share = false\n", &[]).is_ok_and(|m| !m.get_flag("share")));
    }

    #[test]
    fn what_is_no_toml_is_told_how_it_is_written() {
        for (text, key, cure) in [
            ("drain = \"5s\n", "drain", "; write `key = \"text\"`"),
            ("drain: 5s\n", "drain", "; write `key = \"text\"`"),
            ("workers = 1\nworkers = 2\n", "workers", "; remove one of the two"),
            // In an array of several lines, whatever stands in this one; and in what was never closed.
            ("name = [\n  \"fd00::2/64\"\n  \"fd00::3/64\"\n]\n", "name", "; write `key = \"text\"`"),
            ("name = [\"a=1\",\n  \"b=2\",\n  \"c=3\"\n  d=4]\n", "name", "; write `key = \"text\"`"),
            ("share = true\nname = [\"a\",\nworkers = 2\n", "name", "; write `key = \"text\"`"),
            ("name = [\"a\",\n\n", "name", "; write `key = \"text\"`"),
            // Behind one that is closed.
            ("name = [\n  \"a\",\n]\nworkers: 2\n", "workers", "; write `key = \"text\"`"),
            ("name = [\"a\"]\n\"fd00::2/64\"\n", "\"fd00::2/64\"", "; write `key = \"text\"`"),
        ] {
            let error = joined(text, &[]).unwrap_err();
            assert!(error.contains(&format!("key `{key}`: ")) && error.contains(cure), "{text:?}: {error}");
        }
    }

    #[test]
    fn a_file_without_an_end_or_of_no_text_is_refused() {
        let refused = |path: &str| read(Path::new(path)).unwrap_err().to_string();
        assert!(refused("/dev/zero").contains("reading /dev/zero: more than 1 MiB; is this the right file?"));
        let program = std::env::current_exe().unwrap();
        assert!(refused(&program.display().to_string()).contains("is this the right file?"));
        let bits = std::env::temp_dir().join(format!("hf-bits-{}", std::process::id()));
        std::fs::write(&bits, [0xff, 0xfe]).unwrap();
        let error = refused(&bits.display().to_string());
        std::fs::remove_file(&bits).unwrap();
        assert!(error.contains("no text in UTF-8; is this the right file?"), "{error}");
    }

    #[test]
    fn an_error_names_file_line_and_key() {
        for (text, line, key) in [
            ("workers = 1\nwrokers = 2\n", 2, "wrokers"),
            ("\n\nworkers = \"many\"\n", 3, "workers"),
            ("drain = \"5s\"\nworkers = \n", 2, "workers"),
            ("workers = 1\nworkers = 2\n", 2, "workers"),
            ("config = \"other.toml\"\n", 1, "config"),
            ("workers = 1979-05-27\n", 1, "workers"),
            ("share = \"yes\"\n", 1, "share"),
            ("[drain]\nx = 1\n", 1, "drain"),
        ] {
            let error = joined(text, &[]).unwrap_err();
            assert!(error.contains(&format!("c.toml line {line}, key `{key}`")), "{text:?}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
}
