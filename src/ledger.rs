//! The ledger: what became of every frame and of every connection.
//!
//! Each frame received ends in exactly one [`Handled`] or [`DropReason`]; each connection opened ends in exactly one
//! [`Ending`]; each half-open and each TIME-WAIT entry ends in one of its own endings. The sums are checked at
//! shutdown and shown by `handfast stats`. Lowest of all modules: every layer may count here.
//!
//! # To add a counter
//!
//! * An outcome, a reason or an ending is a variant of its enum: its row in `stats`, in JSON and in the sums comes by itself.
//! * What is refused is a field of [`Refusals`], and a row of the same name in `stack/report.rs`.
//! * Another sum is a field of [`Ledger`], and one of the same meaning in `stats.rs` with its line in `merge`, filled in by
//!   `stack/report.rs` and shown by a row in `cli/tables.rs`.
#![forbid(unsafe_code)]

use strum::{EnumCount, IntoEnumIterator};

/// Where the chunks of a driver are. The sum is always `total`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ChunkCensus {
    /// Chunks in the UMEM.
    pub total: u64,
    /// Free in user space.
    pub free: u64,
    /// Lent to the kernel for frames to come (fill ring, rx ring).
    pub receiving: u64,
    /// Waiting to be sent, or sent and not yet completed (tx ring, completion ring).
    pub sending: u64,
    /// Held as frames by the worker.
    pub held: u64,
}

/// What the kernel could not deliver to or take from the AF_XDP sockets since they were bound. These frames never came to
/// us, so they are in no sum of the ledger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct KernelLosses {
    /// Frames dropped, for other reasons than the next two.
    pub rx_dropped: u64,
    /// Frames dropped as the rx ring was full.
    pub rx_ring_full: u64,
    /// Times that a frame found no chunk in the fill ring.
    pub rx_fill_ring_empty: u64,
    /// Chunks in the fill ring that the kernel refused.
    pub rx_invalid_descs: u64,
    /// Frames in the tx ring that the kernel refused.
    pub tx_invalid_descs: u64,
    /// Times that none of the frames submitted had left for a second, although the kernel was asked again.
    #[serde(default)]
    pub tx_stalls: u64,
}

/// What a received frame was good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Handled {
    /// A SYN that made a half-open entry, was answered again from one, or was answered with a cookie.
    SynReceived,
    /// A segment that a half-open entry, a connection or a TIME-WAIT entry processed.
    Segment,
    /// A segment answered by a RST because nothing here matched it (RFC 9293 §3.10.7.1).
    AnsweredByReset,
    /// An ARP packet or neighbour solicitation for one of our addresses, answered.
    NeighbourRequest,
    /// An ARP reply or neighbour advertisement that was learned from.
    NeighbourReply,
    /// An ICMP echo request, answered.
    EchoRequest,
    /// An ICMP error that was read.
    IcmpError,
    /// Of a flow that another worker owns, which got a copy of the frame.
    HandedOver,
}

