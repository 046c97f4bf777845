//! The load generator: an [`App`](crate::stack::App) that opens connections, lives a short life on each, and measures.
//!
//! A [`Plan`] says what to do: the target, the [`Schedule`] by which connections are started, the [`Life`] that each
//! one lives and when to end. Every worker runs a [`LoadApp`] with its share of the plan and gathers [`Results`] of
//! its own; the shares are merged afterwards into a [`Report`]. While it runs, each worker publishes a few sums ten
//! times a second to its [`Gauge`], which the [`ProgressLine`] shows.
//!
//! It opens no sockets and reads no clock: that is the stack's and the worker's business.
#![forbid(unsafe_code)]

mod app;
mod plan;
mod progress;
mod report;
mod results;
mod slots;

pub use app::{Crew, Finish, LoadApp};
pub use plan::{Life, Plan, Schedule, Until};
pub use progress::{Gauge, ProgressLine};
pub(crate) use report::grouped;
pub use report::{Failed, FrameCounts, HandshakeMicros, PortWaits, Report};
pub use results::{Counts, Results};
