//! A half-open entry: what a listener remembers between a SYN and the ACK that completes the handshake.

use super::TcpConfig;
use super::env::Env;
use super::negotiation::Negotiated;
use super::timer::Link;
use crate::ledger::DropReason;
use crate::wire::tcp::{Flags, Header, Segment};
use crate::wire::{FourTuple, SeqNum, icmp};
use std::num::NonZeroU8;

/// What is known of a tuple in SYN-RECEIVED from a passive open; the tuple stands beside it.
#[derive(Debug)]
pub struct HalfOpen {
    pub(crate) irs: SeqNum,
    pub(crate) iss: SeqNum,
    pub(crate) link: Link,
    ts_recent: u32,
    smss: u16,
    /// What the SYN offered: window scale in the lower four bits ([`UNSCALED`]: none), then [`ECN`], [`SACK`],
    /// [`TIMESTAMPS`].
    /// Bit 7 is always set, so that an empty slot of the table costs nothing.
    offered: NonZeroU8,
    /// How often the SYN-ACK was sent again; and [`READY`].
    resent: u8,
}

const UNSCALED: u8 = 0xf;
const ECN: u8 = 1 << 4;
const SACK: u8 = 1 << 5;
const TIMESTAMPS: u8 = 1 << 6;

/// It waits in the shard's list of flows with something to send.
const READY: u8 = 1 << 7;

const NEVER_ZERO: NonZeroU8 = NonZeroU8::new(1 << 7).unwrap();

/// Also where it may be absent.
const _: () = assert!(size_of::<Option<HalfOpen>>() == 28);

/// What a segment to a half-open entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum HalfOpenVerdict {
    /// The last ACK of the handshake: a connection is to be made, and to process the segment.
    Establish,
    /// Send the SYN-ACK again.
    Resend,
    /// A RST ends the entry.
    Reset,
    /// A new SYN from a peer that has forgotten the old one: the entry ends, and the listener processes the segment.
    Replace,
    /// Answer by the RST that [`reset_for`](super::closed::reset_for) makes.
    AnswerReset,
    /// Answer by an acknowledgement, and drop.
    AnswerAck(DropReason),
    /// Drop.
    Drop(DropReason),
}

/// What a SYN asks for and is given.
pub(crate) fn asked(tuple: &FourTuple, syn: &Segment<'_>, our_mss: u16, config: &TcpConfig) -> Negotiated {
    let negotiated = Negotiated::from_syn(&syn.header.options, our_mss, tuple.local_addr.is_v4());
    // RFC 3168 §6.1.1: both bits on the SYN ask for ECN.
    Negotiated { ecn: config.ecn && syn.header.flags.has(Flags::ECE | Flags::CWR), ..negotiated }
}

impl HalfOpen {
    /// Nothing yet.
    pub(crate) const UNUSED: HalfOpen = HalfOpen {
        irs: SeqNum(0),
        iss: SeqNum(0),
        link: Link::UNARMED,
        ts_recent: 0,
        smss: 0,
        offered: NEVER_ZERO,
        resent: 0,
    };

    /// The entry for a SYN that a listener accepts (RFC 9293 §3.10.7.2, third).
    ///
    /// Deviation: RFC 9293 §3.10.7.2, text on a SYN. It is not kept, so that entries stay small; the peer sends it again.
    pub(crate) fn new(tuple: &FourTuple, syn: &Segment<'_>, iss: SeqNum, our_mss: u16, config: &TcpConfig) -> Self {
        HalfOpen::of(syn.header.seq, iss, &asked(tuple, syn, our_mss, config))
    }

    /// The entry for what was agreed on. Its SYN-ACK was sent once.
    pub(crate) fn of(irs: SeqNum, iss: SeqNum, negotiated: &Negotiated) -> Self {
        HalfOpen {
            irs,
            iss,
            link: Link::default(),
            ts_recent: negotiated.ts_recent.unwrap_or(0),
            smss: negotiated.smss,
            offered: NEVER_ZERO
                | negotiated.window_scale.unwrap_or(UNSCALED)
                | if negotiated.ecn { ECN } else { 0 }
                | if negotiated.sack_permitted { SACK } else { 0 }
                | negotiated.ts_recent.map_or(0, |_| TIMESTAMPS),
            resent: 0,
        }
    }

    /// How often the SYN-ACK was sent again.
    pub(crate) fn resent(&self) -> u8 {
        self.resent & !READY
    }

    /// It is to be sent once more.
    pub(crate) fn count_resend(&mut self) {
        self.resent += u8::from(self.resent() < READY - 1);
    }

    /// The same SYN came again, with a later timestamp to be echoed (RFC 7323 §5.3 R3).
    pub(crate) fn on_syn_again(&mut self, syn: &Segment<'_>) {
        if let (Some(recent), Some(timestamps)) = (self.negotiated().ts_recent, syn.header.options.timestamps)
            && (timestamps.tsval.wrapping_sub(recent) as i32) > 0
        {
            self.ts_recent = timestamps.tsval;
        }
    }

