//! Two stacks that talk to each other in simulated time: a life from SYN to the end of TIME-WAIT.

use handfast::ledger::Ending;
use handfast::stack::{
    App, ConnId, Connect, CookieKeys, Cx, LocalAddr, Secrets, Stack, StackConfig, TcpConfig, Transmit,
};
use handfast::time::{Duration, Instant};
use handfast::wire::frame::{Incoming, Other, VerifyChecksum, parse};
use handfast::wire::ndp::{ALL_NODES, Message};
use handfast::wire::{Addr, MacAddr};
use std::collections::VecDeque;
use std::net::SocketAddr;

/// Which family the two talk in.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn host(self, host: u8) -> LocalAddr {
        match self {
            Family::V4 => LocalAddr { addr: Addr::from_v4([10, 0, 0, host]), prefix_len: 24 },
            Family::V6 => LocalAddr {
                addr: Addr::from_v6([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]),
                prefix_len: 64,
            },
        }
    }
}

fn config(host: u8, family: Family) -> StackConfig {
    StackConfig {
        listen: vec![7],
        ephemeral_ports: (1024, 65535),
        traced_connections: 1,
        ..StackConfig::new(
            MacAddr([2, 0, 0, 0, 0, host]),
            vec![family.host(host)],
            Secrets { isn: [host; 16], flow_hash: [host; 16], cookie: CookieKeys::alone([host; 16]) },
        )
    }
}

struct Wire(VecDeque<Vec<u8>>);

impl Transmit for Wire {
    fn transmit(&mut self, write: impl FnOnce(&mut [u8]) -> usize) -> bool {
        let mut frame = vec![0; 2048];
        let len = write(&mut frame);
        frame.truncate(len);
        self.0.push_back(frame);
        true
    }
}

#[derive(Default)]
struct Peer {
    connect: Option<SocketAddr>,
    /// Connections that it opens besides the first, and on which it sends the same.
    more: usize,
    /// Sends nothing back.
    drops: bool,
    to_send: Vec<u8>,
    sent: usize,
    received: Vec<u8>,
    ended: Vec<Ending>,
}

impl Peer {
    fn pump(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if self.more > 0 {
            assert_eq!(cx.write(conn, &self.to_send), Ok(self.to_send.len()));
            cx.shutdown(conn);
        } else if self.connect.is_some() {
            self.sent += cx.write(conn, &self.to_send[self.sent..]).unwrap_or(0);
            if self.sent == self.to_send.len() {
                cx.shutdown(conn);
            }
        }
    }
}

impl App for Peer {
    type Message = ();
    fn on_start(&mut self, cx: &mut Cx<'_>) {
        if let Some(server) = self.connect {
            for _ in 0..=self.more {
                cx.connect(Connect::to(server)).unwrap();
            }
        }
    }
    fn on_connect(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.pump(cx, conn);
    }
    fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if self.connect.is_some() || self.drops {
            while !cx.peek(conn).is_empty() {
                let octets = cx.peek(conn).to_vec();
                cx.consume(conn, octets.len());
                self.received.extend(octets);
            }
            if self.connect.is_none() && cx.at_end(conn) {
                cx.close(conn);
            }
            return;
        }
        loop {
            let octets = cx.peek(conn).to_vec();
            let n = cx.write(conn, &octets).unwrap_or(0);
            cx.consume(conn, n);
            if n == 0 || n < octets.len() {
                break;
            }
        }
        if cx.at_end(conn) {
            cx.close(conn);
        }
    }
    fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        if self.connect.is_some() { self.pump(cx, conn) } else { self.on_readable(cx, conn) }
    }
    fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
        self.on_readable(cx, conn);
    }
    fn on_closed(&mut self, _cx: &mut Cx<'_>, _conn: ConnId, ending: Ending) {
        self.ended.push(ending);
    }
}

fn run(octets: usize, family: Family, tcp: TcpConfig) -> (Stack<Peer>, Stack<Peer>, Instant) {
    let to_send: Vec<u8> = (0..octets).map(|i| (i * 7 + i / 251) as u8).collect();
    let server = SocketAddr::new(family.host(2).addr.into(), 7);
    let client = Peer { connect: Some(server), to_send, ..Peer::default() };
    let config = |host| StackConfig { tcp, ..config(host, family) };
    play([(config(1), client), (config(2), Peer::default())])
}

