//! SYN floods (RFC 4987).

use super::peer::*;
use super::segment::*;
use std::time::Duration;

#[test]
fn half_open_memory_is_bounded_and_connections_stand() {
    covers!("4987-STATE", "LIM-1", "LIM-2");
    in_memory_with(
        "it takes minutes",
        |s| s.limits.half_open = 16,
        |p| {
            p.accept();
            for port in 1_000..1_160 {
                p.on_port(port, |p| p.send(syn()));
            }
            p.pass(Duration::ZERO);
            assert!(p.count("SYN-RECEIVED") <= 16);
            p.send(data(1, b"alive"));
            p.expect(ack(6));
            p.pass(secs(120));
            assert_eq!(p.count("SYN-RECEIVED"), 0);
            p.on_port(41_000, |p| p.accept());
        },
    );
}

#[test]
fn one_syn_yields_a_bounded_number_of_syn_acks() {
    covers!("4987-NO-AMPLIFY", "4987-TIMER");
    in_memory_only("it takes minutes", |p| {
        p.send(syn());
        let answers = p.pass(secs(200));
        assert_eq!(answers.len(), 6, "one, and five retries");
        assert!(answers.iter().all(|got| got.flags == S | A && got.text.is_empty()));
        assert_eq!(p.count("SYN-RECEIVED"), 0);
        let snapshot = p.target.snapshot().unwrap();
        assert_eq!((snapshot.half_open["timed_out"], snapshot.pools["half_open"].used), (1, 0));
    });
}

#[test]
fn half_open_entries_are_gone_after_about_a_minute() {
    covers!("4987-TIMER");
    in_memory_only("it takes minutes", |p| {
        for port in 1_000..1_100 {
            p.on_port(port, |p| p.send(syn()));
        }
        p.pass(secs(70));
        assert_eq!(p.count("SYN-RECEIVED"), 0);
    });
}

#[test]
fn without_room_for_a_connection_the_final_ack_is_dropped_without_a_reset() {
    covers!("4987-OVERFLOW", "LIM-1");
    handfast_with(
        "it sets the table's limit",
        |s| s.limits.connections = 1,
        |p| {
            p.accept();
            p.on_port(41_000, |p| {
                p.send(syn());
                p.expect(syn_ack().ack(1));
                p.send(ack(1));
                assert_eq!(p.next(millis(500)).map(|got| got.flags), None, "no RST");
                p.expect_within(secs(2), syn_ack().ack(1));
            });
            assert!(p.dropped("connections_full") > Some(0));
            p.send(rst(1));
            p.pass(millis(1));
            p.note("there is room again, and the other tries again");
            p.flow = Flow::new(41_000, 0x1234_5678);
            p.send(syn());
            p.expect_within(secs(9), syn_ack().ack(1));
            p.send(ack(1));
            p.expect_no_answer();
            p.expect_state("ESTABLISHED");
        },
    );
}

#[test]
fn forged_acks_make_no_connection() {
    covers!("4987-COOKIE-VERIFY");
    everywhere(|p| {
        let mut number = 12_345u32;
        for _ in 0..1_000 {
            number = number.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            p.send(seg(A).seq(1).abs_ack(number));
            p.expect(seg(R).abs_seq(number));
        }
        assert_eq!(p.target.accept(), None);
        assert_eq!(p.count("ESTABLISHED"), 0);
    });
}
