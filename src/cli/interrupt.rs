//! SIGINT and SIGTERM as messages.

use crate::SetupError;
use crossbeam::channel::{Receiver, bounded};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// SIGINT and SIGTERM as messages; dropping it gives the signals back their default.
pub(super) struct Interrupts {
    receiver: Receiver<i32>,
    handle: signal_hook::iterator::Handle,
}

impl Interrupts {
    /// Starts to listen; from now on neither signal ends the process.
    ///
    /// # Errors
    /// No handler could be installed, or no thread be had.
    pub fn listen() -> Result<Self, SetupError> {
        let error = |e: std::io::Error| SetupError::new("listening for SIGINT and SIGTERM", e.to_string(), "try again");
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(error)?;
        let handle = signals.handle();
        let (sender, receiver) = bounded(16);
        std::thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                for signal in signals.forever() {
                    // Sixteen that nobody has read yet say enough.
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
