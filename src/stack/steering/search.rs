//! A frame's way from worker to worker.

/// Who is asked whether a frame's flow is his: all others in turn, until one knows it; and at last the one whose queue it
/// came in on, who answers it then.
///
/// Sixteen bits each for the worker whose queue the frame came in on and for the one who is asked now: in one word, as what
/// becomes of a frame goes by registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Search(u64);

impl Search {
    /// From the worker whose queue the frame came in on, to another one.
    pub fn begin(from: usize, to: usize) -> Self {
        debug_assert!(from != to);
        Search((from as u64) << 16 | to as u64)
    }

    fn from(self) -> usize {
        usize::from((self.0 >> 16) as u16)
    }

    /// The worker to which the frame goes.
    pub fn to(self) -> usize {
        usize::from(self.0 as u16)
    }

    /// One further, of so many workers that were asked in the order of their numbers; `None` when it has come home.
    pub fn next(self, workers: usize) -> Option<Self> {
        let to = (self.to() + 1) % workers;
        (self.to() != self.from()).then_some(Search((self.0 & !0xffff) | to as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_worker_is_asked_once_and_then_it_goes_home() {
        for workers in 2..9 {
            for from in 0..workers {
                let begin = Search::begin(from, (from + 1) % workers);
                let asked: Vec<usize> =
                    std::iter::successors(Some(begin), |search| search.next(workers)).map(Search::to).collect();
                assert_eq!(asked, (1..=workers).map(|step| (from + step) % workers).collect::<Vec<_>>());
            }
        }
    }
}
