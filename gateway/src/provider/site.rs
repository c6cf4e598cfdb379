//! Where a provider's calls go, and what it calls a model: as its words have it, except where a cloud serves models by its own names.

use super::wire::{Embedder, Wire};
use oarmaster_crds::ModelProviderSpec;
use oarmaster_crds::kinds::provider::{Azure, ProviderType};
use oarmaster_dialect::chat::azure;

/// Where a provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Site {
    /// At its vendor, or a server that speaks as one.
    Plain,
    /// At Azure, which serves deployments of models.
    Azure(Azure),
    /// In an AWS region, for which requests are signed.
    Aws(String),
}

impl Site {
    /// Where a provider is; `None` where the object does not say what it must.
    #[must_use]
    pub fn of(spec: &ModelProviderSpec) -> Option<Self> {
        Some(match spec.r#type {
            ProviderType::AzureOpenAI => Self::Azure(spec.azure.clone().unwrap_or_default()),
            ProviderType::Bedrock => Self::Aws(spec.bedrock.as_ref()?.region.clone()),
            _ => Self::Plain,
        })
    }

    /// What the provider calls a model.
    #[must_use]
    pub fn name<'a>(&'a self, model: &'a str) -> &'a str {
        match self {
            Self::Azure(azure) => azure.deployments.get(model).map_or(model, String::as_str),
            Self::Plain | Self::Aws(_) => model,
        }
    }

    /// Where a call goes, below the endpoint.
    #[must_use]
    pub fn path(&self, wire: Wire, model: &str, stream: bool) -> String {
        match self {
            Self::Azure(of) => {
                let call = match wire {
                    Wire::Embeddings(Embedder::OpenAi(_)) => azure::EMBEDDINGS,
                    Wire::Responses { .. } => azure::RESPONSES,
                    _ => azure::CHAT,
                };
                azure::path(call, self.name(model), of.api_version.as_deref())
            }
            Self::Plain | Self::Aws(_) => wire.path(model, stream),
        }
    }

    /// The cheapest thing to ask for, below the endpoint.
    #[must_use]
    pub fn probe(&self, wire: Wire) -> String {
        match self {
            Self::Azure(of) => azure::models(of.api_version.as_deref()),
            Self::Plain | Self::Aws(_) => wire.probe().to_owned(),
        }
    }

    /// The region for which requests are signed.
    #[must_use]
    pub fn region(&self) -> Option<&str> {
        match self {
            Self::Aws(region) => Some(region),
            Self::Plain | Self::Azure(_) => None,
        }
    }
}
