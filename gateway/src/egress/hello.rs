//! The first words of a tunnel: TLS that asks for the tunnel's own domain. Else a tunnel to one name would be one to every name that the same
//! server knows, or carry anything at all.

use oarmaster_crds::Domain;
use rustls::server::Acceptor;
use tokio::io::{AsyncRead, AsyncReadExt as _};

/// A ClientHello has about 2 KiB.
const MAX_HELLO: usize = 32 << 10;

/// Why a tunnel is not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadHello {
    #[error("it ended before it said anything")]
    Nothing,
    #[error("it does not begin with TLS")]
    NoTls,
    #[error("TLS in it does not ask for the tunnel's domain")]
    OtherName,
    #[error("it broke off")]
    Broken(#[from] std::io::Error),
}

/// Reads the ClientHello. What was read goes on to the other side as it is.
pub(super) async fn read(
    child: &mut (impl AsyncRead + Unpin),
    domain: &Domain,
) -> Result<Vec<u8>, BadHello> {
    let mut acceptor = Acceptor::default();
    let mut said = Vec::with_capacity(4 << 10);
    loop {
        let before = said.len();
        if before >= MAX_HELLO {
            return Err(BadHello::NoTls);
        }
        if child.read_buf(&mut said).await? == 0 {
            return Err(BadHello::Nothing);
        }
        let mut rest = said.get(before..).unwrap_or_default();
        while !rest.is_empty() {
            match acceptor.read_tls(&mut rest) {
                Ok(0) | Err(_) => return Err(BadHello::NoTls),
                Ok(_) => {}
            }
        }
        match acceptor.accept() {
            Ok(None) => {}
            Ok(Some(accepted)) => {
                let hello = accepted.client_hello();
                let named = hello.server_name().map(Domain::parse);
                return match named {
                    Some(Ok(name)) if name == *domain => Ok(said),
                    _ => Err(BadHello::OtherName),
                };
            }
            Err(_) => return Err(BadHello::NoTls),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::{ClientConfig, ClientConnection, RootCertStore};
    use std::sync::Arc;

    fn hello_for(name: &str) -> Vec<u8> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(RootCertStore::empty())
            .with_no_client_auth();
        let name = name.to_owned().try_into().unwrap();
        let mut client = ClientConnection::new(Arc::new(config), name).unwrap();
        let mut said = Vec::new();
        client.write_tls(&mut said).unwrap();
        said
    }

    async fn outcome(mut bytes: &[u8]) -> Result<Vec<u8>, String> {
        let domain = Domain::parse("pypi.org").unwrap();
        let read = read(&mut bytes, &domain).await;
        read.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn tls_for_the_domain_goes_on_as_it_is() {
        let hello = hello_for("pypi.org");
        assert_eq!(outcome(&hello).await, Ok(hello.clone()));
        let more = [hello, b"what follows".to_vec()].concat();
        assert_eq!(outcome(&more).await, Ok(more.clone()));
    }

    #[tokio::test]
    async fn a_hello_may_come_byte_by_byte() {
        let hello = hello_for("pypi.org");
        let (mut near, mut far) = tokio::io::duplex(1);
        let sent = hello.clone();
        tokio::spawn(async move {
            tokio::io::AsyncWriteExt::write_all(&mut near, &sent)
                .await
                .unwrap();
            near // stays open
        });
        let domain = Domain::parse("pypi.org").unwrap();
        assert_eq!(read(&mut far, &domain).await.unwrap(), hello);
    }

    #[tokio::test]
    async fn anything_else_goes_nowhere() {
        let hello = hello_for("pypi.org");
        let endless = [&[22, 3, 1, 0x40, 0][..], &[1; 64 << 10]].concat();
        for (bytes, why) in [
            (
                hello_for("evil.example"),
                "does not ask for the tunnel's domain",
            ),
            (
                hello_for("files.pypi.org"),
                "does not ask for the tunnel's domain",
            ),
            (hello_for("1.1.1.1"), "does not ask for the tunnel's domain"), // without a name
            (
                b"GET / HTTP/1.1\r\nhost: pypi.org\r\n\r\n".to_vec(),
                "does not begin with TLS",
            ),
            (
                b"SSH-2.0-OpenSSH_9.2\r\n".to_vec(),
                "does not begin with TLS",
            ),
            (vec![0; 4096], "does not begin with TLS"),
            (endless, "does not begin with TLS"),
            (hello[..hello.len() - 1].to_vec(), "ended before"),
            (Vec::new(), "ended before"),
        ] {
            let told = outcome(&bytes).await.unwrap_err();
            assert!(told.contains(why), "{told}, not: {why}");
        }
    }
}
