#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| pipeline_extractors::fuzzing::configuration(bytes));
