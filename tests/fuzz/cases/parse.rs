//! Any octets as a frame: they are taken apart or dropped, and an echo request's answer is itself a frame.

use super::End;
use handfast::ledger::DropReason;
use handfast::wire::MacAddr;
use handfast::wire::frame::{Incoming, Other, VerifyChecksum, answer_echo, parse};

const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);

/// Reads one frame with and without checksums, and answers it if it asks for that.
pub fn run(frame: &[u8]) -> Option<End> {
    let strict = parse(frame, VerifyChecksum::Yes);
    let lenient = parse(frame, VerifyChecksum::No);
    if strict.is_ok() {
        assert_eq!(strict, lenient, "a right checksum makes no difference");
    }
    if let Ok(Incoming::Tcp { segment, .. }) = &lenient {
        assert!(segment.text.len() < frame.len() && segment.header.options.encoded_len() <= 40);
    }
    let mut buffer = frame.to_vec();
    let len = answer_echo(&mut buffer, MAC, 64);
    assert!(len <= frame.len(), "a reply is no longer than the request");
    match strict {
        Ok(Incoming::Other(Other::EchoRequest { ip, .. })) => {
            assert!(len > 0, "an echo request is answered");
            // Not of use to us, but intact and on its way back.
            let reply = parse(&buffer[..len], VerifyChecksum::Yes);
            assert_eq!(reply, Err(DropReason::IcmpIgnored), "the reply is intact");
            let back = if ip.src.is_v4() { &ip.src.octets()[12..] } else { &ip.src.octets()[..] };
            assert!(buffer[..len].windows(back.len()).any(|octets| octets == back));
        }
        _ if len == 0 => assert_eq!(buffer, frame, "what is no echo request stays as it was"),
        _ => {}
    }
    None
}
