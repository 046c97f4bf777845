//! Octets ↔ headers, without state: Ethernet, ARP, IPv4, IPv6, ICMP, TCP.

mod addr;
mod seq;
pub mod tcp;

pub use addr::{Addr, FourTuple, MacAddr};
pub use seq::SeqNum;
