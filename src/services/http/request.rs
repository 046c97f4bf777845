//! Reading a request's head (RFC 9112 §2 to §6).

use super::response::Status;

/// The longest request head in octets.
pub const MAX_HEAD: usize = 8 * 1024;
/// The most header lines of a request.
const MAX_HEADERS: usize = 64;
/// What matters of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Request {
    pub status: Status,
    /// HEAD: the response has no body.
    pub head_only: bool,
    pub keep_alive: bool,
    /// HTTP/1.0: keep-alive must be said (RFC 9112 §C.2.2).
    pub old: bool,
    /// Octets of its body.
    pub body: u64,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Parsed {
    Partial,
    Complete(usize, Request),
    Bad(Status),
}

/// Reads a request head (RFC 9112 §2 to §6) at the start of `octets`.
pub(super) fn parse(octets: &[u8]) -> Parsed {
    let whole = octets.len() >= MAX_HEAD;
    let octets = &octets[..octets.len().min(MAX_HEAD)];
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(octets) {
        Ok(httparse::Status::Complete(length)) => match judge(&request) {
            Ok(judged) => Parsed::Complete(length, judged),
            Err(status) => Parsed::Bad(status),
        },
        Ok(httparse::Status::Partial) if whole => Parsed::Bad(Status::HeadTooLarge),
        Ok(httparse::Status::Partial) => Parsed::Partial,
        Err(httparse::Error::TooManyHeaders) => Parsed::Bad(Status::HeadTooLarge),
        Err(httparse::Error::Version) => Parsed::Bad(Status::VersionNotSupported),
        Err(_) => Parsed::Bad(Status::BadRequest),
    }
}

/// Decides on a complete head. An error is one after which the next request cannot be found.
fn judge(request: &httparse::Request<'_, '_>) -> Result<Request, Status> {
    let old = request.version == Some(0);
    let mut keep_alive = !old;
    let mut body = None;
    let (mut hosts, mut expects) = (0, false);
    for header in request.headers.iter() {
        let value = header.value.trim_ascii();
        if header.name.eq_ignore_ascii_case("content-length") {
            let length = content_length(value).ok_or(Status::BadRequest)?;
            // Two that differ are an attempt to smuggle, RFC 9112 §6.3.
            if body.replace(length).is_some_and(|before| before != length) {
                return Err(Status::BadRequest);
            }
        } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
            return Err(Status::NotImplemented);
        } else if header.name.eq_ignore_ascii_case("connection") {
            for option in value.split(|octet| *octet == b',').map(<[u8]>::trim_ascii) {
                keep_alive &= !option.eq_ignore_ascii_case(b"close");
                keep_alive |= old && option.eq_ignore_ascii_case(b"keep-alive");
            }
        } else if header.name.eq_ignore_ascii_case("host") {
            hosts += 1;
        } else if header.name.eq_ignore_ascii_case("expect") {
            expects = true;
        }
    }
    // RFC 9112 §3.2.
    if hosts > 1 || (hosts == 0 && !old) {
        return Err(Status::BadRequest);
    }
    let body = body.unwrap_or(0);
    // Without a 100 the client may send the body or not: what follows cannot be read (RFC 9110 §10.1.1).
    keep_alive &= !(expects && body > 0);
    let method = request.method.unwrap_or_default();
    let status = match method {
        "GET" | "HEAD" if is_root(request.path.unwrap_or_default()) => Status::Ok,
        "GET" | "HEAD" => Status::NotFound,
        _ => Status::MethodNotAllowed,
    };
    Ok(Request { status, head_only: method == "HEAD", keep_alive, old, body })
}

/// Digits only: no sign, no blank (RFC 9110 §8.6).
fn content_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value).ok().filter(|_| digits)?.parse().ok()
}

/// Whether a target in origin or absolute form (RFC 9112 §3.2) names the one page.
fn is_root(target: &str) -> bool {
    let path = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| &rest[at..]),
        None => target,
    };
    path.split('?').next() == Some("/")
}

impl Request {
    /// Stands for one that could not be read: answered, and the last of its connection.
    pub fn refused(status: Status) -> Request {
        Request { status, head_only: false, keep_alive: false, old: false, body: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(head: &str) -> Parsed {
        parse(head.as_bytes())
    }

    fn request(head: &str) -> Request {
        match judged(head) {
            Parsed::Complete(octets, request) if octets == head.len() => request,
            other => panic!("{head:?}: {other:?}"),
        }
    }

    #[test]
    fn each_head_has_its_status() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("GET /?q=1 HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("GET http://a/ HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", Status::Ok),
            ("HEAD / HTTP/1.0\r\n\r\n", Status::Ok),
            ("GET /other HTTP/1.1\r\nHost: a\r\n\r\n", Status::NotFound),
            ("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\n", Status::MethodNotAllowed),
            ("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", Status::MethodNotAllowed),
        ] {
            assert_eq!(request(head).status, status, "{head:?}");
        }
    }

    #[test]
    fn heads_that_lose_the_thread_are_refused() {
        for (head, status) in [
            ("GET / HTTP/1.1\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n", Status::BadRequest),
            ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", Status::BadRequest),
            ("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", Status::NotImplemented),
            ("GET / HTTP/2.0\r\n\r\n", Status::VersionNotSupported),
            ("GET /\r\n\r\n", Status::BadRequest),
            ("\x16\x03\x01\x02\x00\x01", Status::BadRequest),
        ] {
            assert_eq!(judged(head), Parsed::Bad(status), "{head:?}");
        }
    }

    #[test]
    fn keep_alive_follows_version_and_connection_header() {
        for (head, keep_alive) in [
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: Close\r\n\r\n", false),
            ("GET / HTTP/1.1\r\nHost: a\r\nConnection: te, close\r\n\r\n", false),
            ("GET / HTTP/1.0\r\n\r\n", false),
            ("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", true),
            ("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n", false),
        ] {
            assert_eq!(request(head).keep_alive, keep_alive, "{head:?}");
        }
    }

    #[test]
    fn every_cut_of_a_head_is_partial_and_the_size_is_bounded() {
        let head = b"GET / HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
        for cut in 0..head.len() {
            assert_eq!(parse(&head[..cut]), Parsed::Partial, "{cut}");
        }
        let endless = [b"GET / HTTP/1.1\r\nX: ".as_slice(), &[b'a'; MAX_HEAD]].concat();
        assert_eq!(parse(&endless[..MAX_HEAD - 1]), Parsed::Partial);
        assert_eq!(parse(&endless), Parsed::Bad(Status::HeadTooLarge));
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(MAX_HEADERS + 1));
        assert_eq!(judged(&many), Parsed::Bad(Status::HeadTooLarge));
    }
}
