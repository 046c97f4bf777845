//! The date for people: RFC 867 and HTTP lines, in UTC.

use crate::time::{Duration, Instant};
use std::time::SystemTime;

const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

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

    /// [`Moment::http_date`] of now, made once a second.
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
        let (year, month, day) = self.date();
        format!("{}, {} {day}, {year} {}-UTC\r\n", self.weekday(), MONTHS[month - 1], self.clock())
    }

    /// IMF-fixdate (RFC 9110 §5.6.7): `Sun, 06 Nov 1994 08:49:37 GMT`.
    pub fn http_date(self) -> String {
        let (year, month, day) = self.date();
        format!("{}, {day:02} {} {year:04} {} GMT", &self.weekday()[..3], &MONTHS[month - 1][..3], self.clock())
    }

    fn weekday(self) -> &'static str {
        // 1970-01-01 was a Thursday.
        DAYS[((self.0 / 86_400 + 4) % 7) as usize]
    }

    fn clock(self) -> String {
        let seconds = self.0 % 86_400;
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60)
    }

    /// Year, month 1–12, day 1–31 of the Gregorian calendar.
    fn date(self) -> (u64, usize, u64) {
        let mut day = self.0 / 86_400;
        // Whole cycles of 400 years first, so that the loop is bounded.
        let cycles = day / 146_097;
        day %= 146_097;
        let mut year = 1970 + cycles * 400;
        while day >= days_in_year(year) {
            day -= days_in_year(year);
            year += 1;
        }
        let mut month = 1;
        while day >= days_in_month(year, month) {
            day -= days_in_month(year, month);
            month += 1;
        }
        (year, month, day + 1)
    }
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_year(year: u64) -> u64 {
    365 + u64::from(is_leap(year))
}

fn days_in_month(year: u64, month: usize) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
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
    fn leap_days_and_ends_of_years_are_right() {
        for (seconds, date) in [
            (0, (1970, 1, 1)),
            (951_782_400, (2000, 2, 29)),
            (1_709_164_800, (2024, 2, 29)),
            (1_735_603_200, (2024, 12, 31)),
            (1_735_689_600, (2025, 1, 1)),
            (4_107_542_400, (2100, 3, 1)),
        ] {
            assert_eq!(Moment(seconds).date(), date, "{seconds}");
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
