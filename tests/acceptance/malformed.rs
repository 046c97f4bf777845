//! Frames that no honest peer sends: they never end the server, and every one of them is counted.

use crate::frames::{self, ACK, ETHERNET, IP, Macs, SYN, Wire};
use crate::site::{Random, SERVER, Server, Site, number, total};
use handfast::lab::LEFT;
use serde_json::Value;
use std::io::{Read, Write};

/// Frames sent before the server may catch up: far less than its ring holds.
const BATCH: usize = 256;

/// A site whose frames are counted on both ends of the veth.
struct Counted {
    site: Site,
    wire: Wire,
}

impl Counted {
    fn start(test: &str) -> Option<Counted> {
        let site = Site::start(test, "--service echo@7 --service http@80 --time-wait 1s")?;
        Some(Counted { wire: Wire::open(&site), site })
    }

    /// Frames that the kernel says have left the peer's end.
    fn sent(&self) -> u64 {
        let link = self.site.run("ip", &["-j", "-s", "link", "show", LEFT]);
        let link: Value = serde_json::from_str(&link).unwrap();
        number(&link, "/0/stats64/tx/packets")
    }

    /// Stats in which every frame that was sent has its verdict and its outcome.
    fn settled(&self) -> Value {
        self.site.server.wait_for("every frame accounted for", |stats| {
            let dropped_by_xdp = named(stats, "/xdp", "drop_");
            // What the program took or dropped is what the server counts as received.
            total(stats, "/xdp") == self.sent()
                && number(stats, "/frames/received") == number(stats, "/xdp/redirect") + dropped_by_xdp
                && number(stats, "/frames/received")
                    == total(stats, "/frames/handled") + total(stats, "/frames/dropped")
                && named(stats, "/frames/dropped", "xdp_") == dropped_by_xdp
                && stats["ledger"]["exact"] == true
        })
    }

    /// Sends these frames; gives the stats afterwards.
    fn inject(&self, frames: &[Vec<u8>]) -> Value {
        for batch in frames.chunks(BATCH) {
            for frame in batch {
                self.wire.send(frame);
            }
            self.settled();
        }
        self.settled()
    }

    /// Sends frames of which each must be dropped for this reason.
    fn all_dropped(&self, reason: &str, frames: &[Vec<u8>]) {
        let path = format!("/frames/dropped/{reason}");
        let dropped = |stats: &Value| stats.pointer(&path).and_then(Value::as_u64).unwrap_or(0);
        let before = dropped(&self.settled());
        let stats = self.inject(frames);
        assert_eq!(dropped(&stats) - before, frames.len() as u64, "{reason}: {stats}");
    }

    /// The server goes on as if nothing had been, and ends in order.
    fn end(mut self) {
        assert!(self.site.server.is_running());
        let mut echo = self.site.connect(7);
        echo.write_all(b"still here").unwrap();
        let mut back = [0; 10];
        echo.read_exact(&mut back).unwrap();
        assert_eq!(&back, b"still here");
        drop(echo);
        self.site.server.end();
    }
}

/// The sum of the numbers whose name begins so.
fn named(stats: &Value, path: &str, prefix: &str) -> u64 {
    let map = stats.pointer(path).and_then(Value::as_object).unwrap();
    map.iter().filter(|(name, _)| name.starts_with(prefix)).map(|(_, count)| count.as_u64().unwrap()).sum()
}

/// One good frame of each kind.
fn good(macs: Macs) -> Vec<Vec<u8>> {
    let options = [2, 4, 5, 180, 4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 1, 3, 3, 7];
    vec![
        frames::tcp(macs, 7, SYN, &options, b""),
        frames::tcp(macs, 7, ACK, &[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0], b"data"),
        frames::tcp(macs, 80, ACK, &[], b"GET / HTTP/1.1\r\n\r\n"),
        frames::ping(macs),
        frames::arp(macs),
    ]
}

