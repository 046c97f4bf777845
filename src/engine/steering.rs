//! Which worker owns which flow: asked of the NIC, else drawn.

use super::draw;
use crate::SetupError;
use crate::host;
use crate::stack::steering::{LEAST_KEY, Rss, Sharding, Steering};

/// How the NIC spreads flows over its queues, as far as that can be foretold.
pub(super) fn foretold(interface: &str, sharding: Sharding, workers: usize) -> Option<Rss> {
    if workers < 2 {
        return None;
    }
    let told = match host::receive_steering(interface) {
        Ok(told) => told,
        Err(e) => {
            tracing::info!(interface, "flows are shared out by {}: RSS is not told ({e})", without_rss(sharding));
            return None;
        }
    };
    if let Some(why) = told.unforeseeable() {
        let line = format!("flows are shared out by {}: {why}", without_rss(sharding));
        match sharding {
            Sharding::Hash => tracing::warn!(interface, "{line}"),
            // As it was asked for, whatever the NIC tells.
            Sharding::Arrival => tracing::info!(interface, "{line}"),
        }
        return None;
    }
    Some(Rss { key: told.key, table: told.table })
}

fn without_rss(sharding: Sharding) -> &'static str {
    match sharding {
        Sharding::Hash => "a hash of our own, and handed over",
        Sharding::Arrival => "the queue that their SYN comes in on, our own ones by a hash of our own",
    }
}

/// Which worker owns which flow: as the NIC has it, if that will do.
pub(super) fn of_all(rss: Option<&Rss>, sharding: Sharding, workers: usize) -> Result<Steering, SetupError> {
    if let Some(rss) = rss {
        match Steering::of_nic(rss, workers) {
            Some(steering) => return Ok(steering.with(sharding)),
            None => tracing::warn!(
                "flows are shared out by {}: the NIC's table leaves one of {workers} workers without any, or its key is short",
                without_rss(sharding)
            ),
        }
    }
    let mut key = [0; LEAST_KEY];
    draw(&mut key)?;
    Ok(Steering::of_our_own(&key, workers).with(sharding))
}
