//! The load generator: an [`App`](crate::stack::App) that opens connections, lives a life on each, and measures.
//!
//! A [`Plan`] says what to do: the target, the [`Schedule`] by which connections are started, the [`Life`] that each
//! one lives and when to end. Every worker runs a [`LoadApp`] with its share of the plan and gathers [`Results`] of
//! its own; the shares are merged afterwards into a [`Report`], whose [`Verdict`] says what bounded the run. While it
//! runs, each worker publishes a few sums ten times a second to its [`Gauge`]; a [`Watch`] shows them on a line and keeps
//! a [`Timeline`].
//!
//! When to start ([`Arrivals`]), what to try next ([`Search`]) and how to judge ([`Evidence`]) are pure. No part of a worker opens a socket or reads
//! a clock: that is the stack's and the worker's business.
#![forbid(unsafe_code)]

mod answer;
mod app;
mod failure;
mod first;
pub mod flood;
mod gauge;
mod latency;
mod life;
mod living;
mod pace;
mod plan;
mod progress;
mod report;
mod results;
mod schedule;
mod search;
mod slots;
mod sources;
mod starting;
mod statuses;
mod step;
mod timeline;
mod verdict;

pub use app::{LoadApp, Order};
pub use first::First;
pub use gauge::{Gauge, Sums};
pub use latency::{Latencies, Span};
pub use life::{Answer, CloseWith, Closer, Life};
pub use plan::{Plan, Schedule, Until};
pub use progress::{Watch, Watched};
pub(crate) use report::grouped;
pub use report::{
    Failed, FrameCounts, Limits, Micros, Origin, OwnWaits, RateAsked, RateReport, Report, SearchReport, Setting,
    TalkReport,
};
pub use results::{Counts, Ended, Results, Talk, Waits};
pub use schedule::{Arrivals, Rate, Spacing};
pub use search::{Goal, Search, Tried};
pub use statuses::Statuses;
pub use step::{StepOrder, StepOutcome};
pub use timeline::{Sample, Timeline};
pub use verdict::{Bound, Evidence, Verdict};