fn changed(frame: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut frame = frame.to_vec();
    change(&mut frame);
    frame
}

/// The frame with something changed, and its sums right again.
fn mended(frame: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    changed(frame, |f| {
        change(f);
        frames::mend(f);
    })
}

fn each_bit_flipped(frame: &[u8], octets: impl Iterator<Item = usize>) -> Vec<Vec<u8>> {
    octets.flat_map(|at| (0..8).map(move |bit| changed(frame, |f| f[at] ^= 1 << bit))).collect()
}

#[test]
fn what_is_wrong_with_a_segment_is_the_name_of_its_counter() {
    let Some(counted) = Counted::start("segments") else { return };
    let macs = counted.wire.macs;
    let syn = frames::tcp(macs, 7, SYN, &[2, 4, 5, 180], b"");

    // The sum itself, and sequence and acknowledgement number, which mean something else with each bit.
    counted.all_dropped("tcp_checksum", &each_bit_flipped(&syn, (IP + 16..IP + 18).chain(IP + 4..IP + 12)));
    let lengths = [0u8, 1, 5, 255].map(|len| frames::tcp(macs, 7, SYN, &[253, len, 0, 0], b""));
    counted.all_dropped("tcp_option", &lengths);
    let offsets: Vec<_> = (0u8..5).chain(7..16).map(|words| changed(&syn, |f| f[IP + 12] = words << 4)).collect();
    counted.all_dropped("xdp_tcp_data_offset", &offsets);
    counted.all_dropped("icmp_malformed", &each_bit_flipped(&frames::ping(macs), IP + 2..IP + 4));
    counted.end();
}

#[test]
fn what_is_wrong_with_a_packet_is_the_name_of_its_counter() {
    let Some(counted) = Counted::start("packets") else { return };
    let macs = counted.wire.macs;
    let syn = frames::tcp(macs, 7, SYN, &[2, 4, 5, 180], b"");

    // The sum itself, and the identification, which nobody reads.
    let octets = (ETHERNET + 10..ETHERNET + 12).chain(ETHERNET + 4..ETHERNET + 6);
    counted.all_dropped("ipv4_checksum", &each_bit_flipped(&syn, octets));
    let fragments = [0x2000u16, 0x2001, 0x0001, 0x1fff]
        .map(|field| mended(&syn, |f| f[ETHERNET + 6..ETHERNET + 8].copy_from_slice(&field.to_be_bytes())));
    counted.all_dropped("fragment", &fragments);
    let versions = (0u8..16).filter(|version| *version != 4);
    let versions: Vec<_> = versions.map(|version| changed(&syn, |f| f[ETHERNET] = version << 4 | 5)).collect();
    counted.all_dropped("xdp_ip_version", &versions);
    let lengths: Vec<_> = (0u8..5).chain(12..16).map(|words| changed(&syn, |f| f[ETHERNET] = 0x40 | words)).collect();
    counted.all_dropped("xdp_ip_header_length", &lengths);
    let others = (0u8..=255).filter(|protocol| !matches!(protocol, 1 | 6));
    let others: Vec<_> = others.map(|protocol| frames::ipv4(macs, protocol, &[0; 32])).collect();
    counted.all_dropped("protocol", &others);
    counted.all_dropped("foreign_mac", &[changed(&syn, |f| f[..6].copy_from_slice(&[2, 0, 0, 0, 0, 7]))]);
    let sources = [[127, 0, 0, 1], [224, 0, 0, 1], [255; 4], [0; 4], SERVER, [10, 77, 0, 255]]
        .map(|source| mended(&syn, |f| f[ETHERNET + 12..ETHERNET + 16].copy_from_slice(&source)));
    counted.all_dropped("martian", &sources);
    counted.end();
}

