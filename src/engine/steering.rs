//! Which worker owns which flow: asked of the NIC, else drawn.

use super::draw;
use crate::SetupError;
use crate::host;
use crate::stack::steering::{LEAST_KEY, Rss, Steering};

/// How the NIC spreads flows over its queues, as far as that can be foretold.
pub(super) fn foretold(interface: &str, workers: usize) -> Option<Rss> {
    if workers < 2 {
        return None;
    }
    let told = match host::receive_steering(interface) {
        Ok(told) => told,
        Err(e) => {
            tracing::info!(interface, "flows are shared out by a hash of our own: RSS is not told ({e})");
            return None;
        }
    };
    if let Some(why) = told.unforeseeable() {
        tracing::warn!(interface, "flows are shared out by a hash of our own and handed over: {why}");
        return None;
    }
    Some(Rss { key: told.key, table: told.table })
}

/// Which worker owns which flow: as the NIC has it, if that will do.
pub(super) fn of_all(rss: Option<&Rss>, workers: usize) -> Result<Steering, SetupError> {
    if let Some(rss) = rss {
        match Steering::of_nic(rss, workers) {
            Some(steering) => return Ok(steering),
            None => tracing::warn!(
                "flows are shared out by a hash of our own and handed over: the NIC's table leaves one of {workers} \
                 workers without any, or its key is short"
            ),
        }
    }
    let mut key = [0; LEAST_KEY];
    draw(&mut key)?;
    Ok(Steering::of_our_own(&key, workers))
}
