//! Initial sequence numbers and timestamp clocks that nobody outside can guess: RFC 9293 §3.4.1 (MUST-8, SHLD-1,
//! MUST-9), RFC 6528 §3, RFC 7323 §5.4.

use super::tuple_hash::TupleHash;
use crate::time::Instant;
use crate::wire::{FourTuple, SeqNum};

/// Makes initial sequence numbers and timestamp offsets from a secret.
#[derive(Clone, Copy)]
pub struct IsnGenerator {
    keyed: TupleHash,
}

impl IsnGenerator {
    /// With this secret, which must be random for each start of the host.
    pub fn new(secret: &[u8; 16]) -> Self {
        IsnGenerator { keyed: TupleHash::new(secret) }
    }

    /// ISN = M + F(4-tuple, secret), where M ticks every 64 ns: for one 4-tuple later is larger, across 4-tuples nothing
    /// can be told.
    ///
    /// Deviation: RFC 9293 §3.4.1, ISN clock of 4 µs. A connection that lives for less than a millisecond sends more
    /// octets than such a clock has ticks; an old duplicate of its SYN, together with the acknowledgement by which the
    /// peer's TIME-WAIT answers, could then open it a second time. At 64 ns M comes round after 275 s, beyond 2 MSL.
    pub fn isn(&self, tuple: &FourTuple, now: Instant) -> SeqNum {
        isn(self.word(tuple), now)
    }

    /// What is added to our millisecond clock to make this tuple's TSval: fixed for a tuple, so that a later connection
    /// of the same tuple has larger ones (RFC 6191 §3).
    pub fn timestamp_offset(&self, tuple: &FourTuple) -> u32 {
        timestamp_offset(self.word(tuple))
    }

    /// The tuple's number, of which ISN and timestamps are made; nobody outside can tell any part of it.
    pub(crate) fn word(&self, tuple: &FourTuple) -> u64 {
        self.keyed.hash(tuple)
    }
}

/// The part of [`IsnGenerator::isn`] that a tuple's number leaves to be done.
#[inline]
pub(crate) fn isn(word: u64, now: Instant) -> SeqNum {
    SeqNum(((now.as_nanos() >> 6) as u32).wrapping_add(word as u32))
}

/// As [`IsnGenerator::timestamp_offset`], of a tuple's number.
#[inline]
pub(crate) fn timestamp_offset(word: u64) -> u32 {
    (word >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::Duration;
    use crate::wire::Addr;

    fn tuple(port: u16) -> FourTuple {
        FourTuple {
            local_addr: Addr::from_v4([10, 0, 0, 1]),
            remote_addr: Addr::from_v4([10, 0, 0, 2]),
            local_port: 80,
            remote_port: port,
        }
    }

    #[test]
    fn the_isn_of_one_tuple_rises_with_the_clock() {
        let isns = IsnGenerator::new(&[7; 16]);
        let start = Instant::from_millis(5);
        let first = isns.isn(&tuple(1), start);
        let second = isns.isn(&tuple(1), start + Duration::from_nanos(6_400));
        assert_eq!(second.distance_from(first), 100);
    }

    #[test]
    fn tuples_and_secrets_show_no_common_offset() {
        let (a, b) = (IsnGenerator::new(&[1; 16]), IsnGenerator::new(&[2; 16]));
        let now = Instant::from_millis(5);
        let differences: std::collections::HashSet<u32> =
            (1..1000).map(|port| a.isn(&tuple(port + 1), now).distance_from(a.isn(&tuple(port), now))).collect();
        assert!(differences.len() > 990, "neighbouring tuples must not be a constant apart");
        assert_ne!(a.isn(&tuple(1), now), b.isn(&tuple(1), now));
    }
}
