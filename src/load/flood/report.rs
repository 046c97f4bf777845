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
    /// Frames of TCP that the target sent back to its sources, as far as they came to the interface.
    pub answers: u64,
    /// Where no frame was sent, or no SYN answered: the cause and the cure, as far as they are known.
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
    /// One of our addresses: a target that sends by way of it answers to us.
    pub way_back: Option<Ipv4Addr>,
}

impl Flood {
    /// What came of it, with these answers.
    pub fn report(&self, gauges: &[Arc<FloodGauge>], answers: Answers) -> FloodReport {
        let sum = |of: fn(&FloodGauge) -> u64| gauges.iter().map(|gauge| of(gauge)).sum::<u64>();
        let (sent, held_back) = (sum(FloodGauge::sent), sum(FloodGauge::held_back));
        let seconds = gauges.iter().map(|gauge| gauge.seconds()).fold(0.0, f64::max);
        FloodReport {
            kind: self.kind,
            asked_per_second: self.rate,
            per_second: if seconds > 0.0 { (sent as f64 / seconds).round() } else { 0.0 },
            sent,
            held_back,
            answers: answers.counted.unwrap_or(0),
            why_none: self.why_none(sent, held_back, answers),
            seconds,
        }
    }

    /// A SYN draws an answer from every target, listening or not; of the other kinds some draw none by right.
    fn why_none(&self, sent: u64, held_back: u64, answers: Answers) -> Option<String> {
        let sources = self.sources;
        match answers.counted {
            _ if sent == 0 && held_back == 0 => Some(
                "none was sent: honest connections show the way to the target, and no frame of theirs went there"
                    .into(),
            ),
            _ if sent == 0 || self.kind != Kind::Syn => None,
            Some(1..) => None,
            Some(0) => {
                let via = answers.way_back.map_or("OUR-ADDRESS".into(), |addr| addr.to_string());
                Some(format!(
                    "not one SYN was answered; does the target know the way back? It needs `ip route add {sources} via {via}`, or, \
                     where it is `serve`, `--gateway {via}`"
                ))
            }
            None => Some(format!(
                "not counted: this host has an address within {sources}, so answers are the kernel's; give another `--flood-from`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_which_nothing_came_says_why() {
        let why = |kind, sent, held_back, counted| {
            let (sources, target) = ("198.18.0.0/15".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
            let flood = Flood::new(kind, 1e3, sources, target, true).unwrap();
            flood.why_none(sent, held_back, Answers { counted, way_back: Some(Ipv4Addr::new(10, 0, 0, 4)) })
        };
        for (sent, counted, part) in [
            (9, Some(0), "`ip route add 198.18.0.0/15 via 10.0.0.4`, or, where it is `serve`, `--gateway 10.0.0.4`"),
            (9, None, "another `--flood-from`"),
            (0, Some(0), "none was sent"),
        ] {
            let said = why(Kind::Syn, sent, 0, counted);
            assert!(said.as_ref().is_some_and(|said| said.contains(part)), "{part}: {said:?}");
        }
        assert_eq!(why(Kind::Syn, 9, 0, Some(1)), None);
        assert_eq!(why(Kind::Syn, 0, 9, Some(0)), None, "there was no room, and it is counted");
        assert_eq!(why(Kind::Rst, 9, 0, Some(0)), None, "nobody answers a RST");
        assert!(why(Kind::Rst, 0, 0, Some(0)).is_some(), "none was sent");
    }
}
