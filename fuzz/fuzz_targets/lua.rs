//! `lua` of `perdura_tests::fuzz`, fed by libFuzzer.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| perdura_tests::fuzz::lua(data));
