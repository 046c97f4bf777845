//! What may happen to an interface while the workers run, and what is said of it: a line where they can go on, an error
//! where they cannot.

use super::{Handle, Link};
use crate::SetupError;
use crate::driver::af_xdp::MAX_MTU;
use crate::driver::program_name;
use crate::host::{self, InterfaceFacts, Watch};
use crate::time::Duration;
use crate::wire::MacAddr;
use std::io;
use std::ops::ControlFlow;

/// Watches the interface that was like this at start: says what happens to it, has the workers follow, and ends them, without
/// waiting, when they cannot go on. Its Ethernet address is announced once the link is up, if that is asked for.
pub(super) fn watch<M: Send + 'static>(
    start: &InterfaceFacts,
    program: Option<u32>,
    announces: bool,
    workers: Handle<M>,
) -> io::Result<Watch<SetupError>> {
    let mut state = LinkState::new(start.clone(), program, announces);
    host::link_watch(start, move |now| match state.look(now) {
        Ok(Seen { lines, link }) => {
            lines.iter().for_each(|line| tracing::warn!("{line}"));
            if let Some(Err(e)) = link.map(|(link, announces)| workers.follow_link(link, announces)) {
                tracing::error!("{e}");
            }
            ControlFlow::Continue(())
        }
        Err(e) => {
            workers.drain(Duration::ZERO);
            ControlFlow::Break(e)
        }
    })
}

/// An interface as it was last seen, beside what the workers were started with.
struct LinkState {
    start: InterfaceFacts,
    last: InterfaceFacts,
    /// The Ethernet address that the neighbours know, or were told; `None` until they have been told at start.
    announced: Option<MacAddr>,
    /// The number of our XDP program, where the kernel tells it.
    program: Option<u32>,
}

/// What has changed.
struct Seen {
    /// A line for each change.
    lines: Vec<String>,
    /// What the workers are to go on with, if something is to change, and whether the neighbours are to be told.
    link: Option<(Link, bool)>,
}

impl LinkState {
    /// The interface as it was at start, with the number of the program that is attached to it since.
    fn new(start: InterfaceFacts, program: Option<u32>, announces: bool) -> LinkState {
        let last = InterfaceFacts { xdp_program: program, ..start.clone() };
        LinkState { last, announced: (!announces).then_some(start.mac), start, program }
    }

    /// What has changed since it was last seen, as far as the workers bear it.
    ///
    /// # Errors
    /// They cannot go on.
    fn look(&mut self, now: Option<InterfaceFacts>) -> Result<Seen, SetupError> {
        let Some(now) = now else { return Err(self.gone()) };
        if self.program.is_some() && now.xdp_program != self.program {
            return Err(self.without_program(&now));
        }
        let lines = [self.renamed(&now), self.link(&now), self.mtu(&now), self.mac(&now), self.queues(&now)];
        // Said into a link that is down, it would not be heard; and many drivers take another address only then.
        let announces = now.up && now.carrier && self.announced != Some(now.mac);
        if announces {
            self.announced = Some(now.mac);
        }
        let follows = (now.mac, now.mtu) != (self.last.mac, self.last.mtu);
        let link = (follows || announces).then(|| (link_of(&now), announces));
        self.last = now;
        Ok(Seen { lines: lines.into_iter().flatten().collect(), link })
    }

    fn gone(&self) -> SetupError {
        SetupError::new(
            format!("interface {}", self.last.name),
            "it is gone: removed, or moved to another network namespace",
            "`ip -br link` shows what there is; start again when it is back",
        )
    }

    /// The kernel refuses `ip link set IF xdp off` and a second program while our BPF link holds the place, so this is
    /// somebody who has taken the link itself away.
    fn without_program(&self, now: &InterfaceFacts) -> SetupError {
        let cause = match now.xdp_program {
            None => "our XDP program was detached by somebody else, so all frames go to the kernel".to_string(),
            Some(id) => format!(
                "our XDP program was detached, and program {id}{} is there instead",
                program_name(id).map_or(String::new(), |name| format!(" ({name})"))
            ),
        };
        let cure = "`bpftool net` and `bpftool link` show what is there; start again when the place is free";
        SetupError::new(format!("interface {}", now.name), cause, cure)
    }

    fn renamed(&self, now: &InterfaceFacts) -> Option<String> {
        (now.name != self.last.name).then(|| format!("interface {} is called {} now", self.last.name, now.name))
    }

    fn link(&self, now: &InterfaceFacts) -> Option<String> {
        let name = &now.name;
        match ((self.last.up, self.last.carrier), (now.up, now.carrier)) {
            (before, now) if before == now => None,
            (_, (false, _)) if !self.last.up => None,
            (_, (false, _)) => Some(format!(
                "{name} was set down: nothing comes or goes until `ip link set {name} up`; we wait for that"
            )),
            (_, (true, false)) => {
                Some(format!("{name} has no carrier: nothing comes or goes until it has; we wait for that"))
            }
            (_, (true, true)) => Some(format!("{name} is up and has a carrier")),
        }
    }

    fn mtu(&self, now: &InterfaceFacts) -> Option<String> {
        let (name, before, now) = (&now.name, self.last.mtu, now.mtu);
        (now != before).then(|| match now > u32::from(MAX_MTU) {
            true => format!(
                "{name} has an MTU of {now} now: we keep to {MAX_MTU}, which is what a chunk takes, and longer packets are \
                 lost; `ip link set {name} mtu 1500`"
            ),
            false => format!("{name} has an MTU of {now} now, and we follow; it was {before}"),
        })
    }

