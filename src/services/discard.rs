//! `discard`: reads and drops what comes (RFC 863).

use crate::stack::{ConnId, Cx};

/// Takes away all that has come.
pub(super) fn drop_all(cx: &mut Cx<'_>, conn: ConnId) {
    let octets = cx.readable(conn);
    if octets > 0 {
        cx.consume(conn, octets);
    }
}
