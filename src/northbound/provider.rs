//! What the northbound asks of whoever stands behind a part of the tree.
//!
//! A provider's face is synchronous and quick: it decides in values and hands work to its own driver over a bounded
//! channel. `state` and `call` return futures, so that a slow answer keeps nobody else waiting.
//!
//! ```text
//!  validate* -> prepare* -+-> (record + fsync, swap) -> apply*        cannot refuse
//!                         +-> abort*                                   somebody refused
//! ```
//! At start every provider hears one `apply` in which all of running is created: recovery is the same as a commit.

use std::future::Future;
use std::pin::Pin;

use super::{Caller, Kind, Refusal};
use crate::yang::value::Element;

pub type Later<T> = Pin<Box<dyn Future<Output = Result<T, Refusal>> + Send + 'static>>;

/// What a commit did to one node. Paths are libyang's: `/module:container/list[key='v']/leaf`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    pub path: String,
    pub edit: Edit,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// The node came to be, with the value it has if it is a leaf. Its descendants follow as changes of their own.
    Create {
        value: Option<String>,
    },
    /// The node and all below it went; descendants are not listed.
    Delete,
    Modify {
        value: String,
    },
    /// An entry of a user-ordered list or leaf-list changed its place.
    Move,
}

/// The configuration as it will be (in validate and prepare) or is (in apply).
pub trait Configuration {
    /// The node at `path` with everything below it, or `None` where there is no such node.
    fn subtree(&self, path: &str) -> Option<Element>;
}

/// One commit as a provider sees it: only the changes below its own roots.
pub struct Proposal<'a> {
    pub changes: &'a [Change],
    pub config: &'a dyn Configuration,
}

/// What part of the state is wanted: a provider may skip what is not, but need not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateQuery {
    /// The filter's selections for this root; `None` asks for everything.
    pub selection: Option<super::filter::Selection>,
}

/// An rpc or action that was authorised and found valid.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    pub caller: Caller,
    /// Schema path: `/module:rpc` or, for an action, the data path of the node it is invoked on plus its name.
    pub path: String,
    /// The rpc element with its input as children, defaults included.
    pub input: Element,
}

/// Something that is tried out, elsewhere and for as long as it takes.
pub struct Trying {
    /// The rpc that does the same: for whoever may not call it nothing is tried.
    pub right: &'static str,
    pub work: Later<()>,
}

/// One owner of parts of the tree. What it says nothing of it has no part in; only what becomes of a commit it always says.
pub trait Provider: Send {
    fn name(&self) -> &'static str;

    /// Configuration subtrees that this provider makes true, as schema paths of top nodes: `/module:node`.
    fn config_roots(&self) -> &'static [&'static str] {
        &[]
    }

    /// Configuration that it wants to hear of besides, without being the one who acts on it.
    fn watched_roots(&self) -> &'static [&'static str] {
        &[]
    }

    /// Modules whose nodes it acts on where they augment its roots, watched ones included, or the input of its calls. A node
    /// that another module puts there is nobody's otherwise, and such an agent does not serve.
    fn augmented_by(&self) -> &'static [&'static str] {
        &[]
    }

    /// Top nodes of operational state that it answers for.
    fn state_roots(&self) -> &'static [&'static str] {
        &[]
    }

    /// rpcs and actions that it carries out, as schema paths.
    fn calls(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether `validate` and `prepare` look at the proposal alone, remember nothing, and `apply` may be told of newer
    /// configuration than its changes. Then commits that wait together may be prepared on top of each other before the
    /// first of them is applied; else no two of them that concern this provider are.
    fn takes_each_proposal_alone(&self) -> bool {
        false
    }

    /// Is the proposed configuration one that this provider could make true? Pure: remembers nothing.
    fn validate(&self, _: &Proposal<'_>) -> Result<(), Vec<Refusal>> {
        Ok(())
    }

    /// What only a trial can tell of a proposal that is valid otherwise. Begun when somebody asks whether it is, never by a
    /// commit; each comes to an end by itself.
    fn trials(&self, _: &Proposal<'_>) -> Vec<Trying> {
        Vec::new()
    }

    /// Reserve what the commit needs. After `Ok`, exactly one of `apply` and `abort` follows.
    fn prepare(&mut self, _: &Proposal<'_>) -> Result<(), Refusal> {
        Ok(())
    }

    fn abort(&mut self) {}

    /// The commit is on disk: make it true. Cannot refuse; trouble becomes operational state.
    fn apply(&mut self, proposal: &Proposal<'_>);

    /// The state below one of `state_roots`: its top elements, each with its module set.
    fn state(&self, root: &'static str, _: StateQuery) -> Later<Vec<Element>> {
        Box::pin(async move { Err(Refusal::new(Kind::OperationNotSupported, format!("{root} has no state"))) })
    }

    /// Carry out a call: the children of its output. `call.path` is one of `calls`.
    fn call(&self, call: Call) -> Later<Vec<Element>> {
        Box::pin(async move { Err(Refusal::new(Kind::OperationNotSupported, format!("{} is not an rpc", call.path))) })
    }
}
