//! CUBIC, RFC 9438.
//!
//! Windows are kept in octets and computed in segments, times in seconds, as the RFC's formulas have them.

/// Multiplicative decrease, RFC 9438 §4.6.
const BETA: f64 = 0.7;
/// Aggressiveness in segments a cubic second, RFC 9438 §4.1.
const C: f64 = 0.4;
/// What Reno would add each round trip with the decrease above, RFC 9438 §4.3.
const ALPHA: f64 = 3.0 * (1.0 - BETA) / (1.0 + BETA);

/// State of CUBIC.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cubic {
    /// CWND in octets.
    pub cwnd: u32,
    /// SSTHRESH in octets.
    pub ssthresh: u32,
    /// The window before the last reduction, in segments (W_max); 0 after a timeout.
    w_max: f64,
    /// The window in segments just before the last reduction (cwnd_prior).
    prior: f64,
    /// What Reno's window would be now, in segments (W_est).
    w_est: f64,
    /// Seconds from the epoch's start until the curve reaches `w_max` (K).
    k: f64,
    /// When congestion avoidance began, in milliseconds of the shard's clock; later by the time in which the window was
    /// not in use.
    epoch_ms: Option<u32>,
    /// Up to when the time counts, in the same milliseconds.
    seen_ms: u32,
    /// Growth not yet worth an octet, in octets.
    fraction: f64,
}

impl Cubic {
    /// From this window, in slow start.
    pub fn new(cwnd: u32) -> Self {
        Cubic {
            cwnd,
            ssthresh: u32::MAX,
            w_max: 0.0,
            prior: 0.0,
            w_est: 0.0,
            k: 0.0,
            epoch_ms: None,
            seen_ms: 0,
            fraction: 0.0,
        }
    }

    /// New data was acknowledged outside of recovery. `rtt_s` is the smoothed round trip in seconds.
    pub fn on_ack(&mut self, octets: u32, smss: u32, now_ms: u32, rtt_s: f64) {
        if self.cwnd < self.ssthresh {
            self.cwnd = self.cwnd.saturating_add(octets.min(super::SLOW_START_LIMIT * smss));
            return;
        }
        let mss = f64::from(smss);
        let cwnd = f64::from(self.cwnd) / mss;
        let epoch_ms = *self.epoch_ms.get_or_insert_with(|| {
            // RFC 9438 §4.2: the curve starts where congestion avoidance does. After a timeout that is its W_max as well, and
            // K is 0 (§4.8).
            self.w_max = self.w_max.max(cwnd);
            self.k = ((self.w_max - cwnd) / C).cbrt();
            self.w_est = cwnd;
            now_ms
        });
        self.seen_ms = now_ms;
        let t = f64::from(now_ms.wrapping_sub(epoch_ms)) / 1e3;
        let acked = f64::from(octets) / mss;
        let alpha = if self.w_est >= self.prior { 1.0 } else { ALPHA };
        self.w_est += alpha * acked / cwnd;
        let curve = |t: f64| C * (t - self.k).powi(3) + self.w_max;
        let grown = if curve(t) < self.w_est {
            // The Reno-friendly region, RFC 9438 §4.3.
            self.w_est.max(cwnd)
        } else {
            let target = curve(t + rtt_s).clamp(cwnd, 1.5 * cwnd);
            cwnd + (target - cwnd) / cwnd * acked
        };
        self.fraction += (grown - cwnd) * mss;
        let whole = self.fraction.floor().max(0.0);
        self.fraction -= whole;
        self.cwnd = self.cwnd.saturating_add(whole as u32);
    }

    /// The window was not in use since the last acknowledgement, or nothing was sent at all: such time is no part of the
    /// curve (RFC 9438 §4.2, §5.8).
    pub fn pause(&mut self, now_ms: u32) {
        if let Some(epoch_ms) = &mut self.epoch_ms {
            *epoch_ms = epoch_ms.wrapping_add(now_ms.wrapping_sub(self.seen_ms));
        }
        self.seen_ms = now_ms;
    }

    /// Sending begins again after a retransmission timeout without any (RFC 5681 §4.1): from `window`, when that is less
    /// than there was, and then on a curve of its own.
    pub fn restart(&mut self, window: u32, now_ms: u32) {
        self.pause(now_ms);
        if window < self.cwnd {
            self.cwnd = window;
            self.epoch_ms = None;
        }
    }

    /// The last reduction was unnecessary: the state before it is back (RFC 9438 §4.9).
    pub fn restore(&mut self, before: &Cubic) {
        let (cwnd, ssthresh) = (self.cwnd.max(before.cwnd), self.ssthresh.max(before.ssthresh));
        *self = Cubic { cwnd, ssthresh, ..*before };
    }

    /// A loss was seen by duplicate acknowledgements, SACK or ECN; `flight` octets were outstanding (RFC 9438 §4.6, §4.7).
    pub fn on_loss(&mut self, flight: u32, smss: u32) {
        self.reduce(flight, smss);
        self.cwnd = self.ssthresh;
    }

    /// The retransmission timer ran out (RFC 9438 §4.8).
    pub fn on_timeout(&mut self, flight: u32, smss: u32, first: bool) {
        if first {
            self.reduce(flight, smss);
        }
        self.cwnd = smss;
        self.w_max = 0.0;
        self.epoch_ms = None;
    }

