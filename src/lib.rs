//! Handfast: a user-space TCP stack on AF_XDP whose hard part is connections.
//!
//! Frames arrive through AF_XDP rings at workers pinned to NIC queues; each worker owns its shard of the connections, so
//! nothing on the path takes a lock or asks the kernel for each packet; memory is taken up to a limit and used again.
//!
//! ```text
//! NIC queue ─▶ rx ring ─▶ parse ─▶ lookup ─▶ state machine ─▶ emit ─▶ tx ring ─▶ NIC queue
//!             driver     wire     stack     tcp              stack   driver
//! ```
//!
//! # Map
//!
//! Start with [`worker`]: its turn is the picture above. A layer only looks down, from the bottom:
//!
//! | module | what it is |
//! |---|---|
//! | [`time`], [`ledger`], [`clock`] | instants as arguments; what became of every frame and connection; the one reader of the clock |
//! | [`Ownership`], [`Route`], [`SetupError`] | words that all layers share: whose an address is; a way out; what went wrong, why, and the cure |
//! | [`outpost`] | memory that a worker shares with the XDP program, to have floods answered there |
//! | [`wire`] | octets ↔ headers, no state: Ethernet, ARP, IPv4, IPv6, ICMP, NDP, TCP |
//! | [`tcp`] | one connection: segments and time in, segments and events out; a file for each chapter of RFC 9293 |
//! | [`stats`] | what a running stack shows, with the laws of its ledger |
//! | [`stack`] | all that one queue owns: tables, wheels, neighbours, and the application ([`stack::App`]) |
//! | [`host`] | beside the stack: what the kernel knows of an interface and the machine; memory on huge pages |
//! | [`driver`] | beside the stack, on `host`: one queue behind a small trait; AF_XDP, in memory, a tap over either ([`driver::tap`]), and the loader of the XDP program |
//! | [`worker`] | the loop: receive a burst, process it, run the timers, emit, flush |
//! | [`engine`] | a worker for each queue, on a thread and a core of its own |
//! | [`services`], [`load`] | applications: echo, HTTP and others; the load generator |
//! | [`sim`] | whole networks in virtual time that lose, reorder, corrupt and kill, and check everything |
//! | [`ladder`] | a connection drawn from the frames that crossed |
//! | [`lab`], [`doctor`] | namespaces for trying things; what this host can do |
//! | [`cli`], [`admin`] | the command with its flags and file; the socket through which `stats` asks |
//!
//! `wire`, `tcp` and `stack` are sans-IO: no clock, no I/O, no unsafe, no randomness of their own. The very same code runs
//! on a NIC, over veth, in memory and in a deterministic simulation.
//!
//! # An echo server
//!
//! ```
//! use handfast::driver::memory;
//! use handfast::engine::{Engine, EngineConfig, Link};
//! use handfast::stack::{App, ConnId, Cx, LocalAddr};
//! use handfast::wire::{Addr, MacAddr};
//!
//! struct Echo;
//!
//! impl App for Echo {
//!     type Message = ();
//!     fn on_readable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
//!         match cx.forward(conn, conn) {
//!             Ok(_) if cx.at_end(conn) => cx.close(conn), // the peer's FIN, and all of it is sent back
//!             Ok(_) => {}
//!             Err(_) => cx.abort(conn), // nothing can be sent any more
//!         }
//!     }
//!     fn on_writable(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
//!         self.on_readable(cx, conn);
//!     }
//!     fn on_half_close(&mut self, cx: &mut Cx<'_>, conn: ConnId) {
//!         self.on_readable(cx, conn);
//!     }
//! }
//!
//! let (ours, _theirs) = memory::link(1024, 256);
//! let mut config = EngineConfig::new(vec![LocalAddr { addr: Addr::from_v4([10, 0, 0, 2]), prefix_len: 24 }]);
//! config.listen = vec![7];
//! let link = Link { mac: MacAddr([2, 0, 0, 0, 0, 2]), mtu: 1500 };
//! let engine = Engine::over(config, link, vec![ours], |_| Echo)?;
//! assert_eq!(engine.snapshot()?.states["listen"], 1);
//! # engine.drain(std::time::Duration::from_secs(1));
//! # assert!(engine.join()?.snapshot.ledger.exact);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! On an interface (as root, see the README's *Privileges*) the driver is opened by the engine, and there is a worker for each
//! receive queue; the rest is the same:
//!
//! ```no_run
//! # use handfast::engine::{Engine, EngineConfig};
//! # use handfast::stack::{App, LocalAddr};
//! # use handfast::wire::Addr;
//! # struct Echo;
//! # impl App for Echo {
//! #     type Message = ();
//! #     fn on_readable(&mut self, _: &mut handfast::stack::Cx<'_>, _: handfast::stack::ConnId) {}
//! #     fn on_half_close(&mut self, _: &mut handfast::stack::Cx<'_>, _: handfast::stack::ConnId) {}
//! # }
//! # let mut config = EngineConfig::new(vec![LocalAddr { addr: Addr::from_v4([10, 0, 0, 2]), prefix_len: 24 }]);
//! use handfast::driver::af_xdp::PortConfig;
//!
//! let engine = Engine::start(config, PortConfig::new("eth1"), |_| Echo)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![warn(missing_docs)]

pub mod admin;
pub mod cli;
pub mod clock;
pub mod doctor;
pub mod driver;
pub mod engine;
pub mod host;
pub mod lab;
pub mod ladder;
pub mod ledger;
pub mod load;
pub mod outpost;
mod ownership;
mod route;
pub mod services;
mod setup_error;
pub mod sim;
pub mod stack;
pub mod stats;
pub mod tcp;
pub mod time;
pub mod wire;
pub mod worker;

pub use ownership::Ownership;
pub use route::Route;
pub use setup_error::SetupError;
