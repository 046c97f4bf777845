//! How other threads reach a worker: a bounded channel that it reads once a turn.

use crate::driver::Wake;
use crate::stack::CookieKeys;
use crate::stats::Snapshot;
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};
use crossbeam::channel::{Receiver, Sender, TrySendError, bounded};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering, fence};

/// Commands that may wait.
const ROOM: usize = 1024;

/// What other threads may tell a worker.
pub enum Command<M> {
    /// Send a snapshot through the channel.
    Snapshot(Sender<Snapshot>),
    /// Stop accepting, close what is open, and end; what is still open after this long is reset.
    Drain(Duration),
    /// Other keys for SYN cookies.
    CookieKeys(CookieKeys),
    /// The interface has this Ethernet address and MTU from now on.
    Link {
        /// Its Ethernet address.
        mac: MacAddr,
        /// Largest IP packet in octets.
        mtu: u16,
        /// Whether this worker tells the neighbours, where that is for us to do.
        announces: bool,
    },
    /// A neighbour as the host knows it (where the host owns ARP).
    Neighbour(Addr, MacAddr),
    /// For the application.
    App(M),
}

/// The bounded mailbox of a worker, read once a turn. Clone it for each thread that sends.
pub struct Mailbox<M> {
    commands: Sender<Command<M>>,
    waker: Arc<dyn Wake>,
    gone: Arc<AtomicBool>,
}

/// Its other end, the worker's.
pub(super) struct Inbox<M> {
    commands: Receiver<Command<M>>,
    gone: Arc<AtomicBool>,
}

/// A mailbox and its inbox; `waker` has the worker look.
pub(super) fn open<M>(waker: Arc<dyn Wake>) -> (Mailbox<M>, Inbox<M>) {
    let (sender, receiver) = bounded(ROOM);
    let gone = Arc::new(AtomicBool::new(false));
    (Mailbox { commands: sender, waker, gone: gone.clone() }, Inbox { commands: receiver, gone })
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox { commands: self.commands.clone(), waker: self.waker.clone(), gone: self.gone.clone() }
    }
}

impl<M> Mailbox<M> {
    /// Puts a command into the mailbox and wakes the worker.
    ///
    /// # Errors
    /// The mailbox is full, or the worker gone; the command is given back.
    pub fn send(&self, command: Command<M>) -> Result<(), TrySendError<Command<M>>> {
        self.commands.try_send(command)?;
        self.waker.wake();
        Ok(())
    }

    /// As [`Mailbox::send`], for a command that holds a channel for its answer: whether the command will be read or dropped, so
    /// that whoever waits hears of either. What comes to a worker that has just gone may lie there for ever.
    #[must_use]
    pub fn ask(&self, command: Command<M>) -> bool {
        self.send(command).is_ok() && !self.is_gone()
    }

    fn is_gone(&self) -> bool {
        fence(Ordering::SeqCst);
        self.gone.load(Ordering::SeqCst)
    }
}

impl<M> Inbox<M> {
    /// The next command, if there is one.
    pub fn take(&mut self) -> Option<Command<M>> {
        self.commands.try_recv().ok()
    }
}

/// A channel keeps what was sent until its last sender is gone, so whoever waits for an answer would wait in vain: what came
/// before the mark is dropped here, and who comes after it sees it ([`Mailbox::ask`]).
impl<M> Drop for Inbox<M> {
    fn drop(&mut self) {
        self.gone.store(true, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        while self.take().is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Nobody;
    impl Wake for Nobody {
        fn wake(&self) {}
    }

    #[test]
    fn nobody_waits_for_an_answer_of_a_worker_that_is_gone() {
        let (mailbox, inbox) = open::<()>(Arc::new(Nobody));
        let (answer, answered) = bounded(1);
        assert!(mailbox.ask(Command::Snapshot(answer)));
        inbox.gone.store(true, Ordering::SeqCst);
        assert!(!mailbox.ask(Command::App(())), "there is room, but it comes behind the mark");
        drop(inbox);
        assert!(answered.recv().is_err(), "the question has gone with the worker");
        assert!(!mailbox.ask(Command::App(())) && mailbox.send(Command::App(())).is_err());
    }
}
