//! ICMP errors about connections (RFC 9293 §3.9.2.2, RFC 5927).

use super::peer::*;
use super::segment::*;
use super::target::*;
use handfast::Ownership;

const UNREACHABLE: u8 = 3;
const SOURCE_QUENCH: u8 = 4;
const TIME_EXCEEDED: u8 = 11;
const PARAMETER_PROBLEM: u8 = 12;

#[test]
fn a_hard_error_about_our_syn_means_refused() {
    covers!("9293-SHLD-26", "9293-MUST-54");
    stage().ipv4().without_listener().play(|p| {
        p.connect();
        p.send_icmp(UNREACHABLE, 3, 0, 0);
        p.expect_silence(secs(3));
        assert_eq!(p.count("SYN-SENT"), 0);
        assert_eq!(p.app_read(), Read::Fault(Fault::Refused));
    });
}

#[test]
fn an_error_that_quotes_what_is_not_in_flight_says_nothing() {
    covers!("5927-4");
    stage().ipv4().without_listener().play(|p| {
        p.connect();
        for quoted in [1, 2, 0xffff_ffff, 0x8000_0000] {
            if quoted == 1 && p.on_linux("a quoted number equal to SND.NXT is taken for one in flight") {
                continue;
            }
            p.send_icmp(UNREACHABLE, 3, 0, quoted);
        }
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.send(syn_ack().ack(1));
        p.expect(ack(1));
    });
}

#[test]
fn soft_errors_are_reported_and_a_hard_one_about_what_stands_as_well() {
    covers!("9293-MUST-47");
    stage().ipv4().without_listener().handfast_only("a socket keeps the last one only").play(|p| {
        let told = |p: &mut Peer| match p.target.ask(Call::SoftErrors(p.sock())) {
            Answer::SoftErrors(told) => told,
            other => panic!("no answer to that: {other:?}"),
        };
        p.connect();
        p.send_icmp(UNREACHABLE, 1, 0, 0x8000_0000);
        p.send_icmp(SOURCE_QUENCH, 0, 0, 0);
        assert_eq!(told(p), [""; 0], "what is not in flight, and what nobody cares for");
        p.send_icmp(UNREACHABLE, 1, 0, 0);
        p.send_icmp(TIME_EXCEEDED, 0, 0, 0);
        p.send(syn_ack().ack(1));
        p.expect(ack(1));
        p.app_write(b"text");
        p.expect(data(1, b"text"));
        p.send_icmp(UNREACHABLE, 3, 0, 1);
        p.expect_state("ESTABLISHED");
        assert_eq!(told(p), ["Unreachable { code: 1 }", "TimeExceeded", "Unreachable { code: 3 }"]);
    });
}

#[test]
fn soft_errors_do_not_end_an_attempt() {
    covers!("9293-MUST-56");
    stage().ipv4().without_listener().play(|p| {
        p.connect();
        for (kind, code) in
            [(UNREACHABLE, 0), (UNREACHABLE, 1), (UNREACHABLE, 5), (TIME_EXCEEDED, 0), (SOURCE_QUENCH, 0)]
        {
            p.send_icmp(kind, code, 0, 0);
            if p.on_linux("in SYN-SENT a host that is unreachable ends the attempt at once") {
                assert_eq!(p.count("SYN-SENT"), 0);
                return;
            }
        }
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.expect_within(secs(2), seg(S).seq(0));
        p.send(syn_ack().ack(1));
        p.expect(ack(1));
    });
}

#[test]
fn no_error_ends_a_connection_that_stands() {
    covers!("9293-SHLD-26", "9293-MUST-56", "9293-MUST-54");
    stage().ipv4().play(|p| {
        p.accept();
        p.app_write(b"in flight");
        p.expect(data(1, b"in flight"));
        for code in (0..16).filter(|code| *code != 4) {
            p.send_icmp(UNREACHABLE, code, 0, 1);
        }
        for (kind, code) in [(TIME_EXCEEDED, 0), (TIME_EXCEEDED, 1), (PARAMETER_PROBLEM, 0), (SOURCE_QUENCH, 0)] {
            p.send_icmp(kind, code, 0, 1);
        }
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
        p.send(data(1, b"alive").ack(10));
        p.expect(ack(6));
    });
}

