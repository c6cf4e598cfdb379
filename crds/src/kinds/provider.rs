//! ModelProvider: an upstream that serves models.

use super::script::Script;
use crate::access::AllowedNamespaces;
use crate::common::{RateLimits, SecretKeyRef, SecretRef, conditions_schema};
use crate::duration::GepDuration;
use crate::money::Usd;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use kube::{CustomResource, KubeSchema};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;

/// The form of a dated version of Azure's API.
pub(crate) const API_VERSION: &str = "^[0-9]{4}-[0-9]{2}-[0-9]{2}(-preview)?$";
/// The first of them whose streams say how many tokens they took is 2024-09-01-preview.
pub(crate) const OLDEST_API_VERSION: &str = "2024-09-01";
/// The form of a deployment's name.
pub(crate) const DEPLOYMENT: &str = "^[A-Za-z0-9._-]{1,64}$";
/// The form of an AWS region. Nothing else may become a part of a host's name.
pub(crate) const REGION: &str = "^[a-z]{2,4}(-[a-z]+){1,3}-[0-9]{1,2}$";

/// A server that serves models: where it is, the keys to it, and what its models cost. The keys are read by the gateway alone.
#[derive(CustomResource, Clone, Debug, PartialEq, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "oarmaster.dev",
    version = "v1alpha1",
    kind = "ModelProvider",
    plural = "modelproviders",
    shortname = "oprov",
    category = "oarmaster",
    namespaced,
    status = "ModelProviderStatus",
    derive = "PartialEq",
    doc = "A server that serves models: where it is, the keys to it, and what its models cost.",
    printcolumn(name = "TYPE", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "MODELS", type_ = "integer", json_path = ".status.modelCount"),
    printcolumn(
        name = "READY",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].status"
    ),
    printcolumn(
        name = "REASON",
        type_ = "string",
        json_path = ".status.conditions[?(@.type==\"Ready\")].reason",
        priority = 1
    ),
    printcolumn(
        name = "AGE",
        type_ = "date",
        json_path = ".metadata.creationTimestamp"
    )
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = Rule::new("self.type != 'OpenAICompatible' || has(self.endpoint)").message("type OpenAICompatible needs endpoint, like https://api.example.com/v1"),
    validation = Rule::new("self.type != 'AzureOpenAI' || has(self.endpoint)").message("type AzureOpenAI needs endpoint, like https://NAME.openai.azure.com"),
    validation = Rule::new("self.type != 'AzureOpenAI' || !has(self.endpoint) || !self.endpoint.matches('/openai/(v1|deployments)')").message("the endpoint of type AzureOpenAI ends before /openai, like https://NAME.openai.azure.com"),
    validation = Rule::new("self.type == 'AzureOpenAI' || !has(self.azure)").message("azure is for type AzureOpenAI only"),
    validation = Rule::new("self.type != 'Bedrock' || has(self.bedrock)").message("type Bedrock needs bedrock, like {region: eu-central-1}"),
    validation = Rule::new("self.type == 'Bedrock' || !has(self.bedrock)").message("bedrock is for type Bedrock only"),
    validation = Rule::new("self.type in ['OpenAICompatible', 'Scripted'] || has(self.endpoint) || (has(self.keys) && size(self.keys) > 0) || (has(self.bedrock) && has(self.bedrock.credentials) && self.bedrock.credentials == 'Workload')").message("a vendor takes no request without a key: set keys, like [{name: main, secretKeyRef: {name: openai, key: api-key}}], or for Bedrock [{name: main, secretRef: {name: bedrock}}]"),
    validation = Rule::new("!has(self.bedrock) || !has(self.bedrock.credentials) || self.bedrock.credentials != 'Workload' || !has(self.keys) || size(self.keys) == 0").message("credentials Workload takes no keys: remove them, or set credentials: Secret"),
    validation = Rule::new("!has(self.keys) || self.keys.all(key, has(key.secretRef) == (self.type == 'Bedrock'))").message("a key of type Bedrock is a whole Secret: write secretRef: {name: bedrock}; a key of any other type is one entry: write secretKeyRef: {name: openai, key: api-key}"),
    validation = Rule::new("self.type != 'Scripted' || has(self.script)").message("type Scripted needs script with at least one rule"),
    validation = Rule::new("self.type == 'Scripted' || !has(self.script)").message("script is for type Scripted only"),
    validation = Rule::new("self.type != 'Scripted' || (!has(self.endpoint) && !has(self.keys))").message("type Scripted takes neither endpoint nor keys")
)]
pub struct ModelProviderSpec {
    /// How to talk to it. A vendor (OpenAI, Anthropic, Gemini, Cohere, Mistral, Groq, OpenRouter, AzureOpenAI, Bedrock), or `OpenAICompatible`: any server with OpenAI's chat completions, or `Scripted`: answers from the script in this object, without a network; for demos and tests.
    pub r#type: ProviderType,
    /// Base URL up to and without the path of a call: without `/chat/completions` where that is the call, like `https://api.example.com/v1`, and for Anthropic, Gemini and Cohere without the version, like `https://api.anthropic.com`. For AzureOpenAI the resource's, like `https://NAME.openai.azure.com`; for Bedrock the runtime's, like `https://bedrock-runtime.eu-central-1.amazonaws.com`. http or https. A private address is refused unless the chart's `gateway.privateEndpoints` lists it. Default: the vendor's own. Required for OpenAICompatible and AzureOpenAI.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 1, max = 1024),
        regex(pattern = r"^https?://[^\s/?#@]+(/[^\s?#]*)?$")
    )]
    pub endpoint: Option<String>,
    /// Keys. For each request they are drawn by their `weight`; the others follow when that one cannot be used. One that the provider refused is out until its Secret changes. Required for a vendor at its own endpoint, unless Bedrock's credentials are Workload; without any, requests carry no key. At most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub keys: Vec<ProviderKey>,
    /// How an AzureOpenAI provider is called. Default: the v1 API, and deployments that are named as their models.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub azure: Option<Azure>,
    /// How a Bedrock provider is called. Required there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bedrock: Option<Bedrock>,
    /// The models that may be used, with their prices. 1 to 64.
    #[schemars(length(min = 1, max = 64), extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["name"]))]
    pub models: Vec<ProviderModel>,
    /// What the gateway keeps within, over all models and keys. Default: no limit of its own; what the provider allows shows in its answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limits: Option<RateLimits>,
    /// How long to wait for what.
    #[serde(default)]
    pub timeouts: Timeouts,
    /// Namespaces whose ModelPools may name this provider. Its keys stay here: who uses it sees none. What is taken back ends with the request under way. Default: the own namespace.
    #[serde(default)]
    pub allowed_namespaces: AllowedNamespaces,
    /// What a Scripted provider answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
}