    /// Whether it waits in the list of flows with something to send; says whether it did before.
    pub(crate) fn set_ready(&mut self, ready: bool) -> bool {
        let was = self.resent & READY != 0;
        self.resent = self.resent() | if ready { READY } else { 0 };
        was
    }

    /// What the SYN allows us.
    pub(crate) fn negotiated(&self) -> Negotiated {
        Negotiated {
            smss: self.smss,
            window_scale: Some(self.offered.get() & 0xf).filter(|shift| *shift != UNSCALED),
            ecn: self.offered.get() & ECN != 0,
            sack_permitted: self.offered.get() & SACK != 0,
            ts_recent: (self.offered.get() & TIMESTAMPS != 0).then_some(self.ts_recent),
        }
    }

    /// The SYN-ACK: `<SEQ=ISS><ACK=RCV.NXT><CTL=SYN,ACK>`.
    pub(crate) fn syn_ack(&self, our_mss: u16, ts_offset: u32, env: &Env) -> Header {
        Header {
            seq: self.iss,
            ack: self.irs + 1,
            flags: Flags::SYN | Flags::ACK | if self.negotiated().ecn { Flags::ECE } else { Flags(0) },
            wnd: env.syn_window,
            urgent: 0,
            options: self.negotiated().syn_ack_options(our_mss, env.tick().wrapping_add(ts_offset), env.window_shift),
        }
    }

    /// RFC 9293 §3.10.7.4 for SYN-RECEIVED from a passive open.
    pub(crate) fn on_segment(&self, segment: &Segment<'_>, env: &Env) -> HalfOpenVerdict {
        use HalfOpenVerdict::*;
        let header = &segment.header;
        let rcv_nxt = self.irs + 1;
        let window = u32::from(env.syn_window);
        if header.flags.has(Flags::RST) {
            // RFC 5961 §3.2: only the exact number is believed.
            let ahead = header.seq.distance_from(rcv_nxt);
            return match ahead {
                0 => Reset,
                _ if ahead < window => AnswerAck(DropReason::ResetChallenged),
                _ => Drop(DropReason::OutOfWindow),
            };
        }
        if header.flags.has(Flags::SYN) && !header.flags.has(Flags::ACK) {
            // The same SYN again: our SYN-ACK was lost. One outside the window is an old one, or of a peer that has
            // started anew, and that one answers the ACK with a RST (RFC 9293 §3.10.7.4, first). One inside is of a peer
            // that has started anew (fourth: a passive open returns to LISTEN).
            return match header.seq {
                seq if seq == self.irs => Resend,
                seq if seq.distance_from(rcv_nxt) < window => Replace,
                _ => AnswerAck(DropReason::OutOfWindow),
            };
        }
        match (self.negotiated().ts_recent, header.options.timestamps) {
            (Some(_), None) => return Drop(DropReason::TimestampMissing),
            (Some(recent), Some(timestamps)) if (timestamps.tsval.wrapping_sub(recent) as i32) < 0 => {
                return AnswerAck(DropReason::Paws);
            }
            _ => {}
        }
        let len = segment.len();
        let first_fits = header.seq.distance_from(rcv_nxt) < window;
        let last_fits = len > 0 && (header.seq + (len - 1)).distance_from(rcv_nxt) < window;
        if !first_fits && !last_fits {
            return AnswerAck(DropReason::OutOfWindow);
        }
        if header.flags.has(Flags::SYN) {
            return AnswerAck(DropReason::SynChallenged);
        }
        if !header.flags.has(Flags::ACK) {
            return Drop(DropReason::NoAck);
        }
        if header.ack != self.iss + 1 { AnswerReset } else { Establish }
    }

    /// Whether an ICMP error ends the entry: a hard one does, as this is no synchronized state (RFC 9293 §3.9.2.2, SHLD-26;
    /// RFC 5927 §5.2).
    ///
    /// # Errors
    /// [`DropReason::IcmpUnproven`] unless it quotes our SYN-ACK (RFC 5927 §4).
    pub(crate) fn on_icmp_error(&self, error: &icmp::Error) -> Result<bool, DropReason> {
        if error.seq == self.iss { Ok(error.is_hard()) } else { Err(DropReason::IcmpUnproven) }
    }

    /// The challenge: `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`.
    pub(crate) fn acknowledgement(&self, ts_offset: u32, env: &Env) -> Header {
        let mut header = self.syn_ack(0, ts_offset, env);
        header.seq = self.iss + 1;
        header.flags = Flags::ACK;
        // Rounded up: what the SYN-ACK offered is not taken back.
        header.wnd = header.wnd.div_ceil(1 << header.options.window_scale.unwrap_or(0));
        header.options = crate::wire::tcp::Options { timestamps: header.options.timestamps, ..Default::default() };
        header
    }
}

