//! The worker: one queue, one core, one stack. Its turn reads as the picture of the line.

use crate::driver::{Driver, Wake};
use crate::stack::{App, Stack, Transition};
use crate::stats::{Snapshot, WorkerInfo};
use crate::time::Duration;
use crate::wire::{Addr, MacAddr};
use std::sync::Arc;

/// What other threads may tell a worker.
pub enum Command<M> {
    /// Send a snapshot through the channel.
    Snapshot(crossbeam::channel::Sender<Snapshot>),
    /// Stop accepting, close what is open, and end; what is still open after this long is reset.
    Drain(Duration),
    /// A neighbour as the host knows it (where the host owns ARP).
    Neighbour(Addr, MacAddr),
    /// For the application.
    App(M),
}

/// The bounded mailbox of a worker, read once a turn. Clone it for each thread that sends.
pub struct Mailbox<M> {
    commands: crossbeam::channel::Sender<Command<M>>,
    waker: Arc<dyn Wake>,
}

impl<M> Clone for Mailbox<M> {
    fn clone(&self) -> Self {
        Mailbox { commands: self.commands.clone(), waker: self.waker.clone() }
    }
}

impl<M> Mailbox<M> {
    /// Puts a command into the mailbox and wakes the worker; gives it back when the mailbox is full or the worker gone.
    pub fn send(&self, command: Command<M>) -> Result<(), Command<M>> {
        self.commands.try_send(command).map_err(|e| e.into_inner())?;
        self.waker.wake();
        Ok(())
    }
}

/// What a worker does when nothing comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Idle {
    /// Looks at the rings without pause: lowest latency, a whole core.
    Spin,
    /// After a short spin, sleeps in `poll` until something comes.
    #[default]
    Adaptive,
}

/// One queue, one core, one stack.
pub struct Worker<D: Driver, A: App> {
    driver: D,
    stack: Stack<A>,
    idle: Idle,
    info: WorkerInfo,
    commands: crossbeam::channel::Receiver<Command<A::Message>>,
}

/// What is left when a worker has ended.
pub struct Finished<A> {
    /// The last snapshot, taken after everything was closed; its ledger check is final.
    pub snapshot: Snapshot,
    /// The traced connections' changes of state, in order.
    pub transitions: Vec<Transition>,
    /// The application, with what it has gathered.
    pub app: A,
}

impl<D: Driver, A: App> Worker<D, A> {
    /// A worker and the mailbox that reaches it.
    pub fn new(driver: D, stack: Stack<A>, idle: Idle, info: WorkerInfo) -> (Self, Mailbox<A::Message>) {
        let (sender, commands) = crossbeam::channel::bounded(1024);
        let mailbox = Mailbox { commands: sender, waker: driver.waker() };
        (Worker { driver, stack, idle, info, commands }, mailbox)
    }

    /// Runs on the calling thread until drained, or until the application stops it.
    ///
    /// # Errors
    /// What [`Driver::flush`] and [`Driver::wait`] could not mend; the ledger up to then is lost.
    pub fn run(self) -> std::io::Result<Finished<A>> {
        todo!()
    }
}
