//! The defence against SYN floods: three steps, and the one policy that goes up and down between them.
//!
//! ```text
//!  half-open table filled, or too many SYNs    more SYNs than the worker should see
//!  table ─────────────────────────▶ cookie ──────────────────────────────────────────▶ xdp
//!        ◀───────────────────────── calm   ◀────────────────────────────────────────── calm
//! ```
//!
//! *Table*: each SYN makes a half-open entry. *Cookie*: a SYN leaves nothing, its SYN-ACK holds all
//! ([`crate::tcp::cookie`]). *Xdp*: the XDP program answers SYNs by the same cookies before they reach us. What counts as
//! pressure is SYNs without a handshake completed: no number of honest clients raises a step.

use crate::outpost::Outpost;
use crate::tcp::rto::{first_rto_ms, waited_ms};
use crate::tcp::{TcpConfig, cookie};
use crate::time::{Duration, Instant};
use std::fmt;

/// What the operator wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum SynDefence {
    /// As much as the flood calls for.
    #[default]
    Auto,
    /// The half-open table alone; when it is full SYNs are dropped.
    Table,
    /// Cookies from the first SYN on.
    Cookie,
    /// Cookies from the XDP program, from the first SYN on; from the stack where there is none.
    Xdp,
}

/// A step of the defence, in order.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, strum::EnumCount, strum::EnumIter, strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
#[allow(missing_docs)]
pub enum Step {
    Table,
    Cookie,
    Xdp,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.into())
    }
}

/// Where the policy switches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefenceConfig {
    /// What the operator wants.
    pub mode: SynDefence,
    /// Table to cookie: from this share of the half-open table on, in percent.
    pub cookie_above: u8,
    /// Towards xdp, a step a turn: at more SYNs without a handshake than this within a second, for each worker; from the
    /// table only where there is an XDP program to go up to.
    pub xdp_above: u32,
    /// Down again: after so long below half of what led up.
    pub calm: Duration,
    /// The part of the half-open table that one source prefix (IPv4: /24, IPv6: /56) may hold, in percent.
    pub prefix_share: u8,
    /// The part of the connection table that one source prefix may hold, in percent; 100: all of it.
    pub prefix_connections: u8,
    /// New connections that one source prefix may make in a second, for each worker; as many at once.
    pub prefix_rate: Option<u32>,
    /// Whether other hosts make cookies that we must open, so that every acknowledgement is looked at.
    pub shared_secret: bool,
}

impl Default for DefenceConfig {
    fn default() -> Self {
        DefenceConfig {
            mode: SynDefence::Auto,
            cookie_above: 50,
            xdp_above: 200_000,
            calm: Duration::from_secs(10),
            prefix_share: 25,
            prefix_connections: 100,
            prefix_rate: None,
            shared_secret: false,
        }
    }
}

/// The window of time in which SYNs are counted.
const WINDOW_MS: u64 = 1_000;

/// How long an entry that nobody completes stays in the table: until all retransmissions are made, and the last one's wait.
fn entry_life_ms(tcp: &TcpConfig) -> u64 {
    let waits = tcp.syn_ack_retries.saturating_add(1);
    waited_ms(first_rto_ms(tcp), waits, waits, tcp).max(1)
}

/// A switch between steps, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Switch {
    /// The step before.
    pub from: Step,
    /// The step now.
    pub to: Step,
    /// The measure that decided.
    pub why: String,
}

/// The policy of one shard.
pub struct Defence {
    config: DefenceConfig,
    step: Step,
    why: String,
    /// Half-open entries from which on cookies are sent.
    crowded: usize,
    /// SYNs without a handshake in a second that the table can hold with room to spare.
    bearable: u64,
    window_ends_ms: u64,
    /// SYNs and handshakes in this window.
    syns: u64,
    completed: u64,
    /// SYNs that the XDP program had answered when the window began.
    answered_before: u64,
    calm_since_ms: Option<u64>,
    last_cookie: Option<Instant>,
    step_since_ms: u64,
    /// The time of the last turn.
    seen_ms: u64,
    ms_in: [u64; 3],
    switches: u64,
    unsaid: Option<Switch>,
}

