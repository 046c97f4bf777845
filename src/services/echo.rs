//! `echo`: sends back what comes (RFC 862).

use crate::stack::{ConnId, Cx};

/// Moves what has come to what is to be sent, as far as there is room; the rest stays unread until `on_writable`. After
/// the peer's FIN and the last octet it closes.
pub(super) fn pump(cx: &mut Cx<'_>, conn: ConnId, scratch: &mut [u8]) {
    loop {
        let come = cx.peek(conn);
        if come.is_empty() {
            break;
        }
        let octets = come.len().min(scratch.len());
        scratch[..octets].copy_from_slice(&come[..octets]);
        // Written before it is taken away: a write cut short leaves the rest where it is, and arms `on_writable`.
        let Ok(written) = cx.write(conn, &scratch[..octets]) else { return };
        cx.consume(conn, written);
        if written < octets {
            return;
        }
    }
    if cx.at_end(conn) {
        cx.close(conn);
    }
}
