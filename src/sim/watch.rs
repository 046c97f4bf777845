//! What can be seen from outside: every frame that a host emits is taken apart and held against what that host, and its
//! peer, emitted before. Knows nothing of the stack's own records.

use crate::wire::frame::{self, Incoming, VerifyChecksum};
use crate::wire::tcp::{Flags, Header, Segment};
use crate::wire::{Addr, FourTuple, SeqNum};
use std::collections::BTreeMap;

/// One direction of one incarnation of a connection, as far as its sender has shown.
#[derive(Clone, Copy, Debug)]
struct Half {
    iss: SeqNum,
    /// One past the last number sent.
    end: SeqNum,
    fin: Option<SeqNum>,
    shift: u8,
    /// The first number that it acknowledged: which incarnation of its peer it talks to.
    first_ack: Option<SeqNum>,
    ack: Option<SeqNum>,
    /// Right edge of the window offered.
    edge: Option<SeqNum>,
}

type Key = (Addr, u16, Addr, u16);

/// The observer.
#[derive(Default)]
pub struct Watch {
    /// The incarnations, the newest first: a peer may still be in an older one, and an old SYN that comes late makes one
    /// of its own. `None` in the first place: the host was killed, and has said nothing since.
    halves: BTreeMap<Key, Vec<Option<Half>>>,
    /// Hosts may make connections of cookies: one that is over can begin anew under its ISS, when its peer does not know
    /// that it is over and sends its first segment again.
    cookies: bool,
}

impl Watch {
    /// An observer of hosts that may make connections of cookies, or that do not.
    pub fn new(cookies: bool) -> Self {
        Watch { cookies, ..Watch::default() }
    }

