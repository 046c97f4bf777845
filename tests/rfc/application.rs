//! The peer's other half: the application on the host, and the usual beginnings of a connection.

use super::peer::*;
use super::segment::*;
use super::target::*;
use std::time::Duration;

impl Peer {
    // --- the application ---

    pub fn sock(&self) -> Sock {
        self.sock.expect("a socket")
    }
    pub fn app_write(&mut self, octets: &[u8]) -> usize {
        self.log('*', &format!("the application writes {} octets", octets.len()));
        let sock = self.sock();
        self.target.write(sock, octets)
    }
    pub fn app_read(&mut self) -> Read {
        let sock = self.sock();
        self.target.read(sock, 65_536)
    }
    /// All that is there to be read.
    pub fn app_read_all(&mut self) -> Vec<u8> {
        let mut read = vec![];
        while let Read::Data(octets) = self.app_read() {
            read.extend(octets);
        }
        read
    }
    pub fn app_shutdown(&mut self) {
        self.log('*', "the application shuts down its sending side");
        let sock = self.sock();
        self.target.ask(Call::Shutdown(sock));
    }
    pub fn app_close(&mut self) {
        self.log('*', "the application closes");
        let sock = self.sock();
        self.target.ask(Call::Close(sock));
    }
    pub fn app_abort(&mut self) {
        self.log('*', "the application aborts");
        let sock = self.sock();
        self.target.ask(Call::Abort(sock));
    }
    /// Connections and entries in a state.
    pub fn count(&self, state: &str) -> u64 {
        self.target.count(state)
    }
    /// The one connection must be in this state; where time is real, once what was sent has come.
    pub fn expect_state(&self, state: &str) {
        // A busy machine may take its time, and whoever is there already waits for nothing.
        let until = self.target.now() + secs(2);
        while self.target.is_real_time() && self.count(state) != 1 && self.target.now() < until {
            std::thread::sleep(millis(1));
        }
        assert_eq!(self.count(state), 1, "in {state}");
    }
    /// How often Handfast counted a dropped frame for this reason; on Linux, nothing.
    pub fn dropped(&self, reason: &str) -> Option<u64> {
        Some(self.target.snapshot()?.frames.dropped.get(reason).copied().unwrap_or(0))
    }

    // --- the usual beginnings ---

    /// An acknowledgement up to `n`, and of these blocks of the host's octets beyond.
    pub fn sack(&self, n: u32, blocks: &[(u32, u32)]) -> Seg {
        let irs = self.flow.irs.expect("the host has said its SYN");
        let mut octets = vec![1, 1, 5, 2 + 8 * blocks.len() as u8];
        for (left, right) in blocks {
            octets.extend(irs.wrapping_add(*left).to_be_bytes());
            octets.extend(irs.wrapping_add(*right).to_be_bytes());
        }
        ack(n).options(&octets)
    }

    /// Has the host learn its round trip: ten octets so many times, each acknowledged after so long. Gives its next octet.
    pub fn round_trips(&mut self, count: u32, round_trip: Duration) -> u32 {
        let mut end = 1;
        for _ in 0..count {
            self.app_write(b"0123456789");
            self.expect(data(end, b"0123456789"));
            self.pass(round_trip);
            end += 10;
            self.send(ack(end));
        }
        end
    }

    /// The host's application asks for a connection to a port of the peer; nothing need have left yet.
    pub fn connect_to(&mut self, port: u16) -> Result<Sock, Fault> {
        self.log('*', &format!("the application connects to port {port}"));
        self.target.connect(self.family.peer(), port)
    }

    /// The host's application accepts a connection after this SYN.
    pub fn accept_with(&mut self, syn: Seg) -> Got {
        self.accept_with_window(syn, 65_535)
    }

    /// The same; this window stands on the handshake's last ACK.
    pub fn accept_with_window(&mut self, syn: Seg, wnd: u16) -> Got {
        let offered = syn.read_options().ts.map_or(TS_BASE, |(tsval, _)| tsval);
        self.send(syn);
        let syn_ack = self.expect(syn_ack().ack(1));
        if let Some((tsval, _)) = syn_ack.options.ts {
            self.flow.ts = Some((offered, tsval));
        }
        self.send(ack(1).wnd(wnd));
        self.sock = self.target.accept();
        assert!(self.sock.is_some(), "the application is told");
        syn_ack
    }

    /// The host accepts a connection without options but MSS.
    pub fn accept(&mut self) {
        self.accept_with(syn());
    }

    /// The host accepts a connection with timestamps and SACK.
    pub fn accept_with_timestamps(&mut self) {
        self.accept_with(syn().sack_ok().ts(TS_BASE, 0));
    }

    /// The host's application asks for a connection; its SYN is seen.
    pub fn connect(&mut self) -> Got {
        self.sock = Some(self.connect_to(self.flow.port).expect("a connection under way"));
        let syn = self.expect(seg(S));
        assert_eq!(syn.seq, 0);
        syn
    }

    /// Brings a fresh passive connection into a state of RFC 9293 §3.3.2. Relative numbers in it: we have sent
    /// `flow.snd_nxt`, the host has sent `flow.rcv_nxt`.
    pub fn enter(&mut self, state: &str) {
        if state == "SYN-RECEIVED" {
            self.send(syn());
            self.expect(syn_ack().ack(1));
            self.expect_state(state);
            return;
        }
        self.accept();
        match state {
            "ESTABLISHED" => {}
            "CLOSE-WAIT" => self.peer_closes(),
            "LAST-ACK" => {
                self.peer_closes();
                self.app_shutdown();
                self.expect(fin(1).ack(2));
            }
            _ => {
                self.app_shutdown();
                self.expect(fin(1).ack(1));
                match state {
                    "FIN-WAIT-1" => {}
                    "CLOSING" => {
                        self.send(fin(1).ack(1));
                        self.expect(ack(2).seq(2));
                    }
                    "FIN-WAIT-2" => self.send(ack(2)),
                    "TIME-WAIT" => {
                        self.send(ack(2));
                        self.peer_closes();
                    }
                    _ => panic!("no way into {state}"),
                }
            }
        }
        self.expect_state(state);
    }

    pub fn peer_closes(&mut self) {
        self.send(fin(1));
        let nxt = self.flow.rcv_nxt;
        self.expect(ack(2).seq(nxt));
    }

    /// Fills the host's window, whose application does not read, until it is closed; says our next number.
    pub fn fill_window(&mut self) -> u32 {
        let mut wnd = usize::from(u16::MAX);
        for _ in 0..200 {
            let mut room = wnd;
            while room > 0 {
                let seq = self.flow.snd_nxt;
                self.send(data(seq, &vec![b'w'; room.min(1_460)]));
                room -= room.min(1_460);
            }
            let sent = self.flow.snd_nxt;
            while let Some(got) = self.next(millis(600)) {
                wnd = usize::from(got.wnd);
                // What was lost on the way, or for want of memory, is sent again.
                self.flow.snd_nxt = got.ack;
                if got.ack == sent {
                    break;
                }
            }
            if wnd == 0 {
                self.pass(self.at_once());
                return self.flow.snd_nxt;
            }
        }
        panic!("the window never closes");
    }
}