#[test]
fn errors_about_half_open_entries_and_strangers_are_ignored() {
    covers!("5927-4", "9293-MUST-54");
    stage().ipv4().play(|p| {
        p.enter("SYN-RECEIVED");
        p.send_icmp(UNREACHABLE, 0, 0, 0x5000_0000);
        p.send_icmp(UNREACHABLE, 3, 0, 0x5000_0000);
        p.on_port(44_000, |p| p.send_icmp(UNREACHABLE, 3, 0, 0));
        p.expect_no_answer();
        p.send(ack(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_forged_packet_too_big_does_not_collapse_segments() {
    covers!("1191-3", "5927-4");
    stage().ipv4().play(|p| {
        p.accept();
        p.app_write(&[b'x'; 2_920]);
        assert_eq!(p.flight(), [1, 1_461]);
        for quoted in [0x4000_0000, 2_922, 0xffff_0000] {
            p.send_icmp(UNREACHABLE, 4, 68, quoted);
        }
        p.send(ack(2_921));
        p.app_write(&[b'x'; 2_920]);
        p.expect(seg(A).seq(2_921).text_len(1_460));
    });
}

#[test]
fn a_packet_too_big_makes_segments_smaller_and_sends_again_at_once() {
    covers!("1191-3");
    stage().ipv4().play(|p| p.sends_again_smaller(UNREACHABLE, 4, 1_000, 960));
}

#[test]
fn a_shared_address_hears_of_what_its_path_carries() {
    covers!("1191-3");
    let stage = stage().ipv4().in_memory_only("over a wire the host would answer what is not for us");
    stage.with(|setup| setup.ownership = Ownership::Shared).play(|p| p.sends_again_smaller(UNREACHABLE, 4, 1_000, 960));
}

#[test]
fn a_packet_too_big_of_68_octets_is_not_believed_that_far() {
    covers!("1191-3", "MSS-FLOOR");
    stage().ipv4().play(|p| {
        p.accept();
        p.app_write(&[b'x'; 2_920]);
        assert_eq!(p.flight(), [1, 1_461]);
        p.send_icmp(UNREACHABLE, 4, 68, 1);
        p.send_icmp(UNREACHABLE, 4, 0, 1);
        p.pass(millis(100));
        p.send(ack(2_921));
        p.pass(millis(20));
        p.app_write(&[b'x'; 2_920]);
        let got = p.next(secs(1)).expect("data");
        assert!(got.text.len() >= 500, "{}", got.text.len());
    });
}

#[test]
fn a_packet_too_big_that_is_larger_changes_nothing() {
    covers!("1191-3");
    stage().ipv4().play(|p| {
        p.accept();
        p.app_write(&[b'x'; 2_920]);
        assert_eq!(p.flight(), [1, 1_461]);
        p.send_icmp(UNREACHABLE, 4, 1_500, 1);
        p.send_icmp(UNREACHABLE, 4, 9_000, 1);
        p.expect_no_answer();
        p.send(ack(2_921));
        p.app_write(&[b'x'; 2_920]);
        p.expect(seg(A).seq(2_921).text_len(1_460));
    });
}

#[test]
fn a_path_that_swallows_large_segments_in_silence_is_survived() {
    covers!("4821-7");
    stage().ipv4().in_memory_only("it takes minutes").play(|p| {
        p.accept();
        p.app_write(&[b'x'; 10_000]);
        let mut una = 1;
        let until = p.target.now() + secs(280);
        while una < 10_001 && p.target.now() < until {
            let Some(got) = p.next(secs(70)) else { break };
            assert_eq!(got.flags & R, 0);
            // Nothing above 1,000 octets gets through, and nobody says so.
            if got.text.len() <= 960 && got.seq == una {
                una += got.text.len() as u32;
                p.send(ack(una));
            }
        }
        assert_eq!(una, 10_001);
    });
}

#[test]
fn what_a_path_carries_is_kept_for_the_next_connection_and_for_ten_minutes() {
    covers!("1191-3");
    stage().ipv4().in_memory_only("it takes minutes").play(|p| {
        let flight = |p: &mut Peer, port: u16| {
            p.on_port(port, |p| {
                p.accept();
                p.app_write(&[b'x'; 2_920]);
                let flight = p.flight();
                p.app_abort();
                p.pass(millis(10));
                flight
            })
        };
        p.accept();
        p.app_write(&[b'x'; 2_920]);
        assert_eq!(p.flight(), [1, 1_461]);
        p.send_icmp(UNREACHABLE, 4, 1_000, 1);
        p.app_abort();
        p.pass(millis(10));
        assert_eq!(flight(p, 10_000), [1, 961, 1_921], "segments of 960 octets, and Nagle holds the rest");
        assert_eq!(p.target.snapshot().unwrap().pools["path_mtus"].used, 1);
        p.pass(secs(601));
        assert_eq!(flight(p, 10_001), [1, 1_461], "a larger one is tried again");
    });
}
