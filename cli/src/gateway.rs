//! The gateway's read listener, reached by a port-forward to its pod, with TLS inside the tunnel: what the user may see is decided
//! there, by the user's own identity.

use crate::cluster::{Cluster, call};
use crate::error::Error;
use crate::token;
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::Api;
use oarmaster_protocol::task::ApiError;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;

/// The port of the read listener.
const PORT: u16 = 8444;
/// The pod: the gateway is a StatefulSet of this name, and its first pod always has this one.
const POD: &str = "oarmaster-gateway-0";
/// The ConfigMap with the CA of the gateway's certificate.
const CA: &str = "oarmaster-gateway-ca";
/// Longest set-up of a connection, and longest wait for the head of an answer.
const WAIT: Duration = Duration::from_secs(15);
/// Largest answer that is read as a whole: an artifact.
const MAX_BODY: usize = 33 << 20;

/// The gateway, for one user.
pub struct Gateway {
    cluster: Cluster,
    tls: TlsConnector,
    server: ServerName<'static>,
}

impl Gateway {
    /// Learns how to verify the gateway.
    pub async fn new(cluster: &Cluster) -> Result<Self, Error> {
        let system = &cluster.global.system_namespace;
        let maps: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), system);
        let act = format!("failed to read ConfigMap {system}/{CA}, which holds the gateway's CA");
        let map = call(&act, maps.get(CA)).await.map_err(|error| {
            if error.absent {
                Error::cluster(format!("there is no ConfigMap {CA} in namespace {system}"))
                    .transient()
                    .next("Name the namespace where Oarmaster is installed with --system-namespace or OAR_SYSTEM_NAMESPACE. Right after an installation, wait for the operator: `kubectl get pods -A -l app.kubernetes.io/name=oarmaster`.")
            } else {
                error
            }
        })?;
        let pem = map
            .data
            .and_then(|mut data| data.remove("ca.crt"))
            .unwrap_or_default();
        let name = format!("oarmaster-gateway.{system}.svc");
        let server = ServerName::try_from(name).map_err(|error| {
            Error::input(format!("'{system}' is no namespace (--system-namespace)")).source(error)
        })?;
        Ok(Self {
            cluster: cluster.clone(),
            tls: connector(&pem).map_err(|error| Error::cluster(act).source(error))?,
            server,
        })
    }

    /// Asks for a path of the read API. An answer other than 200 is an error.
    pub async fn get(&self, path: &str) -> Result<Incoming, Error> {
        self.ask(Method::GET, path).await
    }

    async fn ask(&self, method: Method, path: &str) -> Result<Incoming, Error> {
        let work = async {
            let bearer = token::bearer(&self.cluster).await?;
            let stream = self.tunnel().await?;
            let stream = self
                .tls
                .connect(self.server.clone(), stream)
                .await
                .map_err(|error| unreachable("failed to connect to the gateway").source(error))?;
            request(stream, (method, path), bearer, &self.server.to_str()).await
        };
        match tokio::time::timeout(WAIT, work).await {
            Ok(done) => done,
            Err(_) => Err(unreachable("the gateway did not answer within 15 s")),
        }
    }

    /// The whole answer.
    pub async fn get_all(&self, path: &str) -> Result<Bytes, Error> {
        whole(self.get(path).await?).await
    }

    /// Deletes what a path of the read API stands for; the answer to that.
    pub async fn delete(&self, path: &str) -> Result<Bytes, Error> {
        whole(self.ask(Method::DELETE, path).await?).await
    }

    async fn tunnel(&self) -> Result<impl AsyncRead + AsyncWrite + Unpin + Send + 'static, Error> {
        let system = &self.cluster.global.system_namespace;
        let pods: Api<Pod> = Api::namespaced(self.cluster.client.clone(), system);
        let mut forward = pods
            .portforward(POD, &[PORT])
            .await
            .map_err(|error| refused(system, error))?;
        let stream = forward
            .take_stream(PORT)
            .ok_or_else(|| unreachable("failed to forward the gateway's port"))?;
        Ok(stream)
    }
}

