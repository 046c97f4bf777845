//! What ICMP says of connections that go on all the same: reported to the application (RFC 9293 §3.9.1.8, MUST-47).

use super::shard::Shard;
use crate::ledger::{DropReason, Handled};
use crate::wire::icmp::ErrorKind;

/// Reports that wait for the application; it hears of them within the turn.
const MOST_REPORTS: usize = 64;

impl Shard {
    /// An error about this connection was taken like this. What a path carries is TCP's own affair, and a source quench
    /// nobody's (MUST-55); an error that ended the connection is told by its ending.
    pub(super) fn report_soft_error(&mut self, index: u32, kind: ErrorKind, taken: Result<Handled, DropReason>) {
        let tells = !matches!(kind, ErrorKind::PacketTooBig { .. } | ErrorKind::SourceQuench);
        if !tells || taken.is_err() || self.connections.get(index).is_none_or(|tcb| tcb.ending.is_some()) {
            return;
        }
        if self.soft_errors.len() < MOST_REPORTS {
            self.soft_errors.push_back((self.id(index), kind));
        } else {
            self.env.ledger.refused.soft_errors += 1;
        }
    }
}
