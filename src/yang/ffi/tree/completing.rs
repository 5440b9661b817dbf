//! A tree is validated by libyang, and gets the defaults of the schema.

use std::ptr;

use libyang5_sys as sys;

use super::super::context::Fault;
use super::super::nested_when::Watch;
use super::super::schema::ModuleRef;
use super::super::tail;
use super::Tree;

impl Tree {
    /// All errors at once. Defaults come, nodes whose `when` has become false go.
    pub(in crate::yang) fn validate(&mut self) -> Result<(), Vec<Fault>> {
        let options = sys::LYD_VALIDATE_NO_STATE | sys::LYD_VALIDATE_MULTI_ERROR;
        self.touch_all();
        // Constraints that look at anything may put nodes in order, as an expression of a reader may.
        let may_order = self.schema.analysis().sees_everything().is_some();
        let guard = if may_order { tail::Guard::behind(self) } else { None };
        let _watch = Watch::over_validation();
        // SAFETY: our own siblings; libyang tells us the new first one.
        let code = unsafe { sys::lyd_validate_all(&raw mut self.first, self.context(), options, ptr::null_mut()) };
        let Some(guard) = guard else { return self.checked(code) };
        guard.remove(&mut self.first);
        let Err(mut faults) = self.checked(code) else { return Ok(()) };
        let all = faults.len();
        faults.retain(|fault| !tail::is_of_tail(fault));
        if faults.is_empty() && all > 0 { Ok(()) } else { Err(faults) }
    }

    /// The same for one module's top nodes and all below them.
    pub(in crate::yang) fn validate_module(&mut self, module: ModuleRef) -> Result<(), Vec<Fault>> {
        let options = sys::LYD_VALIDATE_NO_STATE | sys::LYD_VALIDATE_MULTI_ERROR;
        let module = module.0.as_ptr();
        self.touch_all();
        let _watch = Watch::over_validation();
        // SAFETY: as in `validate`; the module is of the context that all trees share.
        let code = unsafe { sys::lyd_validate_module(&raw mut self.first, module, options, ptr::null_mut()) };
        self.checked(code)
    }

    pub fn add_defaults(&mut self) {
        self.touch_all();
        let _watch = Watch::over_validation();
        // SAFETY: as in `validate`.
        let code = unsafe {
            sys::lyd_new_implicit_all(&raw mut self.first, self.context(), sys::LYD_IMPLICIT_NO_STATE, ptr::null_mut())
        };
        self.drop_undecided(code);
    }

    /// The same for one module's top nodes and all below them.
    pub(in crate::yang) fn add_defaults_of_module(&mut self, module: ModuleRef) {
        let options = sys::LYD_IMPLICIT_NO_STATE;
        self.touch_all();
        let _watch = Watch::over_validation();
        // SAFETY: as in `validate`; the module is of the context that all trees share.
        let code =
            unsafe { sys::lyd_new_implicit_module(&raw mut self.first, module.0.as_ptr(), options, ptr::null_mut()) };
        self.drop_undecided(code);
    }

    /// A `when` that cannot be decided yet: validation will say so where it matters.
    fn drop_undecided(&self, code: sys::LY_ERR::Type) {
        if code != 0 {
            self.faults();
        }
    }
}
