//! What is asked, one row each: name, where it stands, in our words; and why, where no test shows it.
//!
//! Names like `9293-MUST-10` carry RFC 9293's own numbers (its appendix B), the others are ours.

pub struct Requirement {
    pub id: &'static str,
    pub section: &'static str,
    pub what: &'static str,
    /// When no test of this crate shows it: the test elsewhere that does.
    pub note: &'static str,
}

const fn row(id: &'static str, section: &'static str, what: &'static str) -> Requirement {
    Requirement { id, section, what, note: "" }
}

/// Shown by a test beside the code.
const fn beside(id: &'static str, section: &'static str, what: &'static str, test: &'static str) -> Requirement {
    Requirement { id, section, what, note: test }
}

/// Whether a requirement has that name.
pub const fn is_known(id: &str) -> bool {
    let mut at = 0;
    while at < REQUIREMENTS.len() {
        if same(REQUIREMENTS[at].id, id) {
            return true;
        }
        at += 1;
    }
    false
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    if a.len() != b.len() {
        return false;
    }
    let mut at = 0;
    while at < a.len() {
        if a[at] != b[at] {
            return false;
        }
        at += 1;
    }
    true
}

#[rustfmt::skip]
pub const REQUIREMENTS: &[Requirement] = &[
    // Opening.
    row("9293-3WHS", "RFC 9293 §3.5, §3.10.7.2", "a SYN to a listener gets one SYN-ACK with an ISN of our own"),
    row("9293-MUST-10", "RFC 9293 §3.5", "two SYNs may cross"),
    row("9293-MUST-11", "RFC 9293 §3.5", "a RST in SYN-RECEIVED: a passive open listens again, an active one was refused"),
    row("9293-SYNRCVD-RST", "RFC 9293 §3.5.3, §3.10.7.4", "a RST at RCV.NXT frees a half-open entry"),
    row("9293-SYNSENT-BADACK", "RFC 9293 §3.10.7.3", "a wrong ACK in SYN-SENT is answered by a RST and changes nothing"),
    row("9293-SYNSENT-RST", "RFC 9293 §3.10.7.3", "a RST in SYN-SENT counts only with an ACK of the SYN"),
    row("9293-SYNSENT-NOFIN", "RFC 9293 §3.10.7.4", "a FIN does nothing in CLOSED, LISTEN and SYN-SENT"),
    row("9293-LISTEN-RST", "RFC 9293 §3.10.7.2", "a listener ignores a RST"),
    row("9293-LISTEN-ACK", "RFC 9293 §3.10.7.2", "a listener answers an ACK that matches nothing by a RST"),
    row("9293-LISTEN-OTHER", "RFC 9293 §3.10.7.2", "a listener drops what has neither SYN, ACK nor RST"),
    row("9293-SYN-DATA", "RFC 9293 §3.10.7.2", "text on a SYN is never read before the handshake is over"),
    row("9293-SYNFIN", "RFC 9293 §3.10.7.2, §3.10.7.4", "SYN and FIN together neither close nor storm"),
    row("9293-MUST-23", "RFC 9293 §3.8.3 (and MUST-22)", "a SYN is tried for three minutes at least"),
    row("6298-2.1", "RFC 6298 §2", "the first RTO is one second, doubled with each loss"),
    row("6298-5.7", "RFC 6298 §5", "after a lost SYN without a sample, data starts with an RTO of three seconds"),
    row("9293-MUST-41", "RFC 9293 §3.9.1.1", "a listener does not disturb connections"),
    row("9293-MUST-42", "RFC 9293 §3.9.1.1", "a port listens while it has connections"),
    row("9293-MUST-46", "RFC 9293 §3.9.1.1", "no active open to broadcast or multicast"),
    row("9293-MUST-57", "RFC 9293 §3.9.2.3", "a segment to broadcast or multicast is dropped in silence"),
    row("9293-MUST-63", "RFC 9293 §3.9.2.3", "a segment from an address that can be no source is ignored"),
    row("9293-MUST-8", "RFC 9293 §3.4.1 (and SHLD-1, MUST-9)", "an ISN is a clock plus a keyed hash of the 4-tuple"),
    row("6528-3", "RFC 6528", "the key of the ISNs is a secret, the hash cryptographic"),
    row("9293-QUIET", "RFC 9293 §3.4.3", "after a crash no old segment can be taken for a new one"),
    row("9293-HALFOPEN", "RFC 9293 §3.5.1", "half-open connections are found out"),
    row("7413-4", "RFC 7413 §2", "who asks for TCP Fast Open, which we leave out, gets an ordinary handshake"),
    // SYN floods.
    row("4987-STATE", "RFC 4987", "half-open memory is bounded, and honest peers get in during a flood"),
    row("4987-COOKIE-VERIFY", "RFC 4987 §3.6", "a final ACK without an entry makes a connection only with a valid cookie"),
    row("4987-COOKIE-AGE", "RFC 4987 §3.6", "old cookies are refused"),
    row("4987-COOKIE-OPTS", "RFC 4987 §3.6", "a cookie keeps MSS, window scale, SACK and ECN as far as it can, and invents none"),
    row("4987-COOKIE-LOST-ACK", "RFC 4987 §3.6", "a client whose final ACK is lost and who speaks first connects"),
    row("4987-NO-AMPLIFY", "RFC 4987", "one SYN yields a bounded number of SYN-ACKs"),
    row("4987-OVERFLOW", "RFC 4987", "when there is no room for a connection, its final ACK is dropped without a RST"),
    row("4987-TIMER", "RFC 4987", "half-open entries expire"),
    beside("4987-KEY", "RFC 4987", "the flow table's hash is keyed with a secret", "`tuples_made_to_collide_under_another_key_are_as_good_as_any` in `src/stack/flow_index.rs`, as no wire shows what is compared"),
    // Closing.
    row("9293-CLOSE-ACTIVE", "RFC 9293 §3.6, §3.10.4", "CLOSE sends a FIN after all data, again and again until acknowledged"),
    row("9293-FW1-FW2", "RFC 9293 §3.10.7.4", "half-closed, we still receive"),
    row("9293-SIMCLOSE", "RFC 9293 §3.6, §3.10.7.4", "crossing FINs go through CLOSING into TIME-WAIT"),
    row("9293-FIN+ACK", "RFC 9293 §3.10.7.4", "a FIN that acknowledges ours leads straight into TIME-WAIT"),
    row("9293-LASTACK", "RFC 9293 §3.10.7.4", "the passive closer has no TIME-WAIT"),
    row("9293-FINDATA", "RFC 9293 §3.10.7.4", "a FIN counts only after everything before it"),
    row("9293-SHLD-3", "RFC 9293 §3.6.1", "data that nobody will read is answered by a RST"),
    row("9293-MUST-12", "RFC 9293 §3.6", "the application can tell a close from a reset"),
    row("9293-ABORT", "RFC 9293 §3.10.5", "ABORT sends a RST and forgets what was queued"),
    row("9293-CLOSE-SYNSENT", "RFC 9293 §3.10.4", "CLOSE in SYN-SENT deletes the connection"),
    row("9293-MUST-20", "RFC 9293 §3.8.3 (and MUST-21, SHLD-10, SHLD-11)", "retransmission gives up at R2, 100 s or later"),
    row("9293-ORPHAN", "no RFC", "FIN-WAIT-2 without an owner is bounded in time"),
    row("5482", "RFC 5482", "the user timeout option does no harm"),
    // TIME-WAIT.
    row("9293-MUST-13", "RFC 9293 §3.6.1", "the active closer stays for 2 MSL"),
    row("9293-TW-FIN", "RFC 9293 §3.10.7.4", "the FIN again is acknowledged again, and 2 MSL begin anew"),
    row("9293-TW-OTHER", "RFC 9293 §3.10.7.4", "what is not acceptable is acknowledged"),
    row("1337-F1", "RFC 1337 §3", "a RST does not end TIME-WAIT"),
    row("9293-MAY-2", "RFC 9293 §3.6.1", "a new SYN may take the tuple, with a larger ISN of ours"),
    row("9293-SHLD-4", "RFC 9293 §3.6.1, RFC 6191 §2", "a newer timestamp proves a new SYN"),
    row("6191-A2", "RFC 6191 §2", "with an equal timestamp the sequence number decides"),
    row("6191-A3", "RFC 6191 §2", "a SYN without the timestamps of old: the sequence number decides"),
    row("6191-B1", "RFC 6191 §2", "without timestamps of old: new ones prove, else the sequence number decides"),
    row("6191-DROP", "RFC 6191 §2", "a SYN without proof changes nothing"),
    row("6191-ISN", "RFC 6191", "our own ISNs and timestamps grow with each connection of a tuple"),
    row("TW-BOUND", "no RFC", "the TIME-WAIT table is bounded; the oldest goes first, and is counted"),
    // Resets.
    row("9293-CLOSED-RST", "RFC 9293 §3.10.7.1", "a closed port answers by a RST that its sender believes"),
    row("5961-3.2-OUT", "RFC 5961 §3.2", "a RST outside the window is dropped in silence"),
    row("5961-3.2-EXACT", "RFC 5961 §3.2", "a RST exactly at RCV.NXT resets"),
    row("5961-3.2-IN", "RFC 5961 §3.2", "a RST elsewhere in the window is challenged"),
    row("9293-RST-STATES", "RFC 9293 §3.10.7.4", "so in every state after the handshake has begun"),
    row("9293-SHLD-2", "RFC 9293 §3.5.3", "a RST may carry text"),
    row("7323-RST-PAWS", "RFC 7323 §5.2", "a RST is not judged by its timestamp"),
    row("5961-SACK-RST", "RFC 5961", "no RST is believed at the edge of a SACK block (our choice)"),
    row("9293-RST-RATE", "no RFC", "resets for strangers are limited, and the limit tells nobody anything"),
    // Checks.
    row("9293-ACCEPT4", "RFC 9293 §3.10.7.4", "the four cases of acceptability"),
    row("9293-MUST-66", "RFC 9293 §3.4", "a closed window still takes ACK and RST"),
    row("5961-4.2", "RFC 5961 §4.2, RFC 9293 §3.10.7.4", "a SYN in a synchronized state is challenged"),
    row("9293-SYNRCVD-SYN", "RFC 9293 §3.10.7.4", "a new SYN replaces a half-open entry, the same SYN gets the SYN-ACK again"),
    row("5961-5.2", "RFC 5961 §5.2, RFC 9293 MAY-12", "an ACK that is too old or too new is challenged, and its text not read"),
    row("9293-ACK-FUTURE", "RFC 9293 §3.10.7.4", "an ACK of what was never sent is answered by an ACK"),
    row("9293-NOACK", "RFC 9293 §3.10.7.4", "a segment without ACK is dropped"),
    row("5961-7", "RFC 5961 §7", "challenge ACKs are limited"),
    row("ACK-LOOP", "no RFC", "two ends out of step do not acknowledge each other for ever"),
    row("9293-WL1WL2", "RFC 9293 §3.10.7.4", "only a newer segment moves the send window"),
    row("9293-MUST-2", "RFC 9293 §3.1 (and MUST-3)", "checksums are made, and checked"),
    row("7323-PAWS-R1", "RFC 7323 §5.3", "an old timestamp makes a segment unacceptable"),
    row("7323-4.3", "RFC 7323 §4.3, §5.3", "TS.Recent moves only with segments at Last.ACK.sent or before"),
    row("7323-5.5", "RFC 7323 §5.5", "after 24 days of silence TS.Recent means nothing"),
    row("9293-MUST-30", "RFC 9293 §3.8.5 (and MUST-31, MUST-62), RFC 6093", "the urgent pointer does no harm"),
    // Options.
    row("9293-MUST-4", "RFC 9293 §3.1 (and MUST-5, MUST-6)", "options stand in any segment, unknown ones are skipped"),
    row("9293-MUST-7", "RFC 9293 §3.1", "an illegal option length is survived"),
    row("9293-MUST-64", "RFC 9293 §3.2", "options need not be aligned"),
    row("9293-MUST-14", "RFC 9293 §3.7.1, §3.1, §3.2 (and SHLD-5, MUST-65)", "MSS stands on our SYNs and nowhere else"),
    row("9293-MUST-15", "RFC 9293 §3.7.1 (and MUST-16, MUST-67), RFC 6691", "the MSS of segments: 536 by default, less the options"),
    row("MSS-FLOOR", "no RFC", "a tiny MSS does not multiply segments"),
    row("7323-2.2", "RFC 7323 §2.2", "windows are scaled only if both SYNs say so; 14 is the most"),
    row("7323-3.2-NEG", "RFC 7323 §3.2", "timestamps: in the SYN-ACK only if asked, then in every segment"),
    row("7323-3.2-MISS", "RFC 7323 §3.2", "a segment without its timestamps is dropped"),
    row("7323-TSR", "RFC 7323 §3.2", "TSecr counts only with ACK; our clock starts elsewhere for each tuple"),
    row("2018-3", "RFC 2018", "SACK only if permitted, the newest block first, as many as fit"),
    row("2018-8", "RFC 2018", "what was reported is kept until acknowledged"),
    row("2883-4", "RFC 2883", "a segment that came twice is reported as the first block"),
    // Recovery.
    row("9293-MUST-18", "RFC 9293 §3.8.1, §3.8.2 (MUST-18, MUST-19), RFC 6298 §3, §5", "Karn's rule, and the RTO doubles"),
    row("6298-2", "RFC 6298 §2", "the RTO follows the samples, within its bounds"),
    row("6298-5.1", "RFC 6298 §5", "the timer starts, stops, restarts; the earliest segment goes first"),
    row("5681-3.2", "RFC 5681, RFC 6582", "the third duplicate ACK retransmits, a partial one the next hole"),
    row("6675-5", "RFC 6675", "SACK decides what is sent again, the pipe how much"),
    row("8985-6", "RFC 8985", "RACK finds losses by time, TLP those at the tail"),
    row("9293-MUST-59", "RFC 9293 §3.10.7.4 (and SHLD-31)", "out-of-order segments are queued, and acknowledged at once"),
    row("REASM-BOUND", "no RFC", "the out-of-order queue is bounded in octets and in work"),
    row("9293-SHLD-18", "RFC 9293 §3.8.6.3 (and SHLD-19, MUST-40)", "an ACK waits less than half a second, and for two segments at most"),
    // Congestion.
    row("5681-3.1", "RFC 5681, RFC 6928", "slow start from an initial window of ten segments; one after a lost SYN"),
    row("5681-LW", "RFC 5681", "one segment after a timeout; a small window again after idle; split ACKs gain nothing"),
    row("9438-4", "RFC 9438", "CUBIC"),
    row("9293-SHLD-8", "RFC 9293 §3.8.2, RFC 3168 §6.1", "ECN"),
    // Flow control.
    row("9293-SHLD-14", "RFC 9293 §3.8.6 (and MUST-34, SHLD-15 to SHLD-17)", "we do not shrink the window, and survive a peer that does"),
    row("9293-MUST-35", "RFC 9293 §3.8.6.1 (and MUST-36, MUST-37, SHLD-29, SHLD-30)", "closed windows are probed, ever more slowly, for as long as the peer answers"),
    row("9293-MUST-38", "RFC 9293 §3.8.6.2, §3.7.4 (and MUST-39, SHLD-7, MUST-17)", "no silly windows; Nagle's rule can be turned off"),
    row("9293-MUST-61", "RFC 9293 §3.9.1.2 (and MUST-60)", "the last segment of what is queued is pushed"),
    row("9293-MUST-1", "RFC 9293 §3.1", "the window is an unsigned number"),
    row("9293-MUST-24", "RFC 9293 §3.8.4 (MUST-24 to MUST-29, SHLD-12)", "keep-alives: off by default, every two hours, only when idle"),
    row("ZWIN-DOS", "no RFC", "a connection held at a closed window can be aborted"),
    // ICMP.
    row("9293-MUST-47", "RFC 9293 §3.9.1.8 (and SHLD-20, SHLD-25)", "soft errors are reported to the application, which may not care"),
    row("9293-MUST-54", "RFC 9293 §3.9.2.2 (and MUST-55)", "ICMP errors reach their connection; source quench is ignored"),
    row("9293-MUST-56", "RFC 9293 §3.9.2.2", "soft errors never end a connection"),
    row("9293-SHLD-26", "RFC 9293 §3.9.2.2, RFC 5927 §5.2", "hard errors end only what does not stand yet"),
    row("5927-4", "RFC 5927 §4", "an ICMP error must quote what is in flight"),
    row("1191-3", "RFC 1191, RFC 8201, RFC 5927", "packet too big lowers the MSS within reason, and data is sent again at once"),
    row("4821-7", "RFC 4821", "a path that swallows large packets in silence is survived"),
    // ARP, NDP, IP.
    row("791-3.1", "RFC 791 §3.1", "the IP header is checked"),
    row("1122-3.2.1", "RFC 1122", "what is not for us, or from nobody, is dropped in silence"),
    row("9293-MUST-48", "RFC 9293 §3.9.2 (and SHLD-23)", "what is sent carries the Diffserv field that was asked for, one for all connections"),
    row("9293-MUST-49", "RFC 9293 §3.9.2", "the TTL can be set"),
    row("9293-MUST-50", "RFC 9293 §3.9.2 (and MUST-51 to MUST-53)", "IP options are skipped"),
    row("1122-3.2.2.6", "RFC 1122", "pings are answered with what they carried"),
    row("1122-3.3.2", "RFC 1122, RFC 791", "fragments: dropped and counted (our choice)"),
    row("826", "RFC 826", "ARP requests for our address are answered"),
    row("1122-2.3.2", "RFC 1122", "ARP entries time out; segments wait for them, and questions are rare"),
    row("4861-7.1", "RFC 4861 §7.1", "neighbour discovery is validated"),
    row("ARP-DOS", "no RFC", "the neighbour table is bounded, and strangers cannot flush it"),
    // Limits.
    row("LIM-1", "no RFC", "every table has a limit, a gauge and a counter of what it refused"),
    row("LIM-2", "no RFC", "established connections are never evicted"),
    row("LIM-3", "no RFC", "when no port is left, an active open fails at once"),
    row("LIM-4", "no RFC", "after a storm everything is given back"),
];
