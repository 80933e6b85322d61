//! Sockets served by threads of their own (`io-threads`): they read and write while the loop runs the engine.
//!
//! Exists because on many cores the kernel's share of a request, most of it at small pipelines, need not be paid by the one
//! thread that runs commands.
//!
//! ```text
//!   socket → thread: receive → inbox ─→ loop: engine → orders ─→ thread: send → socket
//! ```
//!
//! A connection belongs to one thread for life. Both ways go through a [`Mailbox`], filled once per turn.
//!
//! Always true: bytes of one connection keep their order both ways; a thread owns a descriptor of its own for each of its
//! connections, so that a number used again never reaches the wrong client; what a thread reads ahead of the engine and what
//! waits in it to be sent are bounded for each connection.
//!
//! Not here: parsing and every decision (the engine, on its one thread); TLS, which stays with the loop (`tls.rs`).

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::readiness::{self, Epoll, Event, Interest, Received, Sockets};
use crate::sys;
use crate::workers::AbortOnPanic;

/// Bytes a thread reads of a connection ahead of the engine.
const READ_AHEAD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes that may wait in a thread to be sent to one client.
const SEND_AHEAD_BYTES_MAX: usize = 1024 * 1024;
/// Bytes asked of a socket at once.
const RECEIVE_BYTES: usize = 64 * 1024;
/// How long a server that leaves waits for a thread to send what it has.
const FLUSH_PATIENCE: Duration = Duration::from_secs(1);
/// The name of a bell among tokens and names of connections.
const BELL: u64 = u64::MAX;

/// A list that one side fills and the other empties, and a bell that wakes the other side.
struct Mailbox<T> {
    items: Mutex<Vec<T>>,
    bell: OwnedFd,
}

