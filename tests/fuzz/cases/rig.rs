//! A stack on a bench: frames, calls and time go in, and after each turn everything that can be checked is.

use super::caller::{Call, Caller};
use handfast::ledger::DropReason;
use handfast::stack::{
    CookieKeys, DefenceConfig, Limits, LocalAddr, RxChecksum, Secrets, Stack, StackConfig, TcpConfig, Transition,
    Transmit,
};
use handfast::stats::Snapshot;
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{self, Incoming, VerifyChecksum};
use handfast::wire::tcp::Flags;
use handfast::wire::{Addr, MacAddr};

pub const OUR_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
pub const PEER_MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
pub const OURS: Addr = Addr::from_v4([10, 77, 0, 2]);
pub const OURS_V6: Addr = Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
pub const PEER: Addr = Addr::from_v4([10, 77, 0, 1]);
pub const PEER_V6: Addr = Addr::from_v6([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
pub const MTU: u16 = 1500;
pub const CHUNK: usize = 2048;

/// A host with one listener and pools so small that a few frames fill them.
pub fn config(tcp: TcpConfig) -> StackConfig {
    let local = |addr, prefix_len| LocalAddr { addr, prefix_len };
    StackConfig {
        mtu: MTU,
        gateways: vec![Addr::from_v4([10, 77, 0, 254])],
        listen: vec![7],
        ephemeral_ports: (50_000, 50_003),
        tcp,
        limits: Limits {
            orphans: 2,
            path_mtus: 2,
            half_open: 4,
            connections: 4,
            time_wait: 4,
            // Less than the tables' own limits come to.
            table_bytes: 600,
            buffer_bytes: 64 * 1024,
            neighbours: 4,
            app_timers: 4,
            replies_per_second: 50,
        },
        // Of a few peers, all in one prefix.
        defence: DefenceConfig { prefix_share: 100, ..DefenceConfig::default() },
        traced_connections: 32,
        ..StackConfig::new(
            OUR_MAC,
            vec![local(OURS, 24), local(OURS_V6, 64)],
            Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) },
        )
    }
}

/// A queue of bounded length.
struct Wire {
    frames: Vec<Vec<u8>>,
    room: usize,
}

impl Transmit for Wire {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        let mut frame = vec![0xa5; CHUNK];
        let len = write(&mut frame);
        frame.truncate(len);
        self.frames.push(frame);
        true
    }
}

/// A stack on the bench.
pub struct Rig {
    pub stack: Stack<Caller>,
    pub now: Instant,
    /// What the link carries, as the stack was told last.
    mtu: u16,
    /// It does not look at checksums: the answer to a damaged ping is damaged as well.
    trusts: bool,
}

impl Rig {
    pub fn new(config: StackConfig, now: Instant) -> Rig {
        let trusts = config.rx_checksum == RxChecksum::Trust;
        Rig { mtu: config.mtu, stack: Stack::new(config, Caller::default(), now), now, trusts }
    }

    /// One turn: the frame, if there is one, the timers, and as many frames out as there is room for. Says what was sent.
    pub fn turn(&mut self, frame: Option<&[u8]>, room: usize) -> Vec<Vec<u8>> {
        let mut wire = Wire { frames: Vec::new(), room };
        if let Some(frame) = frame.filter(|frame| frame.len() <= CHUNK) {
            let mut buffer = vec![0x5a; CHUNK];
            buffer[..frame.len()].copy_from_slice(frame);
            if let Some(reply) = self.stack.on_frame(self.now, &mut buffer, frame.len()).reply() {
                self.stack.on_sent(Some(reply));
                wire.frames.push(buffer[..reply].to_vec());
            }
        }
        self.stack.on_timers(self.now);
        self.stack.poll_transmit(self.now, &mut wire);
        self.check(&wire.frames);
        wire.frames
    }

    /// The link carries something else from now on.
    pub fn change_mtu(&mut self, mtu: u16) {
        self.mtu = mtu;
        self.stack.on_link(self.now, OUR_MAC, mtu, false);
    }

    /// The application does as it is told.
    pub fn call(&mut self, call: Call) {
        self.stack.on_message(self.now, call);
    }

    fn check(&self, sent: &[Vec<u8>]) {
        if let Err(law) = self.stack.check_invariants() {
            panic!("{law}");
        }
        for frame in sent {
            assert!(frame.len() <= usize::from(MTU) + 18, "a frame of {} octets", frame.len());
            match frame::parse(frame, VerifyChecksum::Yes) {
                Ok(Incoming::Tcp { link, segment, .. }) => {
                    assert_eq!(link.src, OUR_MAC);
                    assert!(frame.len() <= usize::from(self.mtu) + 18, "{} octets, of {}", frame.len(), self.mtu);
                    let (flags, text) = (segment.header.flags, segment.text);
                    assert!(!(flags.has(Flags::SYN) && flags.has(Flags::FIN)), "SYN and FIN");
                    assert!(!flags.has(Flags::RST) || text.is_empty(), "a RST with text");
                }
                Ok(_) => {}
                Err(DropReason::IcmpMalformed) if self.trusts => {}
                // An echo reply answers no question of ours.
                Err(reason) => assert_eq!(reason, DropReason::IcmpIgnored, "{frame:02x?}"),
            }
        }
    }

    /// Nobody answers any more, and the application closes all it has, or resets it: then everything ends by itself, in
    /// bounded time.
    pub fn wind_down(mut self, how: Ending) -> End {
        match how {
            Ending::Drain => self.stack.drain(self.now),
            Ending::Abort => self.stack.abort_all(self.now),
        }
        for _ in 0..2_000 {
            let mut wire = Wire { frames: Vec::new(), room: usize::MAX };
            self.stack.on_timers(self.now);
            self.stack.poll_transmit(self.now, &mut wire);
            if !wire.frames.is_empty() {
                self.check(&wire.frames);
            }
            match self.stack.next_timeout(self.now) {
                // Late is good enough, and saves most of the turns.
                Some(next) => self.now = next.max(self.now + Duration::from_secs(1)),
                None => break,
            }
        }
        self.check(&[]);
        let snapshot = self.stack.snapshot();
        assert!(snapshot.ledger.exact, "{}", snapshot.ledger);
        assert!(self.stack.is_idle(), "still alive: {:?}", snapshot.states);
        if let Err(left) = self.stack.check_empty() {
            panic!("{left}");
        }
        End { snapshot, trace: self.stack.into_parts().1 }
    }
}

/// How a run ends.
pub enum Ending {
    Drain,
    Abort,
}

/// What a run has left behind.
#[allow(dead_code, reason = "looked at without a fuzzer only")]
pub struct End {
    pub snapshot: Snapshot,
    /// The changes of state that it saw.
    pub trace: Vec<Transition>,
}
