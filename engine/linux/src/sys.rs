//! System calls as safe functions: the thinnest layer that owns the `unsafe`.
//!
//! Exists so that every other file of this crate reads as plain Rust. Each function is one call, retried after
//! EINTR where the call did nothing, with paths relative to a directory descriptor.
//!
//! Not here: any meaning (`files.rs`, `listen.rs`, `child.rs` …).

use std::ffi::{CStr, CString};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// Error number of an [`io::Error`]; EIO for one that did not come from the kernel.
pub fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

fn check_size(result: libc::ssize_t) -> io::Result<usize> {
    usize::try_from(result).map_err(|_| io::Error::last_os_error())
}

fn again_after_eintr<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            result => return result,
        }
    }
}

fn c_path(path: &str) -> io::Result<CString> {
    CString::new(path).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

// --- clocks ---

/// Microseconds shown by a clock.
pub fn clock_us(clock: libc::clockid_t) -> u64 {
    clock_ns(clock) / 1_000
}

/// Nanoseconds shown by a clock.
pub fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is valid for writing; the call fails only for an unknown clock, which leaves it zero.
    unsafe { libc::clock_gettime(clock, &mut time) };
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

/// The processor's own counter; what a tick is depends on the processor.
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 has this instruction, which only reads; Linux lets everybody use it.
    unsafe { core::arch::x86_64::_rdtsc() }
}

/// Whether the counter runs evenly, whatever the processor's frequency.
#[cfg(target_arch = "x86_64")]
pub fn has_steady_ticks() -> bool {
    use core::arch::x86_64::__cpuid;
    /// What the processor says of its power management, and the bit in its answer.
    const POWER_LEAF: u32 = 0x8000_0007;
    const INVARIANT: u32 = 1 << 8;
    #[allow(unused_unsafe, reason = "unsafe in some versions of the standard library")]
    // SAFETY: every x86-64 has this instruction, which only reads.
    let (last, power) = unsafe { (__cpuid(0x8000_0000).eax, __cpuid(POWER_LEAF).edx) };
    last >= POWER_LEAF && power & INVARIANT != 0
}

/// The processor's own counter.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    0
}

/// Whether the counter runs evenly, whatever the processor's frequency.
#[cfg(not(target_arch = "x86_64"))]
pub fn has_steady_ticks() -> bool {
    false
}

// --- what the system knows of us ---

/// Processor time used in the kernel and outside of it, microseconds; zeros for an unknown `who`.
pub fn processor_time_us(who: libc::c_int) -> (u64, u64) {
    // SAFETY: all-zero bytes are a valid rusage, which has numbers only.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: `usage` is valid for writing; the call fails only for an unknown `who`, which leaves it zero.
    unsafe { libc::getrusage(who, &mut usage) };
    let us = |time: libc::timeval| {
        u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000 + u64::try_from(time.tv_usec).unwrap_or(0)
    };
    (us(usage.ru_stime), us(usage.ru_utime))
}

/// Memory of the machine and of one page, bytes.
pub fn memory_and_page_bytes() -> (u64, u64) {
    // SAFETY: sysconf takes no pointer.
    let (pages, page) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    let page = u64::try_from(page).unwrap_or(4096);
    (u64::try_from(pages).unwrap_or(0) * page, page)
}

/// Bytes free for us on the file system of an open file.
pub fn free_bytes(fd: BorrowedFd) -> io::Result<u64> {
    // SAFETY: all zeros are a valid value of this plain structure.
    let mut stats: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel fills `stats`, which outlives the call.
    check(unsafe { libc::fstatvfs(fd.as_raw_fd(), &raw mut stats) })?;
    Ok(stats.f_bavail.saturating_mul(stats.f_frsize))
}

