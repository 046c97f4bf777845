//! Reno, RFC 5681 §3.

/// Congestion window and slow-start threshold, in octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reno {
    /// CWND.
    pub cwnd: u32,
    /// SSTHRESH.
    pub ssthresh: u32,
    /// Octets acknowledged since CWND last grew in congestion avoidance.
    acked: u32,
}

impl Reno {
    /// From this window, in slow start.
    pub fn new(cwnd: u32) -> Self {
        Reno { cwnd, ssthresh: u32::MAX, acked: 0 }
    }

    /// New data was acknowledged outside of recovery (RFC 5681 §3.1; counting octets bounds what split
    /// acknowledgements can gain).
    pub fn on_ack(&mut self, octets: u32, smss: u32) {
        if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(octets.min(super::SLOW_START_LIMIT * smss));
            return;
        }
        self.acked = self.acked.saturating_add(octets);
        if self.acked >= self.cwnd {
            self.acked -= self.cwnd;
            self.cwnd = self.cwnd.saturating_add(smss);
        }
    }

    /// Sending begins again after a retransmission timeout without any (RFC 5681 §4.1).
    pub fn restart(&mut self, window: u32) {
        self.cwnd = self.cwnd.min(window);
    }

    /// The last reduction was unnecessary: the window before it is back.
    pub fn restore(&mut self, before: &Reno) {
        self.cwnd = self.cwnd.max(before.cwnd);
        self.ssthresh = self.ssthresh.max(before.ssthresh);
    }

    /// A loss was seen by duplicate acknowledgements or SACK; `flight` octets were outstanding (RFC 5681 §3.2).
    pub fn on_loss(&mut self, flight: u32, smss: u32) {
        self.ssthresh = (flight / 2).max(2 * smss);
        self.cwnd = self.ssthresh;
        self.acked = 0;
    }

    /// The retransmission timer ran out (RFC 5681 §3.1): slow start from one segment.
    pub fn on_timeout(&mut self, flight: u32, smss: u32, first: bool) {
        if first {
            self.ssthresh = (flight / 2).max(2 * smss);
        }
        self.cwnd = smss;
        self.acked = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_doubles_in_slow_start_and_adds_one_segment_a_round_after() {
        let mut reno = Reno::new(10_000);
        reno.ssthresh = 20_000;
        (0..10).for_each(|_| reno.on_ack(1000, 1000));
        assert_eq!(reno.cwnd, 20_000);
        (0..20).for_each(|_| reno.on_ack(1000, 1000));
        assert_eq!(reno.cwnd, 21_000);
    }

    #[test]
    fn a_reduction_that_was_unnecessary_is_taken_back() {
        let mut reno = Reno { cwnd: 40_000, ssthresh: 30_000, acked: 0 };
        let before = reno;
        reno.on_timeout(40_000, 1_000, true);
        reno.restore(&before);
        assert_eq!((reno.cwnd, reno.ssthresh), (40_000, 30_000));
    }

    #[test]
    fn a_timeout_leaves_one_segment_and_half_the_flight_as_threshold() {
        let mut reno = Reno::new(10_000);
        reno.on_timeout(30_000, 1000, true);
        assert_eq!((reno.cwnd, reno.ssthresh), (1000, 15_000));
        reno.on_timeout(1000, 1000, false);
        assert_eq!(reno.ssthresh, 15_000, "a second timeout of the same loss does not halve again");
    }
}
