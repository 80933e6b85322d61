//! Sockets by io_uring: one system call per turn hands over all replies and takes all requests.
//!
//! Exists because at small pipelines the kernel's path into and out of a system call costs more than the commands: a
//! receive stays armed and fills buffers of ours as bytes come in, sends are queued, and the wait for the next
//! event submits them.
//!
//! Always true: a buffer is either with the kernel, in a stream's list of pieces, or handed out by the last
//! `receive`; the bytes of a send stay where they are until its completion, even if the stream is forgotten
//! meanwhile; completions of an earlier owner of a descriptor's number are told by their serial and dropped.
//!
//! Needs Linux 6.1 (deferred task work) and a kernel and sandbox that allow io_uring; where [`Ring::new`] fails the
//! loop uses epoll.
//!
//! Not here: what the loop may rely on (`readiness.rs`).

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, CancelBuilder, Fd, SubmitArgs, Timespec};
use io_uring::{EnterFlags, IoUring, cqueue, opcode, squeue};

use crate::readiness::{Event, Interest, Received, Sockets};
use crate::sys::{self, Mapping};

/// Requests gathered before the kernel must take some; more than most turns make.
const SUBMISSIONS: u32 = 1024;
/// Room for completions of one turn; what exceeds it waits in the kernel.
const COMPLETIONS: u32 = 8192;
/// Receive buffers. A turn in which more connections have sent something takes the rest with the next.
const BUFFERS: u16 = 512;
/// Bytes of one: a pipeline of hundreds of commands. The odd cache lines keep the buffers' beginnings, which is what
/// short requests use, from falling into the same few sets of the processor's caches.
const BUFFER_BYTES: usize = 16 * 1024 + 5 * 64;
/// The only group of buffers.
const GROUP: u16 = 0;
/// Largest piece of output that is copied and sent with the next wait; more than that is sent at once, uncopied, because
/// then the copy into the socket costs more than a system call.
const QUEUED_SEND_BYTES_MAX: usize = 64 * 1024;
/// Send buffers kept for later.
const SPARES_MAX: usize = 64;

/// Waiting and moving bytes by io_uring.
pub struct Ring {
    // Dropped first: after that the kernel uses none of the memory below.
    ring: IoUring,
    buffers: Buffers,
    own: Vec<Own>,
    /// By descriptor number.
    streams: Vec<Option<Box<Stream>>>,
    serial_last: u32,
    /// Streams to report with the next wait, without anything new from the kernel.
    ready: Vec<RawFd>,
    /// Streams whose receive has ended although they are read.
    to_arm: Vec<RawFd>,
    /// Streams whose owner may be waiting for room.
    to_await_room: Vec<RawFd>,
    /// What the last `receive` handed out.
    handed_out: Option<u16>,
    handed_out_spill: Vec<u8>,
    spares: Vec<Vec<u8>>,
    /// Bytes of sends whose stream is forgotten.
    orphans: Vec<(u64, Vec<u8>)>,
    completed: Vec<Completed>,
}

/// A descriptor that is only watched.
struct Own {
    fd: RawFd,
    token: u64,
    serial: u32,
    is_armed: bool,
}