    fn mac(&self, now: &InterfaceFacts) -> Option<String> {
        (now.mac != self.last.mac).then(|| {
            let (name, before, now) = (&now.name, self.last.mac, now.mac);
            format!("{name} has the Ethernet address {now} now, and we follow; it was {before}")
        })
    }

    /// The kernel takes away no queue that a socket is bound to.
    fn queues(&self, now: &InterfaceFacts) -> Option<String> {
        (now.rx_queues != self.last.rx_queues).then(|| {
            let (name, start, now) = (&now.name, self.start.rx_queues, now.rx_queues);
            match now == start {
                true => format!("{name} has {now} rx queues again, and each has its worker"),
                false => format!(
                    "{name} has {now} rx queues now, and {start} have a worker: what comes in on another goes to the \
                     kernel; start again, or set them back to {start} with `ethtool -L {name}`"
                ),
            }
        })
    }
}

/// The link as workers can use it.
fn link_of(facts: &InterfaceFacts) -> Link {
    Link { mac: facts.mac, mtu: facts.mtu.min(u32::from(MAX_MTU)) as u16 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts() -> InterfaceFacts {
        InterfaceFacts {
            name: "eth0".into(),
            mtu: 1500,
            up: true,
            carrier: true,
            rx_queues: 2,
            xdp_program: Some(7),
            ..InterfaceFacts::default()
        }
    }

    fn state() -> LinkState {
        LinkState::new(InterfaceFacts { xdp_program: None, ..facts() }, Some(7), false)
    }

    #[test]
    fn what_the_workers_bear_is_told_once() {
        for (now, part) in [
            (InterfaceFacts { up: false, carrier: false, ..facts() }, "ip link set eth0 up"),
            (InterfaceFacts { carrier: false, ..facts() }, "no carrier"),
            (InterfaceFacts { mtu: 1400, ..facts() }, "an MTU of 1400 now, and we follow"),
            (InterfaceFacts { mtu: 9000, ..facts() }, "we keep to 1774"),
            (InterfaceFacts { mac: MacAddr([2; 6]), ..facts() }, "02:02:02:02:02:02 now"),
            (InterfaceFacts { rx_queues: 4, ..facts() }, "4 rx queues now, and 2 have a worker"),
            (InterfaceFacts { name: "wan".into(), ..facts() }, "is called wan now"),
        ] {
            let mut state = state();
            assert_eq!(state.look(Some(facts())).unwrap().lines, [""; 0], "nothing has changed yet");
            let lines = state.look(Some(now.clone())).unwrap().lines;
            assert!(lines.len() == 1 && lines[0].contains(part), "{lines:?}");
            assert_eq!(state.look(Some(now)).unwrap().lines, [""; 0], "told already: {part}");
        }
    }

    #[test]
    fn the_workers_follow_mtu_and_address_once_and_announce_it_when_that_is_heard() {
        let mut state = state();
        let (old, new) = (facts().mac, MacAddr([2; 6]));
        for (now, expected) in [
            (InterfaceFacts { mtu: 1400, ..facts() }, Some((old, 1400, false))),
            (InterfaceFacts { mtu: 1400, ..facts() }, None),
            (InterfaceFacts { mtu: 9000, mac: new, ..facts() }, Some((new, 1774, true))),
            (InterfaceFacts { up: false, mac: new, ..facts() }, Some((new, 1500, false))),
            (InterfaceFacts { up: false, ..facts() }, Some((old, 1500, false))),
            (InterfaceFacts { carrier: false, ..facts() }, None),
            (facts(), Some((old, 1500, true))),
            (facts(), None),
            (InterfaceFacts { carrier: false, ..facts() }, None),
            (facts(), None),
        ] {
            let link = state.look(Some(now.clone())).unwrap().link;
            assert_eq!(link.map(|(link, announces)| (link.mac, link.mtu, announces)), expected, "{now:?}");
        }
    }

    #[test]
    fn at_start_the_address_is_announced_once_as_soon_as_that_is_heard() {
        let start = InterfaceFacts { xdp_program: None, ..facts() };
        for announces in [true, false] {
            let mut state = LinkState::new(start.clone(), Some(7), announces);
            let mut said = |now| state.look(Some(now)).unwrap().link.is_some_and(|(_, announces)| announces);
            let no_carrier = InterfaceFacts { carrier: false, ..facts() };
            assert_eq!([said(no_carrier), said(facts()), said(facts())], [false, announces, false]);
        }
    }

    #[test]
    fn a_link_that_goes_down_in_two_steps_and_comes_back_is_told_of() {
        let mut state = state();
        let mut lines = |up, carrier| state.look(Some(InterfaceFacts { up, carrier, ..facts() })).unwrap().lines;
        assert!(lines(false, true)[0].contains("set down"));
        assert_eq!(lines(false, false), [""; 0], "a carrier means nothing to a link that is down");
        assert!(lines(true, false)[0].contains("no carrier"));
        assert!(lines(true, true)[0].contains("is up and has a carrier"));
    }

    #[test]
    fn what_ends_them_says_what_where_and_the_cure() {
        for (now, part) in [
            (None, "interface eth0: it is gone"),
            (Some(InterfaceFacts { xdp_program: None, ..facts() }), "all frames go to the kernel"),
            (Some(InterfaceFacts { xdp_program: Some(u32::MAX), ..facts() }), "program 4294967295 is there instead"),
        ] {
            let error = state().look(now).err().expect("they cannot go on");
            assert!(error.to_string().contains(part) && error.cure.contains("start again"), "{error}");
        }
    }

    #[test]
    fn a_program_whose_number_is_not_known_is_not_missed() {
        let start = InterfaceFacts { xdp_program: None, ..facts() };
        assert!(LinkState::new(start, None, false).look(Some(facts())).is_ok());
    }
}