#[cfg(test)]
mod tests {
    use super::HalfOpenVerdict::*;
    use super::*;
    use crate::tcp::testing::{Bench, IRS, ISS};
    use crate::wire::tcp::{Options, Timestamps};

    fn entry(negotiated: &Negotiated) -> HalfOpen {
        HalfOpen::of(SeqNum(IRS), SeqNum(ISS), negotiated)
    }

    const PLAIN: Negotiated =
        Negotiated { smss: 1_000, window_scale: None, sack_permitted: false, ts_recent: None, ecn: false };

    fn verdict(entry: &HalfOpen, header: Header, text: &[u8]) -> HalfOpenVerdict {
        let mut bench = Bench::with(TcpConfig::default(), false, false);
        bench.with_env(|_, env| entry.on_segment(&Segment { header, text }, env))
    }

    fn window() -> u32 {
        u32::from(crate::tcp::syn_window(&TcpConfig::default()))
    }

    #[test]
    fn what_was_agreed_on_comes_back_in_every_combination() {
        for bits in 0..16u8 {
            let has = |bit: u8| bits >> bit & 1 == 1;
            let negotiated = Negotiated {
                window_scale: has(0).then_some(14),
                ecn: has(1),
                sack_permitted: has(2),
                ts_recent: has(3).then_some(7),
                ..PLAIN
            };
            let mut entry = entry(&negotiated);
            (0..300).for_each(|_| entry.count_resend());
            assert!(!entry.set_ready(true) && entry.set_ready(false));
            assert_eq!(entry.negotiated(), negotiated);
            assert_eq!(entry.resent(), READY - 1, "as far as it counts");
        }
    }

    /// RFC 9293 §3.10.7.4, first: by the first octet or the last, at each edge of the window.
    #[test]
    fn the_last_ack_must_lie_in_the_window() {
        let (entry, nxt) = (entry(&PLAIN), IRS + 1);
        let outside = AnswerAck(DropReason::OutOfWindow);
        for (seq, len, expected) in [
            (nxt, 0, Establish),
            (nxt - 1, 0, outside),
            (nxt + window() - 1, 0, Establish),
            (nxt + window(), 0, outside),
            (nxt - 3, 3, outside),
            (nxt - 3, 4, Establish),
            (nxt + window() - 1, 4, Establish),
            (nxt + window(), 4, outside),
        ] {
            let header = Header { seq: SeqNum(seq), ack: SeqNum(ISS + 1), flags: Flags::ACK, ..Header::default() };
            assert_eq!(verdict(&entry, header, &b"text"[..len]), expected, "{len} octets at {}", seq.wrapping_sub(nxt));
        }
    }

    #[test]
    fn resets_and_syns_at_the_edges() {
        let (entry, nxt) = (entry(&PLAIN), IRS + 1);
        let challenged = AnswerAck(DropReason::ResetChallenged);
        for (flags, seq, expected) in [
            (Flags::RST, nxt, Reset),
            (Flags::RST, nxt + 1, challenged),
            (Flags::RST, nxt + window() - 1, challenged),
            (Flags::RST, nxt + window(), Drop(DropReason::OutOfWindow)),
            (Flags::RST, nxt - 1, Drop(DropReason::OutOfWindow)),
            (Flags::SYN, IRS, Resend),
            (Flags::SYN, nxt, Replace),
            (Flags::SYN, nxt + window() - 1, Replace),
            (Flags::SYN, nxt + window(), AnswerAck(DropReason::OutOfWindow)),
            (Flags::SYN, IRS - 1, AnswerAck(DropReason::OutOfWindow)),
        ] {
            let header = Header { seq: SeqNum(seq), flags, ..Header::default() };
            assert_eq!(verdict(&entry, header, b""), expected, "{flags:?} at {}", seq.wrapping_sub(nxt));
        }
    }

    /// RFC 7323 §3.2, §5.3: what was agreed on must be there, and not be older.
    #[test]
    fn the_last_ack_carries_the_timestamps_that_were_agreed_on() {
        let with = entry(&Negotiated { ts_recent: Some(100), ..PLAIN });
        let last = |timestamps| Header {
            seq: SeqNum(IRS + 1),
            ack: SeqNum(ISS + 1),
            flags: Flags::ACK,
            options: Options { timestamps, ..Options::default() },
            ..Header::default()
        };
        let stamp = |tsval| Some(Timestamps { tsval, tsecr: 0 });
        for (entry, timestamps, expected) in [
            (&with, None, Drop(DropReason::TimestampMissing)),
            (&with, stamp(99), AnswerAck(DropReason::Paws)),
            (&with, stamp(100), Establish),
            (&with, stamp(100 + (1 << 31) - 1), Establish),
            (&entry(&PLAIN), stamp(1), Establish),
        ] {
            assert_eq!(verdict(entry, last(timestamps), b""), expected, "{timestamps:?}");
        }
    }
}