/// A connection.
struct Stream {
    token: u64,
    serial: u32,
    receive: Receive,
    /// Bytes are wanted.
    is_read: bool,
    /// Bytes that came in, in order: first what was copied out of its buffers, then buffers.
    spill: Vec<u8>,
    pieces: VecDeque<(u16, usize)>,
    is_ended: bool,
    is_broken: bool,
    /// Bytes with the kernel or on the way to it.
    sending: Option<Vec<u8>>,
    /// To be told when there is room again.
    wants_room: bool,
    awaits_room: bool,
    awaits_hangup: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Receive {
    Idle,
    Armed,
    Cancelled,
}

/// What a completion belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
enum Work {
    Own,
    Receive,
    Send,
    Room,
    HangUp,
    Cancel,
}

const WORKS: [Work; 6] = [Work::Own, Work::Receive, Work::Send, Work::Room, Work::HangUp, Work::Cancel];

/// A completion as the kernel gave it.
#[derive(Clone, Copy)]
struct Completed {
    name: u64,
    result: i32,
    flags: u32,
}

/// Serials fit in 24 bits, next to work and descriptor.
const SERIAL_MASK: u32 = 0x00ff_ffff;

/// A request's name as the kernel gives it back: work in 8 bits, serial in 24, descriptor in 32.
fn name(work: Work, serial: u32, fd: RawFd) -> u64 {
    (work as u64) << 56 | u64::from(serial) << 32 | u64::from(fd as u32)
}

fn split_name(name: u64) -> (Work, u32, RawFd) {
    (WORKS[(name >> 56) as usize], (name >> 32) as u32 & SERIAL_MASK, name as u32 as RawFd)
}

impl Ring {
    /// A new ring.
    ///
    /// # Errors
    /// The kernel is too old, or does not allow it to this process.
    pub fn new() -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_cqsize(COMPLETIONS)
            .setup_submit_all()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(SUBMISSIONS)?;
        let mut buffers = Buffers::new()?;
        buffers.register(&ring)?;
        Ok(Ring {
            ring,
            buffers,
            own: Vec::new(),
            streams: Vec::new(),
            serial_last: 0,
            ready: Vec::new(),
            to_arm: Vec::new(),
            to_await_room: Vec::new(),
            handed_out: None,
            handed_out_spill: Vec::new(),
            spares: Vec::new(),
            orphans: Vec::new(),
            completed: Vec::new(),
        })
    }

    fn next_serial(&mut self) -> u32 {
        self.serial_last = (self.serial_last + 1) & SERIAL_MASK;
        self.serial_last
    }

    fn stream(&mut self, fd: RawFd) -> Option<&mut Stream> {
        self.streams.get_mut(fd as usize)?.as_deref_mut()
    }

    /// The stream, unless the number has another owner by now.
    fn stream_of(&mut self, fd: RawFd, serial: u32) -> Option<&mut Stream> {
        self.stream(fd).filter(|stream| stream.serial == serial)
    }

    // --- towards the kernel ---

    fn push(&mut self, entry: squeue::Entry) {
        loop {
            // SAFETY: an entry names memory only if it is a send, and `send` keeps those bytes in the stream or among
            // the orphans until the completion; receives use registered buffers, which live as long as the ring.
            let pushed = unsafe { self.ring.submission().push(&entry) };
            if pushed.is_ok() {
                return;
            }
            self.submit();
        }
    }

    /// Hands over what is queued, without waiting.
    fn submit(&mut self) {
        while !self.ring.submission().is_empty() {
            match self.ring.submit() {
                Err(error) if !is_temporary(&error) => {
                    panic!("io_uring works as long as it is open: {error}")
                }
                _ => {}
            }
        }
    }

