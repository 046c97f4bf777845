//! All that one queue owns.

mod app;
mod config;
mod cx;
pub mod flow_index;
pub mod slab;
pub mod time_wait_table;
pub mod wheel;

pub use crate::tcp::{TcpConfig, Transition};
pub use app::{App, ConnId, Connect, ConnectError, SendError};
pub use config::{Limits, LocalAddr, Ownership, RxChecksum, Secrets, StackConfig};
pub use cx::Cx;

/// A shard and its application. Sans-IO: frames and time go in, frames come out.
pub struct Stack<A: App> {
    app: A,
}

impl<A: App> Stack<A> {
    /// An empty shard with its listeners open.
    pub fn new(_config: StackConfig, app: A) -> Self {
        Stack { app }
    }
}
