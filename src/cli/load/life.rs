//! The flags that say what a connection does, and the life that they make.

use crate::SetupError;
use crate::cli::values::{one_of, parse_size, some_time, time, whole};
use crate::load::{Answer, CloseWith, Closer, Life};
use crate::time::Duration;
use std::net::SocketAddr;
use std::sync::Arc;

/// The largest request, in octets.
const LARGEST_REQUEST: u64 = 16 << 20;
/// How long a life may take besides being held, when nothing else says so.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// What a connection does once it stands.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Life of a connection [default: closes as soon as it stands]")]
pub struct LifeArgs {
    /// Send so many octets, as 100 or 64K
    #[arg(long, value_name = "SIZE", value_parser = request_size, conflicts_with_all = ["send", "http"])]
    request: Option<u64>,
    /// Wait for so many octets in answer
    #[arg(long, value_name = "SIZE", value_parser = parse_size, conflicts_with_all = ["send", "http"])]
    response: Option<u64>,
    /// Send this text (\r \n \t \0 \\ \xHH are understood), then read to the peer's end; our FIN follows the text, or
    /// --hold after it, unless the server closes first
    #[arg(long, value_name = "TEXT", value_parser = unescaped, allow_hyphen_values = true)]
    send: Option<Text>,
    /// Ask for this path by HTTP/1.1, and read the response
    #[arg(long, value_name = "PATH", value_parser = path, conflicts_with = "send")]
    http: Option<String>,
    /// Requests on each connection, one after another
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = whole::<u32>(1..=u64::from(u32::MAX)), conflicts_with = "send")]
    exchanges: u32,
    /// Hold each connection open for this long before it is closed
    #[arg(long, value_name = "TIME", default_value = "0s", value_parser = time)]
    hold: Duration,
    /// Who closes first; TIME-WAIT is theirs
    #[arg(long, value_name = "WHO", default_value_t, value_parser = one_of::<Closer>())]
    closes: Closer,
    /// How we close: fin (in order) or rst (which leaves no TIME-WAIT)
    #[arg(long, value_name = "HOW", default_value_t, value_parser = one_of::<CloseWith>())]
    close_with: CloseWith,
    /// How long a life may take; what takes longer is reset and counted as timed out [default: 30s more than --hold]
    #[arg(long, value_name = "TIME", value_parser = some_time)]
    timeout: Option<Duration>,
}

/// Octets to be sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Arc<[u8]>);

impl LifeArgs {
    /// The life against `target`.
    ///
    /// # Errors
    /// Flags that contradict each other.
    pub fn life(&self, target: SocketAddr) -> Result<Life, SetupError> {
        let contradiction = |what: &str, cause: &str, cure: &str| Err(SetupError::new(what, cause, cure));
        if self.exchanges > 1 && self.request.is_none() && self.http.is_none() {
            return contradiction("--exchanges", "nothing is asked", "add `--request SIZE` or `--http PATH`");
        }
        if self.exchanges > 1 && self.http.is_none() && self.response.unwrap_or(0) == 0 {
            return contradiction("--exchanges", "no answer is awaited between them", "add `--response SIZE`");
        }
        if self.closes == Closer::Server && self.close_with == CloseWith::Rst {
            return contradiction(
                "--close-with",
                "a RST of ours does not wait for the server",
                "remove `--closes server`",
            );
        }
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT + self.hold);
        if timeout <= self.hold {
            return contradiction("--timeout", "it is over before `--hold` is", "give a longer one");
        }
        let (request, answer) = self.exchange(target);
        let Self { exchanges, hold, closes: closer, close_with, .. } = *self;
        Ok(Life { request, answer, exchanges, hold, closer, close_with, timeout, ..Life::default() })
    }

    fn exchange(&self, target: SocketAddr) -> (Arc<[u8]>, Answer) {
        if let Some(Text(text)) = &self.send {
            return (text.clone(), Answer::ToTheEnd);
        }
        if let Some(path) = &self.http {
            // Where the server is to close first, it must be told so (RFC 9112 §9.6).
            let close = if self.closes == Closer::Server { "Connection: close\r\n" } else { "" };
            let head = format!("GET {path} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: handfast\r\n{close}\r\n");
            return (head.into_bytes().into(), Answer::Http);
        }
        let pattern = (b'a'..=b'z').cycle().take(self.request.unwrap_or(0) as usize).collect();
        let answer = self.response.filter(|octets| *octets > 0).map_or(Answer::Nothing, Answer::Octets);
        (pattern, answer)
    }
}

