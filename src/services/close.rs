//! `close`: set-up and teardown alone, the server closing first.

use crate::stack::{ConnId, Cx};

/// Drops what is unread, so that closing sends a FIN and no reset, and closes for good.
pub(super) fn close(cx: &mut Cx<'_>, conn: ConnId) {
    super::discard::drop_all(cx, conn);
    cx.close(conn);
}