impl<T> Mailbox<T> {
    fn new() -> io::Result<Arc<Mailbox<T>>> {
        Ok(Arc::new(Mailbox { items: Mutex::new(Vec::new()), bell: sys::event_fd()? }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<T>> {
        self.items.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds all of `items`. The bell rings for the first of those that wait.
    fn post(&self, items: &mut Vec<T>) {
        if items.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let is_first = waiting.is_empty();
        waiting.append(items);
        drop(waiting);
        if is_first {
            sys::event_ring(self.bell.as_raw_fd());
        }
    }

    /// Takes all that wait into `items`, which is empty.
    fn take(&self, items: &mut Vec<T>) {
        mem::swap(items, &mut *self.lock());
    }
}

/// What the loop calls a connection towards a thread: the loop's descriptor, and how many connections there were before.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Name {
    fd: RawFd,
    serial: u32,
}

impl Name {
    fn encode(self) -> u64 {
        u64::from(self.serial) << 32 | u64::from(self.fd as u32)
    }
}

/// What the loop asks of a thread.
enum Order {
    /// Serve a connection, by a descriptor of its own.
    Open {
        name: Name,
        fd: OwnedFd,
        unread: Arc<AtomicUsize>,
    },
    /// Read it, or stop.
    Read {
        name: Name,
        wanted: bool,
    },
    /// The engine has caught up with what was read ahead.
    Resume(Name),
    Send {
        name: Name,
        bytes: Vec<u8>,
    },
    Forget(Name),
    /// Say when everything above is done.
    Report(SyncSender<()>),
    Leave,
}

/// What a thread tells the loop.
enum News {
    Bytes(Name, Vec<u8>),
    /// So many bytes went to the kernel.
    Sent(Name, usize),
    End(Name),
    Broken(Name),
}

// --- the loop's side ---

/// Waiting and moving bytes with the help of threads.
pub struct IoThreads {
    /// For listeners, signals and bells.
    own: Box<dyn Sockets>,
    threads: Vec<IoThread>,
    inbox: Arc<Mailbox<News>>,
    news: Vec<News>,
    /// By descriptor number.
    streams: Vec<Option<Stream>>,
    serial_last: u32,
    /// Streams that have something to report.
    ready: Vec<RawFd>,
    /// What the last `receive` handed out.
    handed_out: Vec<u8>,
}

struct IoThread {
    orders: Arc<Mailbox<Order>>,
    /// To be posted with the next wait.
    outbox: Vec<Order>,
    connections: usize,
    handle: Option<JoinHandle<()>>,
}

/// A connection, as the loop sees it.
struct Stream {
    token: u64,
    serial: u32,
    thread: usize,
    interest: Interest,
    /// Bytes that came in, in order.
    pieces: VecDeque<Vec<u8>>,
    /// Of all that came in: bytes the engine has not taken.
    unread: Arc<AtomicUsize>,
    /// Bytes that a thread has not yet given to the kernel.
    unsent: usize,
    has_room_news: bool,
    is_ended: bool,
    is_broken: bool,
    is_listed: bool,
}

impl Stream {
    fn has_input(&self) -> bool {
        !self.pieces.is_empty() || self.is_ended || self.is_broken
    }
}

impl IoThreads {
    /// Starts `count` threads.
    ///
    /// # Errors
    /// Out of descriptors or threads.
    pub fn start(count: usize, wants_io_uring: bool) -> io::Result<IoThreads> {
        let inbox = Mailbox::new()?;
        let mut own = readiness::sockets(wants_io_uring)?;
        own.watch(inbox.bell.as_fd(), BELL)?;
        let start = |number| IoThread::start(number, inbox.clone());
        let threads = (1..=count).map(start).collect::<io::Result<Vec<IoThread>>>()?;
        Ok(IoThreads {
            own,
            threads,
            inbox,
            news: Vec::new(),
            streams: Vec::new(),
            serial_last: 0,
            ready: Vec::new(),
            handed_out: Vec::new(),
        })
    }

    fn order(&mut self, thread: usize, order: Order) {
        self.threads[thread].outbox.push(order);
    }

    fn post_orders(&mut self) {
        for thread in &mut self.threads {
            thread.orders.post(&mut thread.outbox);
        }
    }

    fn list(&mut self, fd: RawFd) {
        if let Some(stream) = stream(&mut self.streams, fd)
            && !mem::replace(&mut stream.is_listed, true)
        {
            self.ready.push(fd);
        }
    }

    fn take_news(&mut self) {
        let mut news = mem::take(&mut self.news);
        self.inbox.take(&mut news);
        for news in news.drain(..) {
            self.hear(news);
        }
        self.news = news;
    }

    /// News of a connection that is forgotten is dropped.
    fn hear(&mut self, news: News) {
        let (News::Bytes(name, _) | News::Sent(name, _) | News::End(name) | News::Broken(name)) = news;
        let stream = stream(&mut self.streams, name.fd).filter(|stream| stream.serial == name.serial);
        let Some(stream) = stream else { return };
        match news {
            News::Bytes(_, bytes) => stream.pieces.push_back(bytes),
            News::End(_) => stream.is_ended = true,
            News::Broken(_) => stream.is_broken = true,
            News::Sent(_, count) => {
                stream.unsent -= count;
                stream.has_room_news = stream.unsent < SEND_AHEAD_BYTES_MAX;
                if !stream.interest.write {
                    return;
                }
            }
        }
        self.list(name.fd);
    }

    /// What the listed streams have to report, as far as it is wanted.
    fn report(&mut self, events: &mut Vec<Event>) {
        for fd in mem::take(&mut self.ready) {
            let Some(stream) = stream(&mut self.streams, fd) else { continue };
            stream.is_listed = false;
            let event = Event {
                token: stream.token,
                is_readable: stream.interest.read && stream.has_input(),
                is_writable: stream.interest.write && mem::take(&mut stream.has_room_news),
                is_hung_up: stream.is_broken,
            };
            if event.is_readable || event.is_writable || event.is_hung_up {
                events.push(event);
            }
        }
    }
}

fn stream(streams: &mut [Option<Stream>], fd: RawFd) -> Option<&mut Stream> {
    streams.get_mut(fd as usize)?.as_mut()
}

impl Sockets for IoThreads {
    fn name(&self) -> &'static str {
        self.own.name()
    }

    fn watch(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        self.own.watch(fd, token)
    }

    fn open(&mut self, fd: BorrowedFd, token: u64) -> io::Result<()> {
        let copy = fd.try_clone_to_owned()?;
        let thread =
            (0..self.threads.len()).min_by_key(|&index| self.threads[index].connections).unwrap_or(0);
        self.serial_last = self.serial_last.wrapping_add(1) & (u32::MAX >> 1);
        let name = Name { fd: fd.as_raw_fd(), serial: self.serial_last };
        let unread = Arc::new(AtomicUsize::new(0));
        let place = name.fd as usize;
        if self.streams.len() <= place {
            self.streams.resize_with(place + 1, || None);
        }
        self.streams[place] = Some(Stream {
            token,
            serial: name.serial,
            thread,
            interest: Interest::READ,
            pieces: VecDeque::new(),
            unread: unread.clone(),
            unsent: 0,
            has_room_news: false,
            is_ended: false,
            is_broken: false,
            is_listed: false,
        });
        self.threads[thread].connections += 1;
        self.order(thread, Order::Open { name, fd: copy, unread });
        Ok(())
    }

    fn change(&mut self, fd: BorrowedFd, _token: u64, interest: Interest) -> io::Result<()> {
        let fd = fd.as_raw_fd();
        let Some(stream) = stream(&mut self.streams, fd) else { return Ok(()) };
        let before = mem::replace(&mut stream.interest, interest);
        let (name, thread) = (Name { fd, serial: stream.serial }, stream.thread);
        if interest.write && !before.write {
            stream.has_room_news = stream.unsent < SEND_AHEAD_BYTES_MAX / 2;
        }
        if before.read != interest.read {
            self.order(thread, Order::Read { name, wanted: interest.read });
        }
        self.list(fd);
        Ok(())
    }

    fn forget(&mut self, fd: BorrowedFd) {
        let place = fd.as_raw_fd() as usize;
        let Some(stream) = self.streams.get_mut(place).and_then(Option::take) else {
            return self.own.forget(fd);
        };
        self.threads[stream.thread].connections -= 1;
        let name = Name { fd: fd.as_raw_fd(), serial: stream.serial };
        self.order(stream.thread, Order::Forget(name));
    }

    fn wait(&mut self, timeout_us: Option<u64>, events: &mut Vec<Event>) -> io::Result<()> {
        self.post_orders();
        let timeout_us = if self.ready.is_empty() { timeout_us } else { Some(0) };
        self.own.wait(timeout_us, events)?;
        if let Some(at) = events.iter().position(|event| event.token == BELL) {
            events.swap_remove(at);
            sys::event_clear(self.inbox.bell.as_fd());
        }
        self.take_news();
        self.report(events);
        Ok(())
    }

    fn receive(&mut self, fd: BorrowedFd, _len_max: usize) -> Received<'_> {
        let fd = fd.as_raw_fd();
        let Some(stream) = stream(&mut self.streams, fd) else { return Received::Nothing };
        let Some(piece) = stream.pieces.pop_front() else {
            return match (stream.is_broken, stream.is_ended) {
                (true, _) => Received::Broken,
                (false, true) => Received::End,
                (false, false) => Received::Nothing,
            };
        };
        let before = stream.unread.fetch_sub(piece.len(), Ordering::AcqRel);
        let (name, thread) = (Name { fd, serial: stream.serial }, stream.thread);
        let has_more = stream.has_input();
        // The thread stopped when the sum went over; whoever brings it back says so, and exactly once.
        if before > READ_AHEAD_BYTES_MAX && before - piece.len() <= READ_AHEAD_BYTES_MAX {
            self.order(thread, Order::Resume(name));
        }
        if has_more {
            self.list(fd);
        }
        self.handed_out = piece;
        Received::Bytes(&self.handed_out)
    }

    fn send(&mut self, fd: BorrowedFd, bytes: &[u8]) -> io::Result<usize> {
        let fd = fd.as_raw_fd();
        let Some(stream) = stream(&mut self.streams, fd) else { return Ok(0) };
        if stream.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = bytes.len().min(SEND_AHEAD_BYTES_MAX.saturating_sub(stream.unsent));
        if count == 0 {
            return Ok(0);
        }
        stream.unsent += count;
        let (name, thread) = (Name { fd, serial: stream.serial }, stream.thread);
        self.order(thread, Order::Send { name, bytes: bytes[..count].to_vec() });
        Ok(count)
    }

    fn is_sending(&self, fd: BorrowedFd) -> bool {
        let stream = self.streams.get(fd.as_raw_fd() as usize).and_then(Option::as_ref);
        stream.is_some_and(|stream| stream.unsent > 0 && !stream.is_broken)
    }

    fn flush(&mut self) {
        let (report, done) = sync_channel(self.threads.len());
        for thread in &mut self.threads {
            thread.outbox.push(Order::Report(report.clone()));
        }
        self.post_orders();
        for _ in &self.threads {
            if done.recv_timeout(FLUSH_PATIENCE).is_err() {
                return;
            }
        }
    }
}

impl Drop for IoThreads {
    fn drop(&mut self) {
        for thread in &mut self.threads {
            thread.outbox.push(Order::Leave);
        }
        self.post_orders();
        for thread in &mut self.threads {
            if let Some(handle) = thread.handle.take() {
                let _ = handle.join(); // It aborts rather than panic.
            }
        }
    }
}

impl IoThread {
    fn start(number: usize, inbox: Arc<Mailbox<News>>) -> io::Result<IoThread> {
        let orders = Mailbox::new()?;
        let mut sockets = Epoll::new()?;
        sockets.watch(orders.bell.as_fd(), BELL)?;
        let mut server =
            Server { sockets, orders: orders.clone(), inbox, news: Vec::new(), wires: Vec::new() };
        let handle = thread::Builder::new().name(format!("io_thd_{number}")).spawn(move || {
            let _guard = AbortOnPanic;
            server.run();
        })?;
        Ok(IoThread { orders, outbox: Vec::new(), connections: 0, handle: Some(handle) })
    }
}

// --- the thread's side ---

/// What one thread has.
struct Server {
    sockets: Epoll,
    orders: Arc<Mailbox<Order>>,
    inbox: Arc<Mailbox<News>>,
    /// To be posted at the end of this round.
    news: Vec<News>,
    /// By the loop's descriptor number.
    wires: Vec<Option<Wire>>,
}

/// A connection, as its thread sees it.
struct Wire {
    name: Name,
    fd: OwnedFd,
    unread: Arc<AtomicUsize>,
    /// The engine wants bytes.
    is_wanted: bool,
    /// Nothing more comes.
    is_ended: bool,
    /// Watched no more.
    is_broken: bool,
    interest: Interest,
    /// Bytes the kernel has not taken; of the first piece, those from `sent` on.
    unsent: VecDeque<Vec<u8>>,
    sent: usize,
}

impl Server {
    fn run(&mut self) {
        let (mut events, mut orders) = (Vec::new(), Vec::new());
        loop {
            self.sockets.wait(None, &mut events).expect("waiting works as long as it is open");
            for event in &events {
                match event.token {
                    BELL => sys::event_clear(self.orders.bell.as_fd()),
                    _ => self.serve(event),
                }
            }
            self.orders.take(&mut orders);
            for order in orders.drain(..) {
                if matches!(order, Order::Leave) {
                    return;
                }
                self.follow(order);
            }
            self.inbox.post(&mut self.news);
        }
    }

