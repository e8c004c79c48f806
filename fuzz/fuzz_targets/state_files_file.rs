#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| tidegate::mangled::state_files::file(b"rows", bytes));
