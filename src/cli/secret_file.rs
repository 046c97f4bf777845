//! The secret of SYN cookies that several servers share, so that each opens the others' cookies.
//!
//! A file of one or two lines, 32 hexadecimal digits each: the first makes cookies, both open them. It is looked at again
//! while the server runs. A secret that no longer stands there opens cookies for as long as one is good, so that even a
//! single change loses none of a server's own; for a fleet: add the new one as the second line everywhere, swap the lines
//! everywhere, remove the old one.

use crate::SetupError;
use crate::clock;
use crate::tcp::cookie::{CookieKeys, EPOCH};
use crate::time::{Duration, Instant};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// The largest file that is read, in octets.
const MAX_FILE: u64 = 4_096;
/// What others may not do with it: write for the group, anything for the world.
const TOO_OPEN: u32 = 0o027;
/// A clock that was moved by more than this counts epochs anew; less is what clocks drift.
const CLOCK_MOVED: Duration = Duration::from_millis(500);

/// How often the file is looked at.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);

type Secret = [u8; 16];

/// The file, as it was last read.
pub(super) struct SecretFile {
    path: PathBuf,
    secrets: (Secret, Option<Secret>),
    /// What made cookies before, and until when those are good.
    before: Option<(Secret, Instant)>,
    told: CookieKeys,
}

impl SecretFile {
    /// Reads it.
    ///
    /// # Errors
    /// It cannot be read, others can read it, or it holds something else.
    pub fn open(path: &Path) -> Result<Self, SetupError> {
        let secrets = read(path)?;
        let told = CookieKeys { making: secrets.0, accepting: secrets.1, clock_ahead: clock::day_ahead() };
        Ok(SecretFile { path: path.to_path_buf(), secrets, before: None, told })
    }

    /// The keys that it holds.
    pub fn keys(&self) -> CookieKeys {
        self.told
    }

    /// Looks again; gives the keys when they, or the clock that counts their epochs, have changed.
    ///
    /// # Errors
    /// As [`SecretFile::open`]; the keys stay as they were.
    pub fn look(&mut self) -> Result<Option<CookieKeys>, SetupError> {
        let now = clock::now();
        self.take(read(&self.path)?, now);
        Ok(self.renew(now, clock::day_ahead()))
    }

    /// Not all could be told the keys of the last look: what they had is what they were told, and the next look gives the keys
    /// again.
    pub fn put_back(&mut self, told: CookieKeys) {
        self.told = told;
    }

    fn take(&mut self, secrets: (Secret, Option<Secret>), now: Instant) {
        if secrets.0 != self.secrets.0 {
            self.before = Some((self.secrets.0, now + 2 * EPOCH));
        }
        self.secrets = secrets;
    }

    fn renew(&mut self, now: Instant, clock_ahead: Duration) -> Option<CookieKeys> {
        let before = self.before.filter(|(_, until)| now < *until).map(|(secret, _)| secret);
        let moved = clock_ahead.abs_diff(self.told.clock_ahead) > CLOCK_MOVED;
        let keys = CookieKeys {
            making: self.secrets.0,
            accepting: self.secrets.1.or(before),
            clock_ahead: if moved { clock_ahead } else { self.told.clock_ahead },
        };
        (std::mem::replace(&mut self.told, keys) != keys).then_some(keys)
    }
}

fn read(path: &Path) -> Result<(Secret, Option<Secret>), SetupError> {
    let what = || format!("secret file {}", path.display());
    let fail = |e: std::io::Error| {
        let cure = format!("`(umask 77; openssl rand -hex 16 > {})` makes one", path.display());
        SetupError::of_system(what(), &e, &cure)
    };
    let meta = std::fs::metadata(path).map_err(fail)?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        let cure = "give a file of one or two lines of 32 hexadecimal digits";
        return Err(SetupError::new(what(), "it is no plain file of at most 4 KiB", cure));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & TOO_OPEN != 0 {
        let cause = format!("others can read or write it (mode {mode:03o})");
        return Err(SetupError::new(what(), cause, format!("`chmod 600 {}`", path.display())));
    }
    parse(&std::fs::read_to_string(path).map_err(fail)?).map_err(|cause| {
        SetupError::new(
            what(),
            cause,
            "write one or two lines of 32 hexadecimal digits; `openssl rand -hex 16` makes one",
        )
    })
}

