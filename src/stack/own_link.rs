//! Our link changes while we run: another Ethernet address, which the neighbours are told, or another MTU.

use super::output::Transmit;
use super::routes::Routes;
use super::shard::Shard;
use crate::time::{Duration, Instant};
use crate::wire::arp::{Arp, Operation};
use crate::wire::frame::{self, Link};
use crate::wire::{Addr, MacAddr, ndp};

/// How often each address is announced (RFC 5227 §1.1, ANNOUNCE_NUM).
const ANNOUNCE_NUM: u8 = 2;
/// Time between two rounds (RFC 5227 §1.1, ANNOUNCE_INTERVAL).
const ANNOUNCE_INTERVAL: Duration = Duration::from_secs(2);
/// Announcements of one turn, so that thousands of addresses do not hold up the segments.
const ANNOUNCEMENTS_PER_TURN: usize = 64;

/// What is still to be announced.
#[derive(Debug, Default)]
pub(super) struct Announcer {
    rounds: u8,
    /// The next address of this round.
    next: usize,
    /// When this round may begin.
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
        for _ in 0..ANNOUNCEMENTS_PER_TURN {
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
    }
}

/// For IPv4 an ARP announcement (RFC 5227 §2.3), for IPv6 an unsolicited neighbour advertisement (RFC 4861 §7.2.6).
fn write_announcement(buffer: &mut [u8], mac: MacAddr, addr: Addr) -> usize {
    if addr.is_v4() {
        let link = Link { src: mac, dst: MacAddr::BROADCAST, vlan: None };
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: mac,
            sender_addr: addr,
            target_mac: MacAddr::default(),
            target_addr: addr,
        };
        return frame::emit_arp(buffer, &link, &arp);
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
    /// keep to less where they must, and take no more: their peers know what was offered.
    pub(super) fn on_link(&mut self, mac: MacAddr, mtu: u16) {
        let shrinks = mtu < self.config.mtu;
        (self.config.mac, self.config.mtu) = (mac, mtu);
        self.path_mtus.on_link(mtu);
        if !shrinks {
            return;
        }
        let (v4, v6) = (self.config.our_mss(true), self.config.our_mss(false));
        let connections: Vec<u32> = self.connections.indices().collect();
        for index in connections {
            if let Some(tcb) = self.connections.get_mut(index) {
                tcb.on_smaller_link(if tcb.tuple.local_addr.is_v4() { v4 } else { v6 });
            }
        }
    }
}
