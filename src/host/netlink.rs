//! One netlink socket: a request, and the messages that answer it.

use netlink_packet_core::{NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// How long the kernel may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// A netlink socket in the namespace of the thread that opened it.
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
}

impl Netlink {
    pub(super) fn open() -> io::Result<Netlink> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Netlink { socket, sequence: 0 })
    }

    /// A socket that hears what the kernel tells `group`.
    pub(super) fn listen(group: u32) -> io::Result<Netlink> {
        let mut netlink = Netlink::open()?;
        netlink.socket.add_membership(group)?;
        netlink.sequence = 0;
        Ok(netlink)
    }

    /// Everything of a kind.
    pub(super) fn dump(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.request(message, NLM_F_DUMP)
    }

    /// One question, or one order with further `flags`, and its answer.
    pub(super) fn ask(&mut self, message: RouteNetlinkMessage) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.request(message, NLM_F_ACK)
    }

    /// A request with `flags`, of which NLM_F_ACK or NLM_F_DUMP tells the answer's end.
    pub(super) fn request(&mut self, message: RouteNetlinkMessage, flags: u16) -> io::Result<Vec<RouteNetlinkMessage>> {
        self.sequence += 1;
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::from(message));
        message.finalize();
        let mut octets = vec![0; message.buffer_len()];
        message.serialize(&mut octets);
        self.socket.send(&octets, 0)?;
        self.answer()
    }

    fn answer(&self) -> io::Result<Vec<RouteNetlinkMessage>> {
        let mut messages = Vec::new();
        loop {
            if !readable(self.as_fd(), PATIENCE)? {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for message in self.receive()? {
                if message.header.sequence_number != self.sequence {
                    continue;
                }
                match message.payload {
                    NetlinkPayload::InnerMessage(inner) => messages.push(inner),
                    NetlinkPayload::Done(_) => return Ok(messages),
                    NetlinkPayload::Error(e) if e.code.is_none() => return Ok(messages),
                    NetlinkPayload::Error(e) => return Err(e.to_io()),
                    _ => {}
                }
            }
        }
    }

    /// The messages of one datagram; one that this library does not understand is left out.
    pub(super) fn receive(&self) -> io::Result<Vec<NetlinkMessage<RouteNetlinkMessage>>> {
        let (octets, _) = self.socket.recv_from_full()?;
        let (mut rest, mut messages) = (&octets[..], Vec::new());
        while let Some(len) = rest.first_chunk::<4>().map(|len| u32::from_ne_bytes(*len) as usize) {
            if len < 16 || len > rest.len() {
                break;
            }
            messages.extend(NetlinkMessage::deserialize(&rest[..len]));
            rest = &rest[len.next_multiple_of(4).min(rest.len())..];
        }
        Ok(messages)
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// Whether there is something to read before the time is over.
pub(super) fn readable(fd: BorrowedFd<'_>, timeout: Duration) -> io::Result<bool> {
    let timeout = Timespec::try_from(timeout).ok();
    loop {
        match poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            outcome => return Ok(outcome? > 0),
        }
    }
}