/// Two hosts from their beginning until nothing is left to do.
fn play(hosts: [(StackConfig, Peer); 2]) -> (Stack<Peer>, Stack<Peer>, Instant) {
    play_with(hosts, |_, _, _, _| {})
}

/// The same; `meddle` is called at the end of each turn with its number, and what was sent in it.
fn play_with(
    hosts: [(StackConfig, Peer); 2],
    mut meddle: impl FnMut(usize, Instant, &mut [Stack<Peer>; 2], &[Wire; 2]),
) -> (Stack<Peer>, Stack<Peer>, Instant) {
    let mut now = Instant::from_millis(1_000_000);
    let mut stacks = hosts.map(|(config, peer)| Stack::new(config, peer, now));
    let mut wires = [Wire(VecDeque::new()), Wire(VecDeque::new())];
    for turn in 0..1_000_000 {
        let mut busy = false;
        for side in 0..2 {
            let arrived: Vec<_> = wires[1 - side].0.drain(..).collect();
            for mut frame in arrived {
                busy = true;
                let len = frame.len();
                frame.resize(2048, 0);
                if let Some(reply) = stacks[side].on_frame(now, &mut frame, len).reply() {
                    frame.truncate(reply);
                    wires[side].0.push_back(frame);
                    stacks[side].on_sent(Some(reply));
                }
            }
            stacks[side].on_timers(now);
            stacks[side].poll_transmit(now, &mut wires[side]);
            busy |= !wires[side].0.is_empty();
        }
        meddle(turn, now, &mut stacks, &wires);
        if busy {
            now = now + Duration::from_micros(50);
            continue;
        }
        match stacks.iter().filter_map(|s| s.next_timeout(now)).min() {
            Some(next) => now = next.max(now + Duration::from_millis(1)),
            None => break,
        }
    }
    let [a, b] = stacks;
    (a, b, now)
}

#[test]
fn a_whole_life_ends_with_empty_tables_and_an_exact_ledger() {
    let sizes = [0, 1, 1_000, 100_000, 5_000_000];
    for (octets, family) in sizes.into_iter().flat_map(|octets| [(octets, Family::V4), (octets, Family::V6)]) {
        let (client, server, now) = run(octets, family, TcpConfig::default());
        assert_eq!(client.app().received, client.app().to_send, "{octets} octets came back");
        assert_eq!(client.app().ended, [Ending::Closed]);
        assert_eq!(server.app().ended, [Ending::Closed]);
        assert!(now.since(Instant::from_millis(1_000_000)) >= Duration::from_secs(240), "TIME-WAIT took its time");
        for stack in [&client, &server] {
            let snapshot = stack.snapshot();
            assert!(snapshot.ledger.exact, "{:?}", snapshot.ledger.broken);
            assert_eq!(snapshot.states.values().sum::<u64>(), 1, "only the listener is left: {:?}", snapshot.states);
            for (name, pool) in &snapshot.pools {
                assert!(pool.used == 0 || name == "neighbours", "{name}: {pool:?}");
            }
            assert_eq!(snapshot.connections.retransmitted, 0);
        }
    }
}

/// The textbook's life, RFC 9293 §3.6 figure 12, and the one in which each FIN carries the acknowledgement that is due.
#[test]
fn a_fin_carries_the_acknowledgement_that_is_due_unless_told_otherwise() {
    for (fin_carries_ack, frames) in [(true, (3, 2)), (false, (4, 3))] {
        let (client, server, _) = run(0, Family::V4, TcpConfig { fin_carries_ack, ..TcpConfig::default() });
        // Besides, the client asks for the server's Ethernet address and gets it.
        let sent = |stack: &Stack<Peer>| stack.snapshot().frames.sent - 1;
        assert_eq!((sent(&client), sent(&server)), frames, "FIN carries ACK: {fin_carries_ack}");
    }
}

/// A client that sends so much to a server that sends it back.
fn echoed(octets: usize, family: Family) -> [(StackConfig, Peer); 2] {
    let client = Peer {
        connect: Some(SocketAddr::new(family.host(2).addr.into(), 7)),
        to_send: (0..octets).map(|i| (i % 251) as u8).collect(),
        ..Peer::default()
    };
    [(config(1, family), client), (config(2, family), Peer::default())]
}

