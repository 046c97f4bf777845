//! Who finishes the TCP checksums of what a queue sends: we, the NIC, or in copy mode the kernel.
//!
//! A frame asks for it by 16 octets before it (`xsk_tx_metadata`), for which the UMEM is told to leave room. In copy mode the
//! kernel reads them and does for us what it does for its own sockets: it leaves the checksum to the interface, or finishes
//! it where `ethtool -K` says that the interface does not. With zero-copy the driver reads them, or never looks at them:
//! which of the two, the interface tells (`xsk-features` of the netlink family netdev).

use super::ZeroCopy;
use super::port::kernel_version;
use crate::SetupError;
use crate::host::InterfaceFacts;
use crate::wire::frame::TxChecksum;
use ::xdp::nic::NicIndex;

/// Since then a UMEM leaves room for requests when a flag says so (`XDP_UMEM_TX_METADATA_LEN`).
pub(crate) const SINCE: (u32, u32) = (6, 11);

/// Whether checksums of what is sent are finished beyond us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, strum::Display, strum::EnumString, strum::VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum ChecksumOffload {
    /// By a NIC that offers it for zero-copy queues. Never in copy mode: a virtual interface then passes frames on
    /// unfinished, which only a kernel at the other end takes.
    #[default]
    Auto,
    /// Never.
    Software,
    /// By the NIC, in copy mode by the kernel; or fail.
    Offload,
}

/// What is wanted, and what there is before a queue is bound.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offer {
    wanted: ChecksumOffload,
    kernel: bool,
    nic: bool,
}

impl Offer {
    /// Asks the kernel, as far as the answer matters; for zero-copy by netlink.
    ///
    /// # Errors
    /// It is wanted for certain, and the kernel is too old.
    pub(super) fn find(
        wanted: ChecksumOffload,
        zero_copy: ZeroCopy,
        facts: &InterfaceFacts,
    ) -> Result<Offer, SetupError> {
        let kernel = wanted != ChecksumOffload::Software && kernel_version().is_none_or(|version| version >= SINCE);
        if wanted == ChecksumOffload::Offload && !kernel {
            return Err(SetupError::new(
                format!("having checksums finished for {}", facts.name),
                "this kernel takes no such requests from AF_XDP",
                format!("use Linux {}.{} or newer, or `--tx-checksum auto`", SINCE.0, SINCE.1),
            ));
        }
        let nic = kernel && zero_copy != ZeroCopy::Off && nic_completes(facts.index);
        Ok(Offer { wanted, kernel, nic })
    }

    /// As in copy mode with a kernel that is new enough, without asking.
    #[cfg(test)]
    pub(super) fn of_kernel() -> Offer {
        Offer { wanted: ChecksumOffload::Offload, kernel: true, nic: false }
    }

    /// Whether the UMEM is to leave room for requests.
    pub(super) fn needs_room(&self) -> bool {
        match self.wanted {
            ChecksumOffload::Auto => self.nic,
            ChecksumOffload::Software => false,
            ChecksumOffload::Offload => self.kernel,
        }
    }

    /// Who finishes checksums on this queue, now that it is known whether it is zero-copy.
    ///
    /// # Errors
    /// It is wanted for certain, and the driver would never look at what a frame asks for.
    pub(super) fn accept(&self, interface: &str, queue: u32, zero_copy: bool) -> Result<TxChecksum, SetupError> {
        match (self.wanted, zero_copy) {
            (ChecksumOffload::Software, _) | (ChecksumOffload::Auto, false) => Ok(TxChecksum::Full),
            (ChecksumOffload::Auto, true) if !self.nic => Ok(TxChecksum::Full),
            (ChecksumOffload::Offload, true) if !self.nic => Err(SetupError::new(
                format!("having checksums finished for {interface} queue {queue}"),
                "it is zero-copy, and its driver does not offer that (no tx-checksum among its xsk-features)",
                "make them here with `--tx-checksum auto`, or have the kernel copy and finish with `--zero-copy off`",
            )),
            _ => Ok(TxChecksum::PseudoHeaderOnly),
        }
    }
}

/// Whether the interface says that it finishes checksums of zero-copy frames; a kernel that does not know the question has
/// none that does.
fn nic_completes(if_index: u32) -> bool {
    NicIndex::new(if_index).query_capabilities().is_ok_and(|can| can.tx_metadata.checksum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_chosen_by_itself_only_for_zero_copy_and_a_nic_that_offers_it() {
        use ChecksumOffload::{Auto, Offload, Software};
        use TxChecksum::{Full, PseudoHeaderOnly};
        for (wanted, nic, zero_copy, expected) in [
            (Auto, true, true, Some(PseudoHeaderOnly)),
            (Auto, true, false, Some(Full)), // a veth would pass it on unfinished
            (Auto, false, true, Some(Full)),
            (Software, true, true, Some(Full)),
            (Offload, true, true, Some(PseudoHeaderOnly)),
            (Offload, false, false, Some(PseudoHeaderOnly)), // by the kernel
            (Offload, false, true, None),                    // by nobody
        ] {
            let offer = Offer { wanted, kernel: true, nic };
            let accepted = offer.accept("eth0", 3, zero_copy);
            assert_eq!(accepted.as_ref().ok(), expected.as_ref(), "{wanted}, NIC {nic}, zero-copy {zero_copy}");
            assert!(offer.needs_room() || accepted != Ok(PseudoHeaderOnly), "a request needs room");
        }
        let told = Offer { wanted: Offload, kernel: true, nic: false }.accept("eth0", 3, true).unwrap_err().to_string();
        assert!(told.contains("eth0 queue 3") && told.contains("`--zero-copy off`"), "{told}");
    }
}
