//! Congestion control: CUBIC (RFC 9438) or Reno (RFC 5681), with the initial window of RFC 6928.

mod cubic;
mod reno;

pub use cubic::Cubic;
pub use reno::Reno;

/// Segments by which one acknowledgement opens the window in slow start at most; never more than it acknowledges, so that
/// split ones gain nothing.
///
/// Deviation: RFC 5681 §3.1, SMSS an ACK in slow start. Receivers that gather segments acknowledge many with one ACK. The
/// limit is that of RFC 9406 §4.3 without pacing (L = 8), of which nothing else is done here.
const SLOW_START_LIMIT: u32 = 8;

/// Which congestion control new connections use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::EnumString, strum::Display, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Algorithm {
    /// RFC 9438.
    #[default]
    Cubic,
    /// RFC 5681.
    Reno,
}

/// The congestion state of a connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Congestion {
    /// CUBIC's.
    Cubic(Cubic),
    /// Reno's.
    Reno(Reno),
}

impl Congestion {
    /// In slow start from the initial window.
    pub fn new(algorithm: Algorithm, smss: u32, syn_was_lost: bool) -> Self {
        let cwnd = initial_window(smss, syn_was_lost);
        match algorithm {
            Algorithm::Cubic => Congestion::Cubic(Cubic::new(cwnd)),
            Algorithm::Reno => Congestion::Reno(Reno::new(cwnd)),
        }
    }

    /// CWND in octets.
    pub fn cwnd(&self) -> u32 {
        match self {
            Congestion::Cubic(cubic) => cubic.cwnd,
            Congestion::Reno(reno) => reno.cwnd,
        }
    }

    /// New data was acknowledged outside of recovery; `rtt_us` is the smoothed round trip.
    pub fn on_ack(&mut self, octets: u32, smss: u32, now_ms: u32, rtt_us: u32) {
        match self {
            Congestion::Cubic(cubic) => cubic.on_ack(octets, smss, now_ms, f64::from(rtt_us) / 1e6),
            Congestion::Reno(reno) => reno.on_ack(octets, smss),
        }
    }

    /// Data was acknowledged while the window was not in use.
    pub fn pause(&mut self, now_ms: u32) {
        if let Congestion::Cubic(cubic) = self {
            cubic.pause(now_ms);
        }
    }

    /// Sending begins again after nothing was sent for longer than a retransmission timeout: the window is no longer known
    /// to fit the path (RFC 5681 §4.1, RW = min(IW, CWND)).
    pub fn restart(&mut self, smss: u32, now_ms: u32) {
        let window = initial_window(smss, false);
        match self {
            Congestion::Cubic(cubic) => cubic.restart(window, now_ms),
            Congestion::Reno(reno) => reno.restart(window),
        }
    }

    /// The last reduction turned out to be unnecessary, and `before` is what stood before it (RFC 9438 §4.9).
    ///
    /// Deviation: RFC 4015, CWND after a spurious timeout. All of the old window is back, for what it let into the
    /// network was not lost, and still fills it but for what was acknowledged.
    pub fn restore(&mut self, before: &Congestion) {
        match (self, before) {
            (Congestion::Cubic(cubic), Congestion::Cubic(before)) => cubic.restore(before),
            (Congestion::Reno(reno), Congestion::Reno(before)) => reno.restore(before),
            // A connection keeps its algorithm.
            _ => {}
        }
    }

    /// A loss was seen by duplicate acknowledgements or SACK, or a router marked a segment (RFC 3168 §6.1.2).
    pub fn on_loss(&mut self, flight: u32, smss: u32) {
        match self {
            Congestion::Cubic(cubic) => cubic.on_loss(flight, smss),
            Congestion::Reno(reno) => reno.on_loss(flight, smss),
        }
    }

    /// The retransmission timer ran out; `first` of a row of timeouts.
    pub fn on_timeout(&mut self, flight: u32, smss: u32, first: bool) {
        match self {
            Congestion::Cubic(cubic) => cubic.on_timeout(flight, smss, first),
            Congestion::Reno(reno) => reno.on_timeout(flight, smss, first),
        }
    }
}

/// IW = min(10 * SMSS, max(2 * SMSS, 14600)), RFC 6928 §2; one segment when the SYN had to be sent again
/// (RFC 5681 §3.1).
pub fn initial_window(smss: u32, syn_was_lost: bool) -> u32 {
    if syn_was_lost { smss } else { (10 * smss).min((2 * smss).max(14_600)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn initial_windows_are_those_of_rfc_6928() {
        let rows = [(1460, false, 14_600), (536, false, 5_360), (9_000, false, 18_000), (1460, true, 1460)];
        for (smss, syn_was_lost, window) in rows {
            assert_eq!(initial_window(smss, syn_was_lost), window);
        }
    }

    #[test]
    fn cubic_is_told_the_round_trip_in_seconds() {
        // Large enough to be out of the Reno-friendly region, where the round trip says nothing.
        let mut cubic = Cubic::new(1_000_000);
        cubic.on_loss(1_000_000, 1_000);
        let mut through = Congestion::Cubic(cubic);
        for ack in 0..2_000 {
            cubic.on_ack(1_000, 1_000, ack, 0.1);
            through.on_ack(1_000, 1_000, ack, 100_000);
        }
        assert!((710_000..1_000_000).contains(&cubic.cwnd), "on the curve: {}", cubic.cwnd);
        assert_eq!(through.cwnd(), cubic.cwnd);
    }
}
