//! The outpost's filter of flows, from the tables of the shard: told a piece each turn, and of each flow that comes meanwhile.

use super::Step;
use super::shard::Shard;
use crate::wire::FourTuple;

/// Flows told to the outpost in one turn.
const TOLD_PER_TURN: usize = 1_024;

/// How far the tables were told: places below this one of this table. A flow that comes or moves meanwhile is noted then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Walk {
    table: u8,
    place: u32,
}

impl Shard {
    /// Keeps the outpost's filter as the defence wants it, and has the program answer when the step says so.
    pub fn tend_outpost(&mut self) {
        self.defence.on_turn(self.env.now(), self.outpost.as_ref());
        let wanted = self.defence.wants_outpost() && !self.draining;
        let Some(outpost) = &mut self.outpost else { return };
        outpost.want(wanted);
        if !outpost.is_wanted() {
            outpost.rest();
            return;
        }
        outpost.answer(wanted && self.defence.step() == Step::Xdp && outpost.is_ready());
        if outpost.prepare() {
            self.tell_outpost();
        }
    }

    fn tell_outpost(&mut self) {
        let (Some(outpost), isns, locals) = (&mut self.outpost, &self.isns, &self.locals) else { return };
        let mut room = TOLD_PER_TURN;
        let mut tell = |tuple: &FourTuple| outpost.tell(isns.word(tuple));
        let walk = &mut self.outpost_walk;
        while room > 0 {
            room -= 1;
            let place = walk.place;
            walk.place += 1;
            let more = match walk.table {
                0 => self.half_open.peek(place, |entry| tell(&entry.tuple(locals))),
                1 => self.connections.peek(place, |tcb| tell(&tcb.tuple)),
                2 => self.time_wait_v4.peek(place, |entry| tell(&entry.tuple)),
                3 => self.time_wait_v6.peek(place, |entry| tell(&entry.tuple)),
                _ => {
                    *walk = Walk::default();
                    outpost.complete();
                    return;
                }
            };
            if !more {
                (walk.table, walk.place) = (walk.table + 1, 0);
            }
        }
    }

    /// Tells the outpost of a flow that has come into a table.
    #[inline]
    pub(super) fn note_flow(&mut self, tuple: &FourTuple) {
        if let Some(outpost) = &mut self.outpost
            && outpost.takes_notes()
        {
            outpost.note(self.isns.word(tuple));
        }
    }
}
