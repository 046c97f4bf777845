//! A half-open entry in its table: the entry itself, and its tuple in 22 octets, our address by its number; and
//! whence its SYN came, by a number as well. Where it is an IPv4 address, the peer's leaves room for the offset of our
//! timestamps; for IPv6 that is hashed anew.

use super::locals::Locals;
use super::senders::Number;
use super::slab::Slab;
use super::wheel::Timed;
use crate::tcp::half_open::HalfOpen;
use crate::tcp::isn::IsnGenerator;
use crate::tcp::timer::Link;
use crate::wire::{Addr, FourTuple};
use std::ops::{Deref, DerefMut};

/// The entry of a tuple.
#[derive(Debug)]
pub struct HalfOpenSlot {
    entry: HalfOpen,
    remote: Remote,
    /// The number of our address.
    local: u16,
    local_port: u16,
    remote_port: u16,
    /// The number of the station that its SYN came from.
    sender: Number,
}

/// The peer's address, of the family of ours: an IPv6 address in words of network order; or an IPv4 address as its
/// number, the offset of our timestamps, and zeros.
type Remote = [u32; 4];

/// Also in a place that may be empty.
const _: () = assert!(Slab::<HalfOpenSlot>::ENTRY_BYTES == 52);
// All in: table, order of time, and index.
const _: () = assert!(Slab::<HalfOpenSlot>::ENTRY_BYTES as f64 + super::flow_index::BYTES_PER_FLOW <= 64.0);

impl HalfOpenSlot {
    /// What a place is filled with where an entry is to stand, which is then written there: moving what was just written in
    /// pieces takes longer.
    pub const UNUSED: HalfOpenSlot =
        HalfOpenSlot { entry: HalfOpen::UNUSED, remote: [0; 4], local: 0, local_port: 0, remote_port: 0, sender: 0 };

    /// Becomes the entry of this tuple, which has that offset of our timestamps.
    ///
    /// # Panics
    /// If the tuple's local address is none of ours.
    #[inline(always)]
    pub fn fill(&mut self, tuple: &FourTuple, entry: HalfOpen, ts_offset: u32, sender: Number, locals: &Locals) {
        let &FourTuple { local_addr, remote_addr, local_port, remote_port } = tuple;
        self.entry = entry;
        self.remote = match local_addr.is_v4() {
            true => [remote_addr.last_word(), ts_offset, 0, 0],
            false => zerocopy::transmute!(*remote_addr.octets()),
        };
        self.local = locals.number(&local_addr).expect("what a listener takes is for an address of ours");
        (self.local_port, self.remote_port, self.sender) = (local_port, remote_port, sender);
    }

    /// The number of the station that its SYN came from.
    pub fn sender(&self) -> Number {
        self.sender
    }

    /// Whose entry it is.
    #[inline]
    pub fn tuple(&self, locals: &Locals) -> FourTuple {
        let local_addr = locals.addr(self.local);
        let remote_addr = match local_addr.is_v4() {
            true => Addr::from_v4(self.remote[0].to_be_bytes()),
            false => Addr::from_v6(zerocopy::transmute!(self.remote)),
        };
        FourTuple { local_addr, remote_addr, local_port: self.local_port, remote_port: self.remote_port }
    }

    /// The offset of our timestamps; `tuple` is its own.
    #[inline]
    pub fn ts_offset(&self, tuple: &FourTuple, isns: &IsnGenerator) -> u32 {
        if tuple.local_addr.is_v4() { self.remote[1] } else { isns.timestamp_offset(tuple) }
    }
}

impl Deref for HalfOpenSlot {
    type Target = HalfOpen;
    fn deref(&self) -> &HalfOpen {
        &self.entry
    }
}

impl DerefMut for HalfOpenSlot {
    fn deref_mut(&mut self) -> &mut HalfOpen {
        &mut self.entry
    }
}

impl Timed for HalfOpenSlot {
    fn link(&mut self) -> &mut Link {
        &mut self.entry.link
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::config::LocalAddr;
    use crate::tcp::negotiation::Negotiated;
    use crate::wire::SeqNum;
    use crate::wire::tcp::Options;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn the_tuple_and_the_offset_come_back_in_either_family(ours: u128, theirs: u128, ports: (u16, u16), v4: bool) {
            let addr = |bits: u128| match v4 {
                true => Addr::from_v4((bits as u32).to_be_bytes()),
                false => Addr::from_v6((bits | 1 << 127).to_be_bytes()),
            };
            let (local_addr, remote_addr) = (addr(ours), addr(theirs));
            let locals = Locals::new(&[LocalAddr { addr: local_addr, prefix_len: 8 }]);
            let isns = IsnGenerator::new(&[7; 16]);
            let tuple = FourTuple { local_addr, remote_addr, local_port: ports.0, remote_port: ports.1 };
            let ts_offset = isns.timestamp_offset(&tuple);
            let entry = HalfOpen::of(SeqNum(1), SeqNum(2), &Negotiated::from_syn(&Options::default(), 1460, v4));
            let mut slot = HalfOpenSlot::UNUSED;
            slot.fill(&tuple, entry, ts_offset, 0, &locals);
            prop_assert_eq!((slot.tuple(&locals), slot.ts_offset(&tuple, &isns)), (tuple, ts_offset));
        }
    }
}
