//! Our own link comes to carry less.

use super::connection::Tcb;

impl Tcb {
    /// Text is cut to segments of at most `our_mss` octets from now on, what is sent again as well. What is under way and
    /// was too long is found lost like any other, and the larger size is not tried again: this is no guess about a path.
    pub(crate) fn on_smaller_link(&mut self, our_mss: u16) {
        self.smss = self.smss.min(our_mss);
        if let Some((largest, _)) = self.transfer.as_mut().and_then(|transfer| transfer.larger_smss.as_mut()) {
            *largest = (*largest).min(our_mss);
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
        bench.tcb.on_smaller_link(700);
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
        bench.tcb.on_smaller_link(700);
        assert_eq!(bench.tcb.smss, 536, "the path carries even less");
        bench.wait(Duration::from_millis(u64::from(TRY_LARGER_AFTER) + 1));
        assert_eq!(bench.tcb.smss, 700, "it may carry more again, as far as the link does (which was {MSS})");
    }
}
