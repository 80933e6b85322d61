//! What the allocator really sets aside for a request.
//!
//! Exists so that `memory()` of every structure is computed from its own fields, in O(1) and equally on every
//! machine, and still agrees with the figures of jemalloc, which the production server uses.
//!
//! Always true: `alloc_size(n) >= n`, it never decreases, and `alloc_size(alloc_size(n)) == alloc_size(n)`.

/// Bytes jemalloc hands out for a request of `bytes`.
///
/// Classes: every 8 up to 64, then four per doubling (80, 96, 112, 128, 160, …), as jemalloc is built for us
/// (`.cargo/config.toml`). A request of 0 allocates nothing.
pub const fn alloc_size(bytes: usize) -> usize {
    if bytes <= 64 {
        return bytes.next_multiple_of(8);
    }
    // The largest power of two below `bytes` starts the group; its classes lie a quarter of it apart.
    let group = 1usize << (usize::BITS - 1 - (bytes - 1).leading_zeros());
    bytes.next_multiple_of(group / 4)
}

#[cfg(test)]
mod tests {
    use super::alloc_size;

    #[test]
    fn classes_are_those_of_jemalloc() {
        let classes =
            [8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640];
        let mut below = 0;
        for class in classes {
            assert_eq!(alloc_size(below + 1), class, "just above {below}");
            assert_eq!(alloc_size(class), class);
            below = class;
        }
        assert_eq!(alloc_size(0), 0);
        assert_eq!(alloc_size(4097), 5120);
        assert_eq!(alloc_size((1 << 30) + 1), (1 << 30) + (1 << 28));
    }
}