impl Defence {
    /// At the step that the mode begins with, for a table of `half_open` entries whose SYN-ACKs are sent again as `tcp` says.
    pub fn new(config: DefenceConfig, half_open: usize, tcp: &TcpConfig, now: Instant) -> Self {
        let step = if matches!(config.mode, SynDefence::Auto | SynDefence::Table) { Step::Table } else { Step::Cookie };
        let crowded = (half_open as u64 * u64::from(config.cookie_above)).div_ceil(100).max(1);
        let now_ms = now.as_millis();
        Defence {
            config,
            step,
            why: if config.mode == SynDefence::Auto { "calm".into() } else { "asked for".into() },
            crowded: crowded as usize,
            bearable: crowded * 1_000 / 2 / entry_life_ms(tcp),
            window_ends_ms: now_ms + WINDOW_MS,
            syns: 0,
            completed: 0,
            answered_before: 0,
            calm_since_ms: None,
            last_cookie: None,
            step_since_ms: now_ms,
            seen_ms: now_ms,
            ms_in: [0; 3],
            switches: 0,
            unsaid: None,
        }
    }

    /// A SYN for a listener came, with so many half-open entries there, and one more may be kept for it or not: says whether a
    /// cookie is to answer it.
    #[inline]
    pub fn on_syn(&mut self, half_open: usize, may_keep: bool, now: Instant) -> bool {
        self.syns += 1;
        if self.step == Step::Table && self.config.mode == SynDefence::Auto && half_open >= self.crowded {
            self.switch(Step::Cookie, format!("{half_open} half-open entries, from {} on", self.crowded), now);
        }
        let cookie = self.step > Step::Table || (!may_keep && self.config.mode != SynDefence::Table);
        if cookie {
            self.last_cookie = Some(now);
        }
        cookie
    }

    /// A handshake was completed, by entry or by cookie.
    #[inline]
    pub fn on_handshake(&mut self) {
        self.completed += 1;
    }

    /// Whether an acknowledgement that matches nothing may hold a cookie: one may still be on its way.
    pub fn expects_cookies(&self, now: Instant) -> bool {
        let sent = |at: Instant| now.since(at) <= 2 * cookie::EPOCH;
        self.config.shared_secret || self.step > Step::Table || self.last_cookie.is_some_and(sent)
    }

    /// Whether the XDP program should be ready to answer: it may be needed next.
    pub fn wants_outpost(&self) -> bool {
        match self.config.mode {
            SynDefence::Auto => self.step > Step::Table,
            SynDefence::Xdp => true,
            SynDefence::Table | SynDefence::Cookie => false,
        }
    }

    /// Time passes: counts what the XDP program did, and goes up or down. Called once a turn.
    pub fn on_turn(&mut self, now: Instant, outpost: Option<&Outpost>) {
        self.seen_ms = now.as_millis();
        if self.config.mode == SynDefence::Table || self.config.mode == SynDefence::Cookie {
            return;
        }
        let ready = outpost.is_some_and(Outpost::is_ready);
        if self.config.mode == SynDefence::Xdp {
            if self.step == Step::Cookie && ready {
                self.switch(Step::Xdp, "asked for".into(), now);
            }
            return;
        }
        let answered = outpost.map_or(0, Outpost::answered);
        let pressure = (self.syns + answered - self.answered_before).saturating_sub(self.completed);
        if self.step == Step::Table && outpost.is_some() && pressure > u64::from(self.config.xdp_above) {
            // One prefix alone never fills so much of the table that cookies begin for all.
            self.switch(Step::Cookie, self.too_many(pressure), now);
        } else if self.step == Step::Cookie && ready && pressure > u64::from(self.config.xdp_above) {
            self.switch(Step::Xdp, self.too_many(pressure), now);
        }
        if now.as_millis() >= self.window_ends_ms {
            self.end_window(pressure, now);
            self.answered_before = answered;
        }
    }

    fn too_many(&self, pressure: u64) -> String {
        format!("{pressure} SYNs without a handshake within a second, more than {}", self.config.xdp_above)
    }

    fn end_window(&mut self, pressure: u64, now: Instant) {
        let now_ms = now.as_millis();
        self.window_ends_ms = now_ms + WINDOW_MS;
        (self.syns, self.completed) = (0, 0);
        let calm = match self.step {
            Step::Table => return,
            Step::Cookie => pressure <= self.bearable,
            Step::Xdp => pressure <= u64::from(self.config.xdp_above) / 2,
        };
        if !calm {
            self.calm_since_ms = None;
            return;
        }
        let since = *self.calm_since_ms.get_or_insert(now_ms);
        if now_ms - since >= self.config.calm.as_millis() as u64 {
            let down = if self.step == Step::Xdp { Step::Cookie } else { Step::Table };
            self.switch(
                down,
                format!("{pressure} SYNs without a handshake in the last second, calm for long enough"),
                now,
            );
        }
    }

