//! `chargen`: a pattern of printable characters without end (RFC 864).
//!
//! The pattern of RFC 864 §"Data": lines of 72 characters, each beginning one character later in the ring of the 95
//! printable ones. It repeats after 95 lines, so the connection's token is all the state there is.

use crate::stack::{ConnId, Cx};

const FIRST: usize = b' ' as usize;
const PRINTABLE: usize = 95;
const LINE: usize = 74;
const PERIOD: usize = PRINTABLE * LINE;

/// One period of the pattern.
static PATTERN: [u8; PERIOD] = pattern();

const fn pattern() -> [u8; PERIOD] {
    let mut pattern = [0; PERIOD];
    let mut at = 0;
    while at < PERIOD {
        let (line, column) = (at / LINE, at % LINE);
        pattern[at] = match column {
            72 => b'\r',
            73 => b'\n',
            _ => (FIRST + (line + column) % PRINTABLE) as u8,
        };
        at += 1;
    }
    pattern
}

/// Sends as much as there is room for, from where the pattern was left.
pub(super) fn send(cx: &mut Cx<'_>, conn: ConnId) {
    let mut at = cx.token(conn) as usize % PERIOD;
    while let Ok(written) = cx.write(conn, &PATTERN[at..]) {
        let cut_short = written < PERIOD - at;
        at = (at + written) % PERIOD;
        if cut_short {
            break;
        }
    }
    cx.set_token(conn, at as u32);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pattern_is_that_of_rfc_864() {
        let text = std::str::from_utf8(&PATTERN).unwrap();
        let lines: Vec<&str> = text.split_terminator("\r\n").collect();
        assert_eq!(lines.len(), 95);
        assert_eq!(lines[0], " !\"#$%&'()*+,-./0123456789:;<=>?@ABCDEFGHIJKLMNOPQRSTUVWXYZ[\\]^_`abcdefg");
        assert!(lines.windows(2).all(|pair| pair[0].len() == 72 && pair[0][1..] == pair[1][..71]));
        // The ring closes: the line after the last one is the first.
        assert_eq!(lines[94][1..], lines[0][..71]);
    }
}