/// How to talk to a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum ProviderType {
    /// OpenAI.
    OpenAI,
    /// Anthropic.
    Anthropic,
    /// Google's Gemini API.
    Gemini,
    /// Cohere.
    Cohere,
    /// Mistral.
    Mistral,
    /// Groq.
    Groq,
    /// OpenRouter.
    OpenRouter,
    /// Azure OpenAI, and the models of others that the same resource serves.
    AzureOpenAI,
    /// Amazon Bedrock, by its Converse API.
    Bedrock,
    /// Any server with OpenAI's chat completions: vLLM, Ollama, LM Studio, LiteLLM, and most vendors.
    OpenAICompatible,
    /// Answers from a script.
    Scripted,
}

impl ProviderType {
    /// Every type.
    pub const ALL: [Self; 11] = [
        Self::OpenAI,
        Self::Anthropic,
        Self::Gemini,
        Self::Cohere,
        Self::Mistral,
        Self::Groq,
        Self::OpenRouter,
        Self::AzureOpenAI,
        Self::Bedrock,
        Self::OpenAICompatible,
        Self::Scripted,
    ];

    /// Whether it is a vendor, whose models the built-in table of prices may have.
    #[must_use]
    pub const fn is_vendor(self) -> bool {
        !matches!(self, Self::OpenAICompatible | Self::Scripted)
    }

