mod endpoint;
mod explore;
mod pair;

use handfast::tcp::state::next;
use pair::{Limits, Pair};

#[test]
fn sizes() {
    for (opens, text, flight) in [
        ([1, 1], [0, 0], 1),
        ([1, 1], [0, 0], 2),
        ([1, 1], [1, 0], 2),
        ([1, 1], [1, 1], 2),
        ([1, 2], [0, 0], 1),
        ([2, 2], [0, 0], 1),
        ([1, 2], [0, 0], 2),
    ] {
        let t = std::time::Instant::now();
        let e = explore::explore(&Pair { next, limits: Limits { opens, text, flight } });
        println!("{opens:?} {text:?} {flight}: {} states {} steps {:?} {:?}", e.states, e.steps, e.fault, t.elapsed());
    }
}
