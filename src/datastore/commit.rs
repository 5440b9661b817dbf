//! The commit machine: who is asked what, in which order, and what happens when somebody refuses.
//!
//! ```text
//!  Validating --all ok--> Preparing --all ok--> Recording --on disk--> Applying --all done--> Done
//!      | refused              | refused             | refused
//!      '--------> Done        '------> Aborting <---'  --all told--> Done
//! ```
//! Pure: inputs in, actions out. Every provider that prepared hears exactly one of apply and abort. Recording is the
//! point of no return: before it the commit can be refused, after it nothing can.
//!
//! Must not know: trees, providers, files.

use std::collections::VecDeque;

use crate::northbound::Refusal;

/// A provider by its place in the caller's list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(pub usize);

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    Validated(ProviderId, Result<(), Vec<Refusal>>),
    Prepared(ProviderId, Result<(), Refusal>),
    Recorded(Result<(), Refusal>),
    Applied(ProviderId),
    Aborted(ProviderId),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Validate(ProviderId),
    Prepare(ProviderId),
    /// Write the record and force it to disk.
    Record,
    /// The next tree is running from now on.
    Swap,
    Apply(ProviderId),
    Abort(ProviderId),
    Reply(Result<(), Vec<Refusal>>),
}

#[derive(Debug)]
enum State {
    /// All are asked, so that all mistakes are told at once.
    Validating {
        left: VecDeque<ProviderId>,
        refusals: Vec<Refusal>,
    },
    Preparing {
        left: VecDeque<ProviderId>,
        prepared: Vec<ProviderId>,
    },
    Recording {
        prepared: Vec<ProviderId>,
    },
    Applying {
        left: VecDeque<ProviderId>,
    },
    Aborting {
        left: Vec<ProviderId>,
        refusals: Vec<Refusal>,
    },
    Done,
}

/// One commit.
#[derive(Debug)]
pub struct Commit {
    providers: Vec<ProviderId>,
    /// An empty commit is not recorded, but still answered.
    is_recorded: bool,
    state: State,
}

impl Commit {
    /// `providers` are those that have something to do with what changes, in the order they are asked.
    pub fn begin(providers: Vec<ProviderId>, is_recorded: bool) -> (Self, Vec<Action>) {
        let left: VecDeque<ProviderId> = providers.iter().copied().collect();
        let mut commit = Self { providers, is_recorded, state: State::Validating { left, refusals: Vec::new() } };
        let actions = commit.go_on();
        (commit, actions)
    }

    pub fn is_done(&self) -> bool {
        matches!(self.state, State::Done)
    }

    /// An input that the state does not wait for changes nothing: it answers a question of the past.
    pub fn handle(&mut self, input: Input) -> Vec<Action> {
        match (&mut self.state, input) {
            (State::Validating { left, refusals }, Input::Validated(from, result)) if left.front() == Some(&from) => {
                left.pop_front();
                refusals.extend(result.err().unwrap_or_default());
            }
            (State::Preparing { left, prepared }, Input::Prepared(from, result)) if left.front() == Some(&from) => {
                left.pop_front();
                match result {
                    Ok(()) => prepared.push(from),
                    Err(refusal) => {
                        let left = std::mem::take(prepared);
                        self.state = State::Aborting { left, refusals: vec![refusal] };
                    }
                }
            }
            (State::Recording { prepared }, Input::Recorded(result)) => match result {
                Ok(()) => {
                    self.state = State::Applying { left: self.providers.iter().copied().collect() };
                    let mut actions = vec![Action::Swap];
                    actions.extend(self.go_on());
                    return actions;
                }
                Err(refusal) => {
                    let left = std::mem::take(prepared);
                    self.state = State::Aborting { left, refusals: vec![refusal] };
                }
            },
            (State::Applying { left }, Input::Applied(from)) if left.front() == Some(&from) => {
                left.pop_front();
            }
            (State::Aborting { left, .. }, Input::Aborted(from)) if left.last() == Some(&from) => {
                left.pop();
            }
            (
                State::Validating { .. }
                | State::Preparing { .. }
                | State::Recording { .. }
                | State::Applying { .. }
                | State::Aborting { .. }
                | State::Done,
                _,
            ) => return Vec::new(),
        }
        self.go_on()
    }