    /// Hands over what is queued and waits for a completion.
    fn enter(&mut self, timeout_us: Option<u64>) -> io::Result<()> {
        let result = match timeout_us {
            None => self.ring.submit_and_wait(1),
            Some(0) => {
                let count = self.ring.submission().len() as u32;
                // SAFETY: no argument is passed; the flag only lets completions be posted.
                unsafe { self.ring.submitter().enter::<()>(count, 0, EnterFlags::GETEVENTS.bits(), None) }
            }
            Some(us) => {
                let timeout = Timespec::new().sec(us / 1_000_000).nsec((us % 1_000_000 * 1_000) as u32);
                self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timeout))
            }
        };
        match result {
            Err(error) if !is_temporary(&error) && error.raw_os_error() != Some(libc::ETIME) => Err(error),
            _ => Ok(()),
        }
    }

    /// Arms again what has ended although it is wanted.
    fn arm(&mut self) {
        for index in 0..self.own.len() {
            let own = &mut self.own[index];
            if !mem::replace(&mut own.is_armed, true) {
                let entry = opcode::PollAdd::new(Fd(own.fd), libc::POLLIN as u32).build();
                let entry = entry.user_data(name(Work::Own, own.serial, own.fd));
                self.push(entry);
            }
        }
        while let Some(fd) = self.to_arm.pop() {
            self.arm_receive(fd);
        }
        while let Some(fd) = self.to_await_room.pop() {
            self.await_room(fd);
        }
    }

    /// While something is being sent its completion is the news of room.
    fn await_room(&mut self, fd: RawFd) {
        let Some(stream) = self.stream(fd) else { return };
        if stream.wants_room && stream.sending.is_none() && !mem::replace(&mut stream.awaits_room, true) {
            let serial = stream.serial;
            self.poll(Work::Room, serial, fd, libc::POLLOUT);
        }
    }

    fn arm_receive(&mut self, fd: RawFd) {
        let Some(stream) = self.stream(fd) else { return };
        if stream.receive == Receive::Idle && stream.is_read && !stream.is_over() {
            stream.receive = Receive::Armed;
            let name = name(Work::Receive, stream.serial, fd);
            self.push(opcode::RecvMulti::new(Fd(fd), GROUP).build().user_data(name));
        }
    }

    fn poll(&mut self, work: Work, serial: u32, fd: RawFd, events: i16) {
        let entry = opcode::PollAdd::new(Fd(fd), events as u32).build();
        self.push(entry.user_data(name(work, serial, fd)));
    }

    fn cancel(&mut self, name_of_request: u64) {
        let (_, serial, fd) = split_name(name_of_request);
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(name_of_request)).build();
        self.push(entry.user_data(name(Work::Cancel, serial, fd)));
    }

    // --- from the kernel ---

    fn reap(&mut self, events: &mut Vec<Event>) {
        let mut completed = mem::take(&mut self.completed);
        completed.extend(self.ring.completion().map(|entry| Completed {
            name: entry.user_data(),
            result: entry.result(),
            flags: entry.flags(),
        }));
        for completed in completed.drain(..) {
            let (work, serial, fd) = split_name(completed.name);
            let event = match work {
                Work::Own => self.own_ready(fd, serial, completed.result),
                Work::Receive => self.received(fd, serial, completed),
                Work::Send => self.sent(fd, serial, completed),
                Work::Room => self.has_room(fd, serial),
                Work::HangUp => self.hung_up(fd, serial, completed.result),
                Work::Cancel => None,
            };
            events.extend(event);
        }
        self.completed = completed;
    }

    fn own_ready(&mut self, fd: RawFd, serial: u32, result: i32) -> Option<Event> {
        let own = self.own.iter_mut().find(|own| own.fd == fd && own.serial == serial)?;
        own.is_armed = false;
        let is_hung_up = result < 0 || result & i32::from(libc::POLLHUP | libc::POLLERR) != 0;
        Some(Event { token: own.token, is_readable: true, is_writable: false, is_hung_up })
    }

    fn received(&mut self, fd: RawFd, serial: u32, completed: Completed) -> Option<Event> {
        let Completed { result, flags, .. } = completed;
        let buffer = cqueue::buffer_select(flags);
        let Some(stream) = self.streams.get_mut(fd as usize)?.as_deref_mut().filter(|s| s.serial == serial)
        else {
            buffer.into_iter().for_each(|buffer| self.buffers.give(buffer));
            return None;
        };
        if !cqueue::more(flags) {
            stream.receive = Receive::Idle;
            self.to_arm.push(fd);
        }
        match (buffer, result) {
            (Some(buffer), 1..) if stream.is_read => stream.pieces.push_back((buffer, result as usize)),
            (Some(buffer), 1..) => {
                // It is not read at present: somebody else may need the buffer.
                stream.spill.extend_from_slice(self.buffers.bytes(buffer, result as usize));
                self.buffers.give(buffer);
            }
            (buffer, _) => {
                buffer.into_iter().for_each(|buffer| self.buffers.give(buffer));
                match -result {
                    0 => stream.is_ended = true,
                    // Out of buffers, cancelled because nobody reads, or nothing there after all: armed again when wanted.
                    libc::ENOBUFS | libc::ECANCELED | libc::EAGAIN | libc::EINTR => return None,
                    _ => stream.is_broken = true,
                }
            }
        }
        stream.is_read.then(|| stream.event())
    }

    fn sent(&mut self, fd: RawFd, serial: u32, completed: Completed) -> Option<Event> {
        if let Some(index) = self.orphans.iter().position(|(name, _)| *name == completed.name) {
            self.orphans.swap_remove(index);
            return None;
        }
        let stream = self.streams.get_mut(fd as usize)?.as_deref_mut().filter(|s| s.serial == serial)?;
        let mut bytes = stream.sending.take()?;
        // The kernel goes on after a short write by itself: less than all means that no more will be taken.
        stream.is_broken |= usize::try_from(completed.result) != Ok(bytes.len());
        self.to_await_room.extend(stream.wants_room.then_some(fd));
        let event = (stream.wants_room || stream.is_broken).then(|| Event {
            is_writable: true,
            is_readable: false,
            ..stream.event()
        });
        bytes.clear();
        if self.spares.len() < SPARES_MAX {
            self.spares.push(bytes);
        }
        event
    }

    fn has_room(&mut self, fd: RawFd, serial: u32) -> Option<Event> {
        let stream = self.stream_of(fd, serial)?;
        stream.awaits_room = false;
        let event = Event { is_writable: true, is_readable: false, ..stream.event() };
        // Its owner may find that the room is not enough.
        let is_wanted = stream.wants_room;
        self.to_await_room.push(fd);
        is_wanted.then_some(event)
    }

    fn hung_up(&mut self, fd: RawFd, serial: u32, result: i32) -> Option<Event> {
        let stream = self.stream_of(fd, serial)?;
        stream.awaits_hangup = false;
        // An other end that only sends nothing more is no hang-up.
        if result < 0 || result & i32::from(libc::POLLHUP | libc::POLLERR) == 0 {
            return None;
        }
        stream.is_broken = true;
        Some(stream.event())
    }

    /// Reports streams that are read again and have something from before.
    fn report_ready(&mut self, events: &mut Vec<Event>) {
        while let Some(fd) = self.ready.pop() {
            let Some(stream) = self.stream(fd) else { continue };
            if stream.is_read {
                let pieces = usize::from(!stream.spill.is_empty()) + stream.pieces.len();
                let count = pieces + usize::from(stream.is_over());
                events.extend(std::iter::repeat_n(stream.event(), count));
            }
        }
    }

    fn take_back(&mut self) {
        if let Some(buffer) = self.handed_out.take() {
            self.buffers.give(buffer);
        }
    }

    /// Stops receiving; what has come in already is kept, but not in buffers that others need.
    fn pause(&mut self, fd: RawFd) {
        let Some(stream) = self.streams.get_mut(fd as usize).and_then(Option::as_deref_mut) else { return };
        for (buffer, len) in stream.pieces.drain(..) {
            stream.spill.extend_from_slice(self.buffers.bytes(buffer, len));
            self.buffers.give(buffer);
        }
        let serial = stream.serial;
        let was_armed = stream.receive == Receive::Armed;
        if was_armed {
            stream.receive = Receive::Cancelled;
        }
        let awaited_hangup = mem::replace(&mut stream.awaits_hangup, true);
        if was_armed {
            self.cancel(name(Work::Receive, serial, fd));
        }
        if !awaited_hangup {
            // Errors and hang-ups are reported whatever is asked for.
            self.poll(Work::HangUp, serial, fd, 0);
        }
    }

    fn resume(&mut self, fd: RawFd) {
        self.ready.push(fd);
        self.to_arm.push(fd);
    }

    fn forget_own(&mut self, fd: RawFd) {
        if let Some(index) = self.own.iter().position(|own| own.fd == fd) {
            let own = self.own.swap_remove(index);
            if own.is_armed {
                self.cancel(name(Work::Own, own.serial, fd));
            }
        }
    }

    fn forget_stream(&mut self, fd: RawFd) {
        let Some(stream) = self.streams.get_mut(fd as usize).and_then(Option::take) else { return };
        for &(buffer, _) in &stream.pieces {
            self.buffers.give(buffer);
        }
        let requests = [
            (stream.receive == Receive::Armed, Work::Receive),
            (stream.sending.is_some(), Work::Send),
            (stream.awaits_room, Work::Room),
            (stream.awaits_hangup, Work::HangUp),
        ];
        for (is_open, work) in requests {
            if is_open {
                self.cancel(name(work, stream.serial, fd));
            }
        }
        if let Some(bytes) = stream.sending {
            self.orphans.push((name(Work::Send, stream.serial, fd), bytes));
        }
    }
}

