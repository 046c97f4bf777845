//! Which segment can have caused a change of state, RFC 9293 §3.3.2 (figure 5).

use super::{Crossing, Side};
use crate::stack::Transition;
use crate::tcp::State;
use crate::wire::SeqNum;
use crate::wire::tcp::Flags;

/// What one side's changes can come from.
pub(super) struct Cause {
    side: Side,
    /// The number that acknowledges this side's FIN, once it has sent one.
    fin_acked_by: Option<SeqNum>,
}

impl Cause {
    /// For the changes of `side` of the connection that had these segments.
    pub fn new(side: Side, segments: &[Crossing]) -> Self {
        let fin = segments.iter().find(|s| s.from == side && s.header.flags.has(Flags::FIN));
        // A FIN stands behind the text, and a SYN in the same segment before it.
        let fin_acked_by = fin.map(|s| s.header.seq + s.text_len + u32::from(s.header.flags.has(Flags::SYN)) + 1);
        Cause { side, fin_acked_by }
    }

    /// Whether sending or receiving this segment leads to this change.
    pub fn fits(&self, segment: &Crossing, change: &Transition) -> bool {
        let flags = segment.header.flags;
        let sent = segment.from == self.side;
        match (change.from, change.to) {
            (_, State::SynSent) => sent && flags.has(Flags::SYN),
            (_, State::FinWait1 | State::LastAck) => sent && flags.has(Flags::FIN),
            (_, State::SynReceived) => !sent && flags.has(Flags::SYN),
            (_, State::Established) => !sent && flags.has(Flags::ACK),
            (_, State::CloseWait | State::Closing) => !sent && flags.has(Flags::FIN),
            (_, State::FinWait2) | (State::Closing, State::TimeWait) => !sent && self.acks_fin(segment),
            (_, State::TimeWait) => !sent && flags.has(Flags::FIN),
            (State::LastAck, State::Closed) => !sent && (self.acks_fin(segment) || flags.has(Flags::RST)),
            (State::TimeWait, _) => false,
            (_, State::Closed | State::Listen) => flags.has(Flags::RST),
        }
    }

    fn acks_fin(&self, segment: &Crossing) -> bool {
        let ack = segment.header.ack;
        segment.header.flags.has(Flags::ACK) && self.fin_acked_by.is_some_and(|fin| ack.at_or_after(fin))
    }
}
