//! Binding listeners, with errors that name the way out.

use std::net::SocketAddr;

use rustix::net::sockopt::set_tcp_quickack;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpListener;

/// Connections that the kernel may hold for us: a whole fleet may reconnect at once.
const BACKLOG: i32 = 8_192;

/// A port that cannot be listened on.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for {what}: {source}. {}", advice(*.address, .source.kind(), .what))]
pub struct BindError {
    /// The address asked for.
    address: SocketAddr,
    /// What for: the name of the listener in the configuration.
    what: &'static str,
    source: std::io::Error,
}

fn advice(address: SocketAddr, kind: std::io::ErrorKind, what: &str) -> String {
    match kind {
        std::io::ErrorKind::PermissionDenied => format!(
            "Ports below 1024 need a privilege: run `setcap cap_net_bind_service=+ep` on the binary, or choose another port \
             with listeners.{what} (SDKs reach HTTPS on another port when it stands in the host name)"
        ),
        std::io::ErrorKind::AddrInUse => format!(
            "Another program listens on port {}: stop it (`ss -ltnp` shows which), or choose another port with \
             listeners.{what}",
            address.port()
        ),
        std::io::ErrorKind::AddrNotAvailable => {
            format!("This machine does not have that address: correct listeners.{what}")
        }
        _ => format!("Correct listeners.{what}"),
    }
}

/// A listener and what it is bound to.
#[derive(Debug)]
pub(crate) struct Bound {
    pub(crate) listener: TcpListener,
    pub(crate) address: SocketAddr,
}

/// Binds all addresses of one kind of listener. Addresses with port 0 share one free port.
pub(crate) fn bind(what: &'static str, addresses: &[SocketAddr]) -> Result<Vec<Bound>, BindError> {
    const ATTEMPTS_MAX: usize = 20;
    let mut attempt = 0;
    loop {
        attempt += 1;
        match bind_once(what, addresses) {
            // A free port of IPv4 may be taken on IPv6: draw another.
            Err(error)
                if error.source.kind() == std::io::ErrorKind::AddrInUse
                    && error.address.port() == 0
                    && attempt < ATTEMPTS_MAX => {}
            result => return result,
        }
    }
}

fn bind_once(what: &'static str, addresses: &[SocketAddr]) -> Result<Vec<Bound>, BindError> {
    let mut drawn = None;
    let mut bound = Vec::with_capacity(addresses.len());
    for &asked in addresses {
        let mut wanted = asked;
        if let (0, Some(port)) = (asked.port(), drawn) {
            wanted.set_port(port);
        }
        let listener = listen(wanted).map_err(|source| BindError {
            address: asked,
            what,
            source,
        })?;
        let address = listener.local_addr().map_err(|source| BindError {
            address: asked,
            what,
            source,
        })?;
        if asked.port() == 0 {
            drawn = Some(address.port());
        }
        bound.push(Bound { listener, address });
    }
    Ok(bound)
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        // `::` and `0.0.0.0` are two listeners; one must not take the other's connections.
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    // Accepted connections inherit it, which saves each a system call.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    // Inherited as well, when set after that: what a peer says first is acknowledged with our answer, which comes at once, and not by a
    // packet of its own.
    set_tcp_quickack(&socket, false)?;
    TcpListener::from_std(socket.into())
}

#[cfg(test)]
mod tests {
    use rustix::net::sockopt::tcp_quickack;

    use super::*;

    #[tokio::test]
    async fn one_free_port_serves_both_address_families() {
        let addresses = ["127.0.0.1:0".parse().unwrap(), "[::1]:0".parse().unwrap()];
        let bound = bind("mqtt", &addresses).unwrap();
        assert_eq!(bound.len(), 2);
        assert_eq!(bound[0].address.port(), bound[1].address.port());
    }

    #[tokio::test]
    async fn what_is_accepted_sends_at_once_and_acknowledges_with_its_answer() {
        let bound = bind("mqtt", &["127.0.0.1:0".parse().unwrap()]).unwrap();
        let client = tokio::net::TcpStream::connect(bound[0].address);
        let (client, accepted) = tokio::join!(client, bound[0].listener.accept());
        let accepted = accepted.unwrap().0;
        assert!(accepted.nodelay().unwrap());
        assert!(!tcp_quickack(&accepted).unwrap());
        drop(client);
    }

    #[tokio::test]
    async fn a_taken_port_is_named_with_the_way_out() {
        let first = bind("mqtt", &["127.0.0.1:0".parse().unwrap()]).unwrap();
        let error = bind("mqtt", &[first[0].address]).unwrap_err().to_string();
        assert!(error.contains(&first[0].address.to_string()), "{error}");
        assert!(
            error.contains("listeners.mqtt") && error.contains("Another program"),
            "{error}"
        );
    }
}
