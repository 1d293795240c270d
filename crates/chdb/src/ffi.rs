//! The three functions of `libchdb.so` that this program calls, resolved at run time.
//!
//! The npm package ships no header: these are the declarations of chDB 26.7. `chdb_query_cmdline` is ClickHouse's
//! program `clickhouse-local` as one call: it runs the statements of its arguments, and returns when they have ended.
//! A process may call it once.

#![expect(unsafe_code, reason = "the engine is a C library")]

use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::Path;

type Cmdline = unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut c_void;
type ErrorOf = unsafe extern "C" fn(*mut c_void) -> *const c_char;
type Version = unsafe extern "C" fn() -> *const c_char;
type SetSignalHandlers = unsafe extern "C" fn(c_int);

/// The functions. Filled once, never unloaded.
#[derive(Clone, Copy)]
pub struct Library {
    cmdline: Cmdline,
    error_of: ErrorOf,
    version: Version,
}

/// Why the library is of no use.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{0}")]
    Load(libloading::Error),
    #[error("it has no `{0}`")]
    Lacks(&'static str),
}

impl Library {
    /// Loads the library at `path` for the life of the process.
    ///
    /// # Errors
    /// The loader's own words (no such file, wrong architecture), or the function that is not there.
    pub fn load(path: &Path) -> Result<Self, LoadError> {
        // SAFETY: the library's initialisers run here. They are the engine's own and need nothing of us.
        let library = unsafe { libloading::Library::new(path) }.map_err(LoadError::Load)?;
        macro_rules! function {
            ($name:literal, $type:ty) => {
                // SAFETY: the type is the C declaration of that function in chDB 26.7.
                *unsafe { library.get::<$type>($name) }.map_err(|_| LoadError::Lacks($name))?
            };
        }
        let functions = Self {
            cmdline: function!("chdb_query_cmdline", Cmdline),
            error_of: function!("chdb_result_error", ErrorOf),
            version: function!("chdb_version", Version),
        };
        let set_signal_handlers = function!("chdb_set_signal_handlers_enabled", SetSignalHandlers);
        // SAFETY: called before anything else of the library, as it asks. Signals are this program's.
        unsafe { set_signal_handlers(0) };
        // The engine keeps threads that run the library's code: unloading it would be unsound.
        std::mem::forget(library);
        Ok(functions)
    }

    /// As the package is numbered, `26.7.3`.
    pub fn version(&self) -> String {
        // SAFETY: the library answers a constant.
        unsafe { text((self.version)()) }.unwrap_or_default()
    }

    /// Runs ClickHouse's program with `arguments` until it ends; its error, if it has one that it has not printed.
    pub fn run(&self, arguments: &[CString]) -> Option<String> {
        let mut argv: Vec<*mut c_char> = arguments.iter().map(|text| text.as_ptr().cast_mut()).collect();
        let argc = c_int::try_from(argv.len()).unwrap_or(c_int::MAX);
        // SAFETY: `argv` holds `argc` strings that outlive the call.
        let result = unsafe { (self.cmdline)(argc, argv.as_mut_ptr()) };
        // The process ends after this: the result is not freed.
        // SAFETY: a result of this library, or null, which is asked for first.
        (!result.is_null()).then(|| unsafe { text((self.error_of)(result)) }).flatten()
    }
}

/// # Safety
/// `text` is null or ends with a zero byte.
unsafe fn text(text: *const c_char) -> Option<String> {
    // SAFETY: of the caller.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}
