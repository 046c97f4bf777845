//! Frames: the one handle of a UMEM chunk, and how they pass into and out of the rings of the crate `xdp`.

pub use crate::driver::CHUNK;
use crate::driver::Frame;
use crate::wire::frame::find_tcp;
use crate::wire::tcp;
use ::xdp::Packet;
use ::xdp::libc::xdp::{XdpTxFlags, xsk_tx_metadata, xsk_tx_offload, xsk_tx_request};
use ::xdp::packet::CsumOffload;
use ::xdp::slab::Slab;
use std::collections::VecDeque;

/// A frame in a UMEM chunk. Its memory stays mapped as long as the process lives.
pub struct XskFrame {
    /// Always stretched to the end of its chunk: what is written is told from the rest by `len`.
    packet: Packet,
    len: usize,
    /// The UMEM it belongs to.
    umem: u32,
}

// SAFETY: a frame is the only handle of its chunk, as the rings hand out each chunk once, and the chunk is mapped for the
// life of the process.
unsafe impl Send for XskFrame {}

impl XskFrame {
    /// Wraps what a ring or the free list of UMEM number `umem` handed out. A frame that a NIC has written on beyond
    /// [`CHUNK`] is cut off there: its IP header says that it was longer.
    pub(super) fn new(mut packet: Packet, umem: u32) -> Self {
        let len = packet.len();
        // Chunks are aligned to their size, so an address says how much of its chunk is left.
        let room = (CHUNK - (packet.as_ptr() as usize & (CHUNK - 1))).min(packet.capacity());
        packet.adjust_tail(room as i32 - len as i32).expect("a packet that ends within its chunk");
        XskFrame { packet, len: len.min(room), umem }
    }

    /// The UMEM that the chunk belongs to.
    pub(super) fn umem(&self) -> u32 {
        self.umem
    }

    /// Asks for the checksum of a TCP segment to be finished, by a note to the kernel that lies before the frame: within what
    /// the kernel keeps to itself of a chunk, and so has left free.
    ///
    /// # Panics
    /// If the UMEM has no room for the note.
    pub(super) fn ask_for_checksum(&mut self) {
        let Some(start) = find_tcp(self.bytes()) else { return };
        // This writes a request for a time stamp, which gives way to ours, and notes in the descriptor that there is one.
        self.packet.set_tx_metadata(CsumOffload::None, true).expect("a UMEM with room for a request");
        let mut offload = xsk_tx_offload { completion: 0 };
        offload.request = xsk_tx_request { csum_start: start as u16, csum_offset: tcp::CHECKSUM_AT as u16 };
        let request = xsk_tx_metadata { flags: XdpTxFlags::XDP_TXMD_FLAGS_CHECKSUM, offload };
        // SAFETY: a request of this type was just written to the same place, which lies within the frame's chunk, before all
        // that the packet lends out; the chunk is mapped for the life of the process, and `self` is its only handle. That a
        // pointer may leave the slice that it came from for the rest of the chunk is what the crate relies on as well.
        unsafe { self.packet.as_mut_ptr().cast::<xsk_tx_metadata>().sub(1).write_unaligned(request) };
    }

    /// The packet, as long as the frame is.
    pub(super) fn into_packet(mut self) -> Packet {
        let unused = self.packet.len() - self.len;
        self.packet.adjust_tail(-(unused as i32)).expect("a frame no longer than its packet");
        self.packet
    }
}

impl Frame for XskFrame {
    fn bytes(&self) -> &[u8] {
        &self.packet[..self.len]
    }

    fn buffer(&mut self) -> &mut [u8] {
        &mut self.packet
    }

    fn set_len(&mut self, len: usize) {
        assert!(len <= self.packet.len(), "a frame of {len} octets does not fit the {} it has", self.packet.len());
        self.len = len;
    }
}

impl std::fmt::Debug for XskFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "XskFrame({} octets)", self.len)
    }
}

