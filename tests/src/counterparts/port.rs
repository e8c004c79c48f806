//! Ports that stay ours while a server is down.
//!
//! A killed server must come back on the same port, so for a while nobody listens there. Ports
//! that the kernel hands out for outgoing connections would be lost in that time, even to a client
//! that retries the dead server; so ours are taken from below that range, and each is held by a
//! file lock that other test processes respect.

use std::fs::{self, File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};

use super::{Error, cache};

/// Below Linux's range of ephemeral ports, which starts at 32768.
const FROM: u16 = 21_000;
const TO: u16 = 31_999;

/// A reserved port of one address; free again when dropped.
#[derive(Debug)]
pub struct Port {
    socket: SocketAddr,
    _lock: File,
}

impl Port {
    /// Reserves a port of loopback that nobody listens on.
    pub fn reserve() -> Result<Self, Error> {
        Self::reserve_at(Ipv4Addr::LOCALHOST.into())
    }

    /// Reserves a port of one of this machine's addresses.
    pub fn reserve_at(address: IpAddr) -> Result<Self, Error> {
        let folder = cache::root()?.join("ports");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        let range = u32::from(TO - FROM) + 1;
        // Processes that start together look in different places first.
        let offset = std::process::id().wrapping_mul(97) % range;
        for step in 0..range {
            let number = FROM + ((offset + step) % range) as u16;
            let path = folder.join(number.to_string());
            let lock = OpenOptions::new()
                .create(true)
                .truncate(false)
                .write(true)
                .open(&path)
                .map_err(Error::io("open", &path))?;
            if lock.try_lock().is_ok() && TcpListener::bind((address, number)).is_ok() {
                return Ok(Self { socket: (address, number).into(), _lock: lock });
            }
        }
        Err(Error::NoFreePort { address, from: FROM, to: TO })
    }

    pub fn number(&self) -> u16 {
        self.socket.port()
    }

    /// Where a server is to listen.
    pub fn socket(&self) -> SocketAddr {
        self.socket
    }

    /// `<host>:<port>`, as a client writes it.
    pub fn address(&self) -> String {
        self.socket.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_twice_though_nobody_listens() {
        let ports: Vec<Port> = (0..50).map(|_| Port::reserve().unwrap()).collect();
        let numbers: std::collections::BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), 50);
    }
}
