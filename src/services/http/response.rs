//! The page, and the heads of responses.

use super::request::Request;
use std::io::Write;

/// The longest response head, with the body of an error.
pub(super) const MAX_RESPONSE: usize = 384;

const SMALL_PAGE: &str =
    "<!doctype html>\n<title>Handfast</title>\n<p>Served by Handfast, a TCP stack in user space.\n";
const LINE: &str = "Handfast serves this page from user space, over AF_XDP rings..\n";

/// What is served at `/`.
pub struct Page {
    block: Vec<u8>,
    pub(super) octets: u64,
    content_type: &'static str,
}

impl Page {
    /// A page of that many octets, or a small one.
    pub fn new(octets: Option<u64>) -> Self {
        match octets {
            None => Page {
                block: SMALL_PAGE.into(),
                octets: SMALL_PAGE.len() as u64,
                content_type: "text/html; charset=utf-8",
            },
            Some(octets) => Page {
                block: LINE.repeat(16 * 1024 / LINE.len()).into_bytes(),
                octets,
                content_type: "text/plain; charset=utf-8",
            },
        }
    }

    /// The longest stretch at hand of the last `left` octets.
    pub(super) fn stretch(&self, left: u64) -> &[u8] {
        let start = ((self.octets - left) % self.block.len() as u64) as usize;
        let end = self.block.len().min(start.saturating_add(usize::try_from(left).unwrap_or(usize::MAX)));
        &self.block[start..end]
    }
}

/// A response's status.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub(super) enum Status {
    Ok = 200,
    BadRequest = 400,
    NotFound = 404,
    MethodNotAllowed = 405,
    HeadTooLarge = 431,
    NotImplemented = 501,
    VersionNotSupported = 505,
}

impl Status {
    pub(super) const fn reason(self) -> &'static str {
        match self {
            Status::Ok => "OK",
            Status::BadRequest => "Bad Request",
            Status::NotFound => "Not Found",
            Status::MethodNotAllowed => "Method Not Allowed",
            Status::HeadTooLarge => "Request Header Fields Too Large",
            Status::NotImplemented => "Not Implemented",
            Status::VersionNotSupported => "HTTP Version Not Supported",
        }
    }
}

/// Writes a response's head, and after it the body of an error, to `into`; says how many octets.
pub(super) fn response(into: &mut [u8; MAX_RESPONSE], request: &Request, page: &Page, date: &str) -> usize {
    let Request { status, keep_alive, .. } = *request;
    let (content_type, length) = match status {
        Status::Ok => (page.content_type, page.octets),
        _ => ("text/plain; charset=utf-8", status.reason().len() as u64 + 1),
    };
    let allow = if status == Status::MethodNotAllowed { "Allow: GET, HEAD\r\n" } else { "" };
    let connection = match (keep_alive, request.old) {
        (false, _) => "Connection: close\r\n",
        (true, true) => "Connection: keep-alive\r\n",
        (true, false) => "",
    };
    let room = into.len();
    let mut rest = &mut into[..];
    let head = write!(
        rest,
        "HTTP/1.1 {} {}\r\nServer: handfast\r\nDate: {date}\r\n{allow}{connection}Content-Type: {content_type}\r\n\
         Content-Length: {length}\r\n\r\n",
        status as u16,
        status.reason(),
    );
    let body = if status == Status::Ok || request.head_only { Ok(()) } else { writeln!(rest, "{}", status.reason()) };
    head.and(body).expect("MAX_RESPONSE holds the longest head");
    room - rest.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_response_head_fits_and_reads_back() {
        let page = Page::new(Some(u64::MAX));
        let date = crate::services::calendar::Moment(784_111_777).http_date();
        for status in [Status::Ok, Status::MethodNotAllowed, Status::HeadTooLarge, Status::VersionNotSupported] {
            for (keep_alive, old, head_only) in [(true, true, false), (false, false, true), (true, false, false)] {
                let request = Request { status, head_only, keep_alive, old, body: 0 };
                let mut buffer = [0; MAX_RESPONSE];
                let octets = response(&mut buffer, &request, &page, &date);
                let mut headers = [httparse::EMPTY_HEADER; 8];
                let mut read = httparse::Response::new(&mut headers);
                let httparse::Status::Complete(head) = read.parse(&buffer[..octets]).unwrap() else { panic!() };
                assert_eq!(read.code, Some(status as u16));
                let length = read.headers.iter().find(|h| h.name == "Content-Length").unwrap().value;
                let body = (octets - head) as u64;
                let announced = std::str::from_utf8(length).unwrap().parse::<u64>().unwrap();
                let expected = if head_only || status == Status::Ok { 0 } else { announced };
                assert_eq!(body, expected, "{status:?} {head_only}");
            }
        }
    }

    #[test]
    fn a_page_is_as_long_as_it_says_however_it_is_cut() {
        for octets in [0, 1, 4096, 16 * 1024 + 1, 100_000] {
            let page = Page::new(Some(octets));
            let (mut left, mut seen) = (octets, 0);
            while left > 0 {
                let part = (page.stretch(left).len() as u64).min(7001);
                left -= part;
                seen += part;
            }
            assert_eq!(seen, octets);
        }
    }
}