#[test]
fn connections_of_every_phase_keep_to_a_link_that_carries_less() {
    const MTU: u16 = 1_300;
    // Before the SYN, between SYN and ACK, and while the text is under way: the turn, and the server's half-open entries.
    for (family, (from_turn, half_open)) in
        [Family::V4, Family::V6].into_iter().flat_map(|family| [(0, 0), (0, 1), (10, 0)].map(|phase| (family, phase)))
    {
        let (mut longest, mut changed) = ([0, 0], false);
        let (client, server, _) = play_with(echoed(1_000_000, family), |turn, now, stacks, wires| {
            let longest = &mut longest[usize::from(changed)];
            *longest = wires.iter().flat_map(|wire| &wire.0).map(Vec::len).fold(*longest, usize::max);
            if !changed && turn >= from_turn && stacks[1].snapshot().states["syn_received"] == half_open {
                changed = true;
                for (stack, host) in stacks.iter_mut().zip(1..) {
                    stack.on_link(now, MacAddr([2, 0, 0, 0, 0, host]), MTU, false);
                }
            }
        });
        assert_eq!(longest[1], usize::from(MTU) + 14, "{family:?}, from turn {from_turn}, {half_open} half-open");
        assert!(from_turn < 10 || longest[0] == 1_514, "{longest:?}");
        assert_eq!(client.app().received, client.app().to_send, "{family:?}, from turn {from_turn}");
        assert!(client.snapshot().ledger.exact && server.snapshot().ledger.exact);
    }
}

#[test]
fn a_station_that_gets_another_address_announces_each_of_its_own_twice_and_goes_on() {
    const NEW: MacAddr = MacAddr([2, 0, 0, 0, 0, 0x77]);
    for family in [Family::V4, Family::V6] {
        let mut announced = Vec::new();
        let (client, server, _) = play_with(echoed(1_000_000, family), |turn, now, stacks, wires| {
            if turn == 10 {
                stacks[1].on_link(now, NEW, 1_500, true);
            }
            for frame in &wires[1].0 {
                match parse(frame, VerifyChecksum::Yes) {
                    Ok(Incoming::Other(Other::Arp { link, arp })) if arp.sender_addr == arp.target_addr => {
                        assert_eq!((link.dst, arp.sender_mac), (MacAddr::BROADCAST, NEW));
                        announced.push((now, arp.sender_addr));
                    }
                    Ok(Incoming::Other(Other::Ndp { message: Message::Advertisement(told), ip, .. }))
                        if ip.dst == ALL_NODES =>
                    {
                        assert!(told.override_known && !told.solicited && told.target_mac == Some(NEW));
                        announced.push((now, told.target));
                    }
                    _ => {}
                }
            }
        });
        let ours = family.host(2).addr;
        assert_eq!(announced.iter().map(|(_, addr)| *addr).collect::<Vec<_>>(), [ours, ours]);
        assert!(announced[1].0.since(announced[0].0) >= Duration::from_secs(2));
        assert_eq!(client.app().received, client.app().to_send, "{family:?}");
        assert!(client.snapshot().ledger.exact && server.snapshot().ledger.exact);
    }
}

/// All send at once, and what the first of a burst sent must not keep out what the others did, when the application would
/// read it.
#[test]
fn a_burst_of_more_connections_than_blocks_is_taken_whole() {
    let server = SocketAddr::new(Family::V4.host(2).addr.into(), 7);
    let client = Peer { connect: Some(server), more: 49, to_send: b"a question".to_vec(), ..Peer::default() };
    let mut small = config(2, Family::V4);
    small.limits.buffer_bytes = 4 * 4_096;
    let (client, server, _) = play([(config(1, Family::V4), client), (small, Peer { drops: true, ..Peer::default() })]);
    assert_eq!(server.app().received.len(), 50 * 10);
    assert_eq!((client.app().ended.len(), client.snapshot().connections.retransmitted), (50, 0));
    assert_eq!(server.snapshot().refused["buffer_bytes"], 0);
}