    fn follow(&mut self, order: Order) {
        match order {
            Order::Open { name, fd, unread } => self.open(name, fd, unread),
            Order::Read { name, wanted } => {
                if let Some(wire) = wire(&mut self.wires, name) {
                    wire.is_wanted = wanted;
                    wire.watch(&mut self.sockets);
                }
            }
            Order::Resume(name) => {
                if let Some(wire) = wire(&mut self.wires, name) {
                    wire.watch(&mut self.sockets);
                }
            }
            Order::Send { name, bytes } => {
                if let Some(wire) = wire(&mut self.wires, name) {
                    wire.unsent.push_back(bytes);
                    wire.send(&mut self.sockets, &mut self.news);
                }
            }
            Order::Forget(name) => {
                if let Some(place) = self.wires.get_mut(name.fd as usize)
                    && place.as_ref().is_some_and(|wire| wire.name == name)
                    && let Some(wire) = place.take()
                {
                    self.sockets.forget(wire.fd.as_fd());
                }
            }
            Order::Report(done) => {
                let _ = done.try_send(()); // Nobody waits any more, if this fails.
            }
            Order::Leave => {}
        }
    }

    fn open(&mut self, name: Name, fd: OwnedFd, unread: Arc<AtomicUsize>) {
        if let Err(error) = self.sockets.open(fd.as_fd(), name.encode()) {
            tracing::warn!("Can't watch a new connection: {error}");
            return self.news.push(News::Broken(name));
        }
        let place = name.fd as usize;
        if self.wires.len() <= place {
            self.wires.resize_with(place + 1, || None);
        }
        self.wires[place] = Some(Wire {
            name,
            fd,
            unread,
            is_wanted: true,
            is_ended: false,
            is_broken: false,
            interest: Interest::READ,
            unsent: VecDeque::new(),
            sent: 0,
        });
    }

