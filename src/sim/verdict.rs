//! The judgement at the end of a world: each connection's streams were whole, or it ended in a way that its scripts and
//! the faults it met explain.

use super::app::{End, Ground, Outcome, Tuple, address};
use super::host::Defended;
use super::script::Plan;
use super::world::{World, flow_key};
use crate::ledger::Ending;
use crate::wire::Addr;
use std::collections::BTreeMap;

/// Losses of one flow that explain whatever became of it.
const MANY: u32 = 4;

/// The same where a handshake may have been by cookie: with its last ACK lost the server knows nothing of it, and a peer
/// that waits for the server to speak waits for ever (RFC 4987 §3.6). And where blocks are wanted: a few losses in a row
/// are taken for a peer's silence.
const MANY_WHERE_LITTLE_DOES: u32 = 1;

/// Judges every connection of a world that has come to its end, and counts the endings.
///
/// # Errors
/// The first ending that nothing explains.
pub fn check(world: &mut World) -> Result<(), String> {
    let ground = world.ground.clone();
    let ground = ground.borrow();
    let mut ends: BTreeMap<u32, [Vec<&End>; 2]> = BTreeMap::new();
    for end in &ground.ends {
        ends.entry(end.plan).or_default()[usize::from(end.side)].push(end);
        world.tally.end(end);
    }
    let tuples: BTreeMap<u32, (Tuple, bool)> = ground
        .opened
        .iter()
        .flat_map(|(tuple, plans)| plans.iter().map(move |plan| (*plan, (*tuple, plans.len() > 1))))
        .collect();
    // Where blocks are wanted, who stands still or does not read may be taken for one that is gone, and keeps others' data
    // out; everybody else has time enough.
    let still = world.tally.skips > 0 || ground.plans.iter().any(Plan::stalls);
    let crowded_out = world.tally.starved > 0 && still;
    for (plan, sides) in &ends {
        let Some((tuple, shared)) = tuples.get(plan) else { continue };
        let at = |host: usize, port: u16| (Addr::from(address(host, tuple.4)), port);
        let key = flow_key(at(tuple.0, tuple.1), at(tuple.2, tuple.3));
        let losses = world.lost.get(&key).copied().unwrap_or(0);
        let patient = world.defended == Defended::Roomy && world.tally.starved == 0;
        let many = if patient { MANY } else { MANY_WHERE_LITTLE_DOES };
        let spared = world.tally.kills == 0 && !crowded_out && !shared && losses < many;
        judge(&ground, *plan, sides, spared).map_err(|what| {
            format!(
                "connection {plan}, {tuple:?}, {losses} frames lost: {what}; {:?}; {sides:?}",
                ground.plans[*plan as usize]
            )
        })?;
    }
    Ok(())
}

/// `spared`: nothing happened on the way that explains an ending out of order.
fn judge(ground: &Ground, number: u32, sides: &[Vec<&End>; 2], spared: bool) -> Result<(), String> {
    let plan = &ground.plans[number as usize];
    if sides.iter().flatten().any(|end| end.outcome.is_none()) {
        return Err("an end never heard that it is over".into());
    }
    if !spared || plan.crossing.is_some() {
        return Ok(());
    }
    if plan.scripts.iter().any(|script| !script.leave.is_orderly()) {
        return Ok(());
    }
    let [opener, acceptor] = sides.each_ref().map(Vec::as_slice);
    let ([opener], [acceptor]) = (opener, acceptor) else { return Err("it should have had two ends".into()) };
    for (end, other) in [(opener, acceptor), (acceptor, opener)] {
        let all = plan.scripts[usize::from(other.side)].to_send;
        if end.outcome != Some(Outcome::Ended(Ending::Closed)) || end.received != all || other.sent != all {
            return Err("both sides were orderly, and yet it was not".into());
        }
    }
    Ok(())
}
