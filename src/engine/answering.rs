//! What the XDP program is told so that it answers SYNs as the stack would.

use super::EngineConfig;
use crate::SetupError;
use crate::driver::{XdpDefence, XdpProgram};
use crate::stack::{LocalAddr, RxChecksum, StackConfig, SynDefence};
use crate::tcp::{syn_window, window_shift};
use crate::wire::Addr;

/// Whether the workers may want SYNs answered by the program at all.
pub(super) fn is_wanted(config: &EngineConfig, on_veth: bool) -> bool {
    let wanted = match config.defence.mode {
        // The answers would be lost where the other end cannot take them, and with them every client.
        SynDefence::Auto => !on_veth || config.answer_on_veth,
        SynDefence::Xdp => true,
        SynDefence::Table | SynDefence::Cookie => false,
    };
    wanted && !config.listen.is_empty()
}

/// Tells the program.
pub(super) fn prepare(program: &mut XdpProgram, config: &StackConfig) -> Result<(), SetupError> {
    program.set_defence(&defence_of(config))?;
    config.listen.iter().try_for_each(|port| program.answer_port(*port))
}

/// Answers as a stack of this configuration gives them.
pub fn defence_of(config: &StackConfig) -> XdpDefence {
    let gateway = |v4| config.gateways.iter().any(|gateway| gateway.is_v4() == v4);
    XdpDefence {
        cookie: config.secrets.cookie,
        isn_key: config.secrets.isn,
        mss: mss_of(config.mtu),
        window: syn_window(&config.tcp),
        shift: window_shift(&config.tcp),
        hop_limit: config.tcp.hop_limit.get(),
        traffic_class: config.tcp.dscp.traffic_class(),
        ecn: config.tcp.ecn,
        mac: config.mac,
        verify: config.rx_checksum == RxChecksum::Verify,
        on_link: prefixes(&config.addresses),
        gateway: (gateway(true), gateway(false)),
    }
}

/// The MSS that a link of this MTU offers, IPv4 and IPv6 (RFC 9293 §3.7.1, MUST-67).
pub(super) fn mss_of(mtu: u16) -> (u16, u16) {
    (mtu.saturating_sub(40), mtu.saturating_sub(60))
}

/// Each prefix once.
fn prefixes(addresses: &[LocalAddr]) -> Vec<(Addr, u8)> {
    let mut prefixes: Vec<(Addr, u8)> = Vec::new();
    for local in addresses {
        if !prefixes.iter().any(|(addr, len)| *len == local.prefix_len && addr.shares_prefix(&local.addr, *len)) {
            prefixes.push((local.addr, local.prefix_len));
        }
    }
    prefixes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn on_a_veth_nothing_is_answered_in_xdp_unless_asked_for() {
        let mut config = EngineConfig::new(vec![]);
        assert!(!is_wanted(&config, false), "nobody listens");
        config.listen = vec![80];
        assert!(is_wanted(&config, false) && !is_wanted(&config, true));
        config.answer_on_veth = true;
        assert!(is_wanted(&config, true));
        for (mode, wanted) in [(SynDefence::Xdp, true), (SynDefence::Table, false), (SynDefence::Cookie, false)] {
            config.answer_on_veth = false;
            config.defence.mode = mode;
            assert_eq!(is_wanted(&config, true), wanted, "{mode}");
        }
    }

    #[test]
    fn a_prefix_is_told_once() {
        let local = |host, prefix_len| LocalAddr { addr: Addr::from_v4([10, 0, 0, host]), prefix_len };
        let told = prefixes(&[local(1, 24), local(2, 24), local(2, 25), local(200, 25)]);
        assert_eq!(told.iter().map(|(_, len)| *len).collect::<Vec<_>>(), [24, 25, 25]);
    }
}