    fn serve(&mut self, event: &Event) {
        let name = Name { fd: event.token as u32 as RawFd, serial: (event.token >> 32) as u32 };
        let Some(wire) = wire(&mut self.wires, name) else { return };
        if event.is_writable {
            wire.send(&mut self.sockets, &mut self.news);
        }
        if wire.interest.read && (event.is_readable || event.is_hung_up) {
            wire.receive(&mut self.sockets, &mut self.news);
        } else if event.is_hung_up {
            wire.give_up(&mut self.sockets, &mut self.news);
        }
    }
}

fn wire(wires: &mut [Option<Wire>], name: Name) -> Option<&mut Wire> {
    wires.get_mut(name.fd as usize)?.as_mut().filter(|wire| wire.name == name)
}

impl Wire {
    fn receive(&mut self, sockets: &mut Epoll, news: &mut Vec<News>) {
        match sockets.receive(self.fd.as_fd(), RECEIVE_BYTES) {
            Received::Bytes(bytes) => {
                self.unread.fetch_add(bytes.len(), Ordering::AcqRel);
                news.push(News::Bytes(self.name, bytes.to_vec()));
                self.watch(sockets);
            }
            Received::Nothing => {}
            Received::End => {
                self.is_ended = true;
                news.push(News::End(self.name));
                self.watch(sockets);
            }
            Received::Broken => self.give_up(sockets, news),
        }
    }

