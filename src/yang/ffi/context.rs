//! The schema context: making it, loading modules into it, and the errors that libyang stores beside it.
#![expect(unsafe_code, reason = "libyang is a C library")]

use std::ffi::{CStr, CString, c_char};
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::OnceLock;

use libyang5_sys as sys;

use super::schema::ModuleRef;

/// One error as libyang tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::yang) struct Fault {
    pub(in crate::yang) validation_code: u32,
    pub(in crate::yang) message: String,
    pub(in crate::yang) data_path: Option<String>,
    pub(in crate::yang) schema_path: Option<String>,
    pub(in crate::yang) line: Option<u64>,
    pub(in crate::yang) app_tag: Option<String>,
}

/// How a schema is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::yang) enum PrintFormat {
    Yang,
    Yin,
}

/// A context that is never freed: whoever holds one may keep schema pointers for ever.
#[derive(Debug)]
pub(in crate::yang) struct Context(NonNull<sys::ly_ctx>);

// SAFETY: after loading is done nobody writes to the context but libyang itself, which guards its dictionary by a lock
// and keeps errors per thread.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    /// libyang brings ietf-yang-library with itself, which we serve.
    pub(in crate::yang) fn new() -> Option<Self> {
        Self::with_options(0)
    }

    fn with_options(more: u32) -> Option<Self> {
        let mut raw = ptr::null_mut();
        // The current directory is never searched.
        let options = sys::LY_CTX_DISABLE_SEARCHDIR_CWD | sys::LY_CTX_STATIC_PLUGINS_ONLY | more;
        // SAFETY: `raw` is a place for the new context.
        let code = unsafe { sys::ly_ctx_new(ptr::null(), options, &raw mut raw) };
        // SAFETY: sets a global of libyang; errors are stored, nothing is printed. ly_ctx_new resets neither.
        unsafe {
            sys::ly_log_options(sys::LY_LOSTORE);
            sys::ly_log_level(sys::LY_LOG_LEVEL::LY_LLERR);
        }
        if code != 0 {
            return None;
        }
        NonNull::new(raw).map(Self)
    }

    /// One in which nothing is defined but what libyang cannot do without. Made once, never changed.
    pub(in crate::yang) fn without_modules() -> Option<&'static Self> {
        static BARE: OnceLock<Option<Context>> = OnceLock::new();
        BARE.get_or_init(|| Self::with_options(sys::LY_CTX_NO_YANGLIBRARY)).as_ref()
    }

    pub(in crate::yang) fn raw(&self) -> *mut sys::ly_ctx {
        self.0.as_ptr()
    }

    pub(in crate::yang) fn search(&self, directory: &Path) -> bool {
        let Ok(directory) = CString::new(directory.as_os_str().as_encoded_bytes()) else {
            return false;
        };
        // SAFETY: both pointers are valid for the call; libyang copies the string.
        let code = unsafe { sys::ly_ctx_set_searchdir(self.raw(), directory.as_ptr()) };
        code == 0 || code == sys::LY_ERR::LY_EEXIST
    }

    /// Loads and implements a module. A feature `*` means all of them.
    pub(in crate::yang) fn load(
        &self,
        name: &str,
        revision: Option<&str>,
        features: &[String],
    ) -> Result<ModuleRef, Vec<Fault>> {
        let text = |text: &str| CString::new(text).map_err(|_| vec![Fault::plain("a name contains a zero byte")]);
        let name = text(name)?;
        let revision = revision.map(text).transpose()?;
        let features: Vec<CString> = features.iter().map(|feature| text(feature)).collect::<Result<_, _>>()?;
        let mut pointers: Vec<*const c_char> = features.iter().map(|feature| feature.as_ptr()).collect();
        pointers.push(ptr::null());
        let revision = revision.as_ref().map_or(ptr::null(), |revision| revision.as_ptr());
        // SAFETY: all strings outlive the call; the feature array ends with a null pointer.
        let module = unsafe { sys::ly_ctx_load_module(self.raw(), name.as_ptr(), revision, pointers.as_mut_ptr()) };
        let faults = self.take_faults();
        match NonNull::new(module) {
            Some(module) => Ok(ModuleRef(module)),
            None => Err(faults),
        }
    }

    pub(in crate::yang) fn modules(&self) -> Vec<ModuleRef> {
        let mut index = 0;
        // SAFETY: the context is valid; libyang returns null after the last module.
        std::iter::from_fn(|| NonNull::new(unsafe { sys::ly_ctx_get_module_iter(self.raw(), &raw mut index) }))
            .map(ModuleRef)
            .collect()
    }

    /// The implemented module of that name.
    pub(in crate::yang) fn module(&self, name: &str) -> Option<ModuleRef> {
        let name = CString::new(name).ok()?;
        // SAFETY: both pointers are valid for the call.
        NonNull::new(unsafe { sys::ly_ctx_get_module_implemented(self.raw(), name.as_ptr()) }).map(ModuleRef)
    }

    /// The text of a submodule, as libyang prints it.
    pub(in crate::yang) fn submodule_text(
        &self,
        name: &str,
        revision: Option<&str>,
        format: PrintFormat,
    ) -> Option<String> {
        let name = CString::new(name).ok()?;
        let revision = revision.map(CString::new).transpose().ok()?;
        // SAFETY: the strings outlive the calls.
        let submodule = unsafe {
            match &revision {
                Some(revision) => sys::ly_ctx_get_submodule(self.raw(), name.as_ptr(), revision.as_ptr()),
                None => sys::ly_ctx_get_submodule_latest(self.raw(), name.as_ptr()),
            }
        };
        if submodule.is_null() {
            return None;
        }
        // SAFETY: `submodule` was just found in the context.
        printed(|out| unsafe { sys::lys_print_submodule(out, submodule, format.raw(), 0, 0) })
    }

    /// Everything libyang has to say since it was last asked, oldest first.
    pub(in crate::yang) fn take_faults(&self) -> Vec<Fault> {
        let mut faults = Vec::new();
        // SAFETY: the list belongs to this thread; items stay until ly_err_clean below.
        unsafe {
            let mut item = sys::ly_err_first(self.raw());
            while let Some(error) = item.as_ref() {
                if error.level == sys::LY_LOG_LEVEL::LY_LLERR {
                    faults.push(Fault {
                        validation_code: error.vecode,
                        message: copied(error.msg).unwrap_or_default(),
                        data_path: copied(error.data_path),
                        schema_path: copied(error.schema_path),
                        line: (error.line != 0).then_some(error.line),
                        app_tag: copied(error.apptag),
                    });
                }
                item = error.next;
            }
            sys::ly_err_clean(self.raw(), ptr::null_mut());
        }
        faults
    }
}