fn connector(pem: &str) -> Result<TlsConnector, Box<dyn std::error::Error + Send + Sync>> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(certificate?)?;
    }
    if roots.is_empty() {
        return Err("it holds no certificate".into());
    }
    let config = ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

fn unreachable(what: &str) -> Error {
    Error::cluster(what).transient().next(
        "Is the gateway's pod Ready? See `kubectl get pods -A -l app.kubernetes.io/name=oarmaster`.",
    )
}

fn refused(system: &str, error: kube::Error) -> Error {
    use kube::client::UpgradeConnectionError::ProtocolSwitch;

    let failed = format!("failed to forward a port to pod {system}/{POD}");
    let code = match &error {
        kube::Error::UpgradeConnection(ProtocolSwitch(status)) => status.as_u16(),
        kube::Error::Api(status) => status.code,
        _ => 0,
    };
    match code {
        401 => Error::cluster(failed).source(error).next(
            "The cluster does not accept your credentials: log in again, or choose another context with --context.",
        ),
        403 => Error::cluster(failed).source(error).next(format!("\
You need the Role oarmaster-cli there. An administrator grants it with the chart's value cli.subjects, or with:
  kubectl create rolebinding oarmaster-cli-YOU -n {system} --role=oarmaster-cli --user=YOU")),
        404 => unreachable(&format!("{failed}: there is no such pod")).next(
            "Name the namespace where Oarmaster is installed with --system-namespace or OAR_SYSTEM_NAMESPACE.",
        ),
        _ => unreachable(&failed).source(error),
    }
}

/// The whole body.
async fn whole(body: Incoming) -> Result<Bytes, Error> {
    http_body_util::Limited::new(body, MAX_BODY)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .map_err(|error| unreachable("failed to read the gateway's answer").source(error))
}

/// One request over one connection.
async fn request(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    (method, path): (Method, &str),
    bearer: http::HeaderValue,
    host: &str,
) -> Result<Incoming, Error> {
    let failed = |error: hyper::Error| unreachable("failed to ask the gateway").source(error);
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream))
        .await
        .map_err(failed)?;
    // Ends with the body or with the sender; its error reaches us through them.
    tokio::spawn(connection);
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(HOST, host)
        .header(AUTHORIZATION, bearer)
        .body(Empty::<Bytes>::new())
        .map_err(|error| Error::input("failed to ask the gateway").source(error))?;
    let response = sender.send_request(request).await.map_err(failed)?;
    let status = response.status();
    if status == StatusCode::OK {
        return Ok(response.into_body());
    }
    let body = http_body_util::Limited::new(response.into_body(), 64 << 10)
        .collect()
        .await
        .map(http_body_util::Collected::to_bytes)
        .unwrap_or_default();
    Err(answered(status, &body))
}

fn answered(status: StatusCode, body: &[u8]) -> Error {
    let message = serde_json::from_slice::<ApiError>(body).map_or_else(
        |_| format!("the gateway answered {status}"),
        |answer| format!("the gateway answered {status}: {}", answer.error.message),
    );
    match status.as_u16() {
        401 => Error::cluster(message).next(
            "The gateway asks Kubernetes who you are. Log in again, or name a ServiceAccount with --token-from NAMESPACE/NAME.",
        ),
        403 => Error::cluster(message).next(
            "You need the verb get on tasks/transcript, tasks/artifacts or tasks/usage (group oarmaster.dev) in the Task's namespace, on agents/memory there, or on tasks/audit in all of them: ask its administrator.",
        ),
        404 => Error::cluster(message).absent(),
        408 | 429 | 500..=599 => Error::cluster(message).transient(),
        _ => Error::cluster(message),
    }
}

#[cfg(test)]
mod tests;