    /// Gives the kernel what it takes.
    fn send(&mut self, sockets: &mut Epoll, news: &mut Vec<News>) {
        let mut total = 0;
        while let Some(piece) = self.unsent.front() {
            let Ok(count) = sockets.send(self.fd.as_fd(), &piece[self.sent..]) else {
                return self.give_up(sockets, news);
            };
            total += count;
            self.sent += count;
            if self.sent < piece.len() {
                break;
            }
            self.sent = 0;
            self.unsent.pop_front();
        }
        if total > 0 {
            news.push(News::Sent(self.name, total));
        }
        self.watch(sockets);
    }

    /// The connection is broken: whoever asked for it is told, and nothing of it is watched.
    fn give_up(&mut self, sockets: &mut Epoll, news: &mut Vec<News>) {
        self.unsent.clear();
        if !mem::replace(&mut self.is_broken, true) {
            sockets.forget(self.fd.as_fd());
            news.push(News::Broken(self.name));
        }
    }

    /// Watches the socket for what is wanted of it now.
    fn watch(&mut self, sockets: &mut Epoll) {
        if self.is_broken {
            return;
        }
        let has_caught_up = self.unread.load(Ordering::Acquire) <= READ_AHEAD_BYTES_MAX;
        let read = self.is_wanted && !self.is_ended && has_caught_up;
        let interest = Interest { read, write: !self.unsent.is_empty() };
        if interest != self.interest {
            self.interest = interest;
            sockets.change(self.fd.as_fd(), self.name.encode(), interest).expect("it is watched");
        }
    }
}
