//! What an ICMP error does to a connection: RFC 9293 §3.9.2.2, with the validation of RFC 5927.

use super::connection::{Env, Tcb};
use super::state::{Event, State};
use crate::ledger::{DropReason, Ending, Handled};
use crate::wire::icmp::Error;

impl Tcb {
    /// # Errors
    /// [`DropReason::IcmpUnproven`] when the quoted sequence number is not in flight (RFC 5927 §4).
    pub(crate) fn on_icmp_error(&mut self, error: &Error, env: &mut Env<'_>) -> Result<Handled, DropReason> {
        let in_flight = error.seq.at_or_after(self.snd_una) && error.seq.before(self.snd_nxt);
        if self.ending.is_some() || !in_flight {
            return Err(DropReason::IcmpUnproven);
        }
        // Deviation: in synchronized states hard errors are taken for soft ones (RFC 5927 §5.2).
        if error.is_hard() && self.state == State::SynSent {
            self.end(Event::Abort, Ending::Refused, env);
        }
        Ok(Handled::IcmpError)
    }
}
