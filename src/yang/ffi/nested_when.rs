//! A fault of libyang (5.4.9) that would end the process, mended where it asks itself a question.
//!
//! When a default container goes because its `when` has turned false, nodes in it may still wait for their own `when` to
//! be decided. libyang looks for each of them in its list of those that wait (`lyd_validate_autodel_node_del`), does nothing
//! about those it finds, and later decides about nodes that were freed. `build.rs` has the linker lead the question,
//! `ly_set_contains`, to here; while a tree is being completed or validated, what is found in a list because it is about to go
//! is replaced there by a node that has no `when`: about that there is nothing to decide.
//!
//! Nothing else asks this question while data is validated, except about schemas; those it leaves alone.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::cell::Cell;
use std::ffi::c_void;
use std::marker::PhantomData;
use std::mem;
use std::ptr;

use libyang5_sys as sys;

/// Of a container: it has room for a `when`, and has none.
const NODETYPE: u16 = 1;
const _: () = assert!(sys::LYS_CONTAINER == 1);

type Contains = unsafe extern "C" fn(*const sys::ly_set, *const c_void, *mut u32) -> sys::ly_bool;

thread_local! {
    /// While this thread validates data: what takes the place of a node that goes.
    static STAND_IN: Cell<*mut sys::lyd_node> = const { Cell::new(ptr::null_mut()) };
}

/// While there is one, nodes that go are taken out of the lists of those that wait.
pub(super) struct Watch {
    before: *mut sys::lyd_node,
    /// Of this thread.
    thread: PhantomData<*mut ()>,
}

impl Watch {
    pub(super) fn over_validation() -> Self {
        // Named here so that the linker finds it wherever trees are validated.
        std::hint::black_box(__wrap_ly_set_contains as Contains);
        Self { before: STAND_IN.replace(stand_in()), thread: PhantomData }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        STAND_IN.set(self.before);
    }
}

/// A node without a `when`, of no tree. One for each thread, never freed.
fn stand_in() -> *mut sys::lyd_node {
    thread_local! {
        static NODE: *mut sys::lyd_node = make_stand_in();
    }
    NODE.with(|node| *node)
}

fn make_stand_in() -> *mut sys::lyd_node {
    // SAFETY: plain C structs of numbers and pointers, in which zero stands for nothing; a container begins with what all
    // schema nodes begin with.
    unsafe {
        let schema = Box::into_raw(Box::new(mem::zeroed::<sys::lysc_node_container>())).cast::<sys::lysc_node>();
        (*schema).nodetype = NODETYPE;
        let node = Box::into_raw(Box::new(mem::zeroed::<sys::lyd_node>()));
        (*node).schema = schema;
        node
    }
}

/// Whether `object` is in `set`, and where.
///
/// # Safety
/// As for libyang's own: the set holds `count` objects; `index` is null or a place for the answer.
#[unsafe(no_mangle)]
unsafe extern "C" fn __wrap_ly_set_contains(
    set: *const sys::ly_set,
    object: *const c_void,
    index: *mut u32,
) -> sys::ly_bool {
    // SAFETY: the caller's promise.
    unsafe {
        let Some(set) = set.as_ref() else { return 0 };
        for at in 0..set.count {
            let place = set.__bindgen_anon_1.objs.add(at as usize);
            if (*place).cast_const() == object {
                if !index.is_null() {
                    *index = at;
                }
                let stand_in = STAND_IN.get();
                if !stand_in.is_null() {
                    *place = stand_in.cast();
                }
                return 1;
            }
        }
    }
    0
}
