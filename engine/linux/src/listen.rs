//! Listening sockets: opening them, exchanging them for others, taking connections from them.
//!
//! Always true: an exchange that fails leaves the old listeners standing (as far as the kernel lets us reopen them);
//! a shortage of descriptors refuses one connection and does not spin the loop.
//!
//! Not here: what becomes of a connection (`connections.rs`), limits on clients (the engine).

use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::FileTypeExt;

use perdura_core::host::Peer;

use crate::sys::{self, SocketAddress};

/// Everything the server listens on.
pub struct Listeners {
    tcp: Vec<Listener>,
    unix: Option<Listener>,
    backlog: i32,
    keepalive_s: u32,
    opened_count: u32,
    /// Given up for a moment when descriptors run out, to take a connection and close it.
    spare: Option<File>,
}

/// The ports of each address; 0 for none.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// What is said there goes in the clear.
    pub plain: u16,
    /// TLS is spoken there.
    pub tls: u16,
}

/// One listening socket.
pub struct Listener {
    fd: OwnedFd,
    /// Never used again within one run.
    pub id: u32,
    place: Place,
}

enum Place {
    Tcp { address: SocketAddr, is_tls: bool },
    Unix(String),
}

/// A connection just taken.
pub struct Accepted {
    /// Its nonblocking socket.
    pub fd: OwnedFd,
    /// Who it is.
    pub peer: Peer,
    /// It came over the TLS port.
    pub is_tls: bool,
}

/// An address to listen on.
struct Wanted {
    address: SocketAddr,
    /// As configured, for messages.
    name: String,
    is_optional: bool,
    is_tls: bool,
}

impl Listeners {
    /// No listener yet.
    pub fn new(backlog: i32, keepalive_s: u32) -> Listeners {
        Listeners {
            tcp: Vec::new(),
            unix: None,
            backlog,
            keepalive_s,
            opened_count: 0,
            spare: File::open("/dev/null").ok(),
        }
    }

    /// Seconds after which connections taken from now on are probed; 0 for never.
    pub fn keep_alive(&mut self, seconds: u32) {
        self.keepalive_s = seconds;
    }

    /// Every listener.
    pub fn iter(&self) -> impl Iterator<Item = &Listener> {
        self.tcp.iter().chain(&self.unix)
    }