impl Sockets for Ring {
    fn name(&self) -> &'static str {
        "io_uring"
    }

    fn watch(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        if self.own.iter().any(|own| own.fd == fd) {
            return Err(io::Error::from_raw_os_error(libc::EEXIST));
        }
        let serial = self.next_serial();
        self.own.push(Own { fd, token, serial, is_armed: false });
        Ok(())
    }

    fn open(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let serial = self.next_serial();
        let index = fd as usize;
        if self.streams.len() <= index {
            self.streams.resize_with(index + 1, || None);
        }
        let previous = self.streams[index].replace(Box::new(Stream::new(token, serial)));
        assert!(previous.is_none(), "descriptor {fd} was closed without being forgotten");
        self.arm_receive(fd);
        Ok(())
    }

    fn change(&mut self, fd: BorrowedFd, _token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let Some(stream) = self.stream(fd) else { return Err(io::Error::from_raw_os_error(libc::ENOENT)) };
        let was_read = mem::replace(&mut stream.is_read, interest.read);
        stream.wants_room = interest.write;
        self.to_await_room.push(fd);
        match (was_read, interest.read) {
            (true, false) => self.pause(fd),
            (false, true) => self.resume(fd),
            _ => {}
        }
        Ok(())
    }

    /// Submits, because what is queued names the descriptor, whose number may soon mean another file.
    fn forget(&mut self, fd: BorrowedFd) {
        let fd = fd.as_raw_fd();
        self.forget_own(fd);
        self.forget_stream(fd);
        self.submit();
    }

    fn wait(&mut self, timeout_us: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        events.clear();
        self.take_back();
        self.arm();
        let timeout_us = if self.ready.is_empty() { timeout_us } else { Some(0) };
        self.enter(timeout_us)?;
        self.report_ready(events);
        self.reap(events);
        Ok(())
    }

    fn receive(&mut self, fd: BorrowedFd, _len_max: usize) -> Received<'_> {
        self.take_back();
        let Some(stream) = self.streams.get_mut(fd.as_raw_fd() as usize).and_then(Option::as_deref_mut)
        else {
            return Received::Broken;
        };
        if !stream.spill.is_empty() {
            self.handed_out_spill = mem::take(&mut stream.spill);
            return Received::Bytes(&self.handed_out_spill);
        }
        if let Some((buffer, len)) = stream.pieces.pop_front() {
            self.handed_out = Some(buffer);
            return Received::Bytes(self.buffers.bytes(buffer, len));
        }
        match stream {
            Stream { is_broken: true, .. } => Received::Broken,
            Stream { is_ended: true, .. } => Received::End,
            _ => Received::Nothing,
        }
    }

    fn send(&mut self, fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
        let number = fd.as_raw_fd();
        let Some(stream) = self.streams.get_mut(number as usize).and_then(Option::as_deref_mut) else {
            return Err(io::Error::from_raw_os_error(libc::ENOTCONN));
        };
        if stream.is_broken {
            return Err(io::Error::from_raw_os_error(libc::EPIPE));
        }
        if stream.sending.is_some() {
            return Ok(0);
        }
        if bytes.len() > QUEUED_SEND_BYTES_MAX {
            return sys::send_or_nothing(fd, bytes);
        }
        let mut copy = self.spares.pop().unwrap_or_default();
        copy.extend_from_slice(bytes);
        let entry = opcode::Send::new(Fd(number), copy.as_ptr(), copy.len() as u32);
        let entry = entry.flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL).build();
        let entry = entry.user_data(name(Work::Send, stream.serial, number));
        stream.sending = Some(copy);
        self.push(entry);
        Ok(bytes.len())
    }

    fn is_sending(&self, fd: BorrowedFd) -> bool {
        let stream = self.streams.get(fd.as_raw_fd() as usize).and_then(Option::as_deref);
        stream.is_some_and(|stream| stream.sending.is_some())
    }

    fn flush(&mut self) {
        self.submit();
    }
}