impl Fault {
    pub(in crate::yang) fn plain(message: &str) -> Self {
        Self {
            validation_code: 0,
            message: message.to_owned(),
            data_path: None,
            schema_path: None,
            line: None,
            app_tag: None,
        }
    }
}

impl PrintFormat {
    pub(super) fn raw(self) -> sys::LYS_OUTFORMAT::Type {
        match self {
            Self::Yang => sys::LYS_OUTFORMAT::LYS_OUT_YANG,
            Self::Yin => sys::LYS_OUTFORMAT::LYS_OUT_YIN,
        }
    }
}

/// Text of a module or submodule printed by `print` into memory.
pub(super) fn printed(print: impl FnOnce(*mut sys::ly_out) -> sys::LY_ERR::Type) -> Option<String> {
    let mut text = ptr::null_mut();
    let mut out = ptr::null_mut();
    // SAFETY: both are places for what libyang makes.
    if unsafe { sys::ly_out_new_memory(&raw mut text, 0, &raw mut out) } != 0 {
        return None;
    }
    let code = print(out);
    // SAFETY: `out` is ours and not used again; destroy = 0 leaves `text` to us.
    unsafe { sys::ly_out_free(out, None, 0) };
    let text = owned(text);
    if code == 0 { text } else { None }
}

/// A copy of a C string; `None` for a null pointer.
///
/// Private to this folder: every pointer given is null or a terminated string that libyang keeps for the call.
pub(super) fn copied(text: *const c_char) -> Option<String> {
    borrowed(text).map(str::to_owned)
}

/// A C string as it stands; libyang checks that its texts are UTF-8.
pub(super) fn borrowed<'a>(text: *const c_char) -> Option<&'a str> {
    if text.is_null() {
        return None;
    }
    // SAFETY: the caller's pointer is a terminated string that lives for 'a.
    Some(unsafe { CStr::from_ptr(text) }.to_str().unwrap_or(""))
}

/// Takes over a string that libyang allocated for us.
pub(super) fn owned(text: *mut c_char) -> Option<String> {
    let copy = copied(text);
    // SAFETY: libyang allocates with malloc and gives it away; free takes null too.
    unsafe { libc::free(text.cast()) };
    copy
}
