//! Octets ↔ headers, without state: Ethernet, ARP, IPv4, IPv6, ICMP, NDP, TCP.
//!
//! [`frame`] is the front door: [`frame::parse`] takes a whole Ethernet frame apart and says what it is or why it is
//! dropped, `frame::emit_…` write whole frames. Below it there is a module for each header. Nothing here allocates,
//! keeps state, or panics on what a peer sent.
#![forbid(unsafe_code)]

mod addr;
pub mod arp;
pub mod checksum;
pub mod ethernet;
pub mod frame;
#[cfg(test)]
mod golden;
pub mod icmp;
pub mod icmpv6;
pub mod ip;
pub mod ipv4;
pub mod ipv6;
pub mod ndp;
mod seq;
pub mod tcp;

pub use addr::{Addr, FourTuple, MacAddr};
pub use ip::Dscp;
pub use seq::SeqNum;
