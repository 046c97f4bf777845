//! The PSH bit, ours and the peer's (RFC 9293 §3.9.1.2, MUST-60, MUST-61).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn the_last_segment_of_what_is_queued_is_pushed() {
    covers!("9293-MUST-61");
    everywhere(|p| {
        p.accept();
        for (from, octets) in [(1, 2_920), (2_921, 10), (2_931, 1_460)] {
            p.app_write(&vec![b'x'; octets]);
            let wait = p.at_once();
            let flight = p.pass(wait);
            let last = flight.last().expect("text");
            assert_eq!((last.seq + last.text.len() as u32, last.flags & P), (from + octets as u32, P));
            p.send(ack(from + octets as u32));
        }
    });
}

#[test]
fn what_is_not_pushed_is_read_all_the_same() {
    covers!("9293-MUST-61");
    everywhere(|p| {
        p.accept();
        p.send(seg(A).seq(1).text(b"not pushed"));
        p.expect(ack(11));
        assert_eq!(p.app_read(), Read::Data(b"not pushed".to_vec()));
    });
}

#[test]
fn a_push_without_text_means_nothing() {
    covers!("9293-MUST-61");
    everywhere(|p| {
        p.accept();
        p.send(seg(A | P).seq(1));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
    });
}

#[test]
fn what_is_sent_again_is_pushed_as_well() {
    covers!("9293-MUST-61");
    everywhere(|p| {
        p.accept();
        p.app_write(b"lost");
        assert_eq!(p.expect(data(1, b"lost")).flags & P, P);
        assert_eq!(p.expect_within(secs(4), data(1, b"lost")).flags & P, P);
    });
}
