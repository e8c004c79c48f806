#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate::mangled::link::stream(bytes));
