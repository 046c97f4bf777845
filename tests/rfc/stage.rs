//! How scenarios are played: against which hosts, over which IP, from which numbers on.

use super::in_memory::{InMemory, Setup};
use super::kernel::Kernel;
use super::peer::Peer;
use super::target::{Family, Target};
use super::veth::Veth;
use crate::common;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{LazyLock, Mutex};

/// Where both ends start counting: at zero, before the sign changes, and before the wrap.
const ISNS: [(u32, u32); 3] = [(0, 0), (0x7fff_fffd, 0xffff_fffd), (0xffff_fffd, 0x7fff_fffd)];

/// A host that scenarios are played against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host {
    /// The stack itself in virtual time.
    Memory,
    /// The engine on AF_XDP.
    Veth,
    Linux,
}

/// What a scenario is played on.
#[derive(Clone)]
pub struct Stage {
    setup: Setup,
    hosts: Vec<Host>,
    families: Vec<Family>,
}

/// Every host over both families, but for veth, where IPv4 will do unless the scenario is IPv6's; the host listens.
pub fn stage() -> Stage {
    let setup = Setup::default();
    Stage { setup, hosts: vec![Host::Memory, Host::Veth, Host::Linux], families: vec![Family::V4, Family::V6] }
}

/// Plays a scenario against every target, the host listening.
pub fn everywhere(scenario: impl Fn(&mut Peer) + Sync) {
    stage().play(scenario);
}

/// The same for a host that does not listen on its port, but may connect from there.
pub fn everywhere_without_listener(scenario: impl Fn(&mut Peer) + Sync) {
    stage().without_listener().play(scenario);
}

/// Plays a scenario against Handfast alone; `_why` says why not against Linux.
pub fn handfast_only(why: &str, scenario: impl Fn(&mut Peer) + Sync) {
    stage().handfast_only(why).play(scenario);
}

/// The same for a stack that is set up otherwise.
pub fn handfast_with(why: &str, change: impl Fn(&mut Setup), scenario: impl Fn(&mut Peer) + Sync) {
    stage().handfast_only(why).with(change).play(scenario);
}

/// Plays a scenario against Handfast in virtual time alone; `_why` says why real time will not do.
pub fn in_memory_only(why: &str, scenario: impl Fn(&mut Peer) + Sync) {
    stage().in_memory_only(why).play(scenario);
}

/// The same for a stack that is set up otherwise.
pub fn in_memory_with(why: &str, change: impl Fn(&mut Setup), scenario: impl Fn(&mut Peer) + Sync) {
    stage().in_memory_only(why).with(change).play(scenario);
}

impl Stage {
    pub fn without_listener(self) -> Self {
        self.with(|setup| setup.listen = false)
    }

    /// What it is about is IPv4's alone.
    pub fn ipv4(self) -> Self {
        Stage { families: vec![Family::V4], ..self }
    }

    /// What it is about is IPv6's alone.
    pub fn ipv6(self) -> Self {
        Stage { families: vec![Family::V6], ..self }
    }

    /// Not against Linux, for this reason.
    pub fn handfast_only(self, _why: &str) -> Self {
        Stage { hosts: vec![Host::Memory, Host::Veth], ..self }
    }

    /// Neither against Linux nor over a wire where time is real, for this reason.
    pub fn in_memory_only(self, _why: &str) -> Self {
        Stage { hosts: vec![Host::Memory], ..self }
    }

    pub fn with(mut self, change: impl FnOnce(&mut Setup)) -> Self {
        change(&mut self.setup);
        self
    }

    fn families_on(&self, host: Host) -> impl Iterator<Item = Family> {
        let count = if host == Host::Veth { 1 } else { self.families.len() };
        self.families.clone().into_iter().take(count)
    }

    /// In memory first; then, side by side, what mostly waits.
    pub fn play(self, scenario: impl Fn(&mut Peer) + Sync) {
        let wanted: Vec<Host> = self.hosts.iter().copied().filter(|host| is_wanted(*host)).collect();
        for family in &self.families {
            let setup = Setup { family: *family, ..self.setup.clone() };
            for (host_isn, isn) in ISNS.into_iter().filter(|_| wanted.contains(&Host::Memory)) {
                let target = InMemory::new(&Setup { host_isn, ..setup.clone() });
                play(Peer::new(Box::new(target), *family, isn), &scenario);
            }
        }
        let real: Vec<Host> = wanted.into_iter().filter(|host| *host != Host::Memory && can_play(*host)).collect();
        let failed = Mutex::new(None);
        std::thread::scope(|scope| {
            for (host, family) in real.iter().flat_map(|host| self.families_on(*host).map(|family| (*host, family))) {
                let (setup, scenario, failed) = (Setup { family, ..self.setup.clone() }, &scenario, &failed);
                // A thread of its own, which never comes back from the kernel's namespace.
                scope.spawn(move || {
                    let played = catch_unwind(AssertUnwindSafe(|| play_for_real(host, &setup, scenario)));
                    if let Err(panic) = played {
                        failed.lock().expect("no panic holds it").get_or_insert(panic);
                    }
                });
            }
        });
        if let Some(panic) = failed.into_inner().expect("no panic held it") {
            resume_unwind(panic);
        }
    }
}

fn play_for_real(host: Host, setup: &Setup, scenario: &(impl Fn(&mut Peer) + Sync)) {
    let target: Box<dyn Target> = match host {
        Host::Linux => Box::new(Kernel::new(setup.family, setup.listen)),
        _ => Box::new(Veth::new(setup)),
    };
    play(Peer::new(target, setup.family, 0xffff_fffd), scenario);
}

fn play(mut peer: Peer, scenario: &(impl Fn(&mut Peer) + Sync)) {
    let outcome = catch_unwind(AssertUnwindSafe(|| scenario(&mut peer)));
    if let Err(panic) = outcome {
        let Peer { target, family, flow, .. } = &peer;
        eprintln!("--- against {} over IP{family:?}, our initial number {}:", target.name(), flow.isn);
        peer.transcript.iter().for_each(|line| eprintln!("{line}"));
        resume_unwind(panic);
    }
}

fn is_wanted(host: Host) -> bool {
    let name = match host {
        Host::Memory => "memory",
        Host::Veth => "veth",
        Host::Linux => "linux",
    };
    std::env::var("HANDFAST_RFC_TARGET").map_or(true, |wanted| wanted.split(',').any(|wanted| wanted == name))
}

/// Whether this machine can play the host; if not, says so aloud.
fn can_play(host: Host) -> bool {
    static ROOT: LazyLock<bool> = LazyLock::new(|| common::root("the scenarios over veth and against Linux"));
    static TUN: LazyLock<bool> = LazyLock::new(|| {
        let there = std::path::Path::new("/dev/net/tun").exists();
        if !there {
            common::skip("the scenarios against Linux", "they need TAP devices (/dev/net/tun)");
        }
        there
    });
    *ROOT && (host != Host::Linux || *TUN)
}
