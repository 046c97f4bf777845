//! Nothing is allocated for a frame: tables and pools grow while more connections come, and hardly ever afterwards.
//!
//! The stack alone, with what the application's calls lead to; the rings of the drivers are made at start.

#[path = "../benches/lives/mod.rs"]
mod lives;

use allocation_counter::measure;
use handfast::time::Duration;
use lives::{BURST, Lives, Shape};

/// Allocations while so many bursts of lives are lived, after `warm_up` others.
fn allocations(shape: Shape, step: Duration, warm_up: usize, bursts: usize) -> u64 {
    let mut lives = Lives::new(shape);
    lives.step = step;
    (0..warm_up).for_each(|_| lives.live());
    measure(|| (0..bursts).for_each(|_| lives.live())).count_total
}

#[test]
fn the_counter_counts() {
    assert_eq!(measure(|| drop(std::hint::black_box(Box::new([0u8; 64])))).count_total, 1);
}

#[test]
fn a_life_allocates_nothing() {
    for shape in [Shape::Textbook, Shape::Merged] {
        let counted = allocations(shape, Duration::from_micros(20), 100, 400);
        assert_eq!(counted, 0, "{shape:?}: {} lives", 400 * BURST);
    }
}

/// Entries of 240 s: from then on as many go as come. What is left are the parts of the index that chance fills more than
/// before, or far less.
#[test]
fn a_life_that_leaves_a_time_wait_entry_allocates_less_than_once_in_a_thousand() {
    let counted = allocations(Shape::ServerFirst, Duration::from_millis(100), 1_000, 400);
    assert!(counted < 400 * BURST as u64 / 1_000, "{counted} in {} lives", 400 * BURST);
}

#[test]
fn a_syn_that_is_reset_allocates_nothing() {
    let mut lives = Lives::new(Shape::Textbook);
    (0..100).for_each(|_| lives.syns_and_resets());
    assert_eq!(measure(|| (0..400).for_each(|_| lives.syns_and_resets())).count_total, 0);
}
