//! What a run has gathered.

use super::first::First;
use super::latency::Latencies;
use super::statuses::Statuses;
use crate::stack::TupleRoom;
use crate::time::{Duration, Instant};

/// How a connection ended, for whoever loads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::EnumIter)]
pub enum Ended {
    /// It did all it had to, and was closed as it was to be.
    Closed,
    /// The peer answered the SYN with a RST.
    Refused,
    /// No answer, to the SYN or later.
    Timeout,
    /// Reset by the peer after the handshake.
    Reset,
    /// Closed by the peer before it had done all.
    CutShort,
    /// The answer was not what was asked for.
    BadAnswer,
    /// Still under way when the run ended, aborted by us.
    Unfinished,
}

/// How many connections got how far. Once a run is over, `opened` is the sum of all the endings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Asked for.
    pub opened: u64,
    /// Of those, how many reached ESTABLISHED.
    pub established: u64,
    /// Ending: [`Ended::Closed`].
    pub closed: u64,
    /// Ending: [`Ended::Refused`].
    pub refused: u64,
    /// Ending: [`Ended::Timeout`].
    pub timeout: u64,
    /// Ending: [`Ended::Reset`].
    pub reset: u64,
    /// Ending: [`Ended::CutShort`].
    pub cut_short: u64,
    /// Ending: [`Ended::BadAnswer`].
    pub bad_answer: u64,
    /// Ending: [`Ended::Unfinished`].
    pub unfinished: u64,
}

impl Counts {
    /// Connections that are over.
    pub fn over(&self) -> u64 {
        self.closed + self.failed() + self.unfinished
    }

    /// Connections that failed.
    pub fn failed(&self) -> u64 {
        self.refused + self.timeout + self.reset + self.cut_short + self.bad_answer
    }

    /// Connections under way.
    pub fn in_flight(&self) -> u64 {
        self.opened.saturating_sub(self.over())
    }

    /// Enters a connection's one ending.
    pub fn end(&mut self, ended: Ended) {
        *match ended {
            Ended::Closed => &mut self.closed,
            Ended::Refused => &mut self.refused,
            Ended::Timeout => &mut self.timeout,
            Ended::Reset => &mut self.reset,
            Ended::CutShort => &mut self.cut_short,
            Ended::BadAnswer => &mut self.bad_answer,
            Ended::Unfinished => &mut self.unfinished,
        } += 1;
    }

    fn merge(&mut self, other: &Counts) {
        self.opened += other.opened;
        self.established += other.established;
        self.closed += other.closed;
        self.refused += other.refused;
        self.timeout += other.timeout;
        self.reset += other.reset;
        self.cut_short += other.cut_short;
        self.bad_answer += other.bad_answer;
        self.unfinished += other.unfinished;
    }
}

/// What held connections back, and how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Waits {
    /// How often no local port was free.
    pub ports: u64,
    /// How long connections were held back by that, summed over workers.
    pub port_time: Duration,
    /// How often as many as allowed were under way when one was to start.
    pub room: u64,
    /// How long connections were held back by that, summed over workers.
    pub room_time: Duration,
    /// How often the stack's table of connections was full, and no place in it was about to be free.
    pub table: u64,
    /// How long connections were held back by that, summed over workers.
    pub table_time: Duration,
    /// Connections that were started more than a millisecond late.
    pub late: u64,
    /// Connections whose time had come when the run ended, and that were never started.
    pub not_started: u64,
}

impl Waits {
    fn merge(&mut self, other: &Waits) {
        self.ports += other.ports;
        self.port_time += other.port_time;
        self.room += other.room;
        self.room_time += other.room_time;
        self.table += other.table;
        self.table_time += other.table_time;
        self.late += other.late;
        self.not_started += other.not_started;
    }
}

/// What was said on connections that stood.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Talk {
    /// Answers that came whole, and as they were to be.
    pub answers: u64,
    /// Octets of text that the stack took to send.
    pub octets_sent: u64,
    /// Octets of text that were read.
    pub octets_received: u64,
}

impl Talk {
    fn merge(&mut self, other: &Talk) {
        self.answers += other.answers;
        self.octets_sent += other.octets_sent;
        self.octets_received += other.octets_received;
    }
}