#[test]
fn frames_cut_at_every_length_are_all_counted() {
    let Some(counted) = Counted::start("cut") else { return };
    let whole = good(counted.wire.macs);
    // The kernel sends nothing that is shorter than an Ethernet header.
    let cut = |frame: &Vec<u8>| (ETHERNET..frame.len()).map(|len| frame[..len].to_vec()).collect::<Vec<_>>();
    let frames: Vec<_> = whole.iter().flat_map(cut).collect();
    let before = counted.settled();
    let stats = counted.inject(&frames);
    let counted_as = |path: &str| total(&stats, path) - total(&before, path);
    assert!(counted_as("/xdp") >= frames.len() as u64);
    assert_eq!(counted_as("/frames/handled"), 0, "none of them is of use: {stats}");
    counted.end();
}

#[test]
fn every_option_of_every_length_is_survived() {
    let Some(counted) = Counted::start("options") else { return };
    let macs = counted.wire.macs;
    let mut random = Random(7);
    let mut frames = Vec::new();
    for kind in 0..=255u8 {
        for len in [0, 1, 2, 3, 4, 10, 18, 34, 40, 41, 255] {
            let mut options = [&[kind, len][..], &random.octets(38)].concat();
            options.truncate(4 * (1 + random.below(10)));
            let flags = [SYN, ACK, SYN | ACK, 0xff][random.below(4)];
            frames.push(frames::tcp(macs, 7, flags, &options, b""));
        }
    }
    // And a real connection's worth of options that lie.
    frames.extend((0..64u8).map(|scale| frames::tcp(macs, 7, SYN, &[3, 3, scale, 2, 4, 0, scale, 1], b"")));
    counted.inject(&frames);
    counted.end();
}

#[test]
fn thousands_of_damaged_and_random_frames_are_survived_and_counted() {
    const FRAMES: usize = 6_000;
    const SEED: u64 = 2026;
    let Some(counted) = Counted::start("random") else { return };
    eprintln!("seed {SEED}");
    let macs = counted.wire.macs;
    let (mut random, whole) = (Random(SEED), good(macs));
    let frames: Vec<_> = (0..FRAMES).map(|index| damaged(&mut random, &whole, macs, index)).collect();
    counted.inject(&frames);
    counted.end();
}

/// A frame with some octets changed, half of them with sums that are right again; or random octets behind a header
/// that lets them through to TCP, ICMP or ARP; or nothing but random octets.
fn damaged(random: &mut Random, whole: &[Vec<u8>], macs: Macs, index: usize) -> Vec<u8> {
    let len = random.below(400);
    let octets = random.octets(len);
    match index % 4 {
        0 | 1 => changed(&whole[random.below(whole.len())], |f| {
            for _ in 0..=random.below(4) {
                let at = ETHERNET + random.below(f.len() - ETHERNET);
                f[at] = random.next() as u8;
            }
            if index.is_multiple_of(4) {
                frames::mend(f);
            }
        }),
        2 if random.below(4) == 0 => changed(&frames::arp(macs), |f| {
            let at = ETHERNET + random.below(28);
            f[at] = random.next() as u8;
        }),
        2 => frames::ipv4(macs, if random.below(3) == 0 { 1 } else { 6 }, &octets),
        _ => [&macs[..], &[8, [0, 6][random.below(2)]], &octets].concat(),
    }
}

#[test]
fn a_frame_that_nobody_counted_would_be_seen() {
    let Some(counted) = Counted::start("control") else { return };
    // Frames for others are not ours: the kernel gets them, and the XDP program says so.
    let macs = counted.wire.macs;
    let foreign = mended(&frames::ping(macs), |f| f[ETHERNET + 19] = 77);
    let before = counted.settled();
    let stats = counted.inject(&vec![foreign; 10]);
    assert_eq!(number(&stats, "/xdp/pass_not_ours") - number(&before, "/xdp/pass_not_ours"), 10, "{stats}");
    assert_eq!(number(&stats, "/frames/received"), number(&before, "/frames/received"));
    assert_eq!(Server::alive(&stats), 0);
    counted.end();
}