    /// The vendor's own base URL, where it is the same for everybody.
    #[must_use]
    pub const fn endpoint(self) -> Option<&'static str> {
        match self {
            Self::OpenAI => Some("https://api.openai.com/v1"),
            Self::Anthropic => Some("https://api.anthropic.com"),
            Self::Gemini => Some("https://generativelanguage.googleapis.com"),
            Self::Cohere => Some("https://api.cohere.com"),
            Self::Mistral => Some("https://api.mistral.ai/v1"),
            Self::Groq => Some("https://api.groq.com/openai/v1"),
            Self::OpenRouter => Some("https://openrouter.ai/api/v1"),
            Self::AzureOpenAI | Self::Bedrock | Self::OpenAICompatible | Self::Scripted => None,
        }
    }
}

impl ModelProviderSpec {
    /// The base URL: what the object states, else the vendor's own, for Bedrock that of the region.
    #[must_use]
    pub fn endpoint(&self) -> Option<Cow<'_, str>> {
        let own = || match (self.r#type, &self.bedrock) {
            (ProviderType::Bedrock, Some(bedrock)) => {
                Some(aws_endpoint("bedrock-runtime", &bedrock.region).into())
            }
            (kind, _) => kind.endpoint().map(Cow::from),
        };
        self.endpoint.as_deref().map(Cow::from).or_else(own)
    }
}

/// How an AzureOpenAI provider is called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.apiVersion) || self.apiVersion >= '2024-09-01'").message("apiVersion is too old to count the tokens of a stream: write 2024-10-21 or a newer one, or leave it out for the v1 API"))]
pub struct Azure {
    /// A dated version of the API, like `2024-10-21`. Default: the v1 API (`/openai/v1`), which has no dates and is what Microsoft recommends; state a version only for a resource or a proxy that does not serve v1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(
        length(min = 10, max = 18),
        regex(pattern = API_VERSION)
    )]
    pub api_version: Option<String>,
    /// Names of deployments by the name of the model, as `models` has it: 1 to 64 letters, digits, dots, hyphens and underscores. Two models may share one. Default: the name of the model. At most 64.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "deployments_schema")]
    pub deployments: BTreeMap<String, String>,
}

fn deployments_schema(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "object",
        "maxProperties": 64,
        "additionalProperties": { "type": "string", "minLength": 1, "maxLength": 64, "pattern": DEPLOYMENT },
    })
}

/// How a Bedrock provider is called.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Bedrock {
    /// The AWS region, like `eu-central-1`. Requests are signed for it, and models are priced as they are there.
    #[schemars(
        length(min = 9, max = 32),
        regex(pattern = REGION)
    )]
    pub region: String,
    /// Whose AWS credentials requests are signed with. `Secret`: those in `keys`. `Workload`: the gateway's own, by EKS Pod Identity or IAM roles for service accounts; only for a ModelProvider in the namespace that Oarmaster is installed in, since whoever writes it spends that identity's money. Default Secret.
    #[serde(default)]
    pub credentials: AwsCredentials,
}

/// The base URL of an AWS service in a region, by the partitions of botocore 1.44.8's partitions.json that are on the internet.
#[must_use]
pub fn aws_endpoint(service: &str, region: &str) -> String {
    let suffix = match region.split('-').next() {
        Some("cn") => "amazonaws.com.cn",
        Some("eusc") => "amazonaws.eu",
        _ => "amazonaws.com",
    };
    format!("https://{service}.{region}.{suffix}")
}

/// Whose AWS credentials requests are signed with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub enum AwsCredentials {
    /// Those in `keys`.
    #[default]
    Secret,
    /// The gateway's own.
    Workload,
}