fn parse(text: &str) -> Result<(Secret, Option<Secret>), String> {
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let mut secrets = Vec::new();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        // A line is never shown: it may be a secret with one digit too many.
        secrets.push(digits(line).ok_or_else(|| format!("line {number} is not 32 hexadecimal digits"))?);
    }
    match *secrets {
        [one] => Ok((one, None)),
        [one, two] => Ok((one, Some(two))),
        [] => Err("it holds no secret".into()),
        _ => Err(format!("it holds {} secrets", secrets.len())),
    }
}

fn digits(line: &str) -> Option<Secret> {
    let all = line.len() == 32 && line.bytes().all(|digit| digit.is_ascii_hexdigit());
    all.then(|| u128::from_str_radix(line, 16).ok().map(u128::to_be_bytes))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: &str = "000102030405060708090a0b0c0d0e0f";
    const TWO: &str = "ffffffffffffffffffffffffffffffff";

    #[test]
    fn one_or_two_secrets_and_nothing_else() {
        let one: Secret = std::array::from_fn(|i| i as u8);
        assert_eq!(parse(ONE), Ok((one, None)));
        assert_eq!(parse(&format!("# of the fleet\n\n {ONE} \n{TWO}\n")), Ok((one, Some([0xff; 16]))));
        for (text, part) in [
            ("", "no secret"),
            ("# nothing", "no secret"),
            (&ONE[1..], "line 1 is not 32"),
            ("+00102030405060708090a0b0c0d0e0f", "line 1 is not 32"),
            (&format!("{ONE}\nx{}", &ONE[1..]), "line 2 is not 32"),
            (&format!("{ONE}\n{ONE}\n{TWO}"), "3 secrets"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{error}");
            assert!(!error.contains(&ONE[2..]), "a secret is never shown");
        }
    }

    #[test]
    fn the_secret_before_opens_for_as_long_as_its_cookies_are_good() {
        let keys = CookieKeys::alone([1; 16]);
        let mut file = SecretFile { path: "x".into(), secrets: ([1; 16], None), before: None, told: keys };
        let at = |seconds| Instant::ZERO + Duration::from_secs(seconds);
        let mut look = |making: u8, accepting: Option<u8>, seconds| {
            file.take(([making; 16], accepting.map(|key| [key; 16])), at(seconds));
            file.renew(at(seconds), Duration::ZERO).map(|keys| (keys.making[0], keys.accepting.map(|key| key[0])))
        };
        assert_eq!(look(1, None, 0), None);
        assert_eq!(look(2, None, 100), Some((2, Some(1))));
        assert_eq!(look(2, None, 219), None);
        assert_eq!(look(2, None, 220), Some((2, None)));
        // As a fleet does it.
        assert_eq!(look(2, Some(3), 300), Some((2, Some(3))));
        assert_eq!(look(3, Some(2), 400), Some((3, Some(2))));
        assert_eq!(look(3, None, 410), None, "the old one is good until 520 anyhow");
        assert_eq!(look(3, None, 520), Some((3, None)));
    }

    #[test]
    fn a_clock_that_is_set_counts_anew_and_one_that_drifts_does_not() {
        let keys = CookieKeys { clock_ahead: Duration::from_secs(1_000), ..CookieKeys::alone([1; 16]) };
        let mut file = SecretFile { path: "x".into(), secrets: ([1; 16], None), before: None, told: keys };
        let mut renew =
            |ms| file.renew(Instant::ZERO, Duration::from_millis(ms)).map(|keys| keys.clock_ahead.as_millis());
        assert_eq!((renew(1_000_400), renew(999_600)), (None, None));
        assert_eq!((renew(997_000), renew(997_000)), (Some(997_000), None));
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_cure() {
        let path = std::env::temp_dir().join(format!("hf-secret-{}", std::process::id()));
        std::fs::write(&path, ONE).unwrap();
        let open = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            SecretFile::open(&path).map(|file| file.keys().making[15])
        };
        assert_eq!((open(0o600), open(0o640)), (Ok(15), Ok(15)));
        for mode in [0o644, 0o604, 0o620, 0o777] {
            let error = open(mode).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:03o}")) && error.contains("`chmod 600 "), "{error}");
        }
        std::fs::remove_file(&path).unwrap();
        let error = SecretFile::open(&path).err().unwrap().to_string();
        assert!(error.contains("No such file") && error.contains("openssl rand"), "{error}");
        assert!(SecretFile::open(&std::env::temp_dir()).err().unwrap().to_string().contains("no plain file"));
    }
}
