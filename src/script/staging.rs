//! Fetches the scripts of one `add` into a batch and checks their sums. Blocking; knows no inventory.

use super::fetch::{Budget, Fetcher};
use super::handle::{AddRequest, ChangeError, ScriptProblem};
use super::plan::AddPlan;
use super::shelves::{Batch, Layout, Staged};

/// Fetches all scripts of a call; tries every one, so that all problems are told at once.
pub(super) fn stage(
    plan: &AddPlan,
    request: &AddRequest,
    layout: &Layout,
    number: u64,
    fetcher: &Fetcher,
    budget: &Budget<'_>,
) -> Result<(Batch, Vec<Staged>), ChangeError> {
    let batch = layout.open_batch(number)?;
    let (mut staged, mut problems) = (Vec::new(), Vec::new());
    for script in &plan.requested {
        let name = &script.name;
        match batch.stage(name, |to| fetcher.fetch(&request.source, name, budget, to)) {
            Ok(file) => match script.expected.filter(|expected| *expected != file.facts.sum) {
                Some(expected) => {
                    let (name, found) = (name.clone(), file.facts.sum);
                    problems.push(ScriptProblem::WrongChecksum { name, expected, found });
                }
                None => staged.push(file),
            },
            Err(source) => problems.push(ScriptProblem::Fetch { name: name.clone(), source }),
        }
    }
    if problems.is_empty() { Ok((batch, staged)) } else { Err(ChangeError::Scripts { problems }) }
}