impl Stream {
    fn new(token: u64, serial: u32) -> Stream {
        Stream {
            token,
            serial,
            receive: Receive::Idle,
            is_read: true,
            spill: Vec::new(),
            pieces: VecDeque::new(),
            is_ended: false,
            is_broken: false,
            sending: None,
            wants_room: false,
            awaits_room: false,
            awaits_hangup: false,
        }
    }

    /// Nothing more will come in.
    fn is_over(&self) -> bool {
        self.is_ended || self.is_broken
    }

    fn event(&self) -> Event {
        Event { token: self.token, is_readable: true, is_writable: false, is_hung_up: self.is_broken }
    }
}

/// The kernel could not do it now; asking again is right.
fn is_temporary(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::EBUSY))
}

/// The receive buffers, and the ring of those that the kernel may fill. In memory:
///
/// ```text
/// entry 0 … entry BUFFERS-1 │ padding to a page │ buffer 0 … buffer BUFFERS-1
/// 16 bytes each             │                   │ BUFFER_BYTES each
/// ```
///
/// A forked child does not get this memory: it has no use for it, and would make the kernel copy it.
struct Buffers {
    memory: Mapping,
    /// Entries ever given to the kernel, modulo 2^16.
    tail: u16,
}

const RING_BYTES: usize = (BUFFERS as usize * size_of::<BufRingEntry>()).next_multiple_of(4096);
const _: () = assert!(BUFFERS.is_power_of_two());

