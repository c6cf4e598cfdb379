//! Flags and environment, parsed once into [`Config`].

use crate::provider::aws::workload::Source;
use crate::provider::guard::PrivateEndpoints;
use crate::provider::keys::ApiKey;
use crate::shared::Address;
use crate::tools::web::config::{Search, SearchFlags};
use anyhow::Context as _;
use clap::Parser;
use oarmaster_store::{Keys, Retention};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The data plane of Oarmaster: it alone holds provider keys, meters every model call against the Task's budget, and keeps the journal.
///
/// It needs the rights of the chart's ServiceAccount oarmaster-gateway, and serves once the Secret --tls-secret holds a certificate
/// (the operator issues it).
#[derive(Debug, Parser)]
#[command(name = "oarmaster-gateway", version)]
pub struct Args {
    /// Model calls and the task API, TLS. Tokens of the audience oarmaster-gateway
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8443")]
    data_addr: SocketAddr,
    /// Transcripts, artifacts and usage for people, TLS. Tokens of a kubeconfig
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8444")]
    read_addr: SocketAddr,
    /// The operator's API, TLS. Tokens of the audience oarmaster-gateway-admin
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:8445")]
    admin_addr: SocketAddr,
    /// /metrics, /healthz and /readyz, plain HTTP
    #[arg(long, value_name = "ADDR", default_value = "0.0.0.0:9090")]
    metrics_addr: SocketAddr,
    /// Directory of the log and the artifacts. One process at a time may use it
    #[arg(long, value_name = "DIR", default_value = "/var/lib/oarmaster")]
    data_dir: PathBuf,
    /// File with the keys that --data-dir is sealed with: 64 hexadecimal digits on each line. The first one seals, the others open what was sealed before; once the
    /// gateway has started with a new one in front they are needed no longer. Without it nothing is sealed, and the log says so
    #[arg(long, value_name = "FILE")]
    seal_keys: Option<PathBuf>,
    /// The namespace that Oarmaster is installed in
    #[arg(long, value_name = "NAME", env = "POD_NAMESPACE")]
    namespace: String,
    /// Pool of --namespace that the name `default` means where a namespace has no pool of that name
    #[arg(long, value_name = "NAME")]
    default_pool: Option<String>,
    /// ServiceAccount in --namespace that may use the admin API
    #[arg(long, value_name = "NAME", default_value = "oarmaster-operator")]
    operator_service_account: String,
    /// ServiceAccount in --namespace of the pods that run attempts without a pod of their own
    #[arg(long, value_name = "NAME", default_value = "oarmaster-pilots")]
    pilots_service_account: String,
    /// Secret in --namespace with tls.crt and tls.key. A new certificate is used without a restart
    #[arg(long, value_name = "NAME", default_value = "oarmaster-gateway-tls")]
    tls_secret: String,
    /// Addresses inside the network that providers, and the domains of sandboxes with egress, may have: CIDRs, addresses or host names, separated by commas
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    private_endpoints: Vec<String>,
    /// Largest request body in MiB. There is memory for six of that size, for one of each namespace; what is larger than 64 KiB waits. A call needs up to four times its body
    #[arg(long, value_name = "MIB", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..=256))]
    body_limit: u16,
    /// URL of a collector of OpenTelemetry that takes OTLP over HTTP, like http://collector.observability:4318: traces of model calls go
    /// to its /v1/traces. Without it there are none
    #[arg(long, value_name = "URL", value_parser = collector)]
    tracing_endpoint: Option<String>,
    /// Share of the traces that begin here and are kept, 0 to 1. Callers with a traceparent decide for theirs
    #[arg(long, value_name = "SHARE", default_value_t = 1.0, value_parser = share)]
    tracing_sampling: f64,
    /// Memory for the answers that pools keep (spec.cache), in MiB; 0 keeps none
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(0..=16384))]
    cache_size: u16,
    /// Days that journals of Tasks are kept, from the last thing that happened to a Task that is over
    #[arg(long, value_name = "DAYS", default_value_t = 30, value_parser = days())]
    journal_days: u16,
    /// Days that artifacts of Tasks are kept, likewise
    #[arg(long, value_name = "DAYS", default_value_t = 7, value_parser = days())]
    artifact_days: u16,
    /// Days that model calls of other callers are kept one by one; a Task's are kept with its journal. Then the sums of each day are
    #[arg(long, value_name = "DAYS", default_value_t = 35, value_parser = days())]
    call_days: u16,
    /// Days that sums and the audit's other lines are kept
    #[arg(long, value_name = "DAYS", default_value_t = 400, value_parser = days())]
    total_days: u16,
    /// Redis that replicas share limits, kept answers and open circuits through: redis://[:PASSWORD@]HOST[:PORT][/DATABASE], rediss:// for TLS
    #[arg(
        long,
        value_name = "URL",
        env = "OARMASTER_REDIS_URL",
        hide_env_values = true
    )]
    redis_url: Option<String>,
    /// Where WebSearch searches: an address with {searchTerms} and, where the endpoint takes it, {count}, like
    /// https://search.example/search?q={searchTerms}&format=json. Its answer is JSON. Without it, WebSearch finds nothing. A private address is listed in
    /// --private-endpoints
    #[arg(long, value_name = "URL", default_value = "")]
    search_url: String,
    /// Where in the answer the list of results stands: the name of a field, or a JSON pointer like /web/results
    #[arg(long, value_name = "PLACE", default_value = "results")]
    search_results: String,
    /// Where in a result its title stands
    #[arg(long, value_name = "PLACE", default_value = "title")]
    search_title: String,
    /// Where in a result its address stands
    #[arg(long, value_name = "PLACE", default_value = "url")]
    search_link: String,
    /// Where in a result its text stands
    #[arg(long, value_name = "PLACE", default_value = "content")]
    search_text: String,
    /// Header that carries the key of the search endpoint, like X-Subscription-Token. In Authorization the key begins with its scheme, like `Bearer ...`
    #[arg(long, value_name = "NAME")]
    search_key_header: Option<String>,
    /// Key of the search endpoint
    #[arg(
        long,
        value_name = "KEY",
        env = "OARMASTER_SEARCH_KEY",
        hide_env_values = true
    )]
    search_key: Option<String>,
    /// Seconds that running requests have to finish after SIGTERM
    #[arg(long, value_name = "SECONDS", default_value_t = 25)]
    drain: u64,
}

