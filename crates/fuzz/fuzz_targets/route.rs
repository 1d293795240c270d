#![no_main]

libfuzzer_sys::fuzz_target!(|input: &str| weir_fuzz::route(input));
