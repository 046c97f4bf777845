//! Our own link comes to carry less.

use super::connection::Tcb;

impl Tcb {
    /// Our link carries segments of `our_mss` octets: text is cut to no more, what is sent again as well, and no larger size
    /// is tried any more, as this is no guess about a path. What is under way and was too long is found lost like any other.
    ///
    /// To be called before text is cut: the link tells no connection, as a walk through millions would take a worker's turn.
    #[inline]
    pub(super) fn fit_link(&mut self, our_mss: u16) {
        if self.smss <= our_mss {
            return;
        }
        self.smss = our_mss;
        if let Some(transfer) = &mut self.transfer {
            transfer.larger_smss = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::TcpConfig;
    use super::super::recovery::TRY_LARGER_AFTER;
    use super::super::testing::{Bench, MSS};
    use crate::time::Duration;

    fn lengths(bench: &mut Bench) -> Vec<usize> {
        bench.send().iter().map(|(_, text_len)| *text_len).collect()
    }

    #[test]
    fn what_is_new_and_what_is_sent_again_fit_the_smaller_link() {
        let mut bench = Bench::with(TcpConfig::default(), true, true);
        let (whole, fits) = (usize::from(MSS) - 12, 700 - 12);
        bench.write(2 * whole);
        assert_eq!(lengths(&mut bench), [whole; 2]);
        bench.our_mss = 700;
        bench.write(2 * fits);
        assert_eq!(lengths(&mut bench), [fits; 2]);
        bench.wait(Duration::from_secs(2));
        let again = lengths(&mut bench);
        assert!(!again.is_empty() && again.iter().all(|len| *len <= fits), "{again:?}");
    }

    /// A smaller size that the path asked for is not for ever; one that the link asks for is.
    #[test]
    fn no_larger_size_is_tried_than_the_link_carries() {
        let mut bench = Bench::with(TcpConfig::default(), true, true);
        bench.write(900);
        bench.send();
        bench.with_env(|tcb, env| tcb.lower_smss(536, env));
        bench.our_mss = 700;
        let less = lengths(&mut bench);
        assert!(less.contains(&524) && less.iter().all(|len| *len <= 524), "the path carries even less: {less:?}");
        bench.ack(900, bench.tsval, &[]);
        bench.wait(TRY_LARGER_AFTER + Duration::from_millis(1));
        bench.write(2 * 688);
        assert_eq!(lengths(&mut bench), [688; 2], "it may carry more again, as far as the link does (which was {MSS})");
    }
}
