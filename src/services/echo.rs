//! `echo`: sends back what comes (RFC 862).

use crate::stack::{ConnId, Cx};

/// Sends back what has come, as far as there is room. After the peer's FIN and the last octet it closes.
pub(super) fn pump(cx: &mut Cx<'_>, conn: ConnId) {
    if cx.forward(conn, conn).is_ok() && cx.at_end(conn) {
        cx.close(conn);
    }
}
