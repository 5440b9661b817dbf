//! The thin layer over libyang's C functions: the only unsafe code of this folder.
//!
//! Everything below hangs from one leaked context, so schema pointers live as long as the process. Data trees are owned
//! by [`Tree`]; a [`Node`] borrows from its tree; an [`At`] is a position inside a tree that is being changed.
//! libyang keeps its errors per thread and per context: each wrapper takes them right after the call that failed.
//!
//! Must not know: what the trees mean, NETCONF, files.

mod constraint;
mod context;
mod facts;
mod nested_when;
mod node;
mod schema;
mod stamp;
mod tail;
mod tree;
mod value_type;

pub(super) use self::context::{Context, Fault, PrintFormat};
pub use self::node::{Children, Node};
pub use self::schema::{ModuleRef, NodeKind, SchemaNode};
pub(in crate::yang) use self::stamp::Stamp;
pub(in crate::yang) use self::tree::Any;
pub use self::tree::Tree;
pub(crate) use self::tree::{At, release_memory};
pub use self::value_type::{Named, ValueType};
