//! `daytime`: date and time on one line, then the server closes first (RFC 867).

use super::{Calendar, close};
use crate::stack::{ConnId, Cx};

/// Sends the line in one piece and closes. Should there be no room at all, nothing is sent and the connection closed:
/// RFC 867 promises no more than one line.
pub(super) fn send(cx: &mut Cx<'_>, conn: ConnId, calendar: &mut Calendar) {
    let line = calendar.now(cx.now()).daytime_line();
    if cx.writable(conn) >= line.len() {
        let _ = cx.write(conn, line.as_bytes());
    }
    close::close(cx, conn);
}
