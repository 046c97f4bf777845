//! The ladder of made frames, against the drawing in full.

use handfast::driver::tap::{Crossed, Direction};
use handfast::ladder::{Ladder, Side, crossings};
use handfast::stack::Transition;
use handfast::tcp::State::{self, *};
use handfast::time::Instant;
use handfast::wire::frame::{Envelope, Link, TxChecksum, emit_tcp};
use handfast::wire::tcp::{Flags, Header, Options, Timestamps};
use handfast::wire::{FourTuple, MacAddr, SeqNum};
use std::net::SocketAddr;

const CLIENT: &str = "10.77.0.1:40001";
const SERVER: &str = "10.77.0.2:9";
/// Near the wrap, so that relative numbers go across it.
const C: u32 = u32::MAX;
const S: u32 = 1_823_812;

fn tuple(local: &str, remote: &str) -> FourTuple {
    let (local, remote): (SocketAddr, SocketAddr) = (local.parse().unwrap(), remote.parse().unwrap());
    FourTuple {
        local_addr: local.ip().into(),
        remote_addr: remote.ip().into(),
        local_port: local.port(),
        remote_port: remote.port(),
    }
}

/// A frame as the client's tap records it, `at` nanoseconds.
fn frame(at: u64, direction: Direction, header: Header, text: &[u8]) -> Crossed {
    frame_of(at, direction, (CLIENT, SERVER), header, text)
}

fn frame_of(at: u64, direction: Direction, (client, server): (&str, &str), header: Header, text: &[u8]) -> Crossed {
    let envelope = Envelope {
        link: Link { src: MacAddr([2, 0, 0, 0, 0, 1]), dst: MacAddr([2, 0, 0, 0, 0, 2]), vlan: None },
        tuple: match direction {
            Direction::Sent => tuple(client, server),
            Direction::Received => tuple(server, client),
        },
        hop_limit: 64,
        traffic_class: 0,
        checksum: TxChecksum::Full,
    };
    let mut buf = [0; 2048];
    let len = emit_tcp(&mut buf, &envelope, &header, text.len(), |to| to.copy_from_slice(text));
    Crossed::new(Instant::from_nanos(at), direction, &buf[..len])
}

fn header(flags: Flags, seq: u32, ack: u32) -> Header {
    Header { seq: SeqNum(seq), ack: SeqNum(ack), flags, wnd: 64_240, ..Header::default() }
}

fn syn(flags: Flags, seq: u32, ack: u32, tsval: u32, tsecr: u32) -> Header {
    let options = Options {
        mss: Some(1460),
        window_scale: Some(7),
        sack_permitted: true,
        timestamps: Some(Timestamps { tsval, tsecr }),
        ..Options::default()
    };
    Header { options, ..header(flags, seq, ack) }
}

fn changes(local: &str, remote: &str, path: &[(u64, State)]) -> Vec<Transition> {
    let tuple = tuple(local, remote);
    let step = |w: &[(u64, State)]| Transition { at: Instant::from_nanos(w[1].0), tuple, from: w[0].1, to: w[1].1 };
    path.windows(2).map(step).collect()
}

/// The seven segments of a life in which the client closes first. The server's turn at 31 µs handles the last ACK of the
/// handshake and the FIN in one burst.
fn seven_segments() -> Vec<Crossed> {
    use Direction::{Received, Sent};
    let fin_ack = Flags::FIN | Flags::ACK;
    vec![
        frame(1_000_000, Sent, syn(Flags::SYN, C, 0, 17, 0), b""),
        frame(1_012_300, Received, syn(Flags::SYN | Flags::ACK, S, 0, 99, 17), b""),
        frame(1_013_000, Sent, header(Flags::ACK, 0, S + 1), b""),
        frame(1_013_400, Sent, header(fin_ack, 0, S + 1), b""),
        frame(1_031_900, Received, header(Flags::ACK, S + 1, 1), b""),
        frame(1_032_100, Received, header(fin_ack, S + 1, 1), b""),
        frame(1_033_000, Sent, header(Flags::ACK, 1, S + 2), b""),
    ]
}

fn ladder() -> Ladder {
    let client = changes(
        CLIENT,
        SERVER,
        &[
            (0, Closed),
            (999_000, SynSent),
            (1_012_300, Established),
            (1_012_300, FinWait1),
            (1_031_900, FinWait2),
            (1_031_900, TimeWait),
            (240_001_031_900, Closed),
        ],
    );
    let server = changes(
        SERVER,
        CLIENT,
        &[
            (0, Listen),
            (1_005_000, SynReceived),
            (1_031_000, Established),
            (1_031_000, CloseWait),
            (1_031_000, LastAck),
            (1_040_000, Closed),
        ],
    );
    let mut record = seven_segments();
    // Another connection's frames cross as well.
    let other = frame_of(1_000_100, Direction::Sent, ("10.77.0.1:40002", SERVER), syn(Flags::SYN, 5, 0, 1, 0), b"");
    record.insert(1, other);
    let segments = crossings(Side::Client, &tuple(CLIENT, SERVER), &record);
    Ladder::build((CLIENT.parse().unwrap(), SERVER.parse().unwrap()), &segments, &client, &server).unwrap()
}

const DRAWN: &str = include_str!("ladder/close.txt");

#[test]
fn a_connection_closed_by_the_client_is_drawn_as_in_the_textbook() {
    let drawn = ladder().to_string();
    assert!(drawn == DRAWN, "drawn:\n{drawn}\nexpected:\n{DRAWN}");
}

#[test]
fn it_fits_a_hundred_columns() {
    let longest = ladder().to_string().lines().map(|line| line.chars().count()).max();
    assert!(longest.unwrap() <= 100, "{longest:?}");
}

