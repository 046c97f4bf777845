//! Which processes hold AF_XDP sockets: sock_diag(7), and /proc for the owner of a socket.

use netlink_packet_core::{
    Emitable, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, NetlinkBuffer, NetlinkHeader, NlasIterator,
};
use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket, SocketAddr};
use std::io;
use std::path::Path;

const SOCK_DIAG_BY_FAMILY: u16 = 20;
const AF_XDP: u8 = 44;
const XDP_SHOW_INFO: u32 = 1;
const XDP_DIAG_INFO: u16 = 1;

/// An AF_XDP socket that is bound to a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdpSocket {
    /// The interface's index.
    pub if_index: u32,
    /// The queue's number.
    pub queue: u32,
    /// The socket's inode, as `/proc/PID/fd` shows it.
    pub inode: u32,
}

impl XdpSocket {
    /// The process that has the socket open, as `name (pid 123)`, if /proc shows it to us.
    pub fn holder(&self) -> Option<String> {
        let socket = format!("socket:[{}]", self.inode);
        std::fs::read_dir("/proc").ok()?.flatten().find_map(|process| {
            let pid: u32 = process.file_name().to_str()?.parse().ok()?;
            let fds = std::fs::read_dir(process.path().join("fd")).ok()?;
            let is_it = |fd: std::fs::DirEntry| std::fs::read_link(fd.path()).is_ok_and(|to| to == Path::new(&socket));
            if !fds.flatten().any(is_it) {
                return None;
            }
            Some(process_name(&process.path(), pid))
        })
    }
}

/// The bound AF_XDP sockets of the caller's network namespace: sock_diag by netlink.
///
/// # Errors
/// When the kernel has no such diagnosis (CONFIG_XDP_SOCKETS_DIAG), or the caller lacks CAP_NET_ADMIN.
pub fn xdp_sockets() -> io::Result<Vec<XdpSocket>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    socket.send(&request(), 0)?;
    let mut sockets = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while let Ok(message) = NetlinkBuffer::new_checked(rest) {
            match message.message_type() {
                NLMSG_DONE => return Ok(sockets),
                NLMSG_ERROR => {
                    let code = word(message.payload(), 0).map_or(0, u32::cast_signed);
                    return Err(io::Error::from_raw_os_error(code.wrapping_neg()));
                }
                SOCK_DIAG_BY_FAMILY => sockets.extend(parse(message.payload())),
                _ => {}
            }
            rest = rest.get((message.length() as usize).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The processes with AF_XDP sockets and a thread in the caller's namespace, as `name (pid 123)`, where the kernel lacks
/// sock_diag for them: told by the mappings of their fill rings. Processes that /proc hides from us are left out.
pub fn xdp_holders() -> Vec<String> {
    let Ok(ours) = std::fs::read_link("/proc/thread-self/ns/net") else { return Vec::new() };
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let holders = processes.filter_map(|process| {
        let (path, pid) = (process.path(), process.file_name().to_str()?.parse::<u32>().ok()?);
        if !std::fs::read_to_string(path.join("maps")).is_ok_and(|maps| maps.lines().any(is_fill_ring)) {
            return None;
        }
        let mut threads = std::fs::read_dir(path.join("task")).ok()?.flatten();
        let here = threads.any(|thread| std::fs::read_link(thread.path().join("ns/net")).is_ok_and(|net| net == ours));
        here.then(|| process_name(&path, pid))
    });
    holders.collect()
}

/// Whether a line of `/proc/PID/maps` is a fill ring: a socket mapped at the offset that only AF_XDP knows.
fn is_fill_ring(line: &str) -> bool {
    let offset = line.split_whitespace().nth(2).and_then(|offset| u64::from_str_radix(offset, 16).ok());
    line.contains(" socket:[") && offset == Some(libc::XDP_UMEM_PGOFF_FILL_RING)
}

pub(super) fn process_name(path: &Path, pid: u32) -> String {
    let name = std::fs::read_to_string(path.join("comm")).unwrap_or_default();
    format!("{} (pid {pid})", name.trim())
}

/// A netlink header and `struct xdp_diag_req`.
fn request() -> [u8; 36] {
    let mut header = NetlinkHeader::default();
    header.length = 36;
    header.message_type = SOCK_DIAG_BY_FAMILY;
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    header.sequence_number = 1;
    let mut octets = [0; 36];
    header.emit(&mut octets);
    octets[16] = AF_XDP;
    octets[24..28].copy_from_slice(&XDP_SHOW_INFO.to_ne_bytes());
    octets
}

/// `struct xdp_diag_msg` and its attributes.
fn parse(body: &[u8]) -> Option<XdpSocket> {
    let inode = word(body, 4)?;
    let mut attributes = NlasIterator::new(body.get(16..)?).map_while(Result::ok);
    let info = attributes.find(|attribute| attribute.kind() == XDP_DIAG_INFO)?;
    // An unbound socket has no interface.
    let if_index = word(info.value(), 0).filter(|&index| index > 0)?;
    Some(XdpSocket { if_index, queue: word(info.value(), 4)?, inode })
}

fn word(octets: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(octets.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_ring_is_known_by_its_offset() {
        let line = |offset: &str, file: &str| format!("7f0000000000-7f0000009000 rw-s {offset} 00:08 5123 {file}");
        assert!(is_fill_ring(&line("100000000", "socket:[5123]")));
        // A packet socket's ring starts at nought; a file of five GiB is no socket.
        assert!(!is_fill_ring(&line("00000000", "socket:[5123]")) && !is_fill_ring(&line("100000000", "/tmp/large")));
        assert!(!is_fill_ring(""));
    }

    #[test]
    fn a_message_cut_anywhere_is_no_socket_and_no_panic() {
        let mut body = vec![AF_XDP, 3, 0, 0];
        for word in [77u32, 0, 0] {
            body.extend(word.to_ne_bytes());
        }
        body.extend([8u16.to_ne_bytes(), 9u16.to_ne_bytes()].concat());
        body.extend(5u32.to_ne_bytes());
        body.extend([12u16.to_ne_bytes(), XDP_DIAG_INFO.to_ne_bytes()].concat());
        body.extend([4u32.to_ne_bytes(), 2u32.to_ne_bytes()].concat());
        assert_eq!(parse(&body), Some(XdpSocket { if_index: 4, queue: 2, inode: 77 }));
        for len in 0..body.len() {
            assert_eq!(parse(&body[..len]), None, "{len}");
        }
    }
}
