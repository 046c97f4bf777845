//! Segments for which there is no connection, RFC 9293 §3.10.7.1 and §3.5.2 (group 1).

use crate::wire::SeqNum;
use crate::wire::tcp::{Flags, Header, Segment};

/// The RST that answers a segment which no connection matches; `None` when it carries a RST itself.
pub fn reset_for(segment: &Segment<'_>) -> Option<Header> {
    let header = &segment.header;
    if header.flags.has(Flags::RST) {
        return None;
    }
    Some(if header.flags.has(Flags::ACK) {
        Header { seq: header.ack, flags: Flags::RST, ..Header::default() }
    } else {
        Header { seq: SeqNum(0), ack: header.seq + segment.len(), flags: Flags::RST | Flags::ACK, ..Header::default() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(flags: Flags, text: &[u8]) -> Option<(u32, u32, Flags)> {
        let header = Header { seq: SeqNum(100), ack: SeqNum(500), flags, ..Header::default() };
        reset_for(&Segment { header, text }).map(|h| (h.seq.0, h.ack.0, h.flags))
    }

    #[test]
    fn the_four_cases_of_3_10_7_1() {
        let reset_ack = Flags::RST | Flags::ACK;
        assert_eq!(answer(Flags::SYN, b""), Some((0, 101, reset_ack)), "a SYN counts for one");
        assert_eq!(answer(Flags::SYN, b"0123456789"), Some((0, 111, reset_ack)), "and so does its text");
        assert_eq!(answer(Flags::FIN, b""), Some((0, 101, reset_ack)), "a FIN counts for one");
        assert_eq!(answer(Flags::ACK, b"text"), Some((500, 0, Flags::RST)), "the number that the peer expects");
        assert_eq!(answer(Flags::RST, b""), None, "never a RST for a RST");
        assert_eq!(answer(reset_ack, b""), None, "nor with ACK");
    }
}
