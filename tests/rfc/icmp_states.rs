//! ICMP errors in every state (RFC 9293 §3.9.2.2, RFC 1122 §4.2.3.9, RFC 5927 §4, §5.2), over both families.

use super::peer::*;
use super::segment::*;
use super::target::*;

/// Type and code of errors.
type Kinds = Vec<(u8, u8)>;

/// Those that RFC 1122 calls hard but for "fragmentation needed": protocol and port unreachable; and of ICMPv6, by RFC 5461.
fn hard(family: Family) -> Kinds {
    match family {
        Family::V4 => vec![(3, 2), (3, 3)],
        Family::V6 => vec![(1, 4)],
    }
}

/// All the others: routes that are gone, time exceeded, our own header not understood; and source quench.
fn soft(family: Family) -> Kinds {
    match family {
        Family::V4 => {
            vec![(3, 0), (3, 1), (3, 5), (3, 6), (3, 11), (3, 12), (3, 13), (11, 0), (11, 1), (12, 0), (12, 1), (4, 0)]
        }
        Family::V6 => vec![(1, 0), (1, 2), (1, 3), (1, 5), (1, 6), (3, 0), (3, 1), (4, 0), (4, 2)],
    }
}

/// The number of the host's oldest octet that is in flight in this state, as [`Peer::enter`] leaves it; where nothing is,
/// of the next.
fn quoted(p: &Peer, state: &str) -> u32 {
    match state {
        "FIN-WAIT-1" | "CLOSING" | "LAST-ACK" => 1,
        _ => p.flow.rcv_nxt,
    }
}

#[test]
fn no_error_ends_a_synchronized_state() {
    covers!("9293-SHLD-26", "9293-MUST-56", "9293-MUST-54");
    everywhere(|p| {
        for (at, state) in SYNCHRONIZED.into_iter().enumerate() {
            p.on_port(42_000 + at as u16, |p| {
                p.enter(state);
                let seq = quoted(p, state);
                for (kind, code) in hard(p.family).into_iter().chain(soft(p.family)) {
                    p.send_icmp(kind, code, 0, seq);
                }
                p.expect_no_answer();
                p.expect_state(state);
                p.send(rst(p.flow.snd_nxt));
                p.expect_no_answer();
            });
        }
    });
}

#[test]
fn time_wait_hears_no_errors() {
    covers!("9293-SHLD-26", "5927-4");
    everywhere(|p| {
        p.enter("TIME-WAIT");
        for (kind, code) in hard(p.family).into_iter().chain(soft(p.family)) {
            p.send_icmp(kind, code, 0, 1);
            p.send_icmp(kind, code, 0, 2);
        }
        p.expect_no_answer();
        p.expect_state("TIME-WAIT");
        p.send(fin(1).ack(2));
        p.expect(ack(2).seq(2));
    });
}

#[test]
fn a_hard_error_about_our_syn_ack_ends_a_half_open_entry() {
    covers!("9293-SHLD-26", "9293-MUST-54");
    everywhere(|p| {
        let v4 = p.family == Family::V4;
        if v4 && p.on_linux("over IPv4 a half-open entry ends by an error of the route, and outlives one of the host") {
            return;
        }
        for (at, (kind, code)) in hard(p.family).into_iter().enumerate() {
            p.on_port(42_100 + at as u16, |p| {
                p.enter("SYN-RECEIVED");
                p.send_icmp(kind, code, 0, 0);
                p.expect_no_answer();
                assert_eq!(p.count("SYN-RECEIVED"), 0, "{kind}/{code}");
                p.note("the port listens as before");
                p.flow = Flow::new(p.flow.port, p.flow.isn.wrapping_add(70_000));
                p.accept();
            });
        }
    });
}

