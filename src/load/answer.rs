//! Reading an answer, stretch by stretch, until it is whole. Nothing of it is kept but an HTTP head that came in pieces.

use super::life::Answer;
use httparse::Status;

/// The longest HTTP head that is read, in octets.
const LONGEST_HEAD: usize = 16 << 10;
/// The most header fields of one.
const MOST_FIELDS: usize = 64;

/// How far an answer has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Come {
    /// More is to come.
    More,
    /// It is whole.
    Whole,
    /// It is not what was asked for: why, in a few words.
    Wrong(&'static str),
}

/// What the rest of an answer is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rest {
    /// So many octets.
    Octets(u64),
    /// Everything until the peer's FIN.
    ToTheEnd,
    /// An HTTP head.
    Head,
    /// Chunks (RFC 9112 §7.1).
    Chunks(Chunk),
}

/// Where in a chunked body we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chunk {
    /// In the digits of a size: the size so far.
    Size(u64),
    /// Between the digits and the line's end.
    Extension(u64),
    /// So many octets of data and the line's end are left.
    Data(u64),
    /// In the trailer, at a line's start or not.
    Trailer { empty: bool },
}

/// An answer that is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading(Rest);

/// Heads that came in pieces, by the place of their connection.
pub(super) type Pieces = std::collections::HashMap<u32, Vec<u8>>;

impl Reading {
    /// An answer of this kind that has not begun.
    pub fn new(answer: Answer) -> Self {
        Reading(match answer {
            Answer::Nothing => Rest::Octets(0),
            Answer::Octets(octets) => Rest::Octets(octets),
            Answer::ToTheEnd => Rest::ToTheEnd,
            Answer::Http => Rest::Head,
        })
    }

    /// Takes from the front of `come`; says how many octets, and how far the answer has come. `place` is that of the
    /// connection in `pieces`; `enter` is told the status of an HTTP response, and says whether it is an error.
    pub fn take(
        &mut self,
        come: &[u8],
        place: u32,
        pieces: &mut Pieces,
        enter: impl FnOnce(u16) -> bool,
    ) -> (usize, Come) {
        match &mut self.0 {
            Rest::ToTheEnd => (come.len(), Come::More),
            Rest::Octets(left) => {
                let taken = usize::try_from(*left).unwrap_or(usize::MAX).min(come.len());
                *left -= taken as u64;
                (taken, if *left == 0 { Come::Whole } else { Come::More })
            }
            Rest::Head => self.take_head(come, place, pieces, enter),
            Rest::Chunks(chunk) => take_chunks(chunk, come),
        }
    }

    /// Whether the peer's FIN makes it whole.
    pub fn ends_with_the_peer(&self) -> bool {
        matches!(self.0, Rest::ToTheEnd)
    }

    fn take_head(
        &mut self,
        come: &[u8],
        place: u32,
        pieces: &mut Pieces,
        enter: impl FnOnce(u16) -> bool,
    ) -> (usize, Come) {
        let before = pieces.get(&place).map_or(0, Vec::len);
        let outcome = if before == 0 {
            head(come)
        } else {
            let piece = pieces.entry(place).or_default();
            piece.extend_from_slice(come);
            head(piece)
        };
        match outcome {
            Err(why) => (come.len(), Come::Wrong(why)),
            Ok(None) => {
                if before == 0 {
                    pieces.insert(place, come.to_vec());
                }
                (come.len(), Come::More)
            }
            Ok(Some(Head { len, status, rest })) => {
                pieces.remove(&place);
                self.0 = rest;
                // An interim response is not yet the answer.
                if status >= 200 && enter(status) {
                    return (come.len(), Come::Wrong("an HTTP status of 400 or more"));
                }
                (len - before, if rest == Rest::Octets(0) { Come::Whole } else { Come::More })
            }
        }
    }
}

/// The head of an HTTP response.
struct Head {
    /// In octets.
    len: usize,
    status: u16,
    /// What follows (RFC 9112 §6.3).
    rest: Rest,
}

/// Reads a head; `None` when it is not whole yet.
fn head(octets: &[u8]) -> Result<Option<Head>, &'static str> {
    let mut fields = [httparse::EMPTY_HEADER; MOST_FIELDS];
    let mut response = httparse::Response::new(&mut fields);
    let len = match response.parse(octets) {
        Err(_) => return Err("no HTTP response"),
        Ok(Status::Partial) if octets.len() >= LONGEST_HEAD => return Err("an HTTP head of more than 16 KiB"),
        Ok(Status::Partial) => return Ok(None),
        Ok(Status::Complete(len)) => len,
    };
    let status = response.code.unwrap_or(0);
    let field = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
    let rest = if status < 200 {
        // An interim response: the real head follows.
        Rest::Head
    } else if status >= 400 {
        // Nobody reads it.
        Rest::ToTheEnd
    } else if status == 204 || status == 304 {
        Rest::Octets(0)
    } else if field("transfer-encoding").is_some() {
        Rest::Chunks(Chunk::Size(0))
    } else if let Some(length) = field("content-length") {
        let length = std::str::from_utf8(length.value).ok().and_then(|text| text.trim().parse().ok());
        Rest::Octets(length.ok_or("an HTTP content-length that is no number")?)
    } else {
        Rest::ToTheEnd
    };
    Ok(Some(Head { len, status, rest }))
}