fn request_size(text: &str) -> Result<u64, String> {
    parse_size(text).and_then(|size| {
        if size > LARGEST_REQUEST { Err(format!("`{text}` is too much; write at most 16M")) } else { Ok(size) }
    })
}

fn path(text: &str) -> Result<String, String> {
    let printable = text.bytes().all(|octet| octet.is_ascii_graphic());
    if text.starts_with('/') && printable {
        Ok(text.into())
    } else {
        Err(format!("`{text}` is no path; write / or /index.html, other characters as %20"))
    }
}

/// Text with its escapes resolved.
fn unescaped(text: &str) -> Result<Text, String> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [octet, after @ ..] = rest {
        let (meant, after) = match (octet, after) {
            (b'\\', [b'n', after @ ..]) => (b'\n', after),
            (b'\\', [b'r', after @ ..]) => (b'\r', after),
            (b'\\', [b't', after @ ..]) => (b'\t', after),
            (b'\\', [b'0', after @ ..]) => (0, after),
            (b'\\', [b'\\', after @ ..]) => (b'\\', after),
            (b'\\', [b'x', high, low, after @ ..]) if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digit = |octet: u8| (octet as char).to_digit(16).unwrap_or(0) as u8;
                (digit(*high) << 4 | digit(*low), after)
            }
            (b'\\', _) => {
                return Err(format!("`{text}` has a \\ that means nothing; write \\r \\n \\t \\0 \\\\ or \\xHH"));
            }
            (octet, after) => (*octet, after),
        };
        octets.push(meant);
        rest = after;
    }
    Ok(Text(octets.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Flags {
        #[command(flatten)]
        life: LifeArgs,
    }

    fn life(flags: &str) -> Result<Life, SetupError> {
        let all = format!("x {flags}");
        let args = <Flags as clap::Parser>::try_parse_from(all.split_whitespace()).unwrap();
        args.life.life("10.0.0.2:80".parse().unwrap())
    }

    #[test]
    fn each_shape_of_a_life() {
        assert_eq!(life("").unwrap(), Life::default());
        let asked = life("--request 100 --response 1K --exchanges 3").unwrap();
        assert_eq!((asked.request.len(), asked.answer, asked.exchanges), (100, Answer::Octets(1024), 3));
        let sent = life("--send ping\\r\\n\\x41\\\\").unwrap();
        assert_eq!((&sent.request[..], sent.answer), (&b"ping\r\nA\\"[..], Answer::ToTheEnd));
        let http = life("--http /x --closes server").unwrap();
        let head = std::str::from_utf8(&http.request).unwrap();
        assert!(head.starts_with("GET /x HTTP/1.1\r\nHost: 10.0.0.2:80\r\n"), "{head}");
        assert!(head.ends_with("Connection: close\r\n\r\n"), "{head}");
        let held = life("--hold 1m --close-with rst").unwrap();
        assert_eq!((held.timeout.as_secs(), held.close_with), (90, CloseWith::Rst));
    }

    #[test]
    fn lives_that_cannot_be_lived_are_refused() {
        for (flags, why) in [
            ("--exchanges 2", "nothing is asked"),
            ("--exchanges 2 --request 9", "no answer is awaited"),
            ("--closes server --close-with rst", "does not wait for the server"),
            ("--hold 10s --timeout 5s", "before `--hold` is"),
        ] {
            assert!(life(flags).unwrap_err().to_string().contains(why), "{flags}");
        }
        assert!(
            unescaped("a\\q").is_err() && unescaped("a\\x4").is_err() && path("x").is_err() && path("/a b").is_err()
        );
        assert!(request_size("17M").is_err());
    }
}
