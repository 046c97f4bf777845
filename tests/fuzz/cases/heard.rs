//! The other end of a connection: what it sends, and what it can know by what it hears.

use super::rig::{CHUNK, OUR_MAC, PEER_MAC};
use handfast::wire::frame::{self, Envelope, Incoming, Link, TxChecksum, VerifyChecksum};
use handfast::wire::tcp::{Flags, Header};
use handfast::wire::{FourTuple, SeqNum};

/// A frame with this segment, from the tuple's remote to us.
pub fn tcp_frame(tuple: &FourTuple, ecn: u8, header: &Header, text_len: usize) -> Vec<u8> {
    // The frame is emitted by whom we call the remote.
    let tuple = FourTuple {
        local_addr: tuple.remote_addr,
        remote_addr: tuple.local_addr,
        local_port: tuple.remote_port,
        remote_port: tuple.local_port,
    };
    let link = Link { src: PEER_MAC, dst: OUR_MAC, vlan: None };
    let envelope = Envelope { link, tuple, hop_limit: 64, traffic_class: ecn, checksum: TxChecksum::Full };
    let mut frame = vec![0; CHUNK];
    let first = header.seq + u32::from(header.flags.has(Flags::SYN));
    let len = frame::emit_tcp(&mut frame, &envelope, header, text_len, |text| {
        for (octet, seq) in text.iter_mut().zip(first.0..=u32::MAX) {
            *octet = seq as u8;
        }
        let to_wrap = (u32::MAX - first.0) as usize + 1;
        for (octet, seq) in text.iter_mut().skip(to_wrap).zip(0u32..) {
            *octet = seq as u8;
        }
    });
    frame.truncate(len);
    frame
}

/// What can be known of the stack's end of a connection by whoever hears what it sends.
#[derive(Clone, Copy, Debug)]
pub struct Heard {
    pub tuple: FourTuple,
    /// Its initial sequence number.
    pub iss: Option<SeqNum>,
    /// Behind the last octet that it sent.
    pub nxt: SeqNum,
    /// What it acknowledges.
    pub ack: SeqNum,
    /// Its window field.
    pub wnd: u16,
    /// Its timestamp.
    pub tsval: u32,
    /// Whether it has sent a SYN that is still to be answered by one.
    pub asks: bool,
}

impl Heard {
    pub fn nothing(tuple: FourTuple, irs: SeqNum) -> Heard {
        Heard { tuple, iss: None, nxt: SeqNum(0), ack: irs, wnd: 65_535, tsval: 0, asks: false }
    }

    /// Takes note of a frame, if it belongs to this connection; then says the place in the stream, and the text.
    pub fn note<'a>(&mut self, frame: &'a [u8]) -> Option<(u32, &'a [u8])> {
        let Ok(Incoming::Tcp { tuple, segment, .. }) = frame::parse(frame, VerifyChecksum::Yes) else { return None };
        let ours = &self.tuple;
        let same = tuple.local_addr == ours.remote_addr && tuple.remote_addr == ours.local_addr;
        let same = same && tuple.local_port == ours.remote_port;
        if !same || (ours.local_port != 0 && tuple.remote_port != ours.local_port) {
            return None;
        }
        let header = segment.header;
        if header.flags.has(Flags::RST) {
            // There is nothing at that end: the peer begins anew.
            (self.iss, self.asks) = (None, false);
            return None;
        }
        self.tuple.local_port = tuple.remote_port;
        if header.flags.has(Flags::SYN) {
            self.iss = Some(header.seq);
            self.nxt = header.seq;
        }
        self.nxt = self.nxt.max(header.seq + segment.len());
        self.asks = header.flags.has(Flags::SYN) && !header.flags.has(Flags::ACK);
        self.tsval = header.options.timestamps.map_or(self.tsval, |timestamps| timestamps.tsval);
        if header.flags.has(Flags::ACK) {
            (self.ack, self.wnd) = (header.ack, header.wnd);
        }
        Some((header.seq.0.wrapping_sub(self.iss?.0).wrapping_sub(1), segment.text))
    }

    /// Takes note of a frame; its text must be what was written at its place of the stream.
    pub fn check(&mut self, frame: &[u8], forwarded: bool) {
        let Some((place, text)) = self.note(frame) else { return };
        let right = text.iter().zip(place..).all(|(octet, place)| *octet == place as u8);
        assert!(right || forwarded, "sent at {place}: {text:02x?}");
    }
}