    /// Looks at a frame that a host whose link carry `mtu` octets emits; says which flow it belongs to, as the receiver
    /// sees it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn on_frame(&mut self, bytes: &[u8], mtu: u16) -> Result<Option<FourTuple>, String> {
        if bytes.len() > usize::from(mtu) + 14 {
            return Err(format!("a frame of {} octets on a link that carries {mtu}", bytes.len() - 14));
        }
        match frame::parse(bytes, VerifyChecksum::Yes) {
            Ok(Incoming::Tcp { tuple, segment, .. }) => {
                self.on_segment(&tuple, &segment).map_err(|what| {
                    let h = &segment.header;
                    let text = segment.text.len();
                    let (from, to) = (tuple.remote(), tuple.local());
                    format!("{from} > {to}: {what}: seq {} ack {} {} wnd {} text {text}", h.seq, h.ack, h.flags, h.wnd)
                })?;
                Ok(Some(tuple))
            }
            Ok(_) => Ok(None),
            Err(reason) => Err(format!("it emits a frame that is malformed: {reason:?}")),
        }
    }

    /// A reply for which there was no room: nobody sees it, but a SYN among them began an incarnation all the same.
    pub fn on_unsent(&mut self, bytes: &[u8]) {
        if let Ok(Incoming::Tcp { tuple, segment, .. }) = frame::parse(bytes, VerifyChecksum::Yes)
            && segment.header.flags.has(Flags::SYN)
        {
            let _ = self.on_segment(&tuple, &segment);
        }
    }

    /// A host is gone: what it will send has nothing to do with what it sent, but its peers do not know yet.
    pub fn forget(&mut self, host: Addr) {
        for (_, halves) in self.halves.iter_mut().filter(|((from, ..), halves)| *from == host && halves[0].is_some()) {
            halves.insert(0, None);
        }
    }

    fn on_segment(&mut self, tuple: &FourTuple, segment: &Segment<'_>) -> Result<(), String> {
        let header = &segment.header;
        if header.flags.has(Flags::RST) {
            return Ok(());
        }
        let key = (tuple.remote_addr, tuple.remote_port, tuple.local_addr, tuple.local_port);
        let halves = self.halves.entry(key).or_default();
        let again = halves.first().copied().flatten().is_some_and(|half| half.began_with(header));
        if header.flags.has(Flags::SYN) && !again {
            halves.insert(0, Some(Half::beginning(header)));
            halves.truncate(INCARNATIONS);
        }
        let Some(Some(half)) = halves.first().copied() else { return Err("a segment of what never began".into()) };
        let goes_on = self.check(&key, half, segment);
        let half = match goes_on {
            Ok(half) => half,
            Err(what) => {
                let anew = self.begin_anew(&key, header).ok_or(what)?;
                self.check(&key, anew, segment)?
            }
        };
        if let Some(first) = self.halves.get_mut(&key).and_then(|halves| halves.first_mut()) {
            *first = Some(half);
        }
        Ok(())
    }

    /// The half that begins again with the number after its SYN's, as one of a cookie may. It need not be the newest: when
    /// a SYN comes again the host may have room to keep it, and the peer answers the SYN-ACK with the cookie all the same.
    fn begin_anew(&mut self, key: &Key, header: &Header) -> Option<Half> {
        let halves = self.halves.get_mut(key).filter(|_| self.cookies)?;
        let place = halves.iter().position(|half| half.is_some_and(|half| header.seq == half.iss + 1))?;
        let half = halves[place]?;
        // As it was it is remembered besides: what it had sent may still be acknowledged.
        halves.insert(0, Some(half));
        halves.truncate(INCARNATIONS);
        Some(half.anew())
    }

    /// The half after this segment.
    fn check(&self, key: &Key, mut half: Half, segment: &Segment<'_>) -> Result<Half, String> {
        let header = &segment.header;
        half.check_numbers(segment)?;
        if header.flags.has(Flags::ACK) {
            let peers = self.halves.get(&(key.2, key.3, key.0, key.1)).map_or(&[][..], Vec::as_slice);
            let Some(peer) = peers.iter().flatten().find(|peer| half.fits(header, peer)) else {
                return Err(format!(
                    "acknowledges what was never sent, or goes beyond the window: {half:?}, {peers:?}"
                ));
            };
            // The window of a peer that has said its FIN means nothing any more.
            half.check_window(header, peer.fin.is_none_or(|fin| header.ack != fin + 1))?;
        }
        Ok(half)
    }
}

/// The flow and the header of a segment that arrives whole, as its receiver sees them.
pub fn header_of(bytes: &[u8]) -> Option<(FourTuple, Header)> {
    match frame::parse(bytes, VerifyChecksum::Yes) {
        Ok(Incoming::Tcp { tuple, segment, .. }) => Some((tuple, segment.header)),
        _ => None,
    }
}

/// Incarnations of a tuple that are remembered.
const INCARNATIONS: usize = 64;

impl Half {
    fn beginning(syn: &Header) -> Self {
        let shift = syn.options.window_scale.unwrap_or(0);
        Half { iss: syn.seq, end: syn.seq + 1, fin: None, shift, first_ack: None, ack: None, edge: None }
    }

    /// As it was when its SYN had left.
    fn anew(self) -> Self {
        Half { end: self.iss + 1, fin: None, first_ack: None, ack: None, edge: None, ..self }
    }

    /// Whether `syn` is its SYN again. (Two that a listener answers within one tick of the clock have one ISS.)
    fn began_with(&self, syn: &Header) -> bool {
        let other_peer = syn.flags.has(Flags::ACK) && self.first_ack.is_some_and(|ack| ack != syn.ack);
        self.iss == syn.seq && !other_peer
    }

