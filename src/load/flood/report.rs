//! What came of a flood, and why nothing where nothing did.

use super::{Flood, FloodGauge, Kind};
use serde::Serialize;
use std::net::Ipv4Addr;
use std::sync::Arc;

/// What came of a flood.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FloodReport {
    /// Of which kind.
    pub kind: Kind,
    /// Frames a second that were asked for.
    pub asked_per_second: f64,
    /// Frames a second that were sent.
    pub per_second: f64,
    /// Frames sent.
    pub sent: u64,
    /// Frames whose time came while there was no room for them, or the worker was late.
    pub held_back: u64,
    /// Frames of TCP that the target sent back to its sources, as far as they came to the interface; `None` where they are
    /// the kernel's, and nobody counts them.
    pub answers: Option<u64>,
    /// Where no frame was sent, no SYN answered, or nothing counted: the cause and the cure, as far as they are known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub why_none: Option<String>,
    /// How long it went on.
    pub seconds: f64,
}

/// What is known of a flood's answers.
#[derive(Clone, Copy, Debug)]
pub struct Answers {
    /// How many came to the interface; `None` where they are the kernel's, as the host has an address among the sources.
    pub counted: Option<u64>,
    /// Our address on the target's link: a target that sends by way of it answers to us.
    pub way_back: Option<Ipv4Addr>,
}

/// How far a flood came, all workers together.
#[derive(Clone, Copy, Debug, Default)]
struct Course {
    began: bool,
    due: u64,
    sent: u64,
    held_back: u64,
    seconds: f64,
}

impl Course {
    fn of(gauges: &[Arc<FloodGauge>]) -> Course {
        let sum = |of: fn(&FloodGauge) -> u64| gauges.iter().map(|gauge| of(gauge)).sum::<u64>();
        Course {
            began: gauges.iter().any(|gauge| gauge.began()),
            due: sum(FloodGauge::due),
            sent: sum(FloodGauge::sent),
            held_back: sum(FloodGauge::held_back),
            seconds: gauges.iter().map(|gauge| gauge.seconds()).fold(0.0, f64::max),
        }
    }
}

impl Flood {
    /// What came of it, with these answers.
    pub fn report(&self, gauges: &[Arc<FloodGauge>], answers: Answers) -> FloodReport {
        let course = Course::of(gauges);
        let Course { sent, held_back, seconds, .. } = course;
        FloodReport {
            kind: self.kind,
            asked_per_second: self.rate,
            per_second: if seconds > 0.0 { (sent as f64 / seconds).round() } else { 0.0 },
            sent,
            held_back,
            answers: answers.counted,
            why_none: self.why_none_sent(&course).or_else(|| self.why_no_answer(&course, answers)),
            seconds,
        }
    }

    fn why_none_sent(&self, course: &Course) -> Option<String> {
        match course {
            Course { sent: 1.., .. } | Course { held_back: 1.., .. } => None,
            Course { began: false, .. } => Some(
                "none was sent: honest connections show the way to the target, and no frame of theirs went there"
                    .into(),
            ),
            Course { due: 0, seconds, .. } => Some(format!(
                "none was due yet: at {} a second it went on for {seconds:.3} s; more `--flood-rate`, or a longer run",
                self.rate
            )),
            Course { due, .. } => Some(format!("none was sent: there was no room for the {due} that were due")),
        }
    }

    /// A SYN draws an answer from every target, listening or not; of the other kinds some draw none by right.
    fn why_no_answer(&self, course: &Course, answers: Answers) -> Option<String> {
        let sources = self.sources;
        match answers.counted {
            _ if course.sent == 0 => None,
            None => Some(format!(
                "not counted: this host has an address within {sources}, so answers are the kernel's; give another `--flood-from`"
            )),
            Some(0) if self.kind == Kind::Syn => {
                let via = answers.way_back.map_or("OUR-ADDRESS".into(), |addr| addr.to_string());
                Some(format!(
                    "not one SYN was answered; does the target know the way back? It needs `ip route add {sources} via {via}`, or, \
                     where it is `serve`, `--gateway {via}`"
                ))
            }
            Some(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn flood(kind: Kind) -> Flood {
        Flood::new(kind, 1e3, "198.18.0.0/15".parse().unwrap(), "10.0.0.2:80".parse().unwrap(), true).unwrap()
    }

    #[test]
    fn a_flood_of_which_nothing_came_says_why() {
        let why = |kind, sent, counted| {
            let course = Course { began: true, due: sent, sent, ..Course::default() };
            flood(kind).why_no_answer(&course, Answers { counted, way_back: Some(Ipv4Addr::new(10, 0, 0, 4)) })
        };
        for (kind, counted, part) in [
            (
                Kind::Syn,
                Some(0),
                "`ip route add 198.18.0.0/15 via 10.0.0.4`, or, where it is `serve`, `--gateway 10.0.0.4`",
            ),
            (Kind::Syn, None, "another `--flood-from`"),
            (Kind::Ack, None, "another `--flood-from`"),
        ] {
            let said = why(kind, 9, counted);
            assert!(said.as_ref().is_some_and(|said| said.contains(part)), "{part}: {said:?}");
        }
        assert_eq!(why(Kind::Syn, 9, Some(1)), None);
        assert_eq!(why(Kind::Syn, 0, Some(0)), None, "none was sent");
        assert_eq!(why(Kind::Rst, 9, Some(0)), None, "nobody answers a RST");
    }

    #[test]
    fn honest_connections_are_blamed_only_where_they_showed_no_way() {
        let why = |began, due, sent, held_back| {
            let course = Course { began, due, sent, held_back, seconds: 0.0005 };
            flood(Kind::Syn).why_none_sent(&course)
        };
        for (began, due, part) in [
            (false, 0, "honest connections show the way"),
            (true, 0, "none was due yet: at 1000 a second it went on for 0.001 s; more `--flood-rate`"),
            (true, 7, "no room for the 7 that were due"),
        ] {
            let said = why(began, due, 0, 0);
            assert!(said.as_ref().is_some_and(|said| said.contains(part)), "{part}: {said:?}");
        }
        assert_eq!(why(true, 9, 9, 0), None);
        assert_eq!(why(true, 9, 0, 9), None, "there was no room, and it is counted");
    }

    #[test]
    fn answers_that_nobody_counted_are_null_not_none() {
        let report = |counted| flood(Kind::Rst).report(&[], Answers { counted, way_back: None });
        let json = |counted| serde_json::to_value(report(counted)).unwrap()["answers"].clone();
        assert_eq!((json(None), json(Some(0))), (serde_json::Value::Null, 0.into()));
    }
}