    fn switch(&mut self, to: Step, why: String, now: Instant) {
        let now_ms = now.as_millis();
        self.ms_in[self.step as usize] += now_ms - self.step_since_ms;
        self.step_since_ms = now_ms;
        let from = std::mem::replace(&mut self.step, to);
        self.calm_since_ms = None;
        self.switches += 1;
        self.why.clone_from(&why);
        self.unsaid = Some(Switch { from, to, why });
        if to == Step::Cookie {
            // From below, the first is about to leave; from above, the XDP program's are on their way.
            self.last_cookie = Some(now);
        }
    }

    /// The last switch that was not asked for yet.
    pub fn take_switch(&mut self) -> Option<Switch> {
        self.unsaid.take()
    }

    /// When [`Defence::on_turn`] must be called next although nothing comes.
    pub fn next_due(&self) -> Option<Instant> {
        let above = self.config.mode == SynDefence::Auto && self.step > Step::Table;
        above.then(|| Instant::from_millis(self.window_ends_ms))
    }

    /// The step that is on.
    pub fn step(&self) -> Step {
        self.step
    }

    /// Why it is on.
    pub fn why(&self) -> &str {
        &self.why
    }

    /// How often the step was changed.
    pub fn switches(&self) -> u64 {
        self.switches
    }