    fn reduce(&mut self, flight: u32, smss: u32) {
        let cwnd = f64::from(self.cwnd) / f64::from(smss);
        // Fast convergence: a window that shrinks from one loss to the next leaves room for others.
        self.w_max = if cwnd < self.w_max { cwnd * (1.0 + BETA) / 2.0 } else { cwnd };
        self.prior = cwnd;
        self.ssthresh = ((f64::from(flight.min(self.cwnd)) * BETA) as u32).max(2 * smss);
        self.epoch_ms = None;
        self.fraction = 0.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: u32 = 1_000;

    /// One round trip: a window is acknowledged segment by segment.
    fn round(cubic: &mut Cubic, now_ms: u32, rtt_s: f64) {
        for _ in 0..cubic.cwnd / MSS {
            cubic.on_ack(MSS, MSS, now_ms, rtt_s);
        }
    }

    /// RFC 9438 §4.3, §4.6: with a decrease to 0.7, Reno's equal adds 9/17 of a segment each round trip.
    #[test]
    fn alpha_is_that_of_the_decrease() {
        assert!((ALPHA - 9.0 / 17.0).abs() < 1e-12, "{ALPHA}");
    }

    #[test]
    fn a_loss_leaves_seven_tenths() {
        let mut cubic = Cubic::new(100_000);
        cubic.on_loss(100_000, MSS);
        assert_eq!((cubic.cwnd, cubic.ssthresh), (70_000, 70_000));
    }

    #[test]
    fn the_window_returns_to_the_old_one_after_k_seconds() {
        let mut cubic = Cubic::new(1_000_000);
        cubic.on_loss(1_000_000, MSS);
        // K = cbrt(1000 * 0.3 / 0.4) = 9.09 s, RFC 9438 §4.2.
        for step in 0..91 {
            round(&mut cubic, step * 100, 0.1);
        }
        assert!((985_000..1_010_000).contains(&cubic.cwnd), "{}", cubic.cwnd);
    }

    /// RFC 9438 §4.8: K is 0, and W_max the window at which congestion avoidance begins. Toward the window before it, with
    /// K = 9.09 s, it would grow by 89 segments in the first second, which Reno does by 5.
    #[test]
    fn after_a_timeout_the_curve_begins_flat_where_slow_start_ends() {
        let mut cubic = Cubic::new(1_000_000);
        cubic.on_timeout(1_000_000, MSS, true);
        while cubic.cwnd < cubic.ssthresh {
            round(&mut cubic, 0, 0.1);
        }
        let began = cubic.cwnd;
        (0..10).for_each(|step| round(&mut cubic, step * 100, 0.1));
        assert!((2_000..12_000).contains(&(cubic.cwnd - began)), "{began}, then {}", cubic.cwnd);
        // And then it bends upwards: 0.4 * 10^3 segments in ten seconds.
        (10..100).for_each(|step| round(&mut cubic, step * 100, 0.1));
        assert!((300_000..450_000).contains(&(cubic.cwnd - began)), "{began}, then {}", cubic.cwnd);
    }

    #[test]
    fn on_a_short_path_it_is_no_slower_than_reno() {
        let mut cubic = Cubic::new(20_000);
        cubic.on_loss(20_000, MSS);
        for step in 0..40 {
            round(&mut cubic, step, 0.001);
        }
        // Reno with beta 0.7 adds ALPHA = 0.53 of a segment a round trip up to the old window, then one.
        assert!((14_000 + 20 * 530..60_000).contains(&cubic.cwnd), "{}", cubic.cwnd);
    }

    /// The window that a minute leads to, with a pause of an hour in the middle or without one.
    #[test]
    fn time_in_which_the_window_is_not_in_use_is_no_part_of_the_curve() {
        let after = |pause_ms: u32| {
            let mut cubic = Cubic::new(1_000_000);
            cubic.on_loss(1_000_000, MSS);
            for step in 0..60 {
                let late = if step >= 30 { pause_ms } else { 0 };
                if step == 30 && pause_ms > 0 {
                    cubic.pause(2_900 + pause_ms);
                }
                round(&mut cubic, step * 100 + late, 0.1);
            }
            cubic.cwnd
        };
        let (without, with) = (after(0), after(3_600_000));
        assert!(with.abs_diff(without) < 10_000, "{with} is not {without}");
    }

    #[test]
    fn a_reduction_that_was_unnecessary_is_taken_back_with_its_curve() {
        let mut cubic = Cubic::new(1_000_000);
        cubic.on_loss(1_000_000, MSS);
        (0..50).for_each(|step| round(&mut cubic, step * 100, 0.1));
        let before = cubic;
        cubic.on_timeout(cubic.cwnd, MSS, true);
        cubic.restore(&before);
        assert_eq!(cubic, before);
    }

    #[test]
    fn a_second_loss_below_the_first_converges_fast() {
        let mut cubic = Cubic::new(100_000);
        cubic.on_loss(100_000, MSS);
        cubic.on_loss(70_000, MSS);
        assert!((cubic.w_max - 70.0 * 0.85).abs() < 1e-9);
    }
}