/// Where the rx ring puts what it holds: at the end of a burst, up to `room` frames.
pub(super) struct Received<'a> {
    pub(super) burst: &'a mut Vec<XskFrame>,
    pub(super) room: usize,
    pub(super) umem: u32,
}

impl Slab for Received<'_> {
    fn available(&self) -> usize {
        self.room
    }

    fn len(&self) -> usize {
        self.burst.len()
    }

    fn is_empty(&self) -> bool {
        self.burst.is_empty()
    }

    fn push_front(&mut self, packet: Packet) -> Option<Packet> {
        if self.room == 0 {
            return Some(packet);
        }
        self.room -= 1;
        self.burst.push(XskFrame::new(packet, self.umem));
        None
    }

    fn pop_back(&mut self) -> Option<Packet> {
        self.burst.pop().map(XskFrame::into_packet)
    }
}

/// What the tx ring takes from: the oldest frame first.
pub(super) struct Pending<'a>(pub(super) &'a mut VecDeque<XskFrame>);

impl Slab for Pending<'_> {
    fn available(&self) -> usize {
        0
    }

    fn len(&self) -> usize {
        self.0.len()
    }

    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn push_front(&mut self, packet: Packet) -> Option<Packet> {
        Some(packet)
    }

    fn pop_back(&mut self) -> Option<Packet> {
        self.0.pop_front().map(XskFrame::into_packet)
    }
}

#[cfg(test)]
mod tests {
    use super::super::umem::{ChunkSize, map};
    use super::*;

    /// A chunk-aligned buffer that lives long enough.
    fn packet() -> Packet {
        #[repr(align(2048))]
        struct Aligned([u8; CHUNK]);
        Packet::testing_new(&mut Box::leak(Box::new(Aligned([0; CHUNK]))).0)
    }

    #[test]
    fn a_frame_has_its_chunk_to_the_end_and_gives_back_what_was_set() {
        let mut packet = packet();
        packet.insert(0, &[7; 60]).unwrap();
        let mut frame = XskFrame::new(packet, 0);
        assert_eq!(frame.bytes(), [7; 60]);
        assert_eq!(frame.buffer().len(), CHUNK - 256);
        frame.buffer()[60..1514].fill(8);
        frame.set_len(1514);
        let packet = frame.into_packet();
        assert_eq!((packet.len(), packet[59], packet[60]), (1514, 7, 8));
    }

    #[test]
    fn what_a_nic_wrote_beyond_the_half_of_a_large_chunk_is_cut_off() {
        let umem = map(1, ChunkSize::Page, false).unwrap().umem;
        // SAFETY: the UMEM is mapped for the life of the process.
        let mut packet = unsafe { umem.alloc() }.unwrap();
        packet.insert(0, &[7; 3000]).unwrap();
        let mut frame = XskFrame::new(packet, 0);
        assert_eq!((frame.bytes().len(), frame.buffer().len()), (CHUNK - 256, CHUNK - 256));
        assert_eq!(frame.into_packet().len(), CHUNK - 256);
    }

    #[test]
    fn frames_leave_in_the_order_they_came() {
        let mut queue: VecDeque<XskFrame> = VecDeque::new();
        for octet in 0..3 {
            let mut frame = XskFrame::new(packet(), 0);
            frame.buffer()[0] = octet;
            frame.set_len(1);
            queue.push_back(frame);
        }
        let mut pending = Pending(&mut queue);
        assert_eq!(pending.len(), 3);
        for octet in 0..3 {
            assert_eq!(&pending.pop_back().unwrap()[..], [octet]);
        }
        assert!(pending.pop_back().is_none());
    }

    #[test]
    fn a_burst_takes_no_more_than_its_room() {
        let mut burst = Vec::new();
        let mut received = Received { burst: &mut burst, room: 2, umem: 0 };
        assert!(received.push_front(packet()).is_none());
        assert!(received.push_front(packet()).is_none());
        assert!(received.push_front(packet()).is_some());
        assert_eq!(burst.len(), 2);
    }
}