/// What one worker has gathered, or the sum over several.
#[derive(Clone, Debug, Default)]
pub struct Results {
    /// How many connections got how far.
    pub counts: Counts,
    /// What was said on them.
    pub talk: Talk,
    /// What HTTP responses said of themselves.
    pub statuses: Statuses,
    /// How long it took.
    pub latencies: Latencies,
    /// What held connections back.
    pub waits: Waits,
    /// When the first connection was asked for.
    pub started: Option<Instant>,
    /// The end of the measured time: when no more were started (a run by duration), or the last one was over.
    pub measured_until: Option<Instant>,
    /// How many were opened by then.
    pub opened_measured: u64,
    /// How many were closed by then.
    pub closed_measured: u64,
    /// What was said by then.
    pub talk_measured: Talk,
    /// What was left of the tuples then.
    pub tuples: TupleRoom,
    /// Why the first bad answer was bad.
    pub bad_answer: First<&'static str>,
    /// Why the run could not go on, if so.
    pub stopped_by: Option<String>,
}

impl Results {
    /// Ends the measured time, once; says whether it was this time.
    pub fn end_measurement(&mut self, now: Instant) -> bool {
        let first = self.measured_until.is_none();
        if first {
            self.measured_until = Some(now);
            self.opened_measured = self.counts.opened;
            self.closed_measured = self.counts.closed;
            self.talk_measured = self.talk;
        }
        first
    }

    /// The measured time.
    pub fn measured(&self) -> Duration {
        match (self.started, self.measured_until) {
            (Some(from), Some(to)) => to.since(from),
            _ => Duration::ZERO,
        }
    }

    /// Adds another worker's results: counts are summed, the measured time becomes the span of both.
    pub fn merge(&mut self, other: Results) {
        self.counts.merge(&other.counts);
        self.talk.merge(&other.talk);
        self.statuses.merge(&other.statuses);
        self.latencies.merge(&other.latencies);
        self.waits.merge(&other.waits);
        self.started = [self.started, other.started].into_iter().flatten().min();
        self.measured_until = self.measured_until.max(other.measured_until);
        self.opened_measured += other.opened_measured;
        self.closed_measured += other.closed_measured;
        self.talk_measured.merge(&other.talk_measured);
        for (sum, part) in
            [(&mut self.tuples.ports, other.tuples.ports), (&mut self.tuples.time_wait, other.tuples.time_wait)]
        {
            sum.used += part.used;
            sum.limit += part.limit;
        }
        self.bad_answer.merge(&other.bad_answer);
        self.stopped_by = self.stopped_by.take().or(other.stopped_by);
    }
}

#[cfg(test)]
mod tests {
    use super::super::latency::Span;
    use super::*;
    use strum::IntoEnumIterator;

    #[test]
    fn every_ending_is_entered_exactly_once() {
        for ended in Ended::iter() {
            let mut counts = Counts { opened: 1, ..Counts::default() };
            counts.end(ended);
            assert_eq!((counts.over(), counts.in_flight()), (counts.opened, 0), "{ended:?}");
        }
    }

    #[test]
    fn merged_results_are_the_sum_over_the_span_of_both() {
        let part = |from, to, latency| {
            let mut r = Results { started: Some(Instant::from_millis(from)), ..Results::default() };
            r.counts.opened = 1;
            r.counts.established = 1;
            r.latencies.record(Span::Handshake, Duration::from_micros(latency));
            r.counts.end(Ended::Closed);
            r.waits.late = 3;
            r.talk = Talk { answers: 1, octets_sent: 2, octets_received: 3 };
            r.statuses.enter(404, Instant::from_millis(from));
            r.bad_answer.note(Instant::from_millis(from), if from < 100 { "the earlier" } else { "the later" });
            r.end_measurement(Instant::from_millis(to));
            r
        };
        let mut sum = part(100, 900, 10);
        sum.merge(part(50, 800, 30));
        assert_eq!(sum.measured(), Duration::from_millis(850));
        assert_eq!((sum.counts.opened, sum.counts.over(), sum.closed_measured, sum.waits.late), (2, 2, 2, 6));
        assert_eq!(sum.latencies.of(Span::Handshake).len(), 2);
        let twice = Talk { answers: 2, octets_sent: 4, octets_received: 6 };
        assert_eq!((sum.talk, sum.talk_measured), (twice, twice));
        assert_eq!((sum.statuses.errors(), sum.bad_answer.get()), (2, Some("the earlier")));
    }

    #[test]
    fn what_closes_after_the_measured_time_is_counted_but_not_measured() {
        let mut r = Results { started: Some(Instant::ZERO), ..Results::default() };
        r.counts.end(Ended::Closed);
        r.talk.answers = 5;
        assert!(r.end_measurement(Instant::from_millis(10)));
        r.counts.end(Ended::Closed);
        r.talk.answers = 9;
        assert!(!r.end_measurement(Instant::from_millis(500)));
        assert_eq!((r.counts.closed, r.closed_measured, r.measured()), (2, 1, Duration::from_millis(10)));
        assert_eq!((r.talk.answers, r.talk_measured.answers), (9, 5));
    }
}
