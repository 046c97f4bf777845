//! What an ICMP error does to a connection: RFC 9293 §3.9.2.2, with the validation of RFC 5927.

use super::connection::{News, Tcb};
use super::env::Env;
use super::state::{Event, State};
use crate::ledger::{DropReason, Ending, Handled};
use crate::wire::icmp::{Error, ErrorKind};

impl Tcb {
    /// # Errors
    /// [`DropReason::IcmpUnproven`] when the quoted sequence number is not in flight (RFC 5927 §4).
    pub(crate) fn on_icmp_error(&mut self, error: &Error, env: &mut Env) -> Result<Handled, DropReason> {
        let in_flight = error.seq.at_or_after(self.snd_una) && error.seq.before(self.snd_nxt);
        if self.ending.is_some() || !in_flight {
            return Err(DropReason::IcmpUnproven);
        }
        // What does not end the connection the shard reports to the application (MUST-47).
        //
        // Deviation: RFC 9293 §3.9.2.2 (SHLD-26), hard ICMP errors. In synchronized states they are taken for soft ones
        // (RFC 5927 §5.2).
        if error.is_hard() && matches!(self.state, State::SynSent | State::SynReceived) {
            self.end(Event::Abort, Ending::Refused, env);
        }
        if let ErrorKind::PacketTooBig { mtu } = error.kind {
            self.on_packet_too_big(mtu, env);
        }
        Ok(Handled::IcmpError)
    }

    /// RFC 1191 §6.4, RFC 8201 §4: the segment size follows the path, but never below what every path carries.
    fn on_packet_too_big(&mut self, mtu: u32, env: &mut Env) {
        let v4 = self.tuple.local_addr.is_v4();
        // RFC 8201 §4: every link of IPv6 carries that much, so who asks for less is not to be believed at all.
        if !v4 && mtu < LEAST_MTU_V6 {
            return;
        }
        let (headers, least) = if v4 { (40, LEAST_MTU_V4) } else { (60, LEAST_MTU_V6) };
        let packet = u32::from(self.smss) + headers;
        // A router older than RFC 1191 does not say: the next plateau of that RFC's table 7-1 (§7).
        let mtu = if mtu == 0 { PLATEAUS.into_iter().find(|p| *p < packet).unwrap_or(least) } else { mtu };
        let before = self.smss;
        self.lower_smss((mtu.max(least) - headers).min(u32::from(u16::MAX)) as u16, env);
        if self.smss < before {
            self.news.add(News::PATH);
        }
    }
}

/// Below this a packet is not believed to be too big: a forged message cannot make segments tiny.
const LEAST_MTU_V4: u32 = 552;
/// RFC 8200 §5.
const LEAST_MTU_V6: u32 = 1_280;
/// RFC 1191 §7, table 7-1, as far as Ethernet goes.
const PLATEAUS: [u32; 5] = [8_166, 4_352, 2_002, 1_492, 1_006];