#[test]
fn soft_errors_and_unproven_ones_leave_a_half_open_entry() {
    covers!("9293-MUST-56", "5927-4");
    everywhere(|p| {
        p.enter("SYN-RECEIVED");
        if !p.on_linux("a half-open entry ends by an error of the route, and over IPv6 by more of them") {
            soft(p.family).into_iter().for_each(|(kind, code)| p.send_icmp(kind, code, 0, 0));
        }
        for (kind, code) in hard(p.family) {
            for seq in [1, 2, u32::MAX, 0x8000_0000] {
                p.send_icmp(kind, code, 0, seq);
            }
        }
        p.expect_no_answer();
        p.expect_state("SYN-RECEIVED");
        p.send(ack(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn a_hard_error_after_crossing_syns_means_refused() {
    covers!("9293-SHLD-26");
    everywhere_without_listener(|p| {
        p.connect();
        p.send(syn());
        p.expect(syn_ack().seq(0).ack(1));
        let (kind, code) = *hard(p.family).last().unwrap();
        p.send_icmp(kind, code, 0, 0);
        p.expect_silence(secs(3));
        assert_eq!(p.count("SYN-RECEIVED"), 0);
        assert_eq!(p.app_read(), Read::Fault(Fault::Refused));
    });
}

#[test]
fn an_error_quotes_a_segment_of_ours_or_says_nothing() {
    covers!("5927-4", "9293-MUST-54");
    stage().ipv4().without_listener().play(|p| {
        p.connect();
        let iss = p.flow.irs.unwrap();
        let quote = |src: u16, dst: u16| [src.to_be_bytes(), dst.to_be_bytes()].concat();
        let [port, ours] = [p.flow.port, HOST_PORT];
        p.note("other ports, the ports exchanged, and a quote that ends before the number");
        for (src, dst) in [(ours, port + 1), (ours + 1, port), (port, ours)] {
            let segment = [quote(src, dst), iss.to_be_bytes().to_vec()].concat();
            p.send_icmp_about(3, 3, 0, &segment);
        }
        for len in [0, 4, 7] {
            let segment = [quote(ours, port), iss.to_be_bytes().to_vec()].concat();
            p.send_icmp_about(3, 3, 0, &segment[..len]);
        }
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.note("of the whole segment as of its first eight octets");
        let segment = [quote(ours, port), iss.to_be_bytes().to_vec(), vec![0; 12]].concat();
        p.send_icmp_about(3, 3, 0, &segment);
        p.expect_no_answer();
        assert_eq!(p.count("SYN-SENT"), 0);
    });
}

#[test]
fn an_error_with_a_bad_checksum_is_dropped() {
    covers!("5927-4");
    stage().without_listener().play(|p| {
        p.connect();
        let (kind, code) = hard(p.family)[0];
        let Ends { src, dst, .. } = p.ends();
        let about = Ends { src: dst, dst: src, ..p.ends() };
        let segment = [HOST_PORT.to_be_bytes(), p.flow.port.to_be_bytes()].concat();
        let segment = [segment, p.flow.irs.unwrap().to_be_bytes().to_vec()].concat();
        let quote = write_ip(&about, &Tweak::default(), TCP, &segment);
        let message = [&[kind, code, 0, 0, 0, 0, 0, 0][..], &quote[14..]].concat();
        p.send_icmp_message(Tweak { bad_tcp_checksum: true, ..Tweak::default() }, message.clone());
        p.expect_no_answer();
        p.expect_state("SYN-SENT");
        p.note("the same from a router in between");
        let router = match p.family {
            Family::V4 => [10, 9, 0, 77].into(),
            Family::V6 => std::net::Ipv6Addr::from([0xfd, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x77]).into(),
        };
        p.send_icmp_message(Tweak { src: Some(router), ..Tweak::default() }, message);
        p.expect_no_answer();
        assert_eq!(p.count("SYN-SENT"), 0);
    });
}

#[test]
fn a_soft_error_does_not_hurry_or_delay_what_is_sent_again() {
    covers!("9293-MUST-56");
    everywhere(|p| {
        p.accept();
        p.app_write(b"in flight");
        let first = p.expect(data(1, b"in flight")).at;
        let (kind, code) = soft(p.family)[0];
        p.send_icmp(kind, code, 0, 1);
        let again = p.expect_within(secs(3), data(1, b"in flight")).at - first;
        assert!(again >= millis(150), "{again:?}");
        p.send(ack(10));
        p.expect_no_answer();
    });
}