/// The keys of a file.
fn keys(path: &Path) -> anyhow::Result<Keys> {
    let read = std::fs::read_to_string(path);
    let text = read.with_context(|| format!("--seal-keys: failed to read {}", path.display()))?;
    Keys::parse(&text).with_context(|| format!("--seal-keys: {} cannot be used", path.display()))
}

/// The key of a flag; an empty one is none.
fn key(text: &str) -> Option<anyhow::Result<Arc<ApiKey>>> {
    let read = || {
        let key = ApiKey::new(text.as_bytes(), "");
        let key = key.map_err(anyhow::Error::msg);
        Ok(Arc::new(
            key.context("OARMASTER_SEARCH_KEY cannot be used")?,
        ))
    };
    (!text.is_empty()).then(read)
}

fn days() -> clap::builder::RangedI64ValueParser<u16> {
    clap::value_parser!(u16).range(1..=3650)
}

fn collector(text: &str) -> Result<String, String> {
    match url::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => {
            Ok(text.to_owned())
        }
        _ => Err("write a URL like http://collector.observability:4318".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    let share = text.parse().ok();
    let share = share.filter(|share| (0.0..=1.0).contains(share));
    share.ok_or_else(|| "write a number from 0 to 1, like 0.1".to_owned())
}

/// Where traces go, and which.
#[derive(Clone, Debug, PartialEq)]
pub struct Tracing {
    /// Base URL of the collector.
    pub endpoint: String,
    /// Share of the traces that begin here and are kept.
    pub sampling: f64,
}

/// What the process runs with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address of the data listener.
    pub data_addr: SocketAddr,
    /// Address of the read listener.
    pub read_addr: SocketAddr,
    /// Address of the admin listener.
    pub admin_addr: SocketAddr,
    /// Address of metrics and probes.
    pub metrics_addr: SocketAddr,
    /// Directory of the store.
    pub data_dir: PathBuf,
    /// What it is sealed with.
    pub keys: Keys,
    /// How long what is kept.
    pub retention: Retention,
    /// What the request handlers need to know.
    pub settings: Settings,
    /// Where the gateway's own credentials for AWS come from, or why there are none: by the variables that EKS sets, no flag.
    pub workload: Result<Source, String>,
    /// Where traces go; absent where there are none.
    pub tracing: Option<Tracing>,
    /// Where searches go; absent where there are none.
    pub search: Option<Search>,
    /// Secret with the certificate.
    pub tls_secret: String,
    /// How long running requests have to finish after SIGTERM.
    pub drain: std::time::Duration,
}