    /// Listens on these TCP addresses from now on, each with both ports; `forget` is told of each listener that is about
    /// to be closed.
    ///
    /// # Errors
    /// A text for the log: which address, and why not. The same addresses are listened on then.
    pub fn listen_tcp(
        &mut self,
        bind: &[String],
        ports: Ports,
        mut forget: impl FnMut(&Listener),
    ) -> Result<(), String> {
        let mut wanted = resolve(bind, ports.plain, false)?;
        wanted.extend(resolve(bind, ports.tls, true)?);
        let is_wanted = |listener: &Listener| wanted.iter().any(|wanted| listener.serves(wanted));
        let (kept, dropped): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.tcp).into_iter().partition(is_wanted);
        let missing: Vec<&Wanted> =
            wanted.iter().filter(|wanted| !kept.iter().any(|kept| kept.serves(wanted))).collect();
        self.tcp = kept;
        match self.open_all(&missing) {
            Ok(opened) => {
                self.tcp.extend(opened);
                dropped.iter().for_each(&mut forget);
                dropped.into_iter().for_each(Listener::close);
                Ok(())
            }
            Err(_) if !dropped.is_empty() => {
                dropped.iter().for_each(&mut forget);
                self.open_all_in_place_of(&missing, dropped)
            }
            Err(error) => Err(error),
        }
    }

    /// Closes the old listeners first, since one of them may be what is in the way (`*` against one address).
    fn open_all_in_place_of(&mut self, missing: &[&Wanted], old: Vec<Listener>) -> Result<(), String> {
        let places: Vec<(SocketAddr, bool)> = old.iter().filter_map(Listener::tcp_place).collect();
        old.into_iter().for_each(Listener::close);
        match self.open_all(missing) {
            Ok(opened) => {
                self.tcp.extend(opened);
                Ok(())
            }
            Err(error) => {
                for (address, is_tls) in places {
                    match self.open_tcp(address, is_tls) {
                        Ok(listener) => self.tcp.push(listener),
                        Err(error) => {
                            tracing::warn!("Could not listen on {address} again: {}", describe(&error))
                        }
                    }
                }
                Err(error)
            }
        }
    }

    fn open_all(&mut self, wanted: &[&Wanted]) -> Result<Vec<Listener>, String> {
        let mut opened = Vec::new();
        for one in wanted {
            match self.open_tcp(one.address, one.is_tls) {
                Ok(listener) => opened.push(listener),
                Err(error) if one.is_optional && is_no_such_address(&error) => {}
                Err(error) => {
                    let (name, port) = (&one.name, one.address.port());
                    let error = describe(&error);
                    return Err(format!(
                        "Could not create server TCP listening socket {name}:{port}: {error}"
                    ));
                }
            }
        }
        Ok(opened)
    }

    fn open_tcp(&mut self, address: SocketAddr, is_tls: bool) -> io::Result<Listener> {
        let fd = sys::socket(if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET })?;
        if address.is_ipv6() {
            sys::set_option(fd.as_fd(), libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
        }
        sys::set_option(fd.as_fd(), libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
        sys::bind(fd.as_fd(), &SocketAddress::inet(address))?;
        sys::listen(fd.as_fd(), self.backlog)?;
        Ok(self.name(fd, Place::Tcp { address, is_tls }))
    }

    /// Listens on a unix socket, replacing another socket of its name.
    ///
    /// # Errors
    /// The path cannot be used; EADDRINUSE where it is the name of something that is no socket.
    pub fn listen_unix(&mut self, path: &str, mode: Option<u32>) -> io::Result<()> {
        if fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket()) {
            fs::remove_file(path)?; // That of a dead server.
        }
        let fd = sys::socket(libc::AF_UNIX)?;
        sys::bind(fd.as_fd(), &SocketAddress::unix(path)?)?;
        if let Some(mode) = mode {
            sys::chmod(path, mode)?;
        }
        sys::listen(fd.as_fd(), self.backlog)?;
        self.unix = Some(self.name(fd, Place::Unix(path.into())));
        Ok(())
    }

    fn name(&mut self, fd: OwnedFd, place: Place) -> Listener {
        self.opened_count += 1;
        Listener { fd, id: self.opened_count, place }
    }

    /// Takes one connection from a listener; `None` if there is none, or the listener is gone.
    pub fn accept(&mut self, id: u32) -> Option<Accepted> {
        let listener = self.tcp.iter().chain(&self.unix).find(|listener| listener.id == id)?;
        match listener.accept(self.keepalive_s) {
            Ok(accepted) => Some(accepted),
            Err(error) => {
                if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) {
                    self.refuse_one(id);
                }
                if error.kind() != io::ErrorKind::WouldBlock {
                    tracing::warn!("Accepting client connection: {}", describe(&error));
                }
                None
            }
        }
    }

    /// Out of descriptors: takes the connection with the spare one and closes it, so that it does not wait for ever.
    fn refuse_one(&mut self, id: u32) {
        self.spare = None;
        if let Some(listener) = self.iter().find(|listener| listener.id == id) {
            drop(sys::accept(listener.fd()));
        }
        self.spare = File::open("/dev/null").ok();
    }

    /// Removes the unix socket's name, at the end of the server.
    pub fn remove_unix_path(&self) {
        if let Some(Listener { place: Place::Unix(path), .. }) = &self.unix {
            // Gone already is as good.
            let _ = fs::remove_file(path);
        }
    }
}

impl Listener {
    /// Stops listening at once, although a forked child or the ring may hold the socket for longer.
    fn close(self) {
        // Closed it is in any case.
        let _ = sys::shutdown(self.fd());
    }

