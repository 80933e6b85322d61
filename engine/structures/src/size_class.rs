//! What an allocation really costs: jemalloc's size classes as arithmetic.
//!
//! Exists because memory use is computed from data, never asked from the allocator, so that simulation and
//! production count the same bytes; a figure without the rounding would be wrong by a fifth.
//!
//! Always true: `size_class(n) >= n`, it never decreases, and a class is its own class.
//!
//! Not here: the allocator itself (`server`), nor what its page headers and free lists add.

/// Bytes that a request for `size` bytes occupies; 0 for 0, because nothing is allocated then.
///
/// Classes are 8, then steps of 16 up to 128, then four steps per doubling (160, 192, 224, 256, 320 …).
#[inline]
pub const fn size_class(size: usize) -> usize {
    if size == 0 {
        return 0;
    }
    if size <= 8 {
        return 8;
    }
    if size <= 128 {
        return size.next_multiple_of(16);
    }
    // The doubling that `size` falls into starts above 2^exponent; each has four steps.
    let exponent = (size - 1).ilog2();
    size.next_multiple_of(1 << (exponent - 2))
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn classes_are_those_of_jemalloc() {
        let cases = [
            (0, 0),
            (1, 8),
            (8, 8),
            (9, 16),
            (17, 32),
            (33, 48),
            (49, 64),
            (112, 112),
            (113, 128),
            (128, 128),
            (129, 160),
            (161, 192),
            (193, 224),
            (225, 256),
            (257, 320),
            (512, 512),
            (513, 640),
            (1025, 1280),
            (14337, 16384),
            (16385, 20480),
            (20481, 24576),
            (32769, 40960),
        ];
        for (size, class) in cases {
            assert_eq!(size_class(size), class, "request of {size} bytes");
        }
    }
}
