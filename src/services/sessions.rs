//! State of those connections on which something is pending: a bounded table, found through the connection's token.

use crate::stack::ConnId;

/// What is pending on an http connection.
#[derive(Debug, Default)]
pub(super) struct Session {
    /// Octets of a request head that came in more than one block; never more than the largest head.
    pub head: Vec<u8>,
    /// Octets of a response head that did not fit the send buffer; at most a few hundred.
    pub unsent: Vec<u8>,
    /// Octets of the page still to be sent.
    pub page_left: u64,
    /// Octets of a request's body still to be skipped.
    pub skip: u64,
    /// No further request is read on this connection.
    pub last: bool,
    /// Our FIN is under way; what still comes is dropped.
    pub lingering: bool,
}

/// The table. A token is the place plus one, 0 is none.
pub(super) struct Sessions {
    slots: Vec<Option<(ConnId, Session)>>,
    free: Vec<u32>,
    limit: u32,
    pub refused: u64,
}

impl Sessions {
    /// A table for at most `limit` sessions; it grows as they come.
    pub fn new(limit: u32) -> Self {
        Sessions { slots: Vec::new(), free: Vec::new(), limit, refused: 0 }
    }

    /// Sessions that are entered.
    pub fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// Enters a session for `conn` and gives its token; `None`, and counted, when the table is full.
    pub fn enter(&mut self, conn: ConnId, session: Session) -> Option<u32> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.limit as usize => {
                self.slots.push(None);
                self.slots.len() as u32 - 1
            }
            None => {
                self.refused += 1;
                return None;
            }
        };
        self.slots[slot as usize] = Some((conn, session));
        Some(slot + 1)
    }

    /// The session of `conn` under this token.
    pub fn get(&mut self, token: u32, conn: ConnId) -> Option<&mut Session> {
        match self.slots.get_mut(token.checked_sub(1)? as usize) {
            Some(Some((owner, session))) if *owner == conn => Some(session),
            _ => None,
        }
    }

    /// Removes and returns the session of `conn` under this token, if that is what it is.
    pub fn leave(&mut self, token: u32, conn: ConnId) -> Option<Session> {
        let slot = token.checked_sub(1)?;
        let entry = self.slots.get_mut(slot as usize)?;
        if entry.as_ref().is_none_or(|(owner, _)| *owner != conn) {
            return None;
        }
        self.free.push(slot);
        entry.take().map(|(_, session)| session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(index: u32) -> ConnId {
        ConnId { index, generation: 1 }
    }

    #[test]
    fn the_table_refuses_beyond_its_limit_and_reuses_what_was_left() {
        let mut sessions = Sessions::new(2);
        let first = sessions.enter(conn(1), Session::default()).unwrap();
        assert!(sessions.enter(conn(2), Session::default()).is_some());
        assert_eq!((sessions.enter(conn(3), Session::default()), sessions.refused), (None, 1));
        assert!(sessions.leave(first, conn(1)).is_some());
        assert_eq!(sessions.len(), 1);
        assert_eq!(sessions.enter(conn(3), Session::default()), Some(first));
        assert_eq!(sessions.len(), 2);
    }

    #[test]
    fn a_token_opens_only_its_owners_session() {
        let mut sessions = Sessions::new(2);
        let token = sessions.enter(conn(1), Session::default()).unwrap();
        assert!(sessions.get(token, conn(2)).is_none());
        assert!(sessions.leave(token, conn(2)).is_none());
        assert!(sessions.get(token, conn(1)).is_some());
        assert!(sessions.get(0, conn(1)).is_none());
    }
}