#[test]
fn json_names_each_step_with_both_states_and_both_kinds_of_numbers() {
    let json = serde_json::to_value(ladder()).unwrap();
    let steps = json["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 7);
    assert_eq!(steps[1]["flags"], "SYN,ACK");
    assert_eq!((&steps[1]["seq"], &steps[1]["ack"]), (&S.into(), &0.into()));
    assert_eq!((&steps[1]["seq_relative"], &steps[1]["ack_relative"]), (&"server_isn".into(), &"client_isn+1".into()));
    assert_eq!((&steps[1]["client_state"], &steps[1]["server_state"]), (&"established".into(), &"syn_received".into()));
    assert_eq!((&steps[6]["client_state"], &steps[6]["server_state"]), (&"time_wait".into(), &"closed".into()));
}

#[test]
fn text_is_counted_beyond_what_the_tap_keeps() {
    let record = [
        frame(0, Direction::Sent, syn(Flags::SYN, 7, 0, 1, 0), b""),
        frame(1, Direction::Sent, header(Flags::ACK | Flags::PSH, 8, 1), &[b'x'; 1_000]),
    ];
    let segments = crossings(Side::Client, &tuple(CLIENT, SERVER), &record);
    assert_eq!(segments.iter().map(|s| s.text_len).collect::<Vec<_>>(), [0, 1_000]);
}

#[test]
fn the_taps_of_both_ends_tell_the_same_segments() {
    let record = seven_segments();
    let by_client = crossings(Side::Client, &tuple(CLIENT, SERVER), &record);
    let turned: Vec<Crossed> = record
        .iter()
        .map(|crossed| {
            let direction = match crossed.direction {
                Direction::Sent => Direction::Received,
                Direction::Received => Direction::Sent,
            };
            Crossed::new(crossed.at, direction, crossed.bytes())
        })
        .collect();
    let by_server = crossings(Side::Server, &tuple(SERVER, CLIENT), &turned);
    assert_eq!(by_client.len(), 7);
    assert_eq!(by_client, by_server);
}

#[test]
fn a_refused_connection_is_drawn_too() {
    let record = [
        frame(0, Direction::Sent, syn(Flags::SYN, 7, 0, 1, 0), b""),
        frame(9_000, Direction::Received, header(Flags::RST | Flags::ACK, 0, 8), b""),
    ];
    let segments = crossings(Side::Client, &tuple(CLIENT, SERVER), &record);
    let client = changes(CLIENT, SERVER, &[(0, Closed), (0, SynSent), (9_000, Closed)]);
    let ladder = Ladder::build((CLIENT.parse().unwrap(), SERVER.parse().unwrap()), &segments, &client, &[]).unwrap();
    assert_eq!(ladder.steps[1].client_state, Closed);
    assert!(ladder.without_segment.is_empty() && ladder.server_isn.is_none());
    assert!(Ladder::build((CLIENT.parse().unwrap(), SERVER.parse().unwrap()), &[], &client, &[]).is_none());
}

#[test]
fn changes_stand_beside_what_caused_them_when_both_sides_close_at_once() {
    use Direction::{Received, Sent};
    let fin_ack = Flags::FIN | Flags::ACK;
    let record = [
        frame(0, Sent, syn(Flags::SYN, C, 0, 17, 0), b""),
        frame(1_000, Received, syn(Flags::SYN | Flags::ACK, S, 0, 99, 17), b""),
        frame(2_000, Sent, header(Flags::ACK, 0, S + 1), b""),
        frame(3_000, Sent, header(fin_ack, 0, S + 1), b""),
        // Sent before the client's FIN came: it does not acknowledge it.
        frame(4_000, Received, header(fin_ack, S + 1, 0), b""),
        frame(5_000, Sent, header(Flags::ACK, 1, S + 2), b""),
        frame(6_000, Received, header(Flags::ACK, S + 2, 1), b""),
    ];
    let path = |first, second| {
        [(0, first), (1, second), (2_000, Established), (3_000, FinWait1), (4_000, Closing), (6_000, TimeWait)]
    };
    let client = changes(CLIENT, SERVER, &path(Closed, SynSent));
    let server = changes(SERVER, CLIENT, &path(Listen, SynReceived));
    let segments = crossings(Side::Client, &tuple(CLIENT, SERVER), &record);
    let ends = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let ladder = Ladder::build(ends, &segments, &client, &server).unwrap();
    let states: Vec<_> = ladder.steps.iter().map(|step| (step.client_state, step.server_state)).collect();
    let expected = [
        (SynSent, SynReceived),
        (Established, SynReceived),
        (Established, Established),
        (FinWait1, Established),
        // The server's FIN is drawn where the client got it, so all that the server did meanwhile stands here.
        (Closing, Closing),
        (Closing, TimeWait),
        (TimeWait, TimeWait),
    ];
    assert_eq!(states, expected);
    assert!(ladder.without_segment.is_empty(), "{ladder}");
}

#[test]
fn an_acknowledgement_of_something_else_is_not_taken_for_that_of_the_fin() {
    let mut record = seven_segments();
    // A window update that crosses after the FIN was sent.
    record.insert(4, frame(1_013_900, Direction::Received, header(Flags::ACK, S + 1, 0), b""));
    let path = [(0, Closed), (1, SynSent), (2, Established), (3, FinWait1), (4, FinWait2), (5, TimeWait)];
    let client = changes(CLIENT, SERVER, &path);
    let segments = crossings(Side::Client, &tuple(CLIENT, SERVER), &record);
    let ends = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
    let ladder = Ladder::build(ends, &segments, &client, &[]).unwrap();
    assert_eq!((ladder.steps[4].client_state, ladder.steps[5].client_state), (FinWait1, FinWait2));
}