/// The allocator gives unused memory back to the system.
pub fn purge_memory() {
    /// jemalloc's number for all arenas together (`MALLCTL_ARENAS_ALL`).
    const PURGE_ALL: &[u8] = b"arena.4096.purge\0";
    // SAFETY: the name ends in a zero byte, and this command takes and gives no value, so all pointers may be null.
    let status = unsafe {
        tikv_jemalloc_sys::mallctl(
            PURGE_ALL.as_ptr().cast(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            std::ptr::null_mut(),
            0,
        )
    };
    if status != 0 {
        tracing::warn!("The allocator does not give memory back: error {status}");
    }
}

/// Zeroed memory of this process alone: a forked child does not get it.
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps `len` bytes. Pages never touched cost nothing.
    pub fn new(len: usize) -> io::Result<Mapping> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: without a wanted address and a file, the call takes numbers only.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), len, protection, flags, -1, 0) };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let mapping = Mapping { start: start.cast(), len };
        // SAFETY: the range is the mapping just made; a child has no use for it.
        check(unsafe { libc::madvise(start, len, libc::MADV_DONTFORK) })?;
        Ok(mapping)
    }

    /// Its first byte, at the beginning of a page.
    pub fn start(&self) -> *mut u8 {
        self.start
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` and unmapped only here; whoever holds an address holds the mapping too.
        unsafe { libc::munmap(self.start.cast(), self.len) };
    }
}

// --- files ---

/// Opens a file relative to `dir`, close-on-exec.
pub fn open_at(dir: BorrowedFd, path: &str, flags: libc::c_int, mode: libc::mode_t) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    let fd = again_after_eintr(|| {
        // SAFETY: `path` is a NUL-terminated string that outlives the call.
        check(unsafe { libc::openat(dir.as_raw_fd(), path.as_ptr(), flags | libc::O_CLOEXEC, mode) })
    })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a directory relative to the working directory.
pub fn open_dir(path: &str) -> io::Result<OwnedFd> {
    // SAFETY: AT_FDCWD is not a descriptor that could be closed; it stands for the working directory.
    let cwd = unsafe { BorrowedFd::borrow_raw(libc::AT_FDCWD) };
    open_at(cwd, path, libc::O_RDONLY | libc::O_DIRECTORY, 0)
}

/// Writes once; may take fewer bytes than given.
pub fn write(fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
    again_after_eintr(|| {
        // SAFETY: pointer and length describe a live slice.
        check_size(unsafe { libc::write(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len()) })
    })
}

/// Reads once.
pub fn read(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<usize> {
    again_after_eintr(|| {
        // SAFETY: pointer and length describe a live slice we may write to.
        check_size(unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) })
    })
}

/// Reads once at an offset.
pub fn read_at(fd: BorrowedFd, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let offset = libc::off_t::try_from(offset).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    again_after_eintr(|| {
        // SAFETY: pointer and length describe a live slice we may write to.
        check_size(unsafe { libc::pread(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), offset) })
    })
}

/// Makes contents and length durable. Never retried: a second call could report success over lost pages.
pub fn fdatasync(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: takes a descriptor only.
    check(unsafe { libc::fdatasync(fd.as_raw_fd()) }).map(drop)
}

/// Makes contents and all metadata durable; on a directory, its names.
pub fn fsync(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: takes a descriptor only.
    check(unsafe { libc::fsync(fd.as_raw_fd()) }).map(drop)
}

/// Sets a file's length.
pub fn truncate(fd: BorrowedFd, len: u64) -> io::Result<()> {
    let len = libc::off_t::try_from(len).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: takes numbers only.
    again_after_eintr(|| check(unsafe { libc::ftruncate(fd.as_raw_fd(), len) })).map(drop)
}

/// Makes a directory.
pub fn mkdir_at(dir: BorrowedFd, path: &str, mode: libc::mode_t) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    check(unsafe { libc::mkdirat(dir.as_raw_fd(), path.as_ptr(), mode) }).map(drop)
}

/// Gives a file another name, replacing its present owner.
pub fn rename_at(dir: BorrowedFd, from: &str, to: &str) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both are NUL-terminated strings that outlive the call.
    check(unsafe { libc::renameat(dir.as_raw_fd(), from.as_ptr(), dir.as_raw_fd(), to.as_ptr()) }).map(drop)
}

/// Gives a file a second name.
pub fn link_at(dir: BorrowedFd, from: &str, to: &str) -> io::Result<()> {
    let (from, to) = (c_path(from)?, c_path(to)?);
    // SAFETY: both are NUL-terminated strings that outlive the call.
    check(unsafe { libc::linkat(dir.as_raw_fd(), from.as_ptr(), dir.as_raw_fd(), to.as_ptr(), 0) }).map(drop)
}

/// Removes a file's name.
pub fn unlink_at(dir: BorrowedFd, path: &str) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    check(unsafe { libc::unlinkat(dir.as_raw_fd(), path.as_ptr(), 0) }).map(drop)
}

/// What a name leads to, links followed.
pub fn stat_at(dir: BorrowedFd, path: &str) -> io::Result<libc::stat> {
    stat_c(dir, &c_path(path)?)
}

fn stat_c(dir: BorrowedFd, path: &CStr) -> io::Result<libc::stat> {
    let mut stat = mem::MaybeUninit::<libc::stat>::uninit();
    // SAFETY: `path` is NUL-terminated, `stat` is valid for writing.
    check(unsafe { libc::fstatat(dir.as_raw_fd(), path.as_ptr(), stat.as_mut_ptr(), 0) })?;
    // SAFETY: the call succeeded, so the kernel filled the structure.
    Ok(unsafe { stat.assume_init() })
}

/// The names in an open directory with what they lead to, in the kernel's order, without `.` and `..`.
///
/// Names that are not UTF-8 and names that vanish meanwhile are left out: neither can be one of ours.
pub fn read_dir(dir: OwnedFd) -> io::Result<Vec<(String, libc::stat)>> {
    let handle = dir.try_clone()?;
    let stream = DirStream::open(dir)?;
    let mut names = Vec::new();
    while let Some(name) = stream.next_name()? {
        if name == c"." || name == c".." {
            continue;
        }
        let Ok(text) = name.to_str() else { continue };
        let text = text.to_owned();
        use std::os::fd::AsFd;
        if let Ok(stat) = stat_at(handle.as_fd(), &text) {
            names.push((text, stat));
        }
    }
    Ok(names)
}

struct DirStream(*mut libc::DIR);

impl DirStream {
    fn open(dir: OwnedFd) -> io::Result<DirStream> {
        // SAFETY: on success the stream owns the descriptor and closes it; on failure we still do.
        let stream = unsafe { libc::fdopendir(dir.as_raw_fd()) };
        if stream.is_null() {
            return Err(io::Error::last_os_error());
        }
        mem::forget(dir);
        Ok(DirStream(stream))
    }

    /// The next name, or `None` at the end.
    fn next_name(&self) -> io::Result<Option<&CStr>> {
        // SAFETY: errno is a thread-local integer; clearing it tells an end from a failure.
        unsafe { *libc::__errno_location() = 0 };
        // SAFETY: the stream is open, and used by this thread alone.
        let entry = unsafe { libc::readdir(self.0) };
        if entry.is_null() {
            let error = io::Error::last_os_error();
            return if error.raw_os_error() == Some(0) { Ok(None) } else { Err(error) };
        }
        // SAFETY: d_name is NUL-terminated and lives until the next readdir; the caller copies it before that.
        Ok(Some(unsafe { CStr::from_ptr((*entry).d_name.as_ptr()) }))
    }
}

impl Drop for DirStream {
    fn drop(&mut self) {
        // SAFETY: opened by fdopendir and closed only here.
        unsafe { libc::closedir(self.0) };
    }
}

/// Takes an exclusive advisory lock at once, or fails with EWOULDBLOCK.
pub fn lock_exclusive(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: takes a descriptor only.
    check(unsafe { libc::flock(fd.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }).map(drop)
}

/// Sets permissions of a path relative to the working directory.
pub fn chmod(path: &str, mode: u32) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    check(unsafe { libc::chmod(path.as_ptr(), mode) }).map(drop)
}

// --- readiness, pipes, doorbells ---

/// A new epoll instance.
pub fn epoll_create() -> io::Result<OwnedFd> {
    // SAFETY: takes flags only.
    let fd = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Adds, changes or removes one descriptor of an epoll instance.
pub fn epoll_ctl(
    epoll: BorrowedFd,
    operation: libc::c_int,
    fd: RawFd,
    events: u32,
    token: u64,
) -> io::Result<()> {
    let mut event = libc::epoll_event { events, u64: token };
    // SAFETY: `event` is valid for the call; descriptors are numbers.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), operation, fd, &mut event) }).map(drop)
}

/// Waits for events; `None` waits for ever. A signal ends the wait with no event.
pub fn epoll_wait(
    epoll: BorrowedFd,
    events: &mut [libc::epoll_event],
    timeout_us: Option<u64>,
) -> io::Result<usize> {
    let count = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    let timeout_ms = match timeout_us {
        None => -1,
        Some(0) => 0,
        Some(us) => return epoll_wait_us(epoll, events, us),
    };
    // SAFETY: `events` is valid for `count` entries.
    let result = unsafe { libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), count, timeout_ms) };
    none_after_eintr(check(result))
}

/// The same with a timeout finer than a millisecond, where the kernel has it (5.11).
fn epoll_wait_us(epoll: BorrowedFd, events: &mut [libc::epoll_event], us: u64) -> io::Result<usize> {
    let us = us.min(3_600_000_000); // An hour: keeps every conversion below in range.
    let timeout =
        libc::timespec { tv_sec: (us / 1_000_000) as libc::time_t, tv_nsec: (us % 1_000_000 * 1_000) as _ };
    let count = libc::c_int::try_from(events.len()).unwrap_or(libc::c_int::MAX);
    // SAFETY: `events` is valid for `count` entries, `timeout` for the call; no signal mask is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_epoll_pwait2,
            epoll.as_raw_fd(),
            events.as_mut_ptr(),
            count,
            &timeout as *const libc::timespec,
            std::ptr::null::<libc::sigset_t>(),
            0usize,
        )
    };
    match none_after_eintr(check(result as libc::c_int)) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
            // SAFETY: `events` is valid for `count` entries; an hour in milliseconds fits.
            let result = unsafe {
                libc::epoll_wait(epoll.as_raw_fd(), events.as_mut_ptr(), count, us.div_ceil(1_000) as _)
            };
            none_after_eintr(check(result))
        }
        result => result,
    }
}

fn none_after_eintr(result: io::Result<libc::c_int>) -> io::Result<usize> {
    match result {
        Err(error) if error.raw_os_error() == Some(libc::EINTR) => Ok(0),
        result => result.map(|count| count as usize),
    }
}

/// A counter that can be waited for: written by anyone, signal handlers included.
pub fn event_fd() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes an event descriptor readable. It cannot fail in a way that matters: a full counter is readable too.
pub fn event_ring(fd: RawFd) {
    let one = 1u64.to_ne_bytes();
    // SAFETY: eight live bytes; async-signal-safe.
    unsafe { libc::write(fd, one.as_ptr().cast(), one.len()) };
}

/// Makes an event descriptor unreadable again.
pub fn event_clear(fd: BorrowedFd) {
    let mut count = [0; 8];
    // An error means that it was clear already.
    let _ = read(fd, &mut count);
}

/// A pipe whose reading end does not block.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut fds = [0; 2];
    // SAFETY: `fds` has room for the two descriptors.
    check(unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC) })?;
    // SAFETY: the kernel just gave us both; nobody else owns them.
    let (reader, writer) = unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) };
    // SAFETY: takes numbers only.
    check(unsafe { libc::fcntl(reader.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok((reader, writer))
}

/// Closes every descriptor but the standard ones and these: for a forked child, which must keep none of its parent's
/// sockets open.
///
/// # Safety
/// Nobody may use the others afterwards.
pub unsafe fn close_all_but(kept: &[RawFd]) {
    let mut kept = kept.to_vec();
    kept.sort_unstable();
    let mut first = libc::STDERR_FILENO + 1;
    for next in kept.iter().copied().chain([RawFd::MAX]) {
        // SAFETY: the caller vouches for it.
        if next > first && unsafe { libc::syscall(libc::SYS_close_range, first, next - 1, 0) } < 0 {
            // SAFETY: as above.
            return unsafe { close_one_by_one(&kept) };
        }
        first = first.max(next.saturating_add(1));
    }
}

/// The same on kernels before 5.9.
///
/// # Safety
/// As above.
unsafe fn close_one_by_one(kept: &[RawFd]) {
    let Ok(entries) = std::fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > libc::STDERR_FILENO && !kept.contains(fd)) {
        // SAFETY: as above.
        unsafe { libc::close(fd) };
    }
}

// --- sockets ---

/// A new nonblocking socket.
pub fn socket(family: libc::c_int) -> io::Result<OwnedFd> {
    // SAFETY: takes numbers only.
    let fd = check(unsafe {
        libc::socket(family, libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK, 0)
    })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an integer option of a socket.
pub fn set_option(
    fd: BorrowedFd,
    level: libc::c_int,
    name: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let len = mem::size_of_val(&value) as libc::socklen_t;
    let value: *const libc::c_int = &value;
    // SAFETY: `value` and its length describe a live integer.
    check(unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, value.cast(), len) }).map(drop)
}

/// A socket address in the kernel's form.
#[derive(Clone, Copy)]
pub struct SocketAddress {
    storage: libc::sockaddr_storage,
    len: libc::socklen_t,
}

impl SocketAddress {
    fn empty() -> SocketAddress {
        // SAFETY: all zeroes is a valid sockaddr_storage (AF_UNSPEC).
        let storage = unsafe { mem::zeroed() };
        SocketAddress { storage, len: mem::size_of::<libc::sockaddr_storage>() as libc::socklen_t }
    }

    /// From an IP address and port.
    pub fn inet(address: std::net::SocketAddr) -> SocketAddress {
        let mut result = SocketAddress::empty();
        match address {
            std::net::SocketAddr::V4(v4) => {
                let sin = libc::sockaddr_in {
                    sin_family: libc::AF_INET as libc::sa_family_t,
                    sin_port: v4.port().to_be(),
                    sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                    sin_zero: [0; 8],
                };
                result.len = mem::size_of::<libc::sockaddr_in>() as libc::socklen_t;
                // SAFETY: sockaddr_storage is large enough and aligned for every socket address.
                unsafe { (&raw mut result.storage).cast::<libc::sockaddr_in>().write(sin) };
            }
            std::net::SocketAddr::V6(v6) => {
                let sin6 = libc::sockaddr_in6 {
                    sin6_family: libc::AF_INET6 as libc::sa_family_t,
                    sin6_port: v6.port().to_be(),
                    sin6_flowinfo: v6.flowinfo(),
                    sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
                    sin6_scope_id: v6.scope_id(),
                };
                result.len = mem::size_of::<libc::sockaddr_in6>() as libc::socklen_t;
                // SAFETY: sockaddr_storage is large enough and aligned for every socket address.
                unsafe { (&raw mut result.storage).cast::<libc::sockaddr_in6>().write(sin6) };
            }
        }
        result
    }

    /// From a path of a unix socket; EINVAL where it is too long.
    pub fn unix(path: &str) -> io::Result<SocketAddress> {
        let mut result = SocketAddress::empty();
        // SAFETY: all zeroes is a valid sockaddr_un.
        let mut sun: libc::sockaddr_un = unsafe { mem::zeroed() };
        sun.sun_family = libc::AF_UNIX as libc::sa_family_t;
        if path.len() >= sun.sun_path.len() || path.contains('\0') {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        for (to, from) in sun.sun_path.iter_mut().zip(path.bytes()) {
            *to = from as libc::c_char;
        }
        result.len = mem::size_of::<libc::sockaddr_un>() as libc::socklen_t;
        // SAFETY: sockaddr_storage is large enough and aligned for every socket address.
        unsafe { (&raw mut result.storage).cast::<libc::sockaddr_un>().write(sun) };
        Ok(result)
    }

    /// The IP address and port, or `None` for another family.
    pub fn to_inet(self) -> Option<std::net::SocketAddr> {
        use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
        match libc::c_int::from(self.storage.ss_family) {
            libc::AF_INET => {
                // SAFETY: the family says which structure the kernel wrote.
                let sin = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in>().read() };
                let ip = Ipv4Addr::from(sin.sin_addr.s_addr.to_ne_bytes());
                Some(SocketAddr::V4(SocketAddrV4::new(ip, u16::from_be(sin.sin_port))))
            }
            libc::AF_INET6 => {
                // SAFETY: the family says which structure the kernel wrote.
                let sin6 = unsafe { (&raw const self.storage).cast::<libc::sockaddr_in6>().read() };
                let ip = Ipv6Addr::from(sin6.sin6_addr.s6_addr);
                let port = u16::from_be(sin6.sin6_port);
                Some(SocketAddr::V6(SocketAddrV6::new(ip, port, sin6.sin6_flowinfo, sin6.sin6_scope_id)))
            }
            _ => None,
        }
    }
}

/// Gives a socket its address.
pub fn bind(fd: BorrowedFd, address: &SocketAddress) -> io::Result<()> {
    // SAFETY: `address` holds `len` valid bytes.
    check(unsafe { libc::bind(fd.as_raw_fd(), (&raw const address.storage).cast(), address.len) }).map(drop)
}

/// Lets a socket take connections.
pub fn listen(fd: BorrowedFd, backlog: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::listen(fd.as_raw_fd(), backlog) }).map(drop)
}

/// Ends a socket, whoever else holds it open.
pub fn shutdown(fd: BorrowedFd) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::shutdown(fd.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}

/// Takes one waiting connection: its nonblocking socket and the other end's address.
pub fn accept(fd: BorrowedFd) -> io::Result<(OwnedFd, SocketAddress)> {
    let mut address = SocketAddress::empty();
    let socket = again_after_eintr(|| {
        // SAFETY: `address` has room for `len` bytes; the kernel sets both.
        check(unsafe {
            libc::accept4(
                fd.as_raw_fd(),
                (&raw mut address.storage).cast(),
                &mut address.len,
                libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC,
            )
        })
    })?;
    // SAFETY: the kernel just gave us this descriptor; nobody else owns it.
    Ok((unsafe { OwnedFd::from_raw_fd(socket) }, address))
}

/// Our own end's address.
pub fn local_address(fd: BorrowedFd) -> io::Result<SocketAddress> {
    let mut address = SocketAddress::empty();
    // SAFETY: `address` has room for `len` bytes; the kernel sets both.
    check(unsafe { libc::getsockname(fd.as_raw_fd(), (&raw mut address.storage).cast(), &mut address.len) })?;
    Ok(address)
}

/// Sends once on a socket; may take fewer bytes than given. A closed peer is EPIPE, without a signal.
pub fn send(fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
    again_after_eintr(|| {
        // SAFETY: pointer and length describe a live slice.
        check_size(unsafe {
            libc::send(fd.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), libc::MSG_NOSIGNAL)
        })
    })
}

/// The same, and 0 where the socket takes nothing at present.
pub fn send_or_nothing(fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
    match send(fd, bytes) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
        result => result,
    }
}

/// Receives once from a socket.
pub fn receive(fd: BorrowedFd, buffer: &mut [u8]) -> io::Result<usize> {
    again_after_eintr(|| {
        // SAFETY: pointer and length describe a live slice we may write to.
        check_size(unsafe { libc::recv(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) })
    })
}

// --- processes ---

/// The two sides of a fork.
pub enum Forked {
    /// In the parent: the child's process id.
    Parent(i32),
    /// In the child.
    Child,
}

/// Splits the process in two.
///
/// # Safety
/// If other threads exist, the child must not take any lock they might hold (an allocator that handles fork
/// excepted), and must leave with [`exit_now`].
pub unsafe fn fork() -> io::Result<Forked> {
    // SAFETY: the caller vouches for the child's behaviour.
    let pid = check(unsafe { libc::fork() })?;
    Ok(if pid == 0 { Forked::Child } else { Forked::Parent(pid) })
}

/// Ends the process without running any exit handler or destructor.
pub fn exit_now(status: i32) -> ! {
    // SAFETY: does not return.
    unsafe { libc::_exit(status) }
}

/// Our process id.
pub fn process_id() -> i32 {
    // SAFETY: cannot fail.
    unsafe { libc::getpid() }
}

/// Our parent's process id.
pub fn parent_id() -> i32 {
    // SAFETY: cannot fail.
    unsafe { libc::getppid() }
}

/// Asks the kernel to kill this process when the thread that made it ends.
pub fn die_with_parent() -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) }).map(drop)
}

/// Takes a smaller share of a processor that others want too: each step by a fifth, about.
pub fn step_back(steps: i32) {
    // SAFETY: takes a number only. It cannot fail: giving up priority needs no privilege.
    unsafe { libc::nice(steps) };
}

/// Keeps the kernel from backing this process with huge pages, which multiply copy-on-write after a fork.
pub fn disable_huge_pages() -> io::Result<()> {
    // SAFETY: takes numbers only; unused arguments must be zero.
    check(unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) }).map(drop)
}

/// Waits for a child and takes its wait status.
pub fn wait_for(pid: i32) -> io::Result<i32> {
    let mut status = 0;
    // SAFETY: `status` is valid for writing.
    again_after_eintr(|| check(unsafe { libc::waitpid(pid, &mut status, 0) }))?;
    Ok(status)
}

/// Sends a signal to a process.
pub fn kill(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: takes numbers only.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Sends a signal to the calling thread.
pub fn raise(signal: i32) {
    // SAFETY: takes a number only.
    unsafe { libc::raise(signal) };
}

/// Starts a session of its own, without a terminal.
pub fn new_session() -> io::Result<()> {
    // SAFETY: takes nothing.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Makes descriptor `to` another name for `from`.
pub fn duplicate_onto(from: BorrowedFd, to: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers only; callers name the standard streams.
    check(unsafe { libc::dup2(from.as_raw_fd(), to) }).map(drop)
}

/// Ties the calling thread to these processors.
pub fn set_affinity(cpus: &[usize]) -> io::Result<()> {
    // SAFETY: all zeroes is the empty set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    for &cpu in cpus {
        if cpu >= libc::CPU_SETSIZE as usize {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        // SAFETY: the index was checked against the set's size.
        unsafe { libc::CPU_SET(cpu, &mut set) };
    }
    // SAFETY: `set` is valid for the size given; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, mem::size_of_val(&set), &set) }).map(drop)
}

/// Soft and hard limit of open files.
pub fn open_files_limit() -> io::Result<(u64, u64)> {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is valid for writing.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) })?;
    Ok((limit.rlim_cur, limit.rlim_max))
}

/// Sets soft and hard limit of open files.
pub fn set_open_files_limit(soft: u64, hard: u64) -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: soft, rlim_max: hard };
    // SAFETY: `limit` is valid for reading.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) }).map(drop)
}

// --- signals ---

/// What a signal does.
#[derive(Clone, Copy)]
pub enum Action {
    /// What the system does by itself.
    Default,
    /// Nothing.
    Ignore,
    /// Calls this function, which may use async-signal-safe calls only, on the alternative stack if there is one.
    Handle(extern "C" fn(libc::c_int)),
    /// The same once; the default action stands again when the handler starts.
    HandleOnce(extern "C" fn(libc::c_int)),
}

/// Sets what a signal does.
pub fn set_action(signal: libc::c_int, action: Action) -> io::Result<()> {
    // SAFETY: all zeroes is a valid sigaction (default action, empty mask).
    let mut sigaction: libc::sigaction = unsafe { mem::zeroed() };
    (sigaction.sa_sigaction, sigaction.sa_flags) = match action {
        Action::Default => (libc::SIG_DFL, 0),
        Action::Ignore => (libc::SIG_IGN, 0),
        Action::Handle(function) => (function as *const () as usize, libc::SA_RESTART | libc::SA_ONSTACK),
        Action::HandleOnce(function) => {
            (function as *const () as usize, libc::SA_RESETHAND | libc::SA_NODEFER | libc::SA_ONSTACK)
        }
    };
    // SAFETY: `sigaction` is valid; the handlers of this crate make async-signal-safe calls only.
    check(unsafe { libc::sigaction(signal, &sigaction, std::ptr::null_mut()) }).map(drop)
}

/// Holds all signals back while `body` runs, in this thread.
///
/// A child forked inside keeps them held back until it calls [`release_signals`].
pub fn with_signals_held<T>(body: impl FnOnce() -> T) -> T {
    // SAFETY: both sets are filled before use; pthread_sigmask fails only for a wrong first argument.
    unsafe {
        let (mut all, mut before) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
        let result = body();
        libc::pthread_sigmask(libc::SIG_SETMASK, &before, std::ptr::null_mut());
        result
    }
}

/// Lets all signals through in this thread.
pub fn release_signals() {
    // SAFETY: the set is filled before use.
    unsafe {
        let mut none = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::pthread_sigmask(libc::SIG_SETMASK, &none, std::ptr::null_mut());
    }
}
