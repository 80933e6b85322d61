//! How large tests are: as they read natively, and small enough for Miri.
//!
//! Exists because Miri, which looks for undefined behaviour, takes some thousand times as long for a step. A test under it needs
//! to reach every branch once, not a million entries.
//!
//! Not here: how many cases proptest draws where a test does not say (`PROPTEST_CASES`).

/// `native`, or `miri` in a run of Miri.
pub(crate) const fn size(native: usize, miri: usize) -> usize {
    if cfg!(miri) { miri } else { native }
}

/// [`size`] for a number of cases that proptest draws.
pub(crate) fn cases(native: u32, miri: u32) -> proptest::test_runner::Config {
    proptest::test_runner::Config::with_cases(if cfg!(miri) { miri } else { native })
}
