//! FetchPage: the text of one page.

use super::get::{Got, get};
use super::page::{self, Page};
use super::target::{self, Grant, Target};
use super::{Failed, begins, counted, ended, read, refused};
use crate::identity::sandbox::SandboxPod;
use crate::state::Gateway;
use crate::tools::clean;
use http::StatusCode;
use oarmaster_crds::DomainPattern;
use serde::Deserialize;

/// Most redirects of a page.
const MAX_REDIRECTS: usize = 5;

/// What the model asks.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Arguments {
    /// The address.
    pub url: String,
    /// Where in the text to begin, in bytes.
    #[serde(default)]
    pub offset: Option<u64>,
}

/// Fetches a page; `domains` are those of the Task.
///
/// # Errors
/// What the model is told.
pub async fn fetch(
    gateway: &Gateway,
    pod: &SandboxPod,
    domains: &[DomainPattern],
    arguments: &Arguments,
) -> Result<String, Failed> {
    let call = Call {
        gateway,
        pod,
        domains,
    };
    counted(gateway, "FetchPage", call.run(arguments)).await
}

struct Call<'a> {
    gateway: &'a Gateway,
    pod: &'a SandboxPod,
    domains: &'a [DomainPattern],
}

impl Call<'_> {
    async fn run(&self, arguments: &Arguments) -> Result<String, Failed> {
        let asked = Target::parse(&arguments.url);
        let asked =
            asked.map_err(|why| Failed::new("invalid", format!("url cannot be fetched: {why}")))?;
        let offset = usize::try_from(arguments.offset.unwrap_or_default()).unwrap_or(usize::MAX);
        let grant = target::grant(&asked, self.domains, || false);
        let grant = match grant {
            Some(grant) => grant,
            None if self.found(&asked).await? => Grant::Found,
            None => return Err(self.forbidden(&asked)),
        };
        let (url, got) = self.follow(asked, grant).await?;
        let (page, url) = read(&self.gateway.web, move || page_of(got, url)).await??;
        page::part(&page, &url, offset).map_err(|why| Failed::new("invalid", why))
    }

    /// Asks for a page, and for what it leads to.
    async fn follow(&self, asked: Target, grant: Grant) -> Result<(Target, Got), Failed> {
        let (mut at, mut grant) = (asked, grant);
        for _ in 0..=MAX_REDIRECTS {
            let got = self.get(&at, grant).await?;
            let Some(location) = leads_to(&got) else {
                return Ok((at, got));
            };
            let to = at.join(&location).map_err(|why| {
                self.note("redirect");
                Failed::new(
                    "refused",
                    format!("{at} leads to another address, which cannot be fetched: {why}"),
                )
            })?;
            let found = self.found(&to).await?;
            let Some(next) = target::follows((&at, grant), &to, self.domains, || found) else {
                self.note("redirect");
                let text = format!(
                    "{at} leads to {}, which may not be fetched: {}",
                    shown(&to),
                    self.allowed()
                );
                return Err(Failed::new("refused", text));
            };
            (at, grant) = (to, next);
        }
        Err(Failed::new(
            "refused",
            format!("it leads on and on: more than {MAX_REDIRECTS} redirects are not followed"),
        ))
    }

    async fn get(&self, target: &Target, grant: Grant) -> Result<Got, Failed> {
        begins(self.gateway, self.pod, target.domain().as_str()).await?;
        let Gateway {
            egress,
            settings,
            web,
            ..
        } = self.gateway;
        // The administrator chose the domains; whose pages a search returns, nobody did.
        let guard = match grant {
            Grant::Domain => &settings.private_endpoints,
            Grant::Found => &web.strangers,
        };
        let got = get(target, &egress.resolve, guard, web.tls.as_ref()).await;
        let received = got.as_ref().map_or(0, Got::received);
        ended(self.gateway, self.pod, target.domain().as_str(), received);
        got
    }

    async fn found(&self, target: &Target) -> Result<bool, Failed> {
        let Gateway { web, store, .. } = self.gateway;
        let url = target.to_string();
        Ok(web.known.has(store, &self.pod.task_uid, &url).await?)
    }

    fn forbidden(&self, target: &Target) -> Failed {
        self.note("domain");
        Failed::new(
            "refused",
            format!("{} may not be fetched: {}", shown(target), self.allowed()),
        )
    }

    fn note(&self, reason: &str) {
        refused(self.gateway, self.pod, reason);
    }

    /// What may be fetched, in words.
    fn allowed(&self) -> String {
        let domains: Vec<String> = self.domains.iter().map(ToString::to_string).collect();
        let pages = "pages whose exact URL a WebSearch of this task returned";
        if domains.is_empty() {
            format!("only {pages} can be; the Agent's sandbox.egress.domains names no domain")
        } else {
            format!("only pages of {} can be, and {pages}", domains.join(", "))
        }
    }
}

/// An address that a stranger chose, for a sentence.
fn shown(target: &Target) -> String {
    clean::line(&target.to_string(), 300)
}

/// Where an answer leads, if it is a redirect.
fn leads_to(got: &Got) -> Option<String> {
    let is_redirect = matches!(
        got.status,
        StatusCode::MOVED_PERMANENTLY
            | StatusCode::FOUND
            | StatusCode::SEE_OTHER
            | StatusCode::TEMPORARY_REDIRECT
            | StatusCode::PERMANENT_REDIRECT
    );
    is_redirect.then(|| got.location()).flatten()
}

fn page_of(got: Got, url: Target) -> Result<(Page, Target), Failed> {
    if !got.status.is_success() {
        let text = format!(
            "{} answered {}, so there is nothing to read",
            url.domain(),
            got.status.as_u16()
        );
        return Err(Failed::new("unreachable", text));
    }
    let kind = got.content_type();
    let body = got.unpacked()?;
    let page = page::read(kind.as_deref(), &body.bytes, &url);
    let mut page = page.map_err(|error| Failed::new("unreadable", error.to_string()))?;
    page.is_cut |= body.is_cut;
    Ok((page, url))
}