    /// Its socket.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn serves(&self, wanted: &Wanted) -> bool {
        self.tcp_place() == Some((wanted.address, wanted.is_tls))
    }

    /// Its address, and whether TLS is spoken there.
    fn tcp_place(&self) -> Option<(SocketAddr, bool)> {
        match self.place {
            Place::Tcp { address, is_tls } => Some((address, is_tls)),
            Place::Unix(_) => None,
        }
    }

    fn accept(&self, keepalive_s: u32) -> io::Result<Accepted> {
        let (fd, remote) = sys::accept(self.fd())?;
        let descriptor = fd.as_raw_fd();
        let peer = match &self.place {
            Place::Unix(path) => unix_peer(path, descriptor),
            Place::Tcp { .. } => {
                prepare_tcp(fd.as_fd(), keepalive_s);
                tcp_peer(fd.as_fd(), remote, descriptor)
            }
        };
        let is_tls = self.tcp_place().is_some_and(|(_, is_tls)| is_tls);
        Ok(Accepted { fd, peer, is_tls })
    }
}

/// No delay, and probes of a silent connection. A refused option costs speed, not correctness.
fn prepare_tcp(fd: BorrowedFd, keepalive_s: u32) {
    let _ = sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1);
    let Ok(idle_s) = i32::try_from(keepalive_s) else { return };
    if idle_s > 0 {
        let _ = sys::set_option(fd, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1);
        let _ = sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPIDLE, idle_s);
        let _ = sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPINTVL, (idle_s / 3).max(1));
        let _ = sys::set_option(fd, libc::IPPROTO_TCP, libc::TCP_KEEPCNT, 3);
    }
}

fn tcp_peer(fd: BorrowedFd, remote: SocketAddress, descriptor: RawFd) -> Peer {
    let unspecified = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    let remote = remote.to_inet().unwrap_or(unspecified);
    let local = sys::local_address(fd).ok().and_then(SocketAddress::to_inet).unwrap_or(unspecified);
    Peer {
        address: remote.to_string(),
        local_address: local.to_string(),
        is_unix: false,
        is_local: remote.ip().is_loopback(),
        descriptor,
    }
}

fn unix_peer(path: &str, descriptor: RawFd) -> Peer {
    let address = format!("{path}:0");
    Peer { local_address: address.clone(), address, is_unix: true, is_local: true, descriptor }
}

/// The addresses behind `bind`; one that is optional and unknown is left out.
fn resolve(bind: &[String], port: u16, is_tls: bool) -> Result<Vec<Wanted>, String> {
    let mut all: Vec<Wanted> = Vec::new();
    if port == 0 {
        return Ok(all);
    }
    for entry in bind.iter().filter(|entry| !entry.is_empty()) {
        let (name, is_optional) = match entry.strip_prefix('-') {
            Some(name) => (name, true),
            None => (entry.as_str(), false),
        };
        let addresses = match name {
            "*" => vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port)],
            "::*" => vec![SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port)],
            _ => match (name, port).to_socket_addrs() {
                Ok(addresses) => addresses.take(1).collect(),
                Err(_) if is_optional => Vec::new(),
                Err(error) => {
                    let error = describe(&error);
                    return Err(format!(
                        "Could not create server TCP listening socket {entry}:{port}: {error}"
                    ));
                }
            },
        };
        for address in addresses {
            if !all.iter().any(|wanted| wanted.address == address) {
                all.push(Wanted { address, name: name.into(), is_optional, is_tls });
            }
        }
    }
    Ok(all)
}

/// The machine has no such address, or no such family of addresses.
fn is_no_such_address(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(
            libc::EADDRNOTAVAIL
                | libc::EAFNOSUPPORT
                | libc::EPFNOSUPPORT
                | libc::EPROTONOSUPPORT
                | libc::ESOCKTNOSUPPORT
                | libc::ENOPROTOOPT
        )
    )
}

