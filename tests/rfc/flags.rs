//! Every combination of control bits to a closed port, a listener and an attempt (RFC 9293 §3.10.7.1–§3.10.7.3).

use super::peer::*;
use super::segment::*;

const CLOSED_PORT: u16 = 9;

/// FIN, SYN, RST, PSH, ACK, URG in every combination; those with RST last, as silence takes time to be sure of.
fn combinations() -> (Vec<u8>, Vec<u8>) {
    (0..64).partition(|flags| flags & R == 0)
}

#[test]
fn every_combination_of_flags_to_a_closed_port() {
    covers!("9293-CLOSED-RST");
    everywhere(|p| {
        let (answered, silent) = combinations();
        let isn = p.flow.isn;
        for flags in answered {
            let len = u32::from(flags & S != 0) + u32::from(flags & F != 0) + 3;
            p.send_to_port(CLOSED_PORT, seg(flags).seq(100).abs_ack(500).text(b"abc"));
            if flags & A != 0 {
                p.expect(seg(R).abs_seq(500).text(b""));
            } else {
                p.expect(seg(R | A).abs_seq(0).abs_ack(isn.wrapping_add(100 + len)).text(b""));
            }
        }
        for flags in silent {
            p.send_to_port(CLOSED_PORT, seg(flags).seq(100).abs_ack(500));
        }
        p.expect_no_answer();
    });
}

#[test]
fn every_combination_of_flags_to_a_listener() {
    covers!("9293-LISTEN-RST", "9293-LISTEN-ACK", "9293-LISTEN-OTHER", "9293-3WHS");
    everywhere(|p| {
        let (others, silent) = combinations();
        for flags in others.iter().copied().filter(|flags| flags & A != 0) {
            p.send(seg(flags).seq(0).abs_ack(500));
            p.expect(seg(R).abs_seq(500).text(b""));
        }
        for flags in others.iter().copied().filter(|flags| flags & (A | S) == 0).chain(silent) {
            p.send(seg(flags).seq(0).abs_ack(500));
        }
        p.expect_no_answer();
        assert_eq!(p.count("SYN-RECEIVED"), 0);
        for flags in others.iter().copied().filter(|flags| flags & (A | S | F) == S) {
            p.on_port(47_000 + u16::from(flags), |p| {
                p.send(seg(flags).seq(0).mss(1_460));
                p.expect(syn_ack().ack(1));
            });
        }
    });
}

#[test]
fn every_combination_of_flags_with_a_wrong_ack_to_an_attempt() {
    covers!("9293-SYNSENT-BADACK", "9293-SYNSENT-RST");
    everywhere_without_listener(|p| {
        p.connect();
        let (answered, silent) = combinations();
        for flags in answered.iter().copied().filter(|flags| flags & A != 0) {
            p.send(seg(flags).seq(0).ack(2));
            let wrong = p.flow.irs.unwrap().wrapping_add(2);
            p.expect(seg(R).abs_seq(wrong).text(b""));
        }
        for flags in silent {
            p.send(seg(flags).seq(0).ack(2));
        }
        if p.on_linux("after a wrong ACK in SYN-SENT the SYN is sent again at once, not after its timeout") {
            p.pass(SOON);
        } else {
            p.expect_no_answer();
        }
        p.expect_state("SYN-SENT");
    });
}

#[test]
fn every_combination_of_flags_without_syn_or_rst_says_nothing_to_an_attempt() {
    covers!("9293-SYNSENT-NOFIN");
    everywhere_without_listener(|p| {
        p.connect();
        let (others, _) = combinations();
        for flags in others.into_iter().filter(|flags| flags & S == 0) {
            p.send(seg(flags).seq(0).ack(1));
        }
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.send(syn_ack().ack(1));
        p.expect(ack(1).seq(1));
    });
}

#[test]
fn a_reset_without_ack_or_with_a_wrong_one_does_not_refuse() {
    covers!("9293-SYNSENT-RST");
    everywhere_without_listener(|p| {
        p.connect();
        for segment in [rst(0), rst(0).text(b"why"), seg(R | S).seq(0), seg(R | F).seq(0), seg(R | U).seq(0)] {
            p.send(segment);
        }
        for wrong in [0, 2, 0x7fff_ffff, 0x8000_0001, 0xffff_ffff] {
            p.send(seg(R | A).seq(0).ack(wrong));
        }
        if p.on_linux("an ACK of nothing makes it send its SYN again at once") {
            p.pass(millis(50));
        } else {
            p.expect_no_answer();
        }
        p.expect_state("SYN-SENT");
    });
}

#[test]
fn the_reserved_bits_mean_nothing() {
    covers!("9293-3WHS", "9293-MUST-4");
    everywhere(|p| {
        p.send(syn().tweak(|t| t.reserved = 0xf));
        p.expect(syn_ack().ack(1));
        p.send(ack(1).tweak(|t| t.reserved = 0xe));
        p.sock = p.target.accept();
        p.send(data(1, b"text").tweak(|t| t.reserved = 0xf));
        p.expect(ack(5));
    });
}

#[test]
fn every_combination_of_flags_in_established_leaves_a_connection_that_works() {
    covers!("9293-NOACK", "5961-4.2", "5961-3.2-IN");
    everywhere(|p| {
        p.accept();
        // Without FIN, which ends the stream; a RST is not at RCV.NXT, so that it is challenged.
        for flags in (0..64).filter(|flags| flags & F == 0) {
            let seq = if flags & R != 0 { 2 } else { 1 };
            p.send(seg(flags).seq(seq).ack(1));
            let answers = p.pass(millis(2));
            assert!(answers.iter().all(|got| (got.flags, got.seq, got.ack) == (A, 1, 1)), "{answers:?}");
            p.flow.snd_nxt = 1;
        }
        p.pass(p.at_once());
        p.expect_state("ESTABLISHED");
        p.send(data(1, b"alive"));
        p.expect(ack(6));
    });
}
