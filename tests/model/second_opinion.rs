//! The same model, explored by `stateright`.

use super::explore::explore;
use super::pair::{Action, Global, Limits, Pair};
use super::{EXPLORATIONS, ONE_LIFE};
use handfast::tcp::state::{Event, State, next};
use stateright::{Checker, Model, Property};

type Table = fn(State, Event) -> Option<State>;

impl Model for Pair<Table> {
    type State = Global;
    type Action = Action;

    fn init_states(&self) -> Vec<Global> {
        vec![self.start()]
    }

    fn actions(&self, global: &Global, actions: &mut Vec<Action>) {
        self.possible(global, actions);
    }

    fn next_state(&self, global: &Global, action: Action) -> Option<Global> {
        Some(self.after(global, action))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always("no fault", |_, global: &Global| global.fault.is_none()),
            Property::sometimes("both in TIME-WAIT", |_, global: &Global| {
                global.ends.iter().all(|end| end.state == State::TimeWait)
            }),
        ]
    }
}

#[test]
fn stateright_finds_the_same_states_and_no_fault() {
    for limits in [Limits { flight: 1, ..ONE_LIFE }, EXPLORATIONS[4].1] {
        let pair = Pair { next: next as Table, limits };
        let ours = explore(&pair).states;
        let checker = pair.checker().spawn_bfs().join();
        checker.assert_properties();
        assert_eq!(checker.unique_state_count(), ours);
    }
}
