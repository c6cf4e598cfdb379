//! Addresses and ports that collide with nothing the machine already has.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::cmd;

/// The addresses of one cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Addresses {
    pub node: Ipv4Addr,
    pub pods: Cidr,
    pub services: Cidr,
}

impl Addresses {
    /// The tier without a node listens on the loopback only.
    pub fn loopback() -> Self {
        Self {
            node: Ipv4Addr::LOCALHOST,
            ..candidate(244, 245, 96)
        }
    }

    /// The address of the service `kubernetes`: the first of the range.
    pub fn kubernetes(&self) -> Ipv4Addr {
        self.services.host(1)
    }

    /// The address of the name service: the tenth, by convention.
    pub fn dns(&self) -> Ipv4Addr {
        self.services.host(10)
    }
}

/// A range of IPv4 addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cidr {
    base: Ipv4Addr,
    bits: u8,
}

impl Cidr {
    /// Reads `10.0.0.0/16`, or a single address.
    pub fn parse(text: &str) -> Option<Self> {
        let (base, bits) = text.split_once('/').unwrap_or((text, "32"));
        let (base, bits) = (base.parse().ok()?, bits.parse().ok()?);
        (bits <= 32).then_some(Self { base, bits })
    }

    fn host(self, n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base.to_bits().wrapping_add(n))
    }

    fn overlaps(self, other: Self) -> bool {
        let bits = self.bits.min(other.bits);
        let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
        (self.base.to_bits() ^ other.base.to_bits()) & mask == 0
    }
}

impl std::fmt::Display for Cidr {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", self.base, self.bits)
    }
}

fn candidate(pods: u8, node: u8, services: u8) -> Addresses {
    let cidr = |second| Cidr {
        base: Ipv4Addr::new(10, second, 0, 0),
        bits: 16,
    };
    Addresses {
        node: Ipv4Addr::new(10, node, 0, 1),
        pods: cidr(pods),
        services: cidr(services),
    }
}

/// The first candidate that overlaps with nothing in `taken`.
///
/// The first one is what most clusters use; the others are there for machines
/// that already sit in one of its ranges.
pub fn choose(taken: &[Cidr]) -> Result<Addresses> {
    let candidates = [
        (244, 245, 96),
        (214, 215, 106),
        (184, 185, 116),
        (154, 155, 126),
    ];
    for (pods, node, services) in candidates {
        let addresses = candidate(pods, node, services);
        let node = Cidr {
            base: addresses.node,
            bits: 32,
        };
        let free = |own: Cidr| !taken.iter().any(|other| other.overlaps(own));
        if free(addresses.pods) && free(addresses.services) && free(node) {
            return Ok(addresses);
        }
    }
    bail!(
        "every address range that the cluster could use overlaps with a route of this machine \
         (`ip route show table all`); remove one of 10.244.0.0/16, 10.245.0.1 and 10.96.0.0/16"
    )
}

/// What the machine uses: routes, own addresses, name servers.
pub fn taken() -> Result<Vec<Cidr>> {
    let json =
        cmd::output(cmd::command("ip").args(["-json", "-4", "route", "show", "table", "all"]))?;
    let mut taken = routes(&json)?;
    let resolv = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    taken.extend(
        nameservers(&resolv)
            .iter()
            .filter_map(|server| Cidr::parse(&server.to_string())),
    );
    Ok(taken)
}

fn routes(json: &str) -> Result<Vec<Cidr>> {
    #[derive(Deserialize)]
    struct Route {
        dst: String,
    }
    let routes: Vec<Route> = serde_json::from_str(json).context("failed to read the routes")?;
    Ok(routes
        .iter()
        .filter_map(|route| Cidr::parse(&route.dst))
        .filter(|cidr| cidr.bits > 0)
        .collect())
}

/// The name servers of a resolv.conf.
pub fn nameservers(resolv: &str) -> Vec<IpAddr> {
    resolv
        .lines()
        .filter_map(|line| line.trim().strip_prefix("nameserver"))
        .filter_map(|rest| rest.trim().parse().ok())
        .collect()
}

/// A free TCP port on `address`: `wanted`, or any if that is taken.
pub fn free_port(address: Ipv4Addr, wanted: u16) -> Result<u16> {
    let listener = TcpListener::bind((address, wanted))
        .or_else(|_| TcpListener::bind((address, 0)))
        .with_context(|| format!("failed to find a free port on {address}"))?;
    Ok(listener.local_addr()?.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cidr(text: &str) -> Cidr {
        Cidr::parse(text).unwrap()
    }

    #[test]
    fn ranges_overlap_when_one_holds_the_other() {
        assert!(cidr("10.244.0.0/16").overlaps(cidr("10.244.3.7")));
        assert!(cidr("10.0.0.0/8").overlaps(cidr("10.244.0.0/16")));
        assert!(!cidr("10.244.0.0/16").overlaps(cidr("10.245.0.1")));
        assert!(Cidr::parse("10.0.0.0/33").is_none());
        assert!(Cidr::parse("default").is_none());
    }

    #[test]
    fn the_usual_ranges_are_taken_when_free() {
        let chosen = choose(&[cidr("192.0.2.0/24")]).unwrap();
        assert_eq!(chosen.pods.to_string(), "10.244.0.0/16");
        assert_eq!(chosen.dns().to_string(), "10.96.0.10");
        assert_eq!(chosen.kubernetes().to_string(), "10.96.0.1");
    }

    #[test]
    fn a_machine_inside_a_range_moves_the_cluster() {
        let chosen = choose(&[cidr("10.96.128.0/24")]).unwrap();
        assert_eq!(chosen.services.to_string(), "10.106.0.0/16");
        let refused = choose(&[cidr("10.0.0.0/8")]).unwrap_err().to_string();
        assert!(refused.contains("ip route show table all"), "{refused}");
    }

    #[test]
    fn the_default_route_is_not_a_range() {
        let json = r#"[{"dst":"default","gateway":"192.0.2.1"},{"dst":"0.0.0.0/0"},
            {"dst":"192.0.2.0/24","dev":"eth0"},{"type":"local","dst":"192.0.2.2"}]"#;
        assert_eq!(
            routes(json).unwrap(),
            [cidr("192.0.2.0/24"), cidr("192.0.2.2")]
        );
    }

    #[test]
    fn name_servers_are_read() {
        let read = nameservers("# note\nnameserver 10.1.1.1\nsearch x\nnameserver ::1\n");
        assert_eq!(
            read.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.1.1.1", "::1"]
        );
    }
}
