//! Any bytes in the place of a dead process's ring: no panic, numbers in the order in which they stand, and memory
//! bounded by the file. The first 8 KiB come from the fuzzer, at both ends of a ring of the smallest size.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_spool::{Recovered, read_names};

const FILE: usize = 4096 + 8 * 16 * 1024;

fuzz_target!(|data: &[u8]| {
    read_names(data);
    let mut file = vec![0; FILE];
    let len = data.len().min(FILE);
    file[..len].copy_from_slice(&data[..len]);
    for file in [&file[..], data] {
        if let Some(ring) = Recovered::read(file) {
            let mut bytes = 0;
            let end = ring.records(|_, payload| bytes += payload.len());
            assert!(bytes <= file.len());
            assert!(end.next_seq >= ring.sealed_seq());
        }
    }
});
