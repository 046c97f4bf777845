//! What other threads hold of a running engine.

use super::answering::mss_of;
use super::{Link, worker_error};
use crate::SetupError;
use crate::driver::XdpProgram;
use crate::stack::CookieKeys;
use crate::stats::Snapshot;
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};
use crate::worker::{Command, Mailbox};
use crossbeam::channel::{TrySendError, bounded};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant as Clock;

/// How long a worker may take to answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(2);

/// Reaches the workers of an engine from any thread.
pub struct Handle<M> {
    shared: Arc<Shared<M>>,
}

struct Shared<M> {
    mailboxes: Vec<Mailbox<M>>,
    /// Detached when it is dropped; there until the engine is joined.
    program: Mutex<Option<XdpProgram>>,
}

impl<M> Clone for Handle<M> {
    fn clone(&self) -> Self {
        Handle { shared: self.shared.clone() }
    }
}

impl<M> Handle<M> {
    pub(super) fn new(mailboxes: Vec<Mailbox<M>>) -> Self {
        Handle { shared: Arc::new(Shared { mailboxes, program: Mutex::new(None) }) }
    }

    /// Keeps the program attached, and its verdicts at hand, until [`Handle::release`].
    pub(super) fn hold(&self, program: XdpProgram) {
        *self.program() = Some(program);
    }

    /// Gives the program back; it is detached when that is dropped.
    pub(super) fn release(&self) -> Option<XdpProgram> {
        self.program().take()
    }

    fn program(&self) -> MutexGuard<'_, Option<XdpProgram>> {
        self.shared.program.lock().expect("no thread panics holding it")
    }

    /// Asks each worker for a snapshot and sums them; the verdicts of the XDP program are added.
    ///
    /// # Errors
    /// A worker has ended, or did not answer within two seconds.
    pub fn snapshot(&self) -> Result<Snapshot, SetupError> {
        let answers = self.shared.mailboxes.iter().map(|mailbox| {
            let (answer, answered) = bounded(1);
            let asked = mailbox.send(Command::Snapshot(answer)).is_ok();
            (asked, answered)
        });
        // Ask all before waiting for the first, so that the parts are of about the same moment.
        let answers: Vec<_> = answers.collect();
        let until = Clock::now() + ANSWER_WITHIN;
        let mut parts = Vec::with_capacity(answers.len());
        for (index, (asked, answered)) in answers.into_iter().enumerate() {
            match answered.recv_deadline(until) {
                Ok(part) if asked => parts.push(part),
                _ => return Err(worker_error(index, "it did not answer", "it has ended, or its core is overloaded")),
            }
        }
        let mut snapshot = Snapshot::sum(&parts);
        if let Some(program) = &*self.program() {
            snapshot.add_verdicts(&program.verdicts()?);
        }
        Ok(snapshot)
    }

    /// Asks every worker to stop accepting and to close what is open; what is still open after `within` is reset.
    pub fn drain(&self, within: Duration) {
        for mailbox in &self.shared.mailboxes {
            deliver(mailbox, Command::Drain(within));
        }
    }

    /// Has every worker, and the XDP program, use other keys for SYN cookies.
    ///
    /// # Errors
    /// The kernel refuses to tell the program.
    pub fn rekey_cookies(&self, keys: &CookieKeys) -> Result<(), SetupError> {
        for mailbox in &self.shared.mailboxes {
            deliver(mailbox, Command::CookieKeys(*keys));
        }
        // The workers first: they must open what the program makes.
        self.program().as_mut().map_or(Ok(()), |program| program.rekey_cookies(keys))
    }

    /// Has every worker, and the XDP program, go on with a link that has changed; one of them announces the address.
    ///
    /// # Errors
    /// The kernel refuses to tell the program.
    pub(super) fn follow_link(&self, Link { mac, mtu }: Link, announces: bool) -> Result<(), SetupError> {
        for (index, mailbox) in self.shared.mailboxes.iter().enumerate() {
            deliver(mailbox, Command::Link { mac, mtu, announces: announces && index == 0 });
        }
        self.program().as_mut().map_or(Ok(()), |program| program.follow_link(mac, mss_of(mtu)))
    }

    /// Tells every worker a neighbour as the host knows it.
    pub fn neighbour(&self, addr: Addr, mac: MacAddr) {
        for mailbox in &self.shared.mailboxes {
            deliver(mailbox, Command::Neighbour(addr, mac));
        }
    }

    /// The mailbox of each worker.
    pub fn mailboxes(&self) -> &[Mailbox<M>] {
        &self.shared.mailboxes
    }
}

/// Puts a command into a mailbox that may be full for a moment; given up when the worker is stuck, and at once when it is gone.
fn deliver<M>(mailbox: &Mailbox<M>, mut command: Command<M>) {
    let until = Clock::now() + ANSWER_WITHIN;
    while let Err(TrySendError::Full(back)) = mailbox.send(command) {
        if Clock::now() > until {
            return;
        }
        command = back;
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::memory;
    use crate::engine::{Engine, EngineConfig};
    use crate::stack::{App, ConnId, Cx, LocalAddr};

    struct Silent;

    impl App for Silent {
        type Message = ();
        fn on_readable(&mut self, _: &mut Cx<'_>, _: ConnId) {}
        fn on_half_close(&mut self, _: &mut Cx<'_>, _: ConnId) {}
    }

    /// When their interface is removed they end by themselves, and whoever watches it tells them to end all the same.
    #[test]
    fn workers_that_are_gone_are_not_waited_for() {
        const WORKERS: u32 = 16;
        let config = EngineConfig {
            pin: false,
            ..EngineConfig::new(vec![LocalAddr { addr: Addr::from_v4([10, 0, 0, 2]), prefix_len: 24 }])
        };
        let drivers = (0..WORKERS).map(|_| memory::link(64, 16).0).collect();
        let link = Link { mac: MacAddr([2, 0, 0, 0, 0, 2]), mtu: 1500 };
        let engine = Engine::over(config, link, drivers, |_| Silent).unwrap();
        let handle = engine.handle();
        engine.drain(Duration::ZERO);
        engine.join().unwrap();
        let (tell, told) = bounded(1);
        std::thread::spawn(move || {
            handle.drain(Duration::ZERO);
            tell.send(()).unwrap();
        });
        told.recv_timeout(WORKERS / 2 * ANSWER_WITHIN).expect("it waits for those who are gone");
    }
}