/// An error in the system's words, without the number Rust adds.
pub fn describe(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free_port() -> u16 {
        std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
    }

    fn plain(port: u16) -> Ports {
        Ports { plain: port, tls: 0 }
    }

    fn bind(names: &[&str]) -> Vec<String> {
        names.iter().map(|&name| name.into()).collect()
    }

    #[test]
    fn an_optional_address_of_another_machine_is_left_out() {
        let mut listeners = Listeners::new(16, 0);
        let port = free_port();
        listeners.listen_tcp(&bind(&["127.0.0.1", "-203.0.113.1"]), plain(port), |_| {}).unwrap();
        assert_eq!(listeners.iter().count(), 1);
        let error =
            listeners.listen_tcp(&bind(&["127.0.0.1", "203.0.113.1"]), plain(port), |_| {}).err().unwrap();
        assert!(error.contains("203.0.113.1"), "{error}");
        assert_eq!(listeners.iter().count(), 1);
    }

    #[test]
    fn a_failed_exchange_leaves_the_old_listener_standing() {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mut listeners = Listeners::new(16, 0);
        let port = free_port();
        listeners.listen_tcp(&bind(&["127.0.0.1"]), plain(port), |_| {}).unwrap();
        let error =
            listeners.listen_tcp(&bind(&["127.0.0.1"]), plain(taken.local_addr().unwrap().port()), |_| {});
        assert!(error.err().unwrap().ends_with("Address already in use"));
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn a_port_can_begin_to_speak_tls() {
        let mut listeners = Listeners::new(16, 0);
        let (first, second) = (free_port(), free_port());
        listeners.listen_tcp(&bind(&["127.0.0.1"]), Ports { plain: first, tls: second }, |_| {}).unwrap();
        assert_eq!(listeners.iter().count(), 2);
        listeners.listen_tcp(&bind(&["127.0.0.1"]), Ports { plain: 0, tls: first }, |_| {}).unwrap();
        assert_eq!(
            listeners.iter().filter_map(Listener::tcp_place).map(|(_, is_tls)| is_tls).collect::<Vec<_>>(),
            [true]
        );
        std::net::TcpStream::connect(("127.0.0.1", first)).unwrap();
    }

    #[test]
    fn one_address_can_take_the_place_of_all() {
        let mut listeners = Listeners::new(16, 0);
        let port = free_port();
        listeners.listen_tcp(&bind(&["*"]), plain(port), |_| {}).unwrap();
        // What a child or the ring would do: the old one is closed, and yet it is there.
        let held: Vec<_> =
            listeners.iter().map(|listener| listener.fd().try_clone_to_owned().unwrap()).collect();
        let mut forgotten = 0;
        listeners.listen_tcp(&bind(&["127.0.0.1"]), plain(port), |_| forgotten += 1).unwrap();
        assert_eq!((listeners.iter().count(), forgotten), (1, held.len()));
        std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    }

    #[test]
    fn a_unix_socket_replaces_a_socket_but_no_file() {
        let path = std::env::temp_dir().join(format!("perdura-listen-{}", sys::process_id()));
        let path = path.to_str().unwrap();
        Listeners::new(16, 0).listen_unix(path, None).unwrap();
        Listeners::new(16, 0).listen_unix(path, None).unwrap();
        fs::remove_file(path).unwrap();
        fs::write(path, "precious").unwrap();
        let error = Listeners::new(16, 0).listen_unix(path, None).unwrap_err();
        assert_eq!(sys::errno(&error), libc::EADDRINUSE);
        assert_eq!(fs::read_to_string(path).unwrap(), "precious");
        fs::remove_file(path).unwrap();
    }

    #[test]
    fn peers_are_named_by_address_and_port() {
        let mut listeners = Listeners::new(16, 300);
        let port = free_port();
        listeners.listen_tcp(&bind(&["127.0.0.1"]), plain(port), |_| {}).unwrap();
        let stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
        let id = listeners.iter().next().unwrap().id;
        let peer = listeners.accept(id).unwrap().peer;
        assert_eq!(peer.address, stream.local_addr().unwrap().to_string());
        assert_eq!(peer.local_address, format!("127.0.0.1:{port}"));
        assert!(peer.is_local && !peer.is_unix);
        assert!(listeners.accept(id).is_none());
    }
}