impl Buffers {
    fn new() -> io::Result<Buffers> {
        let memory = Mapping::new(RING_BYTES + BUFFERS as usize * BUFFER_BYTES)?;
        Ok(Buffers { memory, tail: 0 })
    }

    fn register(&mut self, ring: &IoUring) -> io::Result<()> {
        let address = self.memory.start() as u64;
        // SAFETY: the mapping begins with room for all entries, and outlives the ring in `Ring`.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, BUFFERS, GROUP, 0)? };
        (0..BUFFERS).for_each(|buffer| self.give(buffer));
        Ok(())
    }

    /// Gives a buffer to the kernel.
    fn give(&mut self, buffer: u16) {
        let entries = self.memory.start().cast::<BufRingEntry>();
        let address = self.address(buffer) as u64;
        // SAFETY: the index is below BUFFERS, so the entry lies within the mapping, aligned because that begins with a
        // page; the kernel does not read it before the tail has passed it.
        let entry = unsafe { &mut *entries.add(usize::from(self.tail % BUFFERS)) };
        entry.set_addr(address);
        entry.set_len(BUFFER_BYTES as u32);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: the tail is a u16 inside the first entry, which no entry's own fields overlap; kernel and process share it.
        let tail = unsafe { AtomicU16::from_ptr(BufRingEntry::tail(entries).cast_mut()) };
        tail.store(self.tail, Ordering::Release);
    }

    fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        assert!(len <= BUFFER_BYTES, "the kernel fills what it was given");
        // SAFETY: the buffer lies within the mapping, its first `len` bytes were filled, and it is not with the kernel.
        unsafe { std::slice::from_raw_parts(self.address(buffer), len) }
    }

    fn address(&self, buffer: u16) -> *const u8 {
        assert!(buffer < BUFFERS, "the kernel names our buffers only");
        // SAFETY: RING_BYTES and all buffers lie within the mapping.
        unsafe { self.memory.start().add(RING_BYTES + usize::from(buffer) * BUFFER_BYTES) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_survive_the_kernel() {
        for work in WORKS {
            for (serial, fd) in [(0, 0), (SERIAL_MASK, i32::MAX), (1, 7)] {
                assert_eq!(split_name(name(work, serial, fd)), (work, serial, fd));
            }
        }
    }
}
