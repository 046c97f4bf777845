//! How TCP behaves: what a stack may set, with the RFCs' defaults.

use super::congestion::Algorithm;
use crate::time::Duration;
use crate::wire::Dscp;
use std::num::NonZeroU8;

/// No timer of a connection runs longer: timers count milliseconds in 32 bits, and compare across their wrap.
pub const LONGEST_TIMER: Duration = Duration::from_secs(24 * 24 * 3600);

/// How TCP behaves. Timers that are longer than [`LONGEST_TIMER`] end then; `time_wait` alone may be longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpConfig {
    /// How long TIME-WAIT lasts: 2 MSL (RFC 9293 §3.4.2: MSL is 2 minutes).
    pub time_wait: Duration,
    /// First retransmission timeout, before any sample (RFC 6298 §2.1).
    pub initial_rto: Duration,
    /// Least retransmission timeout.
    ///
    /// Deviation: RFC 6298 §2.4, least RTO of 1 s. That is out of proportion in a data centre: 200 ms.
    pub min_rto: Duration,
    /// Largest retransmission timeout (RFC 6298 §2.5).
    pub max_rto: Duration,
    /// SYN-ACKs sent again for one half-open entry before it is given up.
    pub syn_ack_retries: u8,
    /// How long an active open tries (RFC 9293 §3.8.3, MUST-23: at least 3 minutes by default).
    pub connect_timeout: Duration,
    /// R2: how long data may go unacknowledged (RFC 9293 §3.8.3, SHLD-11: at least 100 s).
    pub user_timeout: Duration,
    /// How long an acknowledgement may be delayed (RFC 9293 §3.8.6.3: less than 0.5 s).
    pub delayed_ack: Duration,
    /// How long a connection that the application has closed for good stays in FIN-WAIT-2, or waits for a peer that holds
    /// its window shut.
    pub orphan_timeout: Duration,
    /// A connection on which fewer than `idle_octets` get on within this time, both ways together, is reset; `None`: it may
    /// stand for ever.
    pub idle_limit: Option<Duration>,
    /// See `idle_limit`.
    pub idle_octets: u32,
    /// Most octets buffered for sending, for each connection.
    pub send_buffer: u32,
    /// Most octets buffered for reading, for each connection; also the largest window.
    pub recv_buffer: u32,
    /// How long a connection may be idle before the peer is asked for a sign of life; `None`: for ever (RFC 9293 §3.8.4,
    /// MUST-25: off by default).
    pub keep_alive: Option<Duration>,
    /// How long to wait for an answer to that.
    pub keep_alive_interval: Duration,
    /// Questions without an answer before the connection is given up.
    pub keep_alive_probes: u8,
    /// TTL or hop limit of what is sent (RFC 9293 §3.9.2, MUST-49; RFC 1122 §3.2.1.7: never zero).
    pub hop_limit: NonZeroU8,
    /// DS field of every segment (RFC 9293 §3.9.2, MUST-48).
    pub dscp: Dscp,
    /// Whether a peer that asks for ECN gets it (RFC 3168).
    pub ecn: bool,
    /// Whether active opens ask for ECN.
    pub ecn_request: bool,
    /// Congestion control of new connections.
    pub congestion: Algorithm,
    /// Whether small segments wait for an acknowledgement (RFC 9293 §3.7.4).
    pub nagle: bool,
    /// Whether a FIN carries the acknowledgement that is due, rather than follow it in a segment of its own: a life of 5
    /// frames rather than the textbook's 7 (RFC 9293 §3.6, figure 12).
    pub fin_carries_ack: bool,
}

/// Octets that a segment in flight counts for at least: a little less than what every path of IPv4 carries.
const LEAST_SEGMENT: u32 = 512;
/// A connection may have so many segments in flight, however small its send buffer is.
const LEAST_SEGMENTS: u32 = 64;

impl TcpConfig {
    /// Segments that a connection may have in flight. What is kept of each takes memory that the peer would else choose, by
    /// a tiny MSS; who has segments of 512 octets fills the send buffer.
    #[inline]
    pub(super) fn most_segments(&self) -> usize {
        (self.send_buffer / LEAST_SEGMENT).max(LEAST_SEGMENTS) as usize
    }
}

impl Default for TcpConfig {
    fn default() -> Self {
        TcpConfig {
            time_wait: Duration::from_secs(240),
            initial_rto: Duration::from_secs(1),
            min_rto: Duration::from_millis(200),
            max_rto: Duration::from_secs(60),
            syn_ack_retries: 5,
            connect_timeout: Duration::from_secs(190),
            user_timeout: Duration::from_secs(300),
            delayed_ack: Duration::from_millis(40),
            orphan_timeout: Duration::from_secs(60),
            idle_limit: None,
            idle_octets: 1,
            send_buffer: 256 * 1024,
            recv_buffer: 256 * 1024,
            keep_alive: None,
            keep_alive_interval: Duration::from_secs(75),
            keep_alive_probes: 9,
            hop_limit: NonZeroU8::new(64).expect("it is not zero"),
            dscp: Dscp::default(),
            ecn: true,
            ecn_request: false,
            congestion: Algorithm::default(),
            nagle: true,
            fin_carries_ack: true,
        }
    }
}