    /// Asks the next question of the state, or goes to the next state.
    fn go_on(&mut self) -> Vec<Action> {
        loop {
            let next = match &mut self.state {
                State::Validating { left, refusals } => match left.front() {
                    Some(next) => return vec![Action::Validate(*next)],
                    None if refusals.is_empty() => {
                        State::Preparing { left: self.providers.iter().copied().collect(), prepared: Vec::new() }
                    }
                    None => {
                        let refusals = std::mem::take(refusals);
                        self.state = State::Done;
                        return vec![Action::Reply(Err(refusals))];
                    }
                },
                State::Preparing { left, prepared } => match left.front() {
                    Some(next) => return vec![Action::Prepare(*next)],
                    None if self.is_recorded => {
                        let prepared = std::mem::take(prepared);
                        self.state = State::Recording { prepared };
                        return vec![Action::Record];
                    }
                    None => {
                        self.state = State::Applying { left: self.providers.iter().copied().collect() };
                        let mut actions = vec![Action::Swap];
                        actions.extend(self.go_on());
                        return actions;
                    }
                },
                State::Recording { .. } | State::Done => return Vec::new(),
                State::Applying { left } => match left.front() {
                    Some(next) => return vec![Action::Apply(*next)],
                    None => {
                        self.state = State::Done;
                        return vec![Action::Reply(Ok(()))];
                    }
                },
                // The last one that prepared is told first: what was reserved is given back in reverse.
                State::Aborting { left, refusals } => match left.last() {
                    Some(next) => return vec![Action::Abort(*next)],
                    None => {
                        let refusals = std::mem::take(refusals);
                        self.state = State::Done;
                        return vec![Action::Reply(Err(refusals))];
                    }
                },
            };
            self.state = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::northbound::Kind;

    /// Plays a commit of `count` providers. `script` says who refuses: `v1` validation by 1, `p0` preparation by 0,
    /// `r` the record. The answer lists the actions: `V P A X` with the provider, `R`ecord, `S`wap, `ok`/`no`.
    fn play(count: usize, is_recorded: bool, script: &str) -> String {
        let refuses = |what: &str| script.split_whitespace().any(|word| word == what);
        let refusal = || Refusal::new(Kind::OperationFailed, "no");
        let (mut commit, actions) = Commit::begin((0..count).map(ProviderId).collect(), is_recorded);
        let mut waiting: VecDeque<Action> = actions.into();
        let mut told = Vec::new();
        while let Some(action) = waiting.pop_front() {
            let (word, input) = match action {
                Action::Validate(p) => {
                    let result = if refuses(&format!("v{}", p.0)) { Err(vec![refusal()]) } else { Ok(()) };
                    (format!("V{}", p.0), Some(Input::Validated(p, result)))
                }
                Action::Prepare(p) => {
                    let result = if refuses(&format!("p{}", p.0)) { Err(refusal()) } else { Ok(()) };
                    (format!("P{}", p.0), Some(Input::Prepared(p, result)))
                }
                Action::Record => {
                    let result = if refuses("r") { Err(refusal()) } else { Ok(()) };
                    ("R".to_owned(), Some(Input::Recorded(result)))
                }
                Action::Swap => ("S".to_owned(), None),
                Action::Apply(p) => (format!("A{}", p.0), Some(Input::Applied(p))),
                Action::Abort(p) => (format!("X{}", p.0), Some(Input::Aborted(p))),
                Action::Reply(Ok(())) => ("ok".to_owned(), None),
                Action::Reply(Err(refusals)) => (format!("no{}", refusals.len()), None),
            };
            told.push(word);
            if let Some(input) = input {
                waiting.extend(commit.handle(input));
            }
        }
        assert!(commit.is_done());
        told.join(" ")
    }

    #[test]
    fn scenarios() {
        for (count, recorded, script, expected) in [
            (2, true, "", "V0 V1 P0 P1 R S A0 A1 ok"),
            (0, true, "", "R S ok"),
            (1, false, "", "V0 P0 S A0 ok"),
            (0, false, "", "S ok"),
            (2, true, "v0 v1", "V0 V1 no2"),
            (3, true, "p0", "V0 V1 V2 P0 no1"),
            (3, true, "p2", "V0 V1 V2 P0 P1 P2 X1 X0 no1"),
            (2, true, "r", "V0 V1 P0 P1 R X1 X0 no1"),
            (0, true, "r", "R no1"),
        ] {
            assert_eq!(play(count, recorded, script), expected, "{count} {recorded} {script:?}");
        }
    }

    #[test]
    fn an_answer_that_nobody_waits_for_changes_nothing() {
        let (mut commit, _) = Commit::begin(vec![ProviderId(0)], true);
        assert!(commit.handle(Input::Recorded(Ok(()))).is_empty());
        assert!(commit.handle(Input::Validated(ProviderId(7), Ok(()))).is_empty());
        assert!(commit.handle(Input::Applied(ProviderId(0))).is_empty());
        assert_eq!(commit.handle(Input::Validated(ProviderId(0), Ok(()))), vec![Action::Prepare(ProviderId(0))]);
    }

    proptest! {
        #[test]
        fn whoever_prepared_hears_exactly_one_of_apply_and_abort(
            count in 0usize..5,
            recorded: bool,
            refusing in proptest::collection::vec("[vp][0-4]|r", 0..3),
        ) {
            let script = refusing.join(" ");
            let told = play(count, recorded, &script);
            let words: Vec<&str> = told.split(' ').collect();
            for p in 0..count {
                let count_of = |word: String| words.iter().filter(|told| **told == word).count();
                let asked = count_of(format!("P{p}"));
                let refused = script.split(' ').any(|word| word == format!("p{p}"));
                let heard = count_of(format!("A{p}")) + count_of(format!("X{p}"));
                prop_assert_eq!(heard, usize::from(asked == 1 && !refused));
            }
            prop_assert_eq!(words.contains(&"S"), words.last() == Some(&"ok"));
        }
    }
}
