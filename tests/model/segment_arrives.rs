//! SEGMENT ARRIVES, RFC 9293 §3.10.7, for the modelled end.

use super::endpoint::{ACK, End, Ending, Fault, RST, SYN, Segment, Step, TEXT, WINDOW};
use handfast::tcp::state::{Event, State};

impl End {
    pub fn on_segment(&mut self, segment: Segment, step: &mut Step<'_>) {
        match self.state {
            State::Closed => self.refuse(segment, step),
            State::Listen => self.on_segment_listen(segment, step),
            State::SynSent => self.on_segment_syn_sent(segment, step),
            State::TimeWait => self.on_segment_time_wait(segment, step),
            State::SynReceived if !self.active && segment.flags & (SYN | ACK) == SYN => {
                if segment.seq + 1 == self.rcv_nxt {
                    self.resend(step);
                } else {
                    // Old, or of a peer that has started anew; that one answers the ACK with a RST.
                    step.send(ACK, self.nxt, self.rcv_nxt);
                }
            }
            _ => self.on_segment_otherwise(segment, step),
        }
    }

    /// The RST of RFC 9293 §3.10.7.1.
    fn refuse(&self, segment: Segment, step: &mut Step<'_>) {
        if segment.has(RST) {
        } else if segment.has(ACK) {
            step.send(RST, segment.ack, 0);
        } else {
            step.send(RST | ACK, 0, segment.seq + segment.len());
        }
    }

    fn on_segment_listen(&mut self, segment: Segment, step: &mut Step<'_>) {
        if segment.has(RST) {
        } else if segment.has(ACK) {
            self.refuse(segment, step);
        } else if segment.has(SYN) {
            self.receive_syn(segment, Event::RecvSyn, step);
        }
    }

    fn receive_syn(&mut self, syn: Segment, event: Event, step: &mut Step<'_>) {
        if self.state != State::SynSent {
            self.number();
        }
        self.rcv_nxt = syn.seq + 1;
        self.go(event, step);
        if event == Event::RecvSyn {
            step.send(SYN | ACK, self.iss(), self.rcv_nxt);
        } else {
            step.send(ACK, self.nxt, self.rcv_nxt);
        }
    }

    fn on_segment_syn_sent(&mut self, segment: Segment, step: &mut Step<'_>) {
        let acks_syn = segment.has(ACK) && segment.ack == self.nxt;
        if segment.has(ACK) && !acks_syn {
            self.refuse(segment, step);
        } else if segment.has(RST) {
            if acks_syn {
                self.end(Event::RecvRst, Ending::Early, step);
            }
        } else if segment.has(SYN) && acks_syn {
            self.una = segment.ack;
            self.receive_syn(segment, Event::RecvSynAck, step);
        } else if segment.has(SYN) {
            self.receive_syn(segment, Event::RecvSyn, step);
        }
    }

    /// With RFC 1337 and RFC 6191.
    fn on_segment_time_wait(&mut self, segment: Segment, step: &mut Step<'_>) {
        if segment.has(RST) {
            return;
        }
        let new_syn = segment.flags & (SYN | ACK) == SYN && segment.seq > self.rcv_nxt;
        if new_syn && !self.active && self.opened < step.opens {
            let state = self.state;
            self.forget();
            (self.state, self.opened) = (state, self.opened + 1);
            self.receive_syn(segment, Event::RecvSyn, step);
        } else if segment.len() > 0 || segment.seq != self.rcv_nxt {
            step.send(ACK, self.nxt, self.rcv_nxt);
        }
    }

    fn on_segment_otherwise(&mut self, mut segment: Segment, step: &mut Step<'_>) {
        let crossing = self.state == State::SynReceived && self.active && segment.flags == SYN | ACK;
        if crossing && segment.seq + 1 == self.rcv_nxt {
            segment = Segment { flags: ACK, seq: segment.seq + 1, ..segment };
        }
        let fits = |seq: u8| seq >= self.rcv_nxt && seq < self.rcv_nxt + WINDOW;
        let acceptable = fits(segment.seq) || segment.len() > 0 && fits(segment.seq + segment.len() - 1);
        if segment.has(RST) {
            // RFC 5961 §3.2: believed at RCV.NXT, challenged elsewhere in the window.
            if segment.seq == self.rcv_nxt {
                self.end(Event::RecvRst, Ending::Early, step);
            } else if acceptable {
                step.send(ACK, self.nxt, self.rcv_nxt);
            }
            return;
        }
        if !acceptable || segment.has(SYN) {
            return step.send(ACK, self.nxt, self.rcv_nxt);
        }
        if self.state == State::SynReceived {
            if segment.ack <= self.una || segment.ack > self.nxt {
                return self.refuse(segment, step);
            }
            self.on_ack_of_syn(step);
        }
        if segment.ack > self.nxt || segment.ack + WINDOW < self.una {
            return step.send(ACK, self.nxt, self.rcv_nxt);
        }
        self.on_ack(segment.ack, step);
        if self.ended.is_none() {
            self.on_text_and_fin(segment, step);
        }
    }

    fn on_ack_of_syn(&mut self, step: &mut Step<'_>) {
        let closes = std::mem::take(&mut self.fin_queued);
        self.una += 1;
        self.go(Event::RecvAckOfSyn, step);
        if closes {
            self.send_fin(step);
        }
    }

    fn on_ack(&mut self, ack: u8, step: &mut Step<'_>) {
        let acked_before = self.fin_acked();
        self.una = self.una.max(ack);
        if self.fin_acked() && !acked_before {
            if self.state == State::LastAck {
                self.end(Event::RecvAckOfFin, Ending::Normal, step);
            } else {
                self.go(Event::RecvAckOfFin, step);
            }
        }
    }

    /// In order only: what comes early is dropped, and sent again.
    fn on_text_and_fin(&mut self, segment: Segment, step: &mut Step<'_>) {
        if segment.len() == 0 {
            return;
        }
        if self.state.receives() && segment.seq == self.rcv_nxt {
            self.rcv_nxt += 1;
            if segment.has(TEXT) {
                step.blame(Fault::TextTwice, segment.seq <= self.text);
                step.blame(Fault::TextAfterFin, segment.seq == self.fin + 1);
                self.text = segment.seq;
            } else {
                step.blame(Fault::FinTwice, segment.seq <= self.fin);
                self.fin = segment.seq;
                self.go(Event::RecvFin, step);
            }
        }
        step.send(ACK, self.nxt, self.rcv_nxt);
    }
}
