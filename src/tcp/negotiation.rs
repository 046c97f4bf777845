//! What the two SYNs agree on: MSS, window scale, SACK, timestamps (RFC 9293 §3.7.1, RFC 7323 §2.2, §3.2, RFC 2018 §2).

use crate::wire::tcp::{Options, Timestamps};

/// The smallest segment size that we believe a peer.
///
/// Deviation: RFC 9293 §3.7.1, MSS below 48. It would multiply segments without bound (CVE-2019-11479).
pub const LEAST_SMSS: u16 = 48;

/// The default MSS when the SYN carries none: 536 for IPv4, 1220 for IPv6 (RFC 9293 §3.7.1, MUST-15).
pub fn default_mss(v4: bool) -> u16 {
    if v4 { 536 } else { 1220 }
}

/// What a peer's SYN allows us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Negotiated {
    /// The least of the peer's MSS and what our link carries.
    pub smss: u16,
    /// The peer's window scale, at most 14; then we scale too.
    pub window_scale: Option<u8>,
    /// Whether the peer takes SACK blocks.
    pub sack_permitted: bool,
    /// The peer's TSval, when it offers timestamps.
    pub ts_recent: Option<u32>,
    /// Whether both ends do ECN (RFC 3168 §6.1.1).
    pub ecn: bool,
}

impl Negotiated {
    /// Reads the options of a SYN; `our_mss` is what our link carries.
    pub fn from_syn(options: &Options, our_mss: u16, v4: bool) -> Self {
        Negotiated {
            smss: options.mss.unwrap_or(default_mss(v4)).max(LEAST_SMSS).min(our_mss),
            window_scale: options.window_scale.map(|shift| shift.min(14)),
            sack_permitted: options.sack_permitted,
            ts_recent: options.timestamps.map(|t| t.tsval),
            ecn: false,
        }
    }

    /// The options of the SYN-ACK: nothing that the peer did not offer, except MSS.
    pub fn syn_ack_options(&self, our_mss: u16, tsval: u32, our_shift: u8) -> Options {
        Options {
            mss: Some(our_mss),
            window_scale: self.window_scale.map(|_| our_shift),
            sack_permitted: self.sack_permitted,
            timestamps: self.ts_recent.map(|tsecr| Timestamps { tsval, tsecr }),
            ..Options::default()
        }
    }
}

/// The options of our own SYN: all that we can do.
pub fn syn_options(our_mss: u16, tsval: u32, our_shift: u8) -> Options {
    Options {
        mss: Some(our_mss),
        window_scale: Some(our_shift),
        sack_permitted: true,
        timestamps: Some(Timestamps { tsval, tsecr: 0 }),
        ..Options::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tiny_mss_is_not_believed() {
        for (offered, smss) in [(Some(1), 48), (Some(48), 48), (Some(9000), 1460), (None, 536)] {
            let options = Options { mss: offered, ..Options::default() };
            assert_eq!(Negotiated::from_syn(&options, 1460, true).smss, smss, "{offered:?}");
        }
    }

    #[test]
    fn a_shift_above_14_means_14() {
        let options = Options { window_scale: Some(255), ..Options::default() };
        assert_eq!(Negotiated::from_syn(&options, 1460, true).window_scale, Some(14));
    }

    #[test]
    fn nothing_is_answered_that_was_not_offered() {
        let bare = Negotiated::from_syn(&Options::default(), 1460, true);
        let options = bare.syn_ack_options(1460, 7, 0);
        assert_eq!(options, Options { mss: Some(1460), ..Options::default() });
    }
}
