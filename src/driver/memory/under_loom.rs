//! The wake-up of the in-memory link in every order that the memory model allows.

mod atomic {
    pub use loom::sync::atomic::{AtomicBool, Ordering, fence};
}
#[allow(clippy::duplicate_mod, reason = "the very same code, over loom's atomics")]
#[path = "../asleep.rs"]
mod asleep;

use asleep::Asleep;
use loom::sync::atomic::{AtomicBool, Ordering, fence};
use loom::sync::{Arc, Notify};

/// A frame is sent while the receiver goes to sleep: `send` and `sleep` are the two ends of the flag. The event keeps its
/// signal until it is waited for, as an eventfd does; a lost wake-up is a deadlock, which loom reports.
fn one_frame<F: Send + Sync + 'static>(
    flag: impl Fn() -> F,
    must_wake: impl Fn(&F) -> bool + Send + Sync + 'static,
    announce: impl Fn(&F),
) {
    let (frame, event, flag) = (Arc::new(AtomicBool::new(false)), Arc::new(Notify::new()), Arc::new(flag()));
    let sender = {
        let (frame, event, flag) = (frame.clone(), event.clone(), flag.clone());
        loom::thread::spawn(move || {
            frame.store(true, Ordering::Release);
            if must_wake(&flag) {
                event.notify();
            }
        })
    };
    announce(&flag);
    while !frame.load(Ordering::Acquire) {
        event.wait();
    }
    sender.join().unwrap();
}

#[test]
fn no_wake_up_is_lost() {
    loom::model(|| one_frame(Asleep::new, Asleep::must_wake, Asleep::announce));
}

#[test]
fn a_receiver_that_is_awake_again_is_told_no_more() {
    loom::model(|| {
        let flag = Asleep::new();
        flag.announce();
        flag.withdraw();
        assert!(!flag.must_wake());
        flag.announce();
        assert!(flag.must_wake() && !flag.must_wake(), "one wake-up for each sleep");
    });
}

/// The same with one of the two fences left out: loom finds the order in which the frame waits for ever.
#[test]
#[should_panic(expected = "deadlock")]
fn without_a_fence_one_is_lost() {
    loom::model(|| {
        one_frame(
            || AtomicBool::new(false),
            |flag| flag.load(Ordering::Relaxed),
            |flag| {
                flag.store(true, Ordering::Relaxed);
                fence(Ordering::SeqCst);
            },
        );
    });
}
