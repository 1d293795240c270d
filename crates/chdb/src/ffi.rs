//! The C interface of `libchdb.so`, as this program uses it, resolved at run time.
//!
//! Only signatures live here; what may be called when, and who frees what, is the business of
//! [`crate::engine`]. The npm package ships no header: these are the declarations of chDB 26.7.

use std::ffi::{c_char, c_int, c_void};
use std::path::Path;

/// `chdb_connection`: a pointer to an opaque struct.
pub type Conn = *mut c_void;
/// `chdb_result *`.
pub type ResultPtr = *mut c_void;
/// `chdb_insert_stream`.
pub type InsertPtr = *mut c_void;

/// `chdb_query_analysis_v1`: versioned by its own size.
#[repr(C)]
#[derive(Default)]
pub struct Analysis {
    pub struct_size: u32,
    pub statement_count: u32,
    pub flags: u32,
    pub query_class: u32,
}

type Text = *const c_char;
type ResultU64 = unsafe extern "C" fn(ResultPtr) -> u64;
/// Query with parameters: connection, sql, format, then four parallel arrays and their length.
pub type WithParams<T> = unsafe extern "C" fn(
    Conn,
    Text,
    usize,
    Text,
    usize,
    *const Text,
    *const usize,
    *const Text,
    *const usize,
    usize,
) -> T;

macro_rules! symbols {
    ($($field:ident = $name:literal : $ty:ty;)*) => {
        /// Every function of the library that this program calls. Filled once, never unloaded.
        pub struct Symbols { $(pub $field: $ty,)* }

        impl Symbols {
            /// Loads the library at `path` for the life of the process.
            ///
            /// # Errors
            /// The loader's own words: no such file, wrong architecture, a symbol that is not there.
            pub fn load(path: &Path) -> Result<&'static Symbols, libloading::Error> {
                // SAFETY: the library's initialisers run here. They are the engine's own and need
                // nothing of us; the caller has not started other threads yet.
                let library = unsafe { libloading::Library::new(path)? };
                // SAFETY: each type below is the C declaration of that symbol in chDB 26.7.
                let symbols = unsafe { Symbols { $($field: *library.get::<$ty>($name)?,)* } };
                // The engine keeps threads that run the library's code: unloading it would be unsound.
                std::mem::forget(library);
                Ok(Box::leak(Box::new(symbols)))
            }
        }
    };
}

symbols! {
    set_signal_handlers = b"chdb_set_signal_handlers_enabled\0": unsafe extern "C" fn(c_int);
    connect = b"chdb_connect\0": unsafe extern "C" fn(c_int, *mut *mut c_char) -> *mut Conn;
    close = b"chdb_close_conn\0": unsafe extern "C" fn(*mut Conn);
    query = b"chdb_query_with_params_n\0": WithParams<ResultPtr>;
    stream_query = b"chdb_stream_query_with_params_n\0": WithParams<ResultPtr>;
    stream_fetch = b"chdb_stream_fetch_result\0": unsafe extern "C" fn(Conn, ResultPtr) -> ResultPtr;
    stream_cancel = b"chdb_stream_cancel_query\0": unsafe extern "C" fn(Conn, ResultPtr);
    stream_insert = b"chdb_stream_insert_with_params_n\0": WithParams<InsertPtr>;
    insert_error = b"chdb_stream_insert_error\0": unsafe extern "C" fn(InsertPtr) -> Text;
    insert_append = b"chdb_stream_append\0": unsafe extern "C" fn(InsertPtr, *const c_void, usize) -> c_int;
    insert_done = b"chdb_stream_done\0": unsafe extern "C" fn(InsertPtr) -> ResultPtr;
    insert_destroy = b"chdb_destroy_insert_stream\0": unsafe extern "C" fn(InsertPtr);
    classify = b"chdb_classify_query_n\0": unsafe extern "C" fn(Conn, Text, usize, Text, usize, *mut Analysis) -> c_int;
    destroy_result = b"chdb_destroy_query_result\0": unsafe extern "C" fn(ResultPtr);
    result_buffer = b"chdb_result_buffer\0": unsafe extern "C" fn(ResultPtr) -> *mut c_char;
    result_length = b"chdb_result_length\0": unsafe extern "C" fn(ResultPtr) -> usize;
    result_error = b"chdb_result_error\0": unsafe extern "C" fn(ResultPtr) -> Text;
    result_rows = b"chdb_result_rows_read\0": ResultU64;
    result_bytes = b"chdb_result_bytes_read\0": ResultU64;
    read_rows = b"chdb_result_storage_rows_read\0": ResultU64;
    read_bytes = b"chdb_result_storage_bytes_read\0": ResultU64;
    written_rows = b"chdb_result_rows_written\0": ResultU64;
    written_bytes = b"chdb_result_bytes_written\0": ResultU64;
}
