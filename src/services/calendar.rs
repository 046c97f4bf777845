//! The date for people: RFC 867 and HTTP lines, in UTC.

use crate::time::{Duration, Instant};
use jiff::Timestamp;
use std::time::SystemTime;

/// The wall clock, read once in a quarter of a second at most.
pub struct Calendar {
    read: fn() -> SystemTime,
    last: Option<(Instant, Moment)>,
    http_date: (Option<Moment>, String),
}

impl Default for Calendar {
    fn default() -> Self {
        Calendar { read: SystemTime::now, last: None, http_date: (None, String::new()) }
    }
}

impl Calendar {
    /// The moment, given the time of the turn.
    pub fn now(&mut self, turn: Instant) -> Moment {
        match self.last {
            Some((read_at, moment)) if turn.since(read_at) < Duration::from_millis(250) => moment,
            _ => {
                let since_epoch = (self.read)().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
                let moment = Moment(since_epoch.as_secs());
                self.last = Some((turn, moment));
                moment
            }
        }
    }

    /// `Moment::http_date` of now, made once a second.
    pub fn http_date(&mut self, turn: Instant) -> &str {
        let now = self.now(turn);
        if self.http_date.0 != Some(now) {
            self.http_date = (Some(now), now.http_date());
        }
        &self.http_date.1
    }
}

/// Seconds since 1970, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(pub u64);

impl Moment {
    /// RFC 867's first syntax: `Tuesday, February 22, 1982 17:37:43-UTC`.
    pub fn daytime_line(self) -> String {
        self.format("%A, %B %-d, %Y %H:%M:%S-UTC\r\n")
    }

    /// IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn http_date(self) -> String {
        self.format("%a, %d %b %Y %H:%M:%S GMT")
    }

    /// By strftime(3)'s rules; a clock beyond the year 9999 stands still.
    fn format(self, format: &str) -> String {
        let timestamp = i64::try_from(self.0).ok().and_then(|seconds| Timestamp::from_second(seconds).ok());
        timestamp.unwrap_or(Timestamp::MAX).strftime(format).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments_read_as_in_the_rfcs() {
        // The example of RFC 9110 §5.6.7, and that of RFC 867 (whose weekday is wrong: that day was a Monday).
        assert_eq!(Moment(784_111_777).http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(
            Moment(383_247_463).daytime_line(),
            "Tuesday, February 22, 1982 17:37:43-UTC\r\n".replace("Tues", "Mon")
        );
    }

    #[test]
    fn leap_days_ends_of_years_and_a_clock_gone_mad_are_dates() {
        for (seconds, date) in [
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
            (1_735_689_599, "Tue, 31 Dec 2024 23:59:59 GMT"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 GMT"),
            (u64::MAX, "Thu, 30 Dec 9999 22:00:00 GMT"),
        ] {
            assert_eq!(Moment(seconds).http_date(), date, "{seconds}");
        }
    }

    #[test]
    fn the_clock_is_read_again_only_after_a_while() {
        static READS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
        let read = || {
            let n = READS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            SystemTime::UNIX_EPOCH + Duration::from_secs(n)
        };
        let mut calendar = Calendar { read, ..Calendar::default() };
        let seconds = [0, 249, 250, 300, 600].map(|ms| calendar.now(Instant::from_millis(ms)).0);
        assert_eq!(seconds, [0, 0, 1, 1, 2]);
    }
}
