//! The retransmission timer's length, RFC 6298.

use super::TcpConfig;

/// Smoothed round-trip time and its variation, RFC 6298 §2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RttEstimator {
    /// SRTT in microseconds; 0 before the first sample.
    pub srtt_us: u32,
    /// RTTVAR in microseconds.
    pub rttvar_us: u32,
}

impl RttEstimator {
    /// Takes a sample of a segment that was sent once (Karn, RFC 6298 §3).
    pub fn sample(&mut self, rtt_us: u32) {
        let rtt = rtt_us.max(1);
        if self.srtt_us == 0 {
            self.srtt_us = rtt;
            self.rttvar_us = rtt / 2;
        } else {
            let error = self.srtt_us.abs_diff(rtt);
            self.rttvar_us = self.rttvar_us - self.rttvar_us / 4 + error / 4;
            self.srtt_us = (self.srtt_us - self.srtt_us / 8).saturating_add(rtt / 8).max(1);
        }
    }

    /// RTO in milliseconds, within the configured bounds (RFC 6298 §2.2–2.5; the clock's granularity is 1 ms).
    pub fn rto_ms(&self, config: &TcpConfig) -> u16 {
        let rto_us = u64::from(self.srtt_us) + (4 * u64::from(self.rttvar_us)).max(1_000);
        clamp_rto(rto_us.div_ceil(1_000), config)
    }
}

/// The RTO before there is any sample, in milliseconds (RFC 6298 §2.1).
pub fn first_rto_ms(config: &TcpConfig) -> u16 {
    clamp_rto(config.initial_rto.as_millis() as u64, config)
}

/// An RTO within the configured bounds, in milliseconds.
pub fn clamp_rto(ms: u64, config: &TcpConfig) -> u16 {
    let low = config.min_rto.as_millis() as u64;
    let high = (config.max_rto.as_millis() as u64).clamp(low, u64::from(u16::MAX));
    ms.clamp(low, high) as u16
}

/// The timeout after `backoff` timeouts in a row, in milliseconds (RFC 6298 §5.5).
pub fn backed_off_ms(rto_ms: u16, backoff: u8, config: &TcpConfig) -> u32 {
    let longest = (config.max_rto.as_millis() as u64).max(1);
    (u64::from(rto_ms) << backoff.min(32)).min(longest) as u32
}

/// How long the last `unanswered` of `backoff` timeouts took together, in milliseconds.
pub fn waited_ms(rto_ms: u16, backoff: u8, unanswered: u8, config: &TcpConfig) -> u64 {
    (backoff.saturating_sub(unanswered)..backoff).map(|b| u64::from(backed_off_ms(rto_ms, b, config))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_sample_sets_both_terms() {
        let mut rtt = RttEstimator::default();
        rtt.sample(100_000);
        assert_eq!((rtt.srtt_us, rtt.rttvar_us), (100_000, 50_000));
        assert_eq!(rtt.rto_ms(&TcpConfig::default()), 300);
    }

    /// RFC 6298 §2.3, worked out by hand: alpha is 1/8, beta is 1/4, and the variation moves before the mean does.
    #[test]
    fn later_samples_move_the_mean_by_an_eighth_and_the_variation_by_a_quarter() {
        let mut rtt = RttEstimator { srtt_us: 100_000, rttvar_us: 50_000 };
        for (sample, srtt_us, rttvar_us, rto_ms) in
            [(180_000, 110_000, 57_500, 340), (30_000, 100_000, 63_125, 353), (100_000, 100_000, 47_344, 290)]
        {
            rtt.sample(sample);
            assert_eq!(rtt, RttEstimator { srtt_us, rttvar_us }, "after {sample} µs");
            assert_eq!(rtt.rto_ms(&TcpConfig::default()), rto_ms);
        }
    }

    #[test]
    fn a_steady_path_converges_to_the_least_rto() {
        let (mut rtt, config) = (RttEstimator::default(), TcpConfig::default());
        (0..100).for_each(|_| rtt.sample(20));
        assert_eq!(u128::from(rtt.rto_ms(&config)), config.min_rto.as_millis());
    }

    #[test]
    fn backoff_doubles_up_to_the_largest_rto() {
        let config = TcpConfig::default();
        assert_eq!(
            (0..8).map(|b| backed_off_ms(1_000, b, &config)).collect::<Vec<_>>(),
            [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]
        );
        assert_eq!(waited_ms(1_000, 3, 3, &config), 7_000);
        assert_eq!(waited_ms(1_000, 3, 1, &config), 4_000);
    }
}