/// The part of the configuration that requests depend on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The release namespace.
    pub namespace: String,
    /// Pool of the release namespace behind the name `default`.
    pub default_pool: Option<String>,
    /// User name of the operator's ServiceAccount.
    pub operator: String,
    /// User name of the shared pilots' ServiceAccount.
    pub pilots: String,
    /// Private addresses that providers may have.
    pub private_endpoints: PrivateEndpoints,
    /// Largest request body in bytes.
    pub body_limit: usize,
    /// Most bytes of the answers that are kept.
    pub cache_bytes: u64,
    /// Where Redis is, if there is one.
    pub redis: Option<Address>,
}

impl Args {
    /// The configuration.
    ///
    /// # Errors
    /// When an entry of `--private-endpoints` is neither a CIDR, an address nor a host name, the URL of Redis is none, a flag of searches is wrong, or the file of `--seal-keys` cannot be used.
    pub fn resolve(self) -> anyhow::Result<Config> {
        let Self {
            data_addr,
            read_addr,
            admin_addr,
            metrics_addr,
            data_dir,
            seal_keys,
            namespace,
            default_pool,
            operator_service_account,
            pilots_service_account,
            tls_secret,
            private_endpoints,
            body_limit,
            tracing_endpoint,
            tracing_sampling,
            cache_size,
            journal_days,
            artifact_days,
            call_days,
            total_days,
            redis_url,
            search_url,
            search_results,
            search_title,
            search_link,
            search_text,
            search_key_header,
            search_key,
            drain,
        } = self;
        let search = Search::parse(SearchFlags {
            url: search_url,
            results: search_results,
            title: search_title,
            link: search_link,
            text: search_text,
            key_header: search_key_header,
            key: search_key.as_deref().and_then(key).transpose()?,
        })?;
        let ms = |days: u16| i64::from(days) * 24 * 3_600_000;
        Ok(Config {
            data_addr,
            read_addr,
            admin_addr,
            metrics_addr,
            data_dir,
            keys: seal_keys.map_or(Ok(Keys::default()), |path| keys(&path))?,
            retention: Retention {
                journals_ms: ms(journal_days),
                artifacts_ms: ms(artifact_days),
                rows_ms: ms(call_days),
                totals_ms: ms(total_days),
            },
            settings: Settings {
                operator: format!("system:serviceaccount:{namespace}:{operator_service_account}"),
                pilots: format!("system:serviceaccount:{namespace}:{pilots_service_account}"),
                default_pool: default_pool.filter(|name| !name.is_empty()),
                private_endpoints: PrivateEndpoints::parse(&private_endpoints)?,
                body_limit: usize::from(body_limit) << 20,
                cache_bytes: u64::from(cache_size) << 20,
                redis: redis_url
                    .filter(|url| !url.is_empty())
                    .map(|url| Address::parse(&url))
                    .transpose()?,
                namespace,
            },
            workload: Source::from_env(|name| std::env::var(name).ok()),
            tracing: tracing_endpoint.map(|endpoint| Tracing {
                endpoint,
                sampling: tracing_sampling,
            }),
            search,
            tls_secret,
            drain: std::time::Duration::from_secs(drain),
        })
    }
}
