//! One line for each frame, for whoever replays a failure.

use crate::wire::frame::{self, Incoming, Other, VerifyChecksum};

/// Shows a frame on stderr.
pub fn show(now_ns: u64, bytes: &[u8]) {
    let (ms, ns) = (now_ns / 1_000_000, now_ns % 1_000_000);
    match frame::parse(bytes, VerifyChecksum::Yes) {
        Ok(Incoming::Tcp { tuple, segment, .. }) => {
            let (h, from, to, len) = (&segment.header, tuple.remote(), tuple.local(), segment.text.len());
            let sack = h.options.sack.as_slice();
            let times = h.options.timestamps.map_or((0, 0), |t| (t.tsval, t.tsecr));
            eprintln!(
                "{ms}.{ns:06} {from} > {to} {} seq {} ack {} wnd {} text {len} ts {times:?} sack {sack:?}",
                h.flags, h.seq, h.ack, h.wnd
            );
        }
        Ok(Incoming::Other(Other::Arp { arp, .. })) => eprintln!("{ms}.{ns:06} {arp:?}"),
        other => eprintln!("{ms}.{ns:06} {other:?}"),
    }
}
