//! A peer's end of one flow: it knows what a well-behaved TCP would send next, so that few octets of an input lead deep into
//! a life, and others of them lead astray from there.

use super::heard::{Heard, tcp_frame};
use super::rig::{OURS, OURS_V6, PEER, PEER_V6};
use arbitrary::{Result, Unstructured};
use handfast::time::Instant;
use handfast::wire::tcp::{Flags, Header, Options, SackBlocks, Timestamps};
use handfast::wire::{Addr, FourTuple, SeqNum};

/// Flows of a run: more than any table of the rig holds.
pub const FLOWS: usize = 8;
/// From this one on we connect to the peer; the others connect to us.
pub const FIRST_ACTIVE: usize = 6;

/// The flow of a peer.
pub struct Flow {
    pub heard: Heard,
    isn: SeqNum,
    /// Behind the last octet that the peer sent.
    end: SeqNum,
    /// The window that it offers.
    pub wnd: u16,
    /// Whether it knows timestamps and window scaling, and whether SACK.
    timestamps: bool,
    sack: bool,
    /// Its last segment, to be sent again.
    last: Vec<u8>,
}

impl Flow {
    /// All the flows of a run: IPv4, behind the gateway, IPv6, with and without options.
    pub fn all() -> [Flow; FLOWS] {
        let third = Addr::from_v4([10, 77, 0, 3]);
        let far = Addr::from_v4([192, 0, 2, 9]);
        let mut next = 0u32;
        [(PEER, 40_000), (third, 40_000), (far, 40_000), (PEER_V6, 40_000), (PEER_V6, 40_001), (PEER, 40_001)]
            .into_iter()
            .map(|(remote_addr, remote_port)| (remote_addr, remote_port, 7))
            .chain([(PEER, 9_000, 0), (PEER_V6, 9_000, 0)])
            .map(|(remote_addr, remote_port, local_port)| {
                next += 1;
                let local_addr = if remote_addr.is_v4() { OURS } else { OURS_V6 };
                let tuple = FourTuple { local_addr, remote_addr, local_port, remote_port };
                let isn = SeqNum(0xffff_f000) + next * 0x400;
                let (timestamps, sack) = (next % 3 != 2, next % 4 != 2);
                let heard = Heard::nothing(tuple, isn);
                Flow { heard, isn, end: isn, wnd: 8_000, timestamps, sack, last: Vec::new() }
            })
            .collect::<Vec<_>>()
            .try_into()
            .unwrap_or_else(|_| unreachable!("so many were made"))
    }

    /// We connect to it anew, from a port that will be heard.
    pub fn expect_connection(&mut self) {
        let tuple = FourTuple { local_port: 0, ..self.heard.tuple };
        self.heard = Heard::nothing(tuple, self.isn);
    }

    fn options(&self, flags: Flags, now: Instant) -> Options {
        let syn = flags.has(Flags::SYN);
        let timestamps = Timestamps { tsval: now.as_millis() as u32, tsecr: self.heard.tsval };
        Options {
            mss: (syn && self.timestamps).then_some(1_460),
            window_scale: (syn && self.timestamps).then_some(1),
            sack_permitted: syn && self.sack,
            timestamps: self.timestamps.then_some(timestamps),
            ..Options::default()
        }
    }

    /// A segment with the numbers that we expect: a SYN begins anew, everything else goes on behind what is acknowledged.
    pub fn header(&self, flags: Flags, now: Instant) -> Header {
        let seq = if flags.has(Flags::SYN) { self.isn } else { self.heard.ack };
        let options = self.options(flags, now);
        Header { seq, ack: self.heard.nxt, flags, wnd: self.wnd, urgent: 0, options }
    }

    /// What a TCP would say next: the SYN, the SYN-ACK, or the acknowledgement of all that it heard.
    pub fn natural(&self, now: Instant) -> Header {
        let flags = match (self.heard.asks, self.heard.iss) {
            (true, _) => Flags::SYN | Flags::ACK,
            (false, None) => Flags::SYN,
            (false, Some(_)) => Flags::ACK,
        };
        self.header(flags, now)
    }

    /// A RST that is believed; what comes next is a SYN.
    pub fn reset(&mut self, now: Instant) -> Header {
        let header = self.header(Flags::RST, now);
        (self.heard.iss, self.heard.asks) = (None, false);
        header
    }

    /// A SYN with another number: the peer has begun anew. Its clock of ISNs goes on, or has been set back.
    pub fn renewed(&mut self, u: &mut Unstructured<'_>, now: Instant) -> Result<Header> {
        let step = u.arbitrary::<i16>()?;
        self.isn = SeqNum(self.isn.0.wrapping_add_signed(i32::from(step) * 64));
        self.end = self.isn;
        Ok(self.header(Flags::SYN, now))
    }

    /// Text behind what was sent before, whether that was acknowledged or not.
    pub fn further(&self, now: Instant) -> Header {
        Header { seq: self.end.max(self.heard.ack), ..self.header(Flags::ACK, now) }
    }

    /// An acknowledgement of part of what was heard, with a SACK block for some of the rest.
    pub fn selective(&self, u: &mut Unstructured<'_>, now: Instant) -> Result<Header> {
        let first = self.heard.iss.unwrap_or_default() + 1;
        let sent = self.heard.nxt.distance_from(first);
        let mut place = || Ok(first + u.arbitrary::<u16>()? as u32 % (sent % 0x1_0000 + 1));
        let (ack, a, b) = (place()?, place()?, place()?);
        let mut header = Header { ack, ..self.header(Flags::ACK, now) };
        let mut sack = SackBlocks::default();
        sack.push(if a.before(b) { a } else { b }, if a.before(b) { b } else { a });
        header.options.sack = sack;
        Ok(header)
    }

    /// Anything, mostly near what is expected.
    pub fn stray(&self, u: &mut Unstructured<'_>, now: Instant) -> Result<Header> {
        let flags = Flags(u.arbitrary()?);
        let off = |base: SeqNum, by: i16| SeqNum(base.0.wrapping_add_signed(by.into()));
        let mut header = self.header(flags, now);
        header.seq = off(header.seq, u.arbitrary()?);
        header.ack = off(header.ack, u.arbitrary()?);
        let how: u8 = u.arbitrary()?;
        if let Some(timestamps) = &mut header.options.timestamps {
            timestamps.tsval = timestamps.tsval.wrapping_add_signed(i32::from(how as i8) << 4);
        }
        header.options.timestamps = header.options.timestamps.filter(|_| how != 0);
        Ok(header)
    }

    /// The frame of a segment, which becomes the peer's last one.
    pub fn frame(&mut self, header: &Header, ecn: u8, text_len: usize) -> Vec<u8> {
        let syn_fin = u32::from(header.flags.has(Flags::SYN)) + u32::from(header.flags.has(Flags::FIN));
        let end = header.seq + text_len as u32 + syn_fin;
        self.end = if header.flags.has(Flags::SYN) { end } else { self.end.max(end) };
        self.last = tcp_frame(&self.heard.tuple, ecn, header, text_len);
        self.last.clone()
    }

    pub fn last(&self) -> Vec<u8> {
        self.last.clone()
    }
}
