//! The segments of one connection, picked out of what a tap has recorded.

use crate::driver::tap::{Crossed, Direction};
use crate::time::Instant;
use crate::wire::FourTuple;
use crate::wire::frame::{self, Incoming, VerifyChecksum};
use crate::wire::tcp;

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// The one that opened it.
    Client,
    /// The one that accepted it.
    Server,
}

impl Side {
    /// The other end.
    pub fn other(self) -> Side {
        match self {
            Side::Client => Side::Server,
            Side::Server => Side::Client,
        }
    }
}

/// A segment that crossed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Crossing {
    /// When it passed the tap.
    pub at: Instant,
    /// Who sent it.
    pub from: Side,
    /// Its header.
    pub header: tcp::Header,
    /// Octets of text.
    pub text_len: u32,
}

/// The segments of one connection from the record of the tap at the end `me`; `tuple` is as that end sees it.
pub fn crossings(me: Side, tuple: &FourTuple, record: &[Crossed]) -> Vec<Crossing> {
    record.iter().filter_map(|crossed| crossing(me, tuple, crossed)).collect()
}

fn crossing(me: Side, tuple: &FourTuple, crossed: &Crossed) -> Option<Crossing> {
    // Text beyond what the tap keeps is of no interest; its length is.
    let mut frame = crossed.bytes().to_vec();
    frame.resize(crossed.len as usize, 0);
    let Ok(Incoming::Tcp { tuple: seen_by_receiver, segment, .. }) = frame::parse(&frame, VerifyChecksum::No) else {
        return None;
    };
    let (from, seen_by_me) = match crossed.direction {
        Direction::Received => (me.other(), seen_by_receiver),
        Direction::Sent => (me, reversed(&seen_by_receiver)),
    };
    (seen_by_me == *tuple).then_some(Crossing {
        at: crossed.at,
        from,
        header: segment.header,
        text_len: segment.text.len() as u32,
    })
}

/// The tuple as the other end sees it.
fn reversed(tuple: &FourTuple) -> FourTuple {
    FourTuple {
        local_addr: tuple.remote_addr,
        remote_addr: tuple.local_addr,
        local_port: tuple.remote_port,
        remote_port: tuple.local_port,
    }
}
