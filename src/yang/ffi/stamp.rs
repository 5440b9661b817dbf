//! Numbers that stand for what a node holds, all below it included: as long as a node has its number, nothing of that has
//! changed.
//!
//! ```text
//!  no number --asked for--> a new one --something in the node changes--> no number
//! ```
//! The number stands in a field of the node that libyang keeps for others and that is empty in a new node. Every change
//! in `tree.rs` takes away the numbers of the nodes around it; a node that comes to another tree loses its own. No number
//! is given twice, so that a node at the place of one that is gone is not taken for it.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::num::NonZeroUsize;
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libyang5_sys as sys;

use super::At;
use super::node::Node;
use super::tree::Tree;

/// What one node held at some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::yang) struct Stamp(NonZeroUsize);

/// The one that was given last. At a thousand million a second they are enough for five centuries.
static LAST: AtomicUsize = AtomicUsize::new(0);

const _: () = assert!(usize::BITS == 64, "fewer bits would be used up");

impl Stamp {
    pub(in crate::yang) fn fresh() -> Self {
        let number = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        Self(NonZeroUsize::new(number).expect("numbers begin at one"))
    }
}

/// Of a tree: whether some node of it may have one. Else changes need not look for them.
#[derive(Debug, Default)]
pub(super) struct AreGiven(AtomicBool);

impl Tree {
    /// Stands for all that `node`, which is one of this tree, holds now.
    pub(in crate::yang) fn stamp(&self, node: Node<'_>) -> Stamp {
        // SAFETY: the node is alive, and while the tree is shared its field is reached in this way only.
        let place = unsafe { AtomicUsize::from_ptr((&raw mut (*node.raw.as_ptr()).priv_).cast()) };
        if let Some(known) = NonZeroUsize::new(place.load(Ordering::Relaxed)) {
            return Stamp(known);
        }
        self.stamps.0.store(true, Ordering::Relaxed);
        let stamp = Stamp::fresh();
        // Whoever else has asked meanwhile holds the same tree: one of the two is as good as the other.
        let first = place.compare_exchange(0, stamp.0.get(), Ordering::Relaxed, Ordering::Relaxed).err();
        first.and_then(NonZeroUsize::new).map_or(stamp, Stamp)
    }

    /// A copy whose nodes hold the same, and are known to. Numbers are given and copied by the owner of the datastores alone.
    #[must_use]
    pub(crate) fn duplicate_with_stamps(&self) -> Tree {
        let mut copy = self.duplicate_so(sys::LYD_DUP_WITH_PRIV);
        copy.stamps = AreGiven(self.stamps.0.load(Ordering::Relaxed).into());
        copy
    }

    /// What is at `at` changes, and with it all that it stands in.
    pub(super) fn touch(&mut self, at: Option<At>) {
        let Some(at) = at.filter(|_| *self.stamps.0.get_mut()) else { return };
        let mut node = at.0.as_ptr();
        // SAFETY: a live node of ours, which is borrowed mutably; parents outlive children.
        unsafe {
            while !node.is_null() {
                (*node).priv_ = ptr::null_mut();
                node = (*node).parent;
            }
        }
    }

    /// The node changes with all below it, but not what it stands in.
    pub(super) fn touch_inside(&mut self, at: At) {
        if !*self.stamps.0.get_mut() {
            return;
        }
        let mut waiting = vec![at];
        while let Some(at) = waiting.pop() {
            waiting.extend(self.node(at).children().map(Node::position));
            // SAFETY: a live node of ours, which is borrowed mutably.
            unsafe { (*at.0.as_ptr()).priv_ = ptr::null_mut() };
        }
    }

    /// Anything may change.
    pub(super) fn touch_all(&mut self) {
        if *self.stamps.0.get_mut() {
            let tops: Vec<At> = self.roots().map(Node::position).collect();
            tops.into_iter().for_each(|top| self.touch_inside(top));
            self.stamps = AreGiven::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yang::testing::{top, tree};

    fn entries(tree: &Tree) -> Vec<Node<'_>> {
        let top = tree.roots().next().unwrap();
        top.children().filter(|node| node.name() == "item").collect()
    }

    fn stamps(tree: &Tree) -> Vec<Stamp> {
        entries(tree).into_iter().map(|entry| tree.stamp(entry)).collect()
    }

    #[test]
    fn an_entry_has_its_stamp_until_something_in_it_changes() {
        let mut data = tree(&top("<item><name>a</name><deep><x>1</x></deep></item><item><name>b</name></item>"));
        let first = stamps(&data);
        assert_ne!(first[0], first[1]);
        assert_eq!(stamps(&data), first);
        let deepest = data.find("/sample:top/item[name='a']/deep/x").unwrap().position();
        data.change_term(deepest, "2").unwrap();
        let second = stamps(&data);
        assert!(second[0] > first[1] && second[1] == first[1]);
        data.remove(deepest);
        assert!(stamps(&data)[0] > second[0]);
        data.add_defaults();
        let third = stamps(&data);
        assert!(third.iter().all(|stamp| *stamp > second[0]), "libyang may have changed anything");
    }

    #[test]
    fn stamps_go_with_a_copy_that_is_told_so_and_with_no_other() {
        let mut data = tree(&top("<item><name>a</name></item><item><name>b</name></item>"));
        let known = stamps(&data);
        let copy = data.duplicate_with_stamps();
        assert_eq!(stamps(&copy), known);
        assert!(stamps(&data.duplicate()).iter().all(|stamp| !known.contains(stamp)));
        let mut other = tree(&top("<name>n</name>"));
        let (moved, to) = (entries(&data)[0].position(), other.roots().next().unwrap().position());
        other.take_over(Some(to), &mut data, moved);
        assert!(!known.contains(&stamps(&other)[0]), "it stands elsewhere now");
        assert_eq!(stamps(&data), known[1..]);
    }
}