/// Why a received frame was dropped. Listed once, counted by reason, never logged one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum DropReason {
    // --- link and network layer ---
    /// Shorter than its headers say.
    Truncated,
    /// An EtherType that we do not speak.
    EtherType,
    /// Unicast to a station that we are not.
    ForeignMac,
    /// An ARP packet of wrong types or lengths (RFC 826).
    ArpMalformed,
    /// An ARP packet or neighbour message that does not concern us.
    NeighbourIgnored,
    /// A neighbour discovery message that RFC 4861 §7.1 declares invalid.
    NdpMalformed,
    /// IPv4: bad version, header length or total length (RFC 791 §3.1).
    Ipv4Header,
    /// IPv4: bad header checksum.
    Ipv4Checksum,
    /// IPv6: bad version or payload length, or extension headers that we do not follow.
    Ipv6Header,
    /// A fragment; we reassemble none.
    Fragment,
    /// Sent to an IP address that is not ours.
    ForeignAddress,
    /// A SYN from an address that we have no way back to: not on-link, and no gateway.
    NoRoute,
    /// Sent to a broadcast or multicast address (RFC 9293 §3.9.2.3, MUST-57).
    GroupAddress,
    /// From an address that cannot be a source (RFC 9293 §3.9.2.3, MUST-63).
    Martian,
    /// An IP protocol that we do not speak.
    Protocol,
    /// ICMP: too short, or bad checksum.
    IcmpMalformed,
    /// ICMP of a type or code that we do not use.
    IcmpIgnored,
    /// ICMP quoting a segment that we cannot have sent (RFC 5927 §4).
    IcmpUnproven,

    // --- TCP header ---
    /// TCP: header shorter than 20 octets or longer than the segment.
    TcpHeader,
    /// TCP: an option with an illegal length (RFC 9293 §3.1, MUST-7).
    TcpOption,
    /// TCP: bad checksum (RFC 9293 §3.1, MUST-3).
    TcpChecksum,

    // --- TCP, SEGMENT ARRIVES (RFC 9293 §3.10.7) ---
    /// A RST for a connection that does not exist, or for a listener.
    ResetIgnored,
    /// Neither SYN, ACK nor RST for a listener; no ACK for a synchronized connection.
    NoAck,
    /// First step: not acceptable to the receive window.
    OutOfWindow,
    /// A RST in the window but not at RCV.NXT: answered by a challenge ACK (RFC 5961 §3.2).
    ResetChallenged,
    /// A SYN in a synchronized state: answered by a challenge ACK (RFC 5961 §4.2).
    SynChallenged,
    /// An acknowledgement of what was never sent, or is too old (RFC 5961 §5.2).
    AckUnacceptable,
    /// Timestamp older than TS.Recent (RFC 7323 §5.3).
    Paws,
    /// No timestamp although they were negotiated (RFC 7323 §3.2).
    TimestampMissing,
    /// SYN to a TIME-WAIT entry without proof that it is new (RFC 6191 §2).
    TimeWaitSyn,
    /// RST to a TIME-WAIT entry (RFC 1337).
    TimeWaitReset,

    /// An acknowledgement with text or FIN that matches nothing, and holds no cookie while some are on their way.
    NoCookie,

    // --- what was refused because a table or queue was full ---
    /// The half-open table was full.
    HalfOpenFull,
    /// A SYN whose source's prefix holds its share of the half-open table, where no cookie could answer it.
    PrefixShare,
    /// A SYN beyond the rate of its source's prefix; in the third step of the defence, the ACK that follows.
    PrefixRate,
    /// A SYN, or an ACK with a good cookie, whose source's prefix has its share of the connection table.
    PrefixConnections,
    /// The connection table was full; the peer will send its ACK again.
    ConnectionsFull,
    /// The reply to this frame was held back by a rate limit.
    ReplyLimited,
    /// The mailbox of the worker that owns the flow was full, or that worker gone.
    HandOverFull,
}

/// How a connection ended. It counts from the moment it is opened: a passive one when it reaches ESTABLISHED, an
/// active one when its first SYN is due; until its control block is deleted (for an active closer: on entering
/// TIME-WAIT, whose entries have a ledger of their own).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumCount, strum::EnumIter, strum::IntoStaticStr, strum::Display)]
#[strum(serialize_all = "snake_case")]
pub enum Ending {
    /// Both FINs sent and acknowledged.
    Closed,
    /// The peer answered our SYN with a RST, or a hard ICMP error came before the connection stood.
    Refused,
    /// The peer reset the connection.
    Reset,
    /// We reset it: the application aborted, or data came that nobody would read.
    Aborted,
    /// Retransmissions went unanswered until the limit (R2), or an orphan outlived its time.
    TimedOut,
}

/// How a half-open entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum HalfOpenEnding {
    /// The handshake's last ACK came: it is a connection now.
    Established,
    /// RST from the peer, a new SYN in its place, or a hard ICMP error about the SYN-ACK.
    Reset,
    /// Its SYN-ACKs went unanswered.
    TimedOut,
    /// Given up for another one, or at shutdown.
    Evicted,
}

/// Why the number that a segment acknowledges is no cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum CookieRefusal {
    /// It says itself that it is too old.
    Expired,
    /// Its MAC is not ours: guessed, for another tuple, damaged, or older than the count of epochs tells.
    Forged,
}

/// How a TIME-WAIT entry ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumCount, strum::EnumIter, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum TimeWaitEnding {
    /// Its 2 MSL are over.
    Expired,
    /// A new SYN took the tuple again (RFC 6191, RFC 9293 MAY-2).
    Reused,
    /// The oldest, given up because the table was full; or at shutdown.
    Evicted,
}

/// A counter for each value of an enum.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tally<E, const N: usize> {
    counts: [u64; N],
    of: std::marker::PhantomData<E>,
}

impl<E, const N: usize> Default for Tally<E, N> {
    fn default() -> Self {
        Tally { counts: [0; N], of: std::marker::PhantomData }
    }
}