    fn check_numbers(&mut self, segment: &Segment<'_>) -> Result<(), String> {
        let header = &segment.header;
        let end = header.seq + segment.len();
        if header.seq.before(self.iss) || header.seq.after(self.end) {
            return Err(format!("a gap: SND.NXT was {}", self.end));
        }
        if let Some(fin) = self.fin
            && end.after(fin + 1)
        {
            return Err(format!("goes on after the FIN at {fin}"));
        }
        if header.flags.has(Flags::FIN) {
            let fin = end - 1;
            if self.fin.is_some_and(|before| before != fin) || fin + 1 != end || self.end.after(end) {
                return Err(format!("the FIN is at {fin}, but was at {:?}, and SND.NXT at {}", self.fin, self.end));
            }
            self.fin = Some(fin);
        }
        self.end = self.end.max(end);
        Ok(())
    }

    fn check_window(&mut self, header: &Header, talks_on: bool) -> Result<(), String> {
        let shift = if header.flags.has(Flags::SYN) { 0 } else { u32::from(self.shift) };
        let edge = header.ack + (u32::from(header.wnd) << shift);
        if self.ack.is_some_and(|ack| header.ack.before(ack)) {
            return Err(format!("RCV.NXT moves back from {:?}", self.ack));
        }
        if let Some(before) = self.edge
            && talks_on
            && edge.before(before)
        {
            return Err(format!("the window shrinks: its right edge moves from {before} to {edge}"));
        }
        self.first_ack.get_or_insert(header.ack);
        self.ack = Some(header.ack);
        self.edge = Some(edge);
        Ok(())
    }

    /// Whether this could be talk with `peer`: acknowledges only what that has sent, sends only what that has room for,
    /// and one octet beyond, the probe of RFC 9293 §3.8.6.1.
    fn fits(&self, header: &Header, peer: &Half) -> bool {
        let acked = header.ack.distance_from(peer.iss);
        let sent = peer.end.distance_from(peer.iss);
        // A SYN asks for no room. (The edge may be one that was offered to an older incarnation.)
        let room = self.end == self.iss + 1 || peer.edge.is_some_and(|edge| self.end.at_or_before(edge + 1));
        acked > 0 && acked <= sent && room
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(watch: &mut Watch, seq: u32, ack: u32, flags: Flags, wnd: u16, text: &[u8]) -> Result<(), String> {
        let (a, b) = (Addr::from_v4([10, 0, 0, 1]), Addr::from_v4([10, 0, 0, 2]));
        // Odd numbers come from one side, even ones from the other.
        let (from, to) = if seq % 2 == 1 { (a, b) } else { (b, a) };
        let tuple = FourTuple { remote_addr: from, remote_port: 1, local_addr: to, local_port: 1 };
        let header = Header { seq: SeqNum(seq), ack: SeqNum(ack), flags, wnd, ..Header::default() };
        watch.on_segment(&tuple, &Segment { header, text })
    }

    fn after_a_handshake() -> Watch {
        let mut watch = Watch::default();
        send(&mut watch, 101, 0, Flags::SYN, 10, b"").unwrap();
        send(&mut watch, 200, 102, Flags::SYN | Flags::ACK, 10, b"").unwrap();
        watch.halves.values_mut().for_each(|h| h[0] = h[0].map(|h| Half { iss: h.iss - 2, ..h }));
        watch
    }

    #[test]
    fn what_no_host_may_do_is_seen() {
        type Row = (u32, u32, u16, &'static [u8], bool, &'static str);
        let acks: [Row; 6] = [
            (101, 201, 10, b"", true, "an acknowledgement"),
            (101, 202, 10, b"", false, "of what was never sent"),
            (101, 201, 10, b"0123456789ab", true, "all that fits, and a probe"),
            (101, 201, 10, b"0123456789abc", false, "more than that"),
            (103, 201, 10, b"", false, "a gap"),
            (200, 102, 9, b"", false, "a window that shrinks"),
        ];
        for (seq, ack, wnd, text, fine, why) in acks {
            let mut watch = after_a_handshake();
            let seen = send(&mut watch, seq, ack, Flags::ACK, wnd, text);
            assert_eq!(seen.is_ok(), fine, "{why}: {seen:?}");
        }
    }
}
