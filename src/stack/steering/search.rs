//! A frame's way from worker to worker.

/// Who has been asked whether a frame's flow is his: the others in turn, from the first on, until one knows it or all have
/// been asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Search {
    /// Whose queue the frame came in on.
    from: u16,
    /// Who was asked first.
    first: u16,
    /// Who is asked now.
    to: u16,
}

impl Search {
    /// From the worker whose queue the frame came in on, to another one.
    pub fn begin(from: usize, first: usize) -> Self {
        debug_assert!(from != first);
        Search { from: from as u16, first: first as u16, to: first as u16 }
    }

    /// The worker to which the frame goes.
    pub fn to(self) -> usize {
        usize::from(self.to)
    }

    /// One further, of so many workers; `None` when all have been asked.
    pub fn next(self, workers: usize) -> Option<Self> {
        let after = |worker: u16| ((usize::from(worker) + 1) % workers) as u16;
        let to = match after(self.to) {
            to if to == self.from => after(to),
            to => to,
        };
        (to != self.first).then_some(Search { to, ..self })
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
