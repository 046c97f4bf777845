//! What a connection does once it stands.

use crate::time::Duration;
use std::sync::Arc;

/// What is waited for after a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// Nothing.
    #[default]
    Nothing,
    /// So many octets.
    Octets(u64),
    /// All that comes until the peer closes.
    ToTheEnd,
    /// An HTTP/1.1 response with a status below 400.
    Http,
}

/// Who closes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Closer {
    /// We do; TIME-WAIT is ours.
    #[default]
    Client,
    /// The peer does, and we follow.
    Server,
}

/// How we close.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum CloseWith {
    /// In order.
    #[default]
    Fin,
    /// By a reset, which leaves no TIME-WAIT.
    Rst,
}

/// What a connection does once it stands. The default closes at once: set-up and teardown alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Life {
    /// What is sent; may be nothing.
    pub request: Arc<[u8]>,
    /// What is waited for then.
    pub answer: Answer,
    /// How often that is done, one after another.
    pub exchanges: u32,
    /// How long the connection is held open after it; where the answer ends with the peer's FIN, how long ours waits after
    /// the request.
    pub hold: Duration,
    /// Who closes first.
    pub closer: Closer,
    /// How we close.
    pub close_with: CloseWith,
    /// How long its handshake may take, from the SYN on; the stack gives up at a retransmission alone, which may be later.
    pub connect_timeout: Duration,
    /// How long all of it may take, from the SYN on.
    pub timeout: Duration,
}

impl Default for Life {
    fn default() -> Self {
        Life {
            request: Arc::new([]),
            answer: Answer::Nothing,
            exchanges: 1,
            hold: Duration::ZERO,
            closer: Closer::Client,
            close_with: CloseWith::Fin,
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(30),
        }
    }
}

impl Life {
    /// Whether anything is sent or waited for.
    pub fn talks(&self) -> bool {
        !self.request.is_empty() || self.answer != Answer::Nothing
    }

    /// How long its handshake may take.
    pub(super) fn patience_for_the_handshake(&self) -> Duration {
        self.connect_timeout.min(self.timeout)
    }

    /// Whether the answer ends with the peer's FIN, so that ours must go before it.
    pub(super) fn says_goodbye_before_the_answer(&self) -> bool {
        self.answer == Answer::ToTheEnd && self.closer == Closer::Client && self.close_with == CloseWith::Fin
    }
}
