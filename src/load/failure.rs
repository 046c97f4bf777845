//! Why not one connection went well, as far as what came in tells, and what may help. Pure.

use super::results::{Counts, Results};
use crate::ledger::{DropReason, Handled};
use crate::stats::Snapshot;

/// What is wrong, where no connection went well and something can be named.
pub(super) fn why_none(results: &Results, snapshot: &Snapshot) -> Option<&'static str> {
    let counts = &results.counts;
    if counts.closed > 0 || counts.failed() == 0 {
        return None;
    }
    let handled = |what: Handled| snapshot.frames.handled.get(<&str>::from(what)).copied().unwrap_or(0);
    let bad_checksums = snapshot.frames.dropped.get(<&str>::from(DropReason::TcpChecksum)).copied().unwrap_or(0);
    let all = |count: u64| count == counts.failed();
    let heard = handled(Handled::Segment) + handled(Handled::AnsweredByReset) + counts.refused > 0;
    let lost =
        snapshot.kernel.rx_ring_full + snapshot.kernel.rx_dropped + snapshot.frames.dropped.values().sum::<u64>();
    // Each connection would have sent a SYN at least, of 54 octets at least; a question over IPv4 has 42, or 46.
    let frames = &snapshot.frames;
    let only_asked = frames.sent < counts.opened || frames.bytes_sent < 50 * frames.sent;
    Some(match counts {
        _ if !heard && bad_checksums > 0 => {
            "every TCP checksum that came was wrong; `ethtool -K PEER tx off` at the peer of a veth, or `--rx-checksum trust`"
        }
        _ if !heard && lost > 0 => return None,
        _ if !heard && only_asked && handled(Handled::NeighbourReply) == 0 => {
            "nobody answered for the target's Ethernet address, or its gateway's; is it up, and on this link?"
        }
        _ if !heard => "nothing came back from the target; is it up, and does it know the way to our addresses?",
        Counts { refused, .. } if all(*refused) => "every SYN was refused; does anything listen at the target's port?",
        Counts { reset, .. } if all(*reset) => "every connection was reset by the target",
        Counts { cut_short, .. } if all(*cut_short) => "the target closed every connection before its time",
        Counts { bad_answer, .. } if all(*bad_answer) && results.statuses.errors() == *bad_answer => {
            "every response had an HTTP status of 400 or more; is what `--http` names there?"
        }
        Counts { bad_answer, .. } if all(*bad_answer) => "not one answer was as it should be",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(counts: Counts) -> Results {
        Results { counts, ..Results::default() }
    }

    /// What is said of ten connections that ended so, after so many frames sent and these received.
    fn why(counts: Counts, sent: u64, received: &[(Handled, u64)], bad_checksums: u64) -> Option<&'static str> {
        let mut snapshot = Snapshot::default();
        (snapshot.frames.sent, snapshot.frames.bytes_sent) = (sent, sent * 74);
        for (what, count) in received {
            snapshot.frames.handled.insert(<&str>::from(*what).into(), *count);
        }
        snapshot.frames.dropped.insert(<&str>::from(DropReason::TcpChecksum).into(), bad_checksums);
        why_none(&of(Counts { opened: 10, ..counts }), &snapshot)
    }

    #[test]
    fn what_can_be_named_is() {
        let silent = Counts { timeout: 10, ..Counts::default() };
        let arp = [(Handled::NeighbourReply, 1)];
        let answered = [(Handled::NeighbourReply, 1), (Handled::Segment, 10)];
        for (counts, sent, received, bad_checksums, part) in [
            (silent, 3, &[][..], 0, "Ethernet address"),
            (silent, 31, &arp, 0, "nothing came back"),
            (silent, 31, &[], 0, "nothing came back"),
            (silent, 31, &arp, 20, "checksum"),
            (Counts { refused: 10, ..Counts::default() }, 11, &arp, 0, "refused"),
            (Counts { reset: 10, ..Counts::default() }, 21, &answered, 0, "reset"),
            (Counts { cut_short: 10, ..Counts::default() }, 21, &answered, 0, "before its time"),
            (Counts { bad_answer: 10, ..Counts::default() }, 21, &answered, 1, "not one answer"),
        ] {
            let why = why(counts, sent, received, bad_checksums);
            assert!(why.is_some_and(|why| why.contains(part)), "{part}: {why:?}");
        }
    }

    #[test]
    fn responses_that_are_all_errors_are_told_from_those_that_are_none() {
        let mut results = of(Counts { opened: 2, bad_answer: 2, ..Counts::default() });
        let mut snapshot = Snapshot::default();
        snapshot.frames.handled.insert(<&str>::from(Handled::Segment).into(), 10);
        results.statuses.enter(404, crate::time::Instant::ZERO);
        assert!(
            why_none(&results, &snapshot).is_some_and(|why| why.contains("not one answer")),
            "one was something else"
        );
        results.statuses.enter(503, crate::time::Instant::ZERO);
        assert!(why_none(&results, &snapshot).is_some_and(|why| why.contains("400 or more")));
    }

    #[test]
    fn nothing_is_named_where_it_is_not_plain() {
        let answered = [(Handled::Segment, 10)];
        for counts in [
            Counts { closed: 1, refused: 9, ..Counts::default() },
            Counts { refused: 5, reset: 5, ..Counts::default() },
            Counts { timeout: 10, ..Counts::default() },
            Counts { unfinished: 10, ..Counts::default() },
        ] {
            assert_eq!(why(counts, 20, &answered, 0), None, "{counts:?}");
        }
    }

    #[test]
    fn a_single_connection_that_only_asked_for_its_neighbour_is_told_from_one_that_nobody_answered() {
        let counts = of(Counts { opened: 1, timeout: 1, ..Counts::default() });
        let mut snapshot = Snapshot::default();
        for (octets, part) in [(42, "Ethernet address"), (74, "nothing came back")] {
            (snapshot.frames.sent, snapshot.frames.bytes_sent) = (3, 3 * octets);
            assert!(why_none(&counts, &snapshot).is_some_and(|why| why.contains(part)), "{part}");
        }
        snapshot.kernel.rx_dropped = 1;
        assert_eq!(why_none(&counts, &snapshot), None, "it may have come, and been lost");
    }
}
