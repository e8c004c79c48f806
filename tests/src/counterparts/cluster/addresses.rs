//! The addresses of one cluster: a network of 65,536 of its own, so that two clusters may run side by side.
//!
//! ```text
//! 10.90.0.1        the host, for the servers that pods are to reach
//! 10.90.0.2        the control plane: API server, DNS, and the way to services
//! 10.90.0.11 …     the nodes
//! 10.90.65.0/24 …  the pods of each node
//! 10.90.128.0/17   services
//! ```

use std::net::Ipv4Addr;

/// The second number of the first cluster's addresses.
pub(super) const FIRST: u8 = 90;

/// Addresses of the cluster whose second number this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Addresses(pub u8);

impl Addresses {
    pub fn host(self) -> Ipv4Addr {
        self.at(0, 1)
    }

    pub fn control_plane(self) -> Ipv4Addr {
        self.at(0, 2)
    }

    pub fn node(self, number: u8) -> Ipv4Addr {
        self.at(0, 10 + number)
    }

    /// Of hosts and nodes, in the first of the 256 networks.
    pub const MACHINES_PREFIX: u8 = 24;

    pub fn pods_of(self, node: u8) -> String {
        format!("{}/24", self.at(64 + node, 0))
    }

    pub fn pods(self) -> String {
        format!("{}/18", self.at(64, 0))
    }

    pub fn services(self) -> String {
        format!("{}/17", self.at(128, 0))
    }

    /// The service `kubernetes`, which is always the first.
    pub fn api_service(self) -> Ipv4Addr {
        self.at(128, 1)
    }

    /// Whether the host has routes into this network, going by `/proc/net/route`.
    pub fn are_taken(self, routes: &str) -> bool {
        routes.lines().skip(1).any(|route| {
            let destination = route.split_whitespace().nth(1);
            // Printed as a number of this machine's byte order, which in memory is the address.
            let destination = destination.and_then(|hex| u32::from_str_radix(hex, 16).ok()).map(u32::to_ne_bytes);
            matches!(destination, Some([10, second, ..]) if second == self.0)
        })
    }

    fn at(self, third: u8, fourth: u8) -> Ipv4Addr {
        Ipv4Addr::new(10, self.0, third, fourth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_by_routes_into_them_but_not_by_wider_ones() {
        let addresses = Addresses(91);
        for (destination, taken) in
            [([10, 91, 7, 0], true), ([10, 90, 7, 0], false), ([10, 0, 0, 0], false), ([0, 0, 0, 0], false)]
        {
            let route = format!("Iface\tDestination\neth0\t{:08X}\t00000000\n", u32::from_ne_bytes(destination));
            assert_eq!(addresses.are_taken(&route), taken, "{destination:?}");
        }
    }
}
