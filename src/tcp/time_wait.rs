//! What is left of a connection that we closed first: TIME-WAIT, RFC 9293 §3.6.1 and §3.10.7.4, with RFC 6191 (a new SYN
//! may take the tuple) and RFC 1337 (a RST may not end it).

use super::connection::Tcb;
use super::env::Env;
use crate::ledger::DropReason;
use crate::wire::tcp::{Flags, Header, Options, Segment, Timestamps};
use crate::wire::{FourTuple, SeqNum};

/// A TIME-WAIT entry as plain values; how densely a table packs them is the table's affair.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeWait {
    /// Whose.
    pub tuple: FourTuple,
    /// SND.NXT.
    pub snd_nxt: SeqNum,
    /// RCV.NXT.
    pub rcv_nxt: SeqNum,
    /// TS.Recent, when timestamps were in use.
    pub ts_recent: Option<u32>,
}

/// What a segment to a TIME-WAIT entry leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum TimeWaitVerdict {
    /// The peer's FIN again: our ACK was lost. Acknowledge, and wait 2 MSL anew.
    AcknowledgeAndRestart,
    /// Acknowledge and drop.
    Acknowledge(DropReason),
    /// A SYN that proves to be new: the entry ends, and the listener processes the segment with an ISS beyond this one.
    Reuse,
    /// Drop.
    Drop(DropReason),
}

impl TimeWait {
    /// What stays of a control block in TIME-WAIT.
    pub(crate) fn of(tcb: &Tcb) -> Self {
        let ts_recent = tcb.facts.has(super::Facts::TIMESTAMPS).then_some(tcb.ts_recent);
        TimeWait { tuple: tcb.tuple, snd_nxt: tcb.snd_nxt, rcv_nxt: tcb.rcv_nxt, ts_recent }
    }

    /// Judges a segment.
    pub fn on_segment(&self, segment: &Segment<'_>) -> TimeWaitVerdict {
        use TimeWaitVerdict::*;
        let flags = segment.header.flags;
        if flags.has(Flags::RST) {
            // Deviation: RFC 9293 §3.10.7.4, RST in TIME-WAIT. It would end it; RFC 1337 §3 (F1) shows why it must not.
            return Drop(DropReason::TimeWaitReset);
        }
        if flags.has(Flags::SYN) && !flags.has(Flags::ACK) {
            // Deviation: RFC 6191 §2, SYN in TIME-WAIT without proof of being new. Not silently dropped: a peer that has
            // forgotten the connection answers the ACK by a RST (RFC 5961 §4).
            return if self.is_newer(segment) { Reuse } else { Acknowledge(DropReason::TimeWaitSyn) };
        }
        if !flags.has(Flags::ACK) {
            return Drop(DropReason::NoAck);
        }
        let end = segment.header.seq + segment.len();
        if flags.has(Flags::FIN) && end == self.rcv_nxt {
            return AcknowledgeAndRestart;
        }
        // An acceptable ACK without text says nothing new.
        if segment.is_empty() && segment.header.seq == self.rcv_nxt {
            return Drop(DropReason::OutOfWindow);
        }
        Acknowledge(DropReason::OutOfWindow)
    }

    /// RFC 6191 §2: whether a SYN is beyond everything of the old connection.
    fn is_newer(&self, syn: &Segment<'_>) -> bool {
        let beyond = syn.header.seq.after(self.rcv_nxt);
        match (self.ts_recent, syn.header.options.timestamps) {
            (Some(recent), Some(timestamps)) => {
                let ahead = timestamps.tsval.wrapping_sub(recent) as i32;
                ahead > 0 || (ahead == 0 && beyond)
            }
            (None, Some(_)) => true,
            (_, None) => beyond,
        }
    }

    /// `<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>`.
    pub(crate) fn acknowledgement(&self, ts_offset: u32, env: &Env) -> Header {
        let tsval = env.tick().wrapping_add(ts_offset);
        Header {
            seq: self.snd_nxt,
            ack: self.rcv_nxt,
            flags: Flags::ACK,
            wnd: env.syn_window,
            urgent: 0,
            options: Options {
                timestamps: self.ts_recent.map(|tsecr| Timestamps { tsval, tsecr }),
                ..Options::default()
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::Addr;

    fn entry(ts_recent: Option<u32>) -> TimeWait {
        let tuple = FourTuple {
            local_addr: Addr::from_v4([10, 0, 0, 1]),
            remote_addr: Addr::from_v4([10, 0, 0, 2]),
            local_port: 80,
            remote_port: 4000,
        };
        TimeWait { tuple, snd_nxt: SeqNum(1_000), rcv_nxt: SeqNum(500), ts_recent }
    }

    fn syn(seq: u32, tsval: Option<u32>) -> Segment<'static> {
        let timestamps = tsval.map(|tsval| Timestamps { tsval, tsecr: 0 });
        let options = Options { timestamps, ..Options::default() };
        Segment { header: Header { seq: SeqNum(seq), flags: Flags::SYN, options, ..Header::default() }, text: b"" }
    }

    /// Each row is a rule of RFC 6191 §2.
    #[test]
    fn a_syn_takes_the_tuple_only_with_proof() {
        let refused = TimeWaitVerdict::Acknowledge(DropReason::TimeWaitSyn);
        let rows = [
            (Some(70), syn(1, Some(71)), TimeWaitVerdict::Reuse, "A1: newer timestamp, whatever the number"),
            (Some(70), syn(501, Some(70)), TimeWaitVerdict::Reuse, "A2: equal timestamp, number beyond"),
            (Some(70), syn(500, Some(70)), refused, "A2: equal timestamp, number not beyond"),
            (Some(70), syn(501, Some(69)), refused, "older timestamp"),
            (Some(70), syn(501, None), TimeWaitVerdict::Reuse, "A3: no timestamp now, number beyond"),
            (Some(70), syn(499, None), refused, "A3: number not beyond"),
            (None, syn(1, Some(1)), TimeWaitVerdict::Reuse, "B1: timestamps are new"),
            (None, syn(501, None), TimeWaitVerdict::Reuse, "B2: number beyond"),
            (None, syn(500, None), refused, "B2: number not beyond"),
            (Some(u32::MAX), syn(1, Some(1)), TimeWaitVerdict::Reuse, "newer across the wrap"),
        ];
        for (ts_recent, segment, verdict, why) in rows {
            assert_eq!(entry(ts_recent).on_segment(&segment), verdict, "{why}");
        }
    }

    #[test]
    fn the_fin_again_restarts_and_a_reset_does_nothing() {
        let at =
            |seq: u32, flags| Segment { header: Header { seq: SeqNum(seq), flags, ..Header::default() }, text: b"" };
        let entry = entry(None);
        assert_eq!(entry.on_segment(&at(499, Flags::FIN | Flags::ACK)), TimeWaitVerdict::AcknowledgeAndRestart);
        assert_eq!(entry.on_segment(&at(500, Flags::RST)), TimeWaitVerdict::Drop(DropReason::TimeWaitReset));
        assert_eq!(entry.on_segment(&at(500, Flags::ACK)), TimeWaitVerdict::Drop(DropReason::OutOfWindow));
        let old = at(400, Flags::ACK);
        assert_eq!(entry.on_segment(&old), TimeWaitVerdict::Acknowledge(DropReason::OutOfWindow));
    }
}
