//! SIGINT and SIGTERM as messages.

use crate::SetupError;
use crossbeam::channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// What the process ends with when it does not wait: 128 + SIGINT, as shells say it.
const CUT_SHORT: i32 = 130;

/// SIGINT and SIGTERM as messages; dropping it gives the signals back their default.
pub(super) struct Interrupts {
    receiver: Receiver<i32>,
    handle: signal_hook::iterator::Handle,
}

impl Interrupts {
    /// Starts to listen. The first `patience` signals are messages; one more ends the process at once, with exit code
    /// 130, and the kernel then detaches the XDP program with the last descriptor.
    ///
    /// # Errors
    /// No handler could be installed, or no thread be had.
    pub fn listen(patience: usize) -> Result<Self, SetupError> {
        let error = |e: std::io::Error| {
            SetupError::of_system("listening for SIGINT and SIGTERM", &e, "is a sandbox in the way?")
        };
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(error)?;
        let handle = signals.handle();
        let (sender, receiver) = bounded(patience);
        std::thread::Builder::new()
            .name("hf-signals".into())
            .spawn(move || {
                for (earlier, signal) in signals.forever().enumerate() {
                    if earlier >= patience {
                        signal_hook::low_level::exit(CUT_SHORT);
                    }
                    // There is room for each; the reader may be gone.
                    let _ = sender.try_send(signal);
                }
            })
            .map_err(error)?;
        Ok(Interrupts { receiver, handle })
    }

    /// A message for each signal.
    pub fn receiver(&self) -> &Receiver<i32> {
        &self.receiver
    }
}

impl Drop for Interrupts {
    fn drop(&mut self) {
        self.handle.close();
    }
}