    /// Milliseconds at a step, up to the last turn.
    pub fn ms_in(&self, step: Step) -> u64 {
        let running = if step == self.step { self.seen_ms.saturating_sub(self.step_since_ms) } else { 0 };
        self.ms_in[step as usize] + running
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outpost::{CONTROL_WORDS, FILTER_WORDS, SharedMemory};
    use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

    fn memory() -> SharedMemory {
        let words = |count: usize| (0..count).map(|_| AtomicU64::new(0)).collect::<Vec<_>>().leak() as &[_];
        SharedMemory {
            control: words(CONTROL_WORDS),
            common: words(CONTROL_WORDS),
            filters: [words(FILTER_WORDS), words(FILTER_WORDS)],
        }
    }

    fn ready(memory: SharedMemory) -> Outpost {
        let mut outpost = Outpost::new(memory);
        while !outpost.prepare() {}
        outpost.complete();
        outpost
    }

    fn at(ms: u64) -> Instant {
        Instant::from_millis(ms)
    }

    fn config(mode: SynDefence) -> DefenceConfig {
        DefenceConfig { mode, xdp_above: 1_100, calm: Duration::from_secs(3), ..DefenceConfig::default() }
    }

    /// A second of so many SYNs a millisecond, of which so many are completed.
    fn second(defence: &mut Defence, outpost: &Outpost, from_ms: u64, syns: u64, completed: u64, half_open: usize) {
        for ms in from_ms..from_ms + 1_000 {
            (0..syns).for_each(|_| _ = defence.on_syn(half_open, true, at(ms)));
            (0..completed).for_each(|_| defence.on_handshake());
            defence.on_turn(at(ms), Some(outpost));
        }
    }

    #[test]
    fn what_the_table_bears_follows_from_how_long_an_entry_waits() {
        assert_eq!(entry_life_ms(&TcpConfig::default()), 63_000);
        let bears = |syn_ack_retries| {
            let tcp = TcpConfig { syn_ack_retries, ..TcpConfig::default() };
            Defence::new(config(SynDefence::Auto), 126_000, &tcp, at(0)).bearable
        };
        assert_eq!([bears(5), bears(1), bears(0)], [500, 10_500, 31_500]);
    }

    #[test]
    fn a_flood_goes_up_step_by_step_and_calm_down_again() {
        let memory = memory();
        let outpost = ready(memory);
        let mut defence = Defence::new(config(SynDefence::Auto), 10_000, &TcpConfig::default(), at(0));
        second(&mut defence, &outpost, 0, 1, 0, 4_999);
        assert_eq!(defence.step(), Step::Table, "a table that is not half full bears any rate");
        assert!(!defence.expects_cookies(at(1_000)));
        second(&mut defence, &outpost, 1_000, 1, 0, 5_000);
        assert_eq!(defence.take_switch().map(|s| (s.from, s.to)), Some((Step::Table, Step::Cookie)));
        second(&mut defence, &outpost, 2_000, 2, 0, 5_000);
        assert_eq!(defence.take_switch().map(|s| (s.from, s.to)), Some((Step::Cookie, Step::Xdp)));
        // None comes up to us any more, but the program counts them.
        for s in 3..20u64 {
            memory.control[1].fetch_add(2_000, Relaxed);
            second(&mut defence, &outpost, s * 1_000, 0, 0, 0);
        }
        assert_eq!(defence.step(), Step::Xdp, "calm counts what the program answered");
        let mut downs = vec![];
        for s in 20..40u64 {
            second(&mut defence, &outpost, s * 1_000, 0, 0, 0);
            downs.extend(defence.take_switch().map(|switch| (s, switch.to)));
        }
        assert_eq!(downs, [(23, Step::Cookie), (27, Step::Table)], "calm for three seconds before each");
        assert_eq!((defence.switches(), defence.step()), (4, Step::Table));
        assert!(defence.expects_cookies(at(140_000)) && !defence.expects_cookies(at(150_001)));
        let total: u64 = [Step::Table, Step::Cookie, Step::Xdp].map(|step| defence.ms_in(step)).iter().sum();
        assert_eq!(total, 39_999);
    }

    #[test]
    fn honest_clients_raise_nothing_however_many() {
        let outpost = ready(memory());
        let mut defence = Defence::new(config(SynDefence::Auto), 10_000, &TcpConfig::default(), at(0));
        second(&mut defence, &outpost, 0, 1, 0, 5_000);
        for s in 1..3 {
            second(&mut defence, &outpost, s * 1_000, 50, 50, 0);
        }
        assert_eq!(defence.step(), Step::Cookie, "50,000 a second, all completed");
        for s in 3..10 {
            second(&mut defence, &outpost, s * 1_000, 50, 50, 0);
        }
        assert_eq!(defence.step(), Step::Table, "and they do not keep the step up");
    }

    #[test]
    fn a_flood_from_one_prefix_never_fills_the_table_and_goes_up_by_its_rate() {
        let outpost = ready(memory());
        for (with_outpost, step) in [(true, Step::Xdp), (false, Step::Table)] {
            let mut defence = Defence::new(config(SynDefence::Auto), 10_000, &TcpConfig::default(), at(0));
            for ms in 0..2_000 {
                let cookies = (0..2).filter(|_| defence.on_syn(2_500, false, at(ms))).count();
                assert_eq!(cookies, 2, "it holds its share already");
                assert!(defence.step() > Step::Table || !defence.on_syn(2_500, true, at(ms)), "not so any other");
                defence.on_turn(at(ms), with_outpost.then_some(&outpost));
            }
            assert_eq!(defence.step(), step);
            assert!(defence.expects_cookies(at(2_000)));
        }
        let mut table = Defence::new(config(SynDefence::Table), 10_000, &TcpConfig::default(), at(0));
        assert!(!table.on_syn(2_500, false, at(0)), "no cookies where none are wanted");
    }

    #[test]
    fn a_flood_that_goes_on_keeps_the_step_without_flapping() {
        let outpost = ready(memory());
        let mut defence = Defence::new(config(SynDefence::Auto), 10_000, &TcpConfig::default(), at(0));
        // Below the rate for XDP, and far beyond what the table could hold for long: it drains meanwhile.
        second(&mut defence, &outpost, 0, 1, 0, 5_000);
        for s in 1..100 {
            second(&mut defence, &outpost, s * 1_000, 1, 0, 0);
        }
        assert_eq!((defence.step(), defence.switches()), (Step::Cookie, 1));
    }

    #[test]
    fn what_was_asked_for_stays() {
        let unready = Outpost::new(memory());
        let outpost = ready(memory());
        for (mode, first, then) in [
            (SynDefence::Table, Step::Table, Step::Table),
            (SynDefence::Cookie, Step::Cookie, Step::Cookie),
            (SynDefence::Xdp, Step::Cookie, Step::Xdp),
        ] {
            let mut defence = Defence::new(config(mode), 100, &TcpConfig::default(), at(0));
            second(&mut defence, &unready, 0, 5, 0, 100);
            assert_eq!(defence.step(), first, "{mode}: the program's filter is not ready");
            for s in 1..20 {
                second(&mut defence, &outpost, s * 1_000, 0, 0, 0);
            }
            assert_eq!(defence.step(), then, "{mode}");
        }
    }
}
