//! The urgent pointer (RFC 9293 §3.8.5, RFC 6093).

use super::peer::*;
use super::segment::*;
use super::target::*;

#[test]
fn the_urgent_pointer_does_no_harm() {
    covers!("9293-MUST-30");
    everywhere(|p| {
        p.accept();
        for (at, pointer) in [0, 1, 3, 200, 0xffff].into_iter().enumerate() {
            let seq = 1 + 3 * at as u32;
            p.send(seg(A | U | P).seq(seq).text(b"urg").urgent(pointer));
            p.expect(ack(seq + 3).seq(1));
        }
        p.note("a pointer whose flag a middlebox has cleared");
        p.send(data(16, b"end").urgent(2));
        p.expect(ack(19).seq(1));
        let read = p.app_read_all();
        if p.on_linux("the urgent octet is taken out of the stream unless SO_OOBINLINE is set") {
            assert!(read.len() >= 12 && read.ends_with(b"end"));
        } else {
            assert_eq!(read, b"urgurgurgurgurgend");
        }
    });
}

#[test]
fn an_urgent_pointer_without_text_is_an_acknowledgement() {
    covers!("9293-MUST-30");
    everywhere(|p| {
        p.accept();
        p.app_write(b"answer");
        p.expect(data(1, b"answer"));
        p.send(seg(A | U).seq(1).ack(7).urgent(500));
        p.expect_no_answer();
        p.expect_state("ESTABLISHED");
        p.note("and it is not sent again");
        p.expect_silence(secs(2));
    });
}

#[test]
fn urgent_text_that_overtakes_is_put_in_its_place() {
    covers!("9293-MUST-30", "9293-MUST-59");
    handfast_only("the kernel takes the urgent octet out of the stream", |p| {
        p.accept();
        p.send(seg(A | U | P).seq(4).ack(1).text(b"def").urgent(1));
        p.expect(ack(1));
        p.send(seg(A | U | P).seq(1).ack(1).text(b"abcd").urgent(60_000));
        p.expect(ack(7));
        assert_eq!(p.app_read(), Read::Data(b"abcdef".to_vec()));
    });
}
