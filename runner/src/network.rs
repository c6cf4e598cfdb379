//! Whether the pod's NetworkPolicy is enforced: tries what it forbids, all at once, until nothing of it answers any more.
//!
//! What to try comes from the controller. An answer counts as reached; a refusal and silence do not, since plugins do either.

use oarmaster_protocol::probe::{NetworkFindings, Place};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::time::Duration;
use tokio::net::{TcpStream, UdpSocket};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

/// How long an answer is waited for. Within a cluster it takes milliseconds, and a policy that drops gives none.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause between two rounds.
const PAUSE: Duration = Duration::from_millis(500);

/// What to try.
#[derive(Clone, Debug, Default, clap::Args)]
// Its group would have the name of the group of the arguments that it is part of.
#[group(skip)]
pub struct Args {
    /// What the pod's NetworkPolicy forbids, as PLACE=ADDRESS:PORT, like api-server=10.96.0.1:443.
    #[arg(long, value_delimiter = ',')]
    pub must_not_reach: Vec<Target>,
}

/// One place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    place: Place,
    /// Absent where the kubelet did not know it.
    address: Option<SocketAddr>,
}

impl FromStr for Target {
    type Err = String;

    /// The address of an IPv6 node comes from the kubelet without brackets, so that everything before the last colon is one. A reference
    /// that the kubelet cannot resolve stays as it is, `$(NAME)`: there is nothing to try then.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text
            .split_once('=')
            .and_then(|(place, rest)| Some((place, rest.rsplit_once(':')?)));
        let Some((place, (address, port))) = parts else {
            return Err("expected PLACE=ADDRESS:PORT".to_owned());
        };
        let place = Place::from_name(place).ok_or_else(|| format!("no place is named {place}"))?;
        if address.starts_with("$(") {
            return Ok(Self {
                place,
                address: None,
            });
        }
        let address: IpAddr = address
            .trim_matches(['[', ']'])
            .parse()
            .map_err(|error| format!("{address}: {error}"))?;
        let port: u16 = port.parse().map_err(|error| format!("{port}: {error}"))?;
        Ok(Self {
            place,
            address: Some(SocketAddr::new(address, port)),
        })
    }
}

/// Tries everything again and again, until the policy is enforced or patience ends. Gives what the last round found.
pub async fn prove(targets: &[Target], patience: Duration) -> NetworkFindings {
    let begun = Instant::now();
    loop {
        let found = round(targets).await;
        if found.enforced() || targets.is_empty() || begun.elapsed() + PAUSE > patience {
            return found;
        }
        sleep(PAUSE).await;
    }
}

/// As [`prove`], where nothing else shows that the pod has a network: a round counts only if the gateway, which the policy allows,
/// answered in it. `None`: it did not within `patience`. Once it did, the policy has `settle` to be in force.
pub async fn prove_beside(
    gateway: SocketAddr,
    targets: &[Target],
    patience: Duration,
    settle: Duration,
) -> Option<NetworkFindings> {
    let begun = Instant::now();
    let mut answered = None;
    loop {
        let (control, found) = tokio::join!(connects(gateway), round(targets));
        if control {
            let since: &mut Instant = answered.get_or_insert_with(Instant::now);
            if found.enforced() || targets.is_empty() || since.elapsed() + PAUSE > settle {
                return Some(found);
            }
        } else if begun.elapsed() + PAUSE > patience {
            return None;
        }
        sleep(PAUSE).await;
    }
}

async fn round(targets: &[Target]) -> NetworkFindings {
    let mut tries = JoinSet::new();
    for Target { place, address } in targets.iter().copied() {
        if let Some(address) = address {
            tries.spawn(async move { (place, answers(place, address).await) });
        }
    }
    let mut found = NetworkFindings::default();
    for (place, answered) in tries.join_all().await {
        if answered {
            found.reached.push(place);
        } else {
            found.refused.push(place);
        }
    }
    found.reached.sort_unstable();
    found.refused.sort_unstable();
    found
}

async fn answers(place: Place, address: SocketAddr) -> bool {
    if place == Place::Dns {
        let (tcp, udp) = tokio::join!(connects(address), resolves(address));
        return tcp || udp;
    }
    connects(address).await
}

async fn connects(address: SocketAddr) -> bool {
    matches!(
        timeout(ANSWER, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}

/// Whether a DNS server answers a question for the root's name servers, whatever it answers.
async fn resolves(server: SocketAddr) -> bool {
    // Header: id, recursion desired, one question. Question: the root, type NS, class IN.
    const QUESTION: [u8; 17] = [
        0x6f, 0x61, 0x01, 0x00, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 1,
    ];
    let own = match server {
        SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let asked = async {
        let socket = UdpSocket::bind((own, 0)).await?;
        socket.connect(server).await?;
        socket.send(&QUESTION).await?;
        socket.recv(&mut [0; 512]).await
    };
    matches!(timeout(ANSWER, asked).await, Ok(Ok(_)))
}

#[cfg(test)]
mod tests;
