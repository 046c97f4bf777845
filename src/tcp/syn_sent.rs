//! SEGMENT ARRIVES in SYN-SENT, RFC 9293 §3.10.7.3.

use super::connection::{Facts, News, Tcb};
use super::env::Env;
use super::negotiation::Negotiated;
use super::state::Event;
use crate::ledger::{DropReason, Ending, Handled};
use crate::wire::tcp::{Flags, Segment};

impl Tcb {
    #[inline(never)]
    pub(super) fn on_segment_syn_sent(&mut self, segment: &Segment<'_>, env: &mut Env) -> Result<Handled, DropReason> {
        let header = &segment.header;
        let acks = header.flags.has(Flags::ACK);
        // First: the ACK must be of our SYN.
        if acks && !self.acknowledges_syn(header.ack) {
            return if header.flags.has(Flags::RST) {
                Err(DropReason::ResetIgnored)
            } else {
                Ok(Handled::AnsweredByReset)
            };
        }
        // Second: a RST is believed only with such an ACK (RFC 5961 §3 asks for nothing more here).
        if header.flags.has(Flags::RST) {
            if !acks {
                return Err(DropReason::ResetIgnored);
            }
            self.end(Event::RecvRst, Ending::Refused, env);
            return Ok(Handled::Segment);
        }
        // Fourth: the SYN. Without one the segment says nothing, and a FIN is not processed here.
        if !header.flags.has(Flags::SYN) {
            return Err(DropReason::NoAck);
        }
        let mut negotiated = Negotiated::from_syn(&header.options, self.smss, self.tuple.local_addr.is_v4());
        // RFC 3168 §6.1.1: ECE without CWR on the SYN-ACK accepts what our SYN asked for.
        negotiated.ecn =
            acks && self.asks_for_ecn(env) && header.flags.has(Flags::ECE) && !header.flags.has(Flags::CWR);
        self.negotiated(&negotiated, header.seq, env);
        if acks {
            self.established(segment, env);
            self.change_state(Event::RecvSynAck, env);
            self.news.add(News::CONNECTED);
            self.facts.set(Facts::ACK_NOW);
        } else {
            // Simultaneous open: the SYN leaves again, now with the ACK, and with the same ISS.
            self.change_state(Event::RecvSyn, env);
            self.facts.set(Facts::SYN_DUE);
        }
        // Text or FIN on the peer's SYN is left for it to send again.
        Ok(Handled::Segment)
    }
}
