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
            mailbox.ask(Command::Snapshot(answer)).then_some(answered)
        });
        // Ask all before waiting for the first, so that the parts are of about the same moment.
        let answers: Vec<_> = answers.collect();
        let until = Clock::now() + ANSWER_WITHIN;
        let mut parts = Vec::with_capacity(answers.len());
        for (index, answered) in answers.into_iter().enumerate() {
            match answered.and_then(|answered| answered.recv_deadline(until).ok()) {
                Some(part) => parts.push(part),
                None => {
                    return Err(worker_error(index, "it did not answer", "it has ended, or its core is overloaded"));
                }
            }
        }
        let mut snapshot = Snapshot::sum(&parts);
        if let Some(program) = &*self.program() {
            snapshot.add_verdicts(&program.verdicts()?);
        }
        Ok(snapshot)
    }

    /// Asks every worker to stop accepting and to close what is open; what is still open after `within` is reset. A line in
    /// the log names those who could not be told.
    pub fn drain(&self, within: Duration) {
        self.tell_all("to end", |_| Command::Drain(within)).log();
    }

    /// Has every worker, and the XDP program, use other keys for SYN cookies.
    ///
    /// # Errors
    /// A worker could not be told, or the kernel refuses to tell the program. The program then makes cookies by the keys that
    /// it had; workers that were told open these as far as `keys` accepts them.
    pub fn rekey_cookies(&self, keys: &CookieKeys) -> Result<(), SetupError> {
        // The workers first: they must open what the program makes.
        self.tell_all("other keys of cookies", |_| Command::CookieKeys(*keys)).check()?;
        self.program().as_mut().map_or(Ok(()), |program| program.rekey_cookies(keys))
    }

    /// Has every worker, and the XDP program, go on with a link that has changed; one of them announces the address.
    ///
    /// # Errors
    /// The kernel refuses to tell the program, or a worker could not be told.
    pub(super) fn follow_link(&self, Link { mac, mtu }: Link, announces: bool) -> Result<(), SetupError> {
        let told = self.tell_all("a link that has changed", |index| Command::Link {
            mac,
            mtu,
            announces: announces && index == 0,
        });
        // The program all the same: the link is as it is.
        self.program().as_mut().map_or(Ok(()), |program| program.follow_link(mac, mss_of(mtu)))?;
        told.check()
    }

    /// Tells every worker a neighbour as the host knows it. A line in the log names those who could not be told.
    pub fn neighbour(&self, addr: Addr, mac: MacAddr) {
        self.tell_all("a neighbour", |_| Command::Neighbour(addr, mac)).log();
    }

    /// Tells every worker something, which is named by `what`.
    fn tell_all(&self, what: &'static str, command: impl Fn(usize) -> Command<M>) -> Told {
        let mailboxes = self.shared.mailboxes.iter().enumerate();
        let missed = mailboxes.filter(|(index, mailbox)| !deliver(mailbox, command(*index))).map(|(index, _)| index);
        Told { what, missed: missed.collect() }
    }

    /// The mailbox of each worker.
    pub fn mailboxes(&self) -> &[Mailbox<M>] {
        &self.shared.mailboxes
    }
}

/// What all workers were told, but for those whose mailbox stayed full.
#[must_use]
struct Told {
    what: &'static str,
    missed: Vec<usize>,
}

impl Told {
    fn check(self) -> Result<(), SetupError> {
        let Some(first) = self.missed.first() else { return Ok(()) };
        let others = match self.missed.len() - 1 {
            0 => String::new(),
            others => format!(", nor were {others} others"),
        };
        let cause = format!("it could not be told {}{others}: its mailbox stayed full", self.what);
        Err(worker_error(
            *first,
            &cause,
            "its core is overloaded, or it is stuck; `handfast stats` shows how busy it is",
        ))
    }

    fn log(self) {
        if let Err(e) = self.check() {
            tracing::error!("{e}");
        }
    }
}

/// Puts a command into a mailbox that may be full for a moment; `false` when it is given up because the worker is stuck. One
/// that is gone needs to be told nothing.
fn deliver<M>(mailbox: &Mailbox<M>, mut command: Command<M>) -> bool {
    let until = Clock::now() + ANSWER_WITHIN;
    while let Err(TrySendError::Full(back)) = mailbox.send(command) {
        if Clock::now() > until {
            return false;
        }
        command = back;
        std::thread::sleep(Duration::from_millis(1));
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::driver::memory;
    use crate::engine::{Engine, EngineConfig};
    use crate::stack::{App, ConnId, Cx, LocalAddr, Secrets, Stack, StackConfig};
    use crate::stats::WorkerInfo;
    use crate::worker::Worker;

    struct Silent;

    impl App for Silent {
        type Message = ();
        fn on_readable(&mut self, _: &mut Cx<'_>, _: ConnId) {}
        fn on_half_close(&mut self, _: &mut Cx<'_>, _: ConnId) {}
    }

    /// Nobody reads the second worker's mailbox: with other keys at the program alone, nobody would open what it makes.
    #[test]
    fn a_worker_that_could_not_be_told_is_named() {
        let driver = || memory::link(64, 16).0;
        let idle = crate::worker::Idle::Adaptive;
        let config = || {
            let secrets = Secrets { isn: [1; 16], flow_hash: [2; 16], cookie: CookieKeys::alone([3; 16]) };
            StackConfig::new(MacAddr([2, 0, 0, 0, 0, 2]), Vec::new(), secrets)
        };
        let worker = || {
            let stack = Stack::new(config(), Silent, crate::clock::now());
            Worker::new(driver(), stack, idle, WorkerInfo::default(), None)
        };
        let [(_reads, first), (_stuck, second), (gone, third)] = [worker(), worker(), worker()];
        drop(gone);
        while second.send(Command::App(())).is_ok() {}
        let handle = Handle::new(vec![first, second, third]);
        let told = handle.tell_all("something", |_| Command::Drain(Duration::ZERO));
        assert_eq!(told.missed, [1]);
        let e = handle.rekey_cookies(&CookieKeys::alone([4; 16])).unwrap_err().to_string();
        assert!(e.starts_with("worker 1: it could not be told other keys of cookies: "), "{e}");
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
