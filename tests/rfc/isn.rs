//! Initial sequence numbers, and what one end has forgotten (RFC 9293 §3.4.1, §3.4.3, §3.5.1, RFC 6528).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn the_isn_of_a_tuple_rises_with_the_clock() {
    covers!("9293-MUST-8", "6528-3");
    in_memory_only("it measures the clock", |p| {
        let mut last = None;
        for _ in 0..50 {
            p.flow = Flow::new(PEER_PORT, p.flow.isn);
            p.send(syn());
            let isn = p.expect(syn_ack()).wire.seq;
            p.send(rst(1));
            p.expect_silence(secs(1));
            if let Some(last) = last {
                // One second and a little: 15,625,000 ticks of 64 ns.
                let step = isn.wrapping_sub(last);
                assert!((15_625_000..15_700_000).contains(&step), "{step}");
            }
            last = Some(isn);
        }
    });
}

#[test]
fn isns_of_different_tuples_have_nothing_in_common() {
    covers!("9293-MUST-8", "6528-3");
    everywhere(|p| {
        let mut isns = vec![];
        for port in 41_000..41_200 {
            isns.push(p.on_port(port, |p| {
                p.send(syn());
                let isn = p.expect(syn_ack()).wire.seq;
                p.send(rst(1));
                isn
            }));
        }
        let steps: std::collections::BTreeSet<u32> = isns.windows(2).map(|w| w[1].wrapping_sub(w[0])).collect();
        assert!(steps.len() > 195, "{} different steps of 199", steps.len());
        let small = steps.iter().filter(|step| **step < 1 << 24 || **step > u32::MAX - (1 << 24)).count();
        assert!(small < 10, "{small} of them small");
    });
}

#[test]
fn a_host_that_has_forgotten_resets_the_old_connection() {
    covers!("9293-HALFOPEN", "9293-QUIET");
    everywhere(|p| {
        // The peer is left in ESTABLISHED by a host that was restarted.
        p.flow.irs = Some(5_000);
        p.send(data(300, b"anyone there?").ack(100));
        p.expect(seg(R).seq(100));
    });
}

#[test]
fn a_peer_that_has_forgotten_is_found_out() {
    covers!("9293-HALFOPEN", "9293-QUIET");
    everywhere_without_listener(|p| {
        // The host opens anew towards a peer that still has the old connection.
        p.connect();
        p.send(seg(A).seq(777).ack(0x1000_0000));
        let old = p.flow.irs.unwrap().wrapping_add(0x1000_0000);
        p.expect(seg(R).abs_seq(old));
        // The peer now forgets as well, and the SYN that comes again finds it listening.
        p.expect_within(secs(2), seg(S).seq(0));
        p.send(syn_ack().ack(1));
        p.expect(ack(1).seq(1));
    });
}