fn take_chunks(chunk: &mut Chunk, come: &[u8]) -> (usize, Come) {
    let mut at = 0;
    while at < come.len() {
        let octet = come[at];
        *chunk = match *chunk {
            Chunk::Data(left) => {
                let taken = usize::try_from(left).unwrap_or(usize::MAX).min(come.len() - at);
                at += taken;
                let left = left - taken as u64;
                *chunk = if left == 0 { Chunk::Size(0) } else { Chunk::Data(left) };
                continue;
            }
            Chunk::Size(size) => match (octet as char).to_digit(16) {
                Some(digit) => match size.checked_mul(16) {
                    Some(size) => Chunk::Size(size + u64::from(digit)),
                    None => return (come.len(), Come::Wrong("an HTTP chunk without bounds")),
                },
                None => after_size(size, octet),
            },
            Chunk::Extension(size) => after_size(size, octet),
            Chunk::Trailer { empty: true } if octet == b'\n' => return (at + 1, Come::Whole),
            Chunk::Trailer { empty } => Chunk::Trailer { empty: octet == b'\n' || (empty && octet == b'\r') },
        };
        at += 1;
    }
    (come.len(), Come::More)
}

/// After the digits of a size: the line's end begins the data, or, behind the last chunk, the trailer.
fn after_size(size: u64, octet: u8) -> Chunk {
    match (octet, size) {
        (b'\n', 0) => Chunk::Trailer { empty: true },
        (b'\n', size) => Chunk::Data(size.saturating_add(2)),
        _ => Chunk::Extension(size),
    }
}

#[cfg(test)]
mod tests {
    use super::super::statuses::Statuses;
    use super::*;
    use crate::time::Instant;
    use proptest::prelude::*;

    const CHUNKED: &[u8] =
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n1a;x=y\r\nabcdefghijklmnopqrstuvwxyz\r\n0\r\nA: b\r\n\r\n";

    /// Reads `octets` in pieces of these lengths; what was left over, and how it ended.
    fn read(answer: Answer, octets: &[u8], pieces_of: &[usize]) -> (usize, Come) {
        let (mut reading, mut pieces, mut statuses) = (Reading::new(answer), Pieces::new(), Statuses::default());
        let (mut at, mut cut) = (0, pieces_of.iter().cycle());
        let mut end = 0;
        while end < octets.len() {
            end = (end + cut.next().unwrap()).min(octets.len());
            while at < end {
                let (taken, come) =
                    reading.take(&octets[at..end], 9, &mut pieces, |status| statuses.enter(status, Instant::ZERO));
                at += taken;
                if come != Come::More {
                    return (octets.len() - at, come);
                }
            }
        }
        (octets.len() - at, Come::More)
    }

    proptest! {
        #[test]
        fn an_answer_is_the_same_however_it_was_cut(cuts in prop::collection::vec(1usize..40, 1..8)) {
            let with_length = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX: y\r\n\r\nhelloHTTP/1.1";
            prop_assert_eq!(read(Answer::Http, with_length, &cuts).1, Come::Whole);
            prop_assert_eq!(read(Answer::Http, CHUNKED, &cuts), (0, Come::Whole));
            prop_assert_eq!(read(Answer::Octets(7), b"1234567", &cuts), (0, Come::Whole));
            let interim = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n";
            prop_assert_eq!(read(Answer::Http, interim, &cuts), (0, Come::Whole));
        }

        #[test]
        fn no_answer_makes_it_panic(octets in prop::collection::vec(any::<u8>(), 0..300), cuts in prop::collection::vec(1usize..40, 1..8)) {
            let _ = read(Answer::Http, &octets, &cuts);
            let garbage = [&b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"[..], &octets].concat();
            let _ = read(Answer::Http, &garbage, &cuts);
        }
    }

    #[test]
    fn what_is_no_answer_is_said() {
        for (octets, why) in [
            (&b"220 mail ready\r\n"[..], "no HTTP response"),
            (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "an HTTP status of 400 or more"),
            (b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", "an HTTP content-length that is no number"),
        ] {
            assert_eq!(read(Answer::Http, octets, &[1000]).1, Come::Wrong(why));
        }
        let endless = [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 20_000]].concat();
        assert_eq!(read(Answer::Http, &endless, &[1000]).1, Come::Wrong("an HTTP head of more than 16 KiB"));
    }

    #[test]
    fn each_response_enters_its_status_once_however_its_head_was_cut() {
        for cut in [1, 7, 1_000] {
            let (mut pieces, mut statuses) = (Pieces::new(), Statuses::default());
            for response in
                ["103 Early\r\n\r\nHTTP/1.1 204 No", "302 Found\r\nContent-Length: 0", "404 Not Found", "503 No"]
            {
                let (mut reading, octets) = (Reading::new(Answer::Http), format!("HTTP/1.1 {response}\r\n\r\n"));
                let mut left = octets.as_bytes();
                while !left.is_empty() {
                    let piece = &left[..cut.min(left.len())];
                    let (taken, _) =
                        reading.take(piece, 0, &mut pieces, |status| statuses.enter(status, Instant::ZERO));
                    left = &left[taken..];
                }
            }
            let Statuses { successful, redirections, client_errors, server_errors, first_error } = statuses;
            let classes = [successful, redirections, client_errors, server_errors];
            assert_eq!((classes, first_error.get()), ([1; 4], Some(404)), "pieces of {cut}");
        }
    }

    #[test]
    fn without_a_length_the_peers_end_is_the_answers() {
        let (mut reading, mut pieces, mut statuses) = (Reading::new(Answer::Http), Pieces::new(), Statuses::default());
        assert!(!reading.ends_with_the_peer());
        assert_eq!(
            reading.take(b"HTTP/1.1 200 OK\r\n\r\nx", 0, &mut pieces, |status| statuses.enter(status, Instant::ZERO)),
            (19, Come::More)
        );
        assert!(reading.ends_with_the_peer());
    }
}