macro_rules! tally {
    ($($name:ident of $of:ty),* $(,)?) => {$(
        /// Counts by kind.
        pub type $name = Tally<$of, { <$of as EnumCount>::COUNT }>;
        impl $name {
            /// Counts one.
            #[inline]
            pub fn count(&mut self, kind: $of) {
                self.counts[kind as usize] += 1;
            }
            /// How many of this kind.
            pub fn of(&self, kind: $of) -> u64 {
                self.counts[kind as usize]
            }
            /// How many of all kinds.
            pub fn sum(&self) -> u64 {
                self.counts.iter().sum()
            }
            /// Name and count of each kind, in the order of declaration.
            pub fn rows(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
                <$of>::iter().map(|kind| (kind.into(), self.of(kind)))
            }
        }
    )*};
}
tally! {
    HandledTally of Handled,
    DropTally of DropReason,
    EndingTally of Ending,
    HalfOpenTally of HalfOpenEnding,
    TimeWaitTally of TimeWaitEnding,
    CookieTally of CookieRefusal,
}

/// The counters of one shard. Each law below holds after every frame and every timer:
///
/// * `frames_received` = `handled` + `dropped`; a frame that crosses from worker to worker is received, and has its outcome,
///   at both
/// * `opened_passive + opened_active` = `endings` + connections that live
/// * `half_open_created` = `half_open_endings` + half-open entries that live
/// * `time_wait_created` = `time_wait_endings` + TIME-WAIT entries that live
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Frames that the driver gave us, or another worker.
    pub frames_received: u64,
    /// Of those, frames that came in at another worker, which handed them over.
    pub frames_taken: u64,
    /// Frames that we gave the driver.
    pub frames_sent: u64,
    /// Octets of those received.
    pub bytes_received: u64,
    /// Octets of those sent.
    pub bytes_sent: u64,
    /// Outcomes of the frames that were of use.
    pub handled: HandledTally,
    /// Outcomes of the others.
    pub dropped: DropTally,
    /// Connections that reached ESTABLISHED from a listener.
    pub opened_passive: u64,
    /// Connections that an application asked for.
    pub opened_active: u64,
    /// How connections ended.
    pub endings: EndingTally,
    /// Connections that were reset as too little got on within the idle limit; they ended as timed out.
    pub idle_ended: u64,
    /// Half-open entries made.
    pub half_open_created: u64,
    /// How they ended.
    pub half_open_endings: HalfOpenTally,
    /// SYNs answered with a cookie.
    pub cookies_sent: u64,
    /// Connections made of a cookie.
    pub cookies_accepted: u64,
    /// Acknowledgements that held none, while cookies were on their way.
    pub cookies_refused: CookieTally,
    /// TIME-WAIT entries made.
    pub time_wait_created: u64,
    /// How they ended.
    pub time_wait_endings: TimeWaitTally,
    /// Segments sent again, SYN and FIN among them.
    pub retransmitted: u64,
    /// Flights in which a loss was found by what the peer acknowledged (duplicate ACKs, SACK, RACK), before a time-out.
    pub fast_retransmits: u64,
    /// Reductions of a congestion window that turned out to have been unnecessary, and were taken back.
    pub taken_back: u64,
    /// Requests that the stack refused because a pool was at its limit, by pool.
    pub refused: Refusals,
}

/// What a bounded pool refused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Refusals {
    /// Active opens: the connection table was full.
    pub connections: u64,
    /// Active opens: no free local port to that destination.
    pub ports: u64,
    /// Octets that could not be buffered (they stay with the peer or the application).
    pub buffer_bytes: u64,
    /// Times that a connection had as many segments in flight as it may.
    pub segments: u64,
    /// Connections that gave up what came out of order, to make room for what is in order.
    pub early_data: u64,
    /// Connections that were reset because writes of others waited for the blocks of what their peers did not take.
    pub silent_peers: u64,
    /// Connections closed by the application that were reset, as too many waited for their end.
    pub orphans: u64,
    /// Destinations whose path MTU could not be kept.
    pub path_mtus: u64,
    /// TIME-WAIT entries that gave way, as the tables together were full.
    pub time_wait_shed: u64,
    /// Half-open entries that did.
    pub half_open_shed: u64,
    /// Neighbours that could not be entered.
    pub neighbours: u64,
    /// Soft errors that the application was not told, as too many came in one turn.
    pub soft_errors: u64,
    /// Neighbours' addresses that other workers could not be told, as too many waited (they ask by themselves).
    pub neighbour_news: u64,
    /// Frames that could not be sent for want of a chunk or of room in the tx ring (they are sent later).
    pub tx_frames: u64,
    /// Challenge ACKs of connections that had sent enough of them (RFC 5961 §7).
    pub challenge_acks: u64,
    /// Application timers.
    pub app_timers: u64,
}

impl Ledger {
    /// Enters the outcome of one frame.
    #[inline]
    pub fn outcome(&mut self, outcome: Result<Handled, DropReason>) {
        match outcome {
            Ok(handled) => self.handled.count(handled),
            Err(reason) => self.dropped.count(reason),
        }
    }

    /// Connections opened either way.
    pub fn opened(&self) -> u64 {
        self.opened_passive + self.opened_active
    }
}
