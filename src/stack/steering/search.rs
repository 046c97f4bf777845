//! A frame's way from worker to worker.

/// Who has been asked whether a frame's flow is his: the others in turn, from the first on, until one knows it or all have
/// been asked.
///
/// Sixteen bits each for the worker whose queue the frame came in on, who was asked first, and who is asked now: in one
/// word, as what becomes of a frame goes by registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Search(u64);

impl Search {
    /// From the worker whose queue the frame came in on, to another one.
    pub fn begin(from: usize, first: usize) -> Self {
        debug_assert!(from != first);
        Self::of(from, first, first)
    }

    fn of(from: usize, first: usize, to: usize) -> Self {
        Search((from as u64) << 32 | (first as u64) << 16 | to as u64)
    }

    /// The worker to which the frame goes.
    pub fn to(self) -> usize {
        usize::from(self.0 as u16)
    }

    /// One further, of so many workers; `None` when all have been asked.
    pub fn next(self, workers: usize) -> Option<Self> {
        let (from, first) = (usize::from((self.0 >> 32) as u16), usize::from((self.0 >> 16) as u16));
        let after = |worker: usize| (worker + 1) % workers;
        let to = match after(self.to()) {
            to if to == from => after(to),
            to => to,
        };
        (to != first).then_some(Self::of(from, first, to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_worker_is_asked_once() {
        for workers in 2..9 {
            for from in 0..workers {
                for first in (0..workers).filter(|first| *first != from) {
                    let way = std::iter::successors(Some(Search::begin(from, first)), |way| way.next(workers));
                    let mut asked: Vec<usize> = way.take(workers + 1).map(Search::to).collect();
                    assert_eq!(asked[0], first);
                    asked.sort();
                    assert_eq!(asked, (0..workers).filter(|worker| *worker != from).collect::<Vec<_>>());
                }
            }
        }
    }
}
