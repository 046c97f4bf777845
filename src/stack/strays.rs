//! Segments with text or a FIN that match nothing while cookies are on their way.
//!
//! Deviation: RFC 9293 §3.10.7.1, RST for what matches nothing. Such a segment may be an honest peer's, and have overtaken
//! the one that brings the cookie back: it is heard in silence, as a RST would end what is about to stand. But a peer of a
//! connection that is over must hear so sooner or later. The two are told apart by what comes next: the former sends from
//! its first octet, with the cookie, when its RTO is over, and the same again only once before that, as a probe of the tail
//! (RFC 8985 §7.3). What comes a third time is of the latter.

use crate::wire::SeqNum;

/// When a segment comes again sooner than this, the network has doubled it.
const APART_MS: u32 = 100;
/// How often a segment must have come to be answered.
const ENOUGH: u8 = 3;

/// One that was heard.
#[derive(Clone, Copy, Default)]
struct Stray {
    /// Which, by a hash.
    tag: u32,
    heard_ms: u32,
    times: u8,
}

/// Those that were heard last: 12 KiB. Two that share a place put each other out, which costs a RST, or delays it.
pub struct Strays {
    heard: Box<[Stray; 1024]>,
}

impl Strays {
    /// None yet.
    pub fn new() -> Self {
        Strays { heard: Box::new([Stray::default(); 1024]) }
    }

    /// Notes the segment that begins at `seq` of the flow with this secret hash; says whether it has come so often that no
    /// cookie is to follow.
    pub fn is_hopeless(&mut self, flow: u64, seq: SeqNum, now_ms: u64) -> bool {
        let hash = (flow ^ u64::from(seq.0)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let (tag, now) = (hash as u32, now_ms as u32);
        let stray = &mut self.heard[(hash >> 54) as usize];
        if stray.tag != tag || stray.times == 0 {
            *stray = Stray { tag, heard_ms: now, times: 1 };
            return false;
        }
        if now.wrapping_sub(stray.heard_ms) >= APART_MS {
            *stray = Stray { tag, heard_ms: now, times: (stray.times + 1).min(ENOUGH) };
        }
        stray.times == ENOUGH
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_a_third_time_is_heard_in_silence_no_more() {
        let mut strays = Strays::new();
        let mut at = |seq, ms| strays.is_hopeless(7, SeqNum(seq), ms);
        assert_eq!([at(1, 0), at(2, 0), at(3, 1)], [false; 3], "a flight");
        assert_eq!([at(3, 200), at(3, 201), at(3, 299)], [false; 3], "a probe of the tail, doubled by the network");
        assert_eq!([at(1, 1_000), at(1, 1_050), at(1, 3_000)], [false, false, true], "from its first octet, and again");
        assert_eq!([at(2, 3_000), at(3, 3_000), at(1, 3_001)], [false, true, true]);
    }

    #[test]
    fn flows_do_not_count_for_each_other() {
        let mut strays = Strays::new();
        for ms in [0, 500, 1_000] {
            for flow in 0..100u64 {
                let hopeless = strays.is_hopeless(flow << 40, SeqNum(1), ms + flow);
                assert!(!hopeless || ms == 1_000, "flow {flow}");
            }
        }
        assert!(!strays.is_hopeless(100 << 40, SeqNum(1), 2_000));
    }
}
