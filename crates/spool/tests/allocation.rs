//! An append allocates nothing, whether it writes, wraps around or sheds.

#![expect(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::{config, record, start};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use weir_event::NameId;
use weir_spool::Appended;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call goes to the system's allocator as it came; counting touches a `Cell` of this thread only.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller keeps the contract of `GlobalAlloc::dealloc`.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

#[test]
fn an_append_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (_spool, mut ring) = start(config(folder.path()));
    let mut bytes = record(0, NameId::NONE);
    let before = ALLOCATIONS.with(Cell::get);
    let mut shed = 0;
    // A hundred rings' worth: it wraps, and it sheds while the spool's thread is behind.
    for seq in 0..400_000_u64 {
        bytes[..8].copy_from_slice(&seq.to_le_bytes());
        shed += u64::from(ring.append(seq, &bytes) == Appended::Shed);
    }
    assert_eq!(ALLOCATIONS.with(Cell::get), before);
    assert!(shed > 0, "a full ring was part of it");
    drop(record(0, NameId::NONE));
    assert!(ALLOCATIONS.with(Cell::get) > before, "the counter counts");
}
