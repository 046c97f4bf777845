//! Our link changes while we run: another Ethernet address, which the neighbours are told, or another MTU.

use super::output::{Transmit, write_question};
use super::routes::Routes;
use super::shard::Shard;
use crate::time::{Duration, Instant};
use crate::wire::frame::{self, Link};
use crate::wire::{Addr, MacAddr, ndp};

/// How often each address is announced (RFC 5227 §1.1, ANNOUNCE_NUM).
const ANNOUNCE_NUM: u8 = 2;
/// Time between two rounds (RFC 5227 §1.1, ANNOUNCE_INTERVAL).
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// Announcements at a time, and the time between: every station of the link hears them, and there may be thousands.
const BATCH: usize = 16;
const BATCH_INTERVAL: Duration = Duration::from_millis(10);

/// What is still to be announced.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    rounds: u8,
    /// The next address of this round.
    next: usize,
    /// When it goes on.
    at: Option<Instant>,
}

impl Announcer {
    /// Every address is announced anew, from now on.
    pub(super) fn restart(&mut self, now: Instant) {
        *self = Announcer { rounds: ANNOUNCE_NUM, next: 0, at: Some(now) };
    }

    /// When there is something to announce.
    pub(super) fn due(&self) -> Option<Instant> {
        self.at
    }

    /// Announces what is due, as far as there is room.
    pub(super) fn poll_transmit(&mut self, now: Instant, routes: &Routes, mac: MacAddr, out: &mut impl Transmit) {
        if self.at.is_none_or(|at| at > now) {
            return;
        }
        for _ in 0..BATCH {
            if self.next == routes.len() {
                self.rounds -= 1;
                self.next = 0;
                self.at = (self.rounds > 0).then(|| now + ANNOUNCE_INTERVAL);
                return;
            }
            let Some(addr) = routes.source(self.next) else { return };
            if !out.transmit(|buffer| write_announcement(buffer, mac, addr)) {
                return;
            }
            self.next += 1;
        }
        self.at = Some(now + BATCH_INTERVAL);
    }
}

/// For IPv4 an ARP announcement, which is a question for the address itself (RFC 5227 §2.3), for IPv6 an unsolicited
/// neighbour advertisement (RFC 4861 §7.2.6).
fn write_announcement(buffer: &mut [u8], mac: MacAddr, addr: Addr) -> usize {
    if addr.is_v4() {
        return write_question(buffer, mac, addr, addr);
    }
    let link = Link { src: mac, dst: ndp::group_mac(&ndp::ALL_NODES), vlan: None };
    let advertisement = ndp::Advertisement {
        target: addr,
        target_mac: Some(mac),
        router: false,
        solicited: false,
        override_known: true,
    };
    frame::emit_neighbour_advertisement(buffer, &link, ndp::ALL_NODES, &advertisement)
}

impl Shard {
    /// Frames come from and go to `mac`, and carry packets of `mtu` octets at most, from now on. Connections that are there
    /// keep to less when they next send text (`Tcb::fit_link`), and take no more: their peers know what was offered.
    pub(super) fn on_link(&mut self, mac: MacAddr, mtu: u16) {
        (self.config.mac, self.config.mtu) = (mac, mtu);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::LocalAddr;

    /// Takes as many frames as there is room for.
    struct Room(usize);

    impl Transmit for Room {
        fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
            let has_room = self.0 > 0;
            if has_room {
                write(&mut [0; 128]);
                self.0 -= 1;
            }
            has_room
        }
    }

    #[test]
    fn many_addresses_are_announced_bit_by_bit_and_none_is_left_out_for_want_of_room() {
        let local = |n| LocalAddr { addr: Addr::from_v4([10, 0, 0, n]), prefix_len: 24 };
        let routes = Routes::new(&(1..=40).map(local).collect::<Vec<_>>(), &[], &[]);
        let mut announcer = Announcer::default();
        let said_at = |announcer: &mut Announcer, ms, room| {
            let mut out = Room(room);
            announcer.poll_transmit(Instant::from_millis(ms), &routes, MacAddr::default(), &mut out);
            room - out.0
        };
        assert_eq!(said_at(&mut announcer, 0, 100), 0, "nothing has changed");
        announcer.restart(Instant::from_millis(1_000));
        let said: Vec<_> = [(1_000, 100), (1_005, 100), (1_010, 3), (1_011, 100), (1_021, 100)]
            .map(|(ms, room)| said_at(&mut announcer, ms, room))
            .into();
        assert_eq!(said, [BATCH, 0, 3, BATCH, 40 - 2 * BATCH - 3]);
        assert_eq!(announcer.due(), Some(Instant::from_millis(1_021) + ANNOUNCE_INTERVAL), "the second round");
        let again = (0..10).map(|n| said_at(&mut announcer, 3_021 + 10 * n, 100)).sum::<usize>();
        assert_eq!((again, announcer.due()), (40, None));
    }
}