/// A key to a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.secretKeyRef) != has(self.secretRef)").message("set exactly one of secretKeyRef or secretRef"))]
pub struct ProviderKey {
    /// Name of the key, for status and metrics.
    #[schemars(
        length(min = 1, max = 63),
        regex(pattern = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$")
    )]
    pub name: String,
    /// Where the key is, for every type but Bedrock. Whoever writes this must be allowed to `get` that Secret. A changed Secret is used within 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_key_ref: Option<SecretKeyRef>,
    /// The Secret of a Bedrock key, with the entries `access-key-id`, `secret-access-key` and, for temporary credentials, `session-token`. The same rights are needed, and a changed Secret is used within 5 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secret_ref: Option<SecretRef>,
    /// Its share of the requests; 0: only after the others, in the written order. Default 1.
    #[serde(default = "one")]
    #[schemars(range(min = 0, max = 1000))]
    pub weight: i64,
}

const fn one() -> i64 {
    1
}

/// A model of a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProviderModel {
    /// The id that the provider knows; for AzureOpenAI the name of the model, whatever its deployment is called; for Bedrock an id of a model or an inference profile, or its ARN.
    #[schemars(length(min = 1, max = 256))]
    pub name: String,
    /// What it costs. Default: what the built-in table has for this id at this vendor, for Bedrock in the region. A model without a price is refused, since a budget could not hold; state "0" for a server of your own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pricing: Option<Pricing>,
    /// Most input and output tokens of one call together. Default: what the built-in table has for this id at this vendor, else 128000; conversations of agents are shortened to fit a pool in time only where each of its members states it or is in the table.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 100_000_000))]
    pub context_tokens: Option<i64>,
    /// What the provider gives away of it, for `FreeFirst`: when that much was asked for, other members come first. What the provider itself says of its quotas counts without this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_quota: Option<FreeQuota>,
}

/// Requests that a provider gives away.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("has(self.requestsPerMinute) || has(self.requestsPerDay)").message("set requestsPerMinute, requestsPerDay, or both"))]
pub struct FreeQuota {
    /// Requests of a minute. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests_per_minute: Option<i64>,
    /// Requests of a day, in UTC. Default: no bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1_000_000_000))]
    pub requests_per_day: Option<i64>,
}

/// Prices in USD per million tokens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pricing {
    /// Input tokens.
    pub input_per_million: Usd,
    /// Output tokens, reasoning included.
    pub output_per_million: Usd,
    /// Input tokens read from the provider's cache. Default: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read_per_million: Option<Usd>,
    /// Input tokens written into the provider's cache, for however long. Default: as input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write_per_million: Option<Usd>,
}

/// How long the gateway waits for a provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Timeouts {
    /// Until the connection stands, TLS included. Default 2s.
    pub connect: GepDuration,
    /// Until the first chunk of a stream. Default 60s.
    pub first_token: GepDuration,
    /// Between two chunks of a stream. Default 30s.
    pub idle: GepDuration,
    /// Until the end of an answer that is not streamed. Default 10m.
    pub response: GepDuration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: GepDuration::new("2s"),
            first_token: GepDuration::new("60s"),
            idle: GepDuration::new("30s"),
            response: GepDuration::new("10m"),
        }
    }
}

/// What is known of a provider.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ModelProviderStatus {
    /// The generation that this status is about; -1 until the operator has looked at the object.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Ready, SecretResolved, Reachable.
    #[schemars(schema_with = "conditions_schema")]
    pub conditions: Vec<Condition>,
    /// State of each key.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub keys: Vec<KeyStatus>,
    /// Number of models.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_count: Option<i64>,
    /// State of each model.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelStatus>,
}

/// State of a model.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelStatus {
    /// Name of the model.
    pub name: String,
    /// Why it is never asked: it has no price, so no budget could hold. Absent where it is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub problem: String,
    /// `Closed`: requests pass. `Open`: none passes with any key, since too many failed, the provider asked to wait, or a quota of it is used up. `HalfOpen`: one passes, to try it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub circuit: String,
    /// Until when the circuit is open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub until: Option<String>,
}

/// State of a key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct KeyStatus {
    /// Name of the key.
    pub name: String,
    /// `Ok`, `SecretMissing`, `SecretInvalid`, `SecretForbidden`, `Invalid`: the provider refused it, or `Exhausted`: the account behind it has no money or quota left.
    pub state: String,
}
