//! Checks of what is AzureOpenAI's and Bedrock's own in a ModelProvider.

use super::Problem;
use crate::kinds::provider::{
    API_VERSION, AwsCredentials, Azure, Bedrock, DEPLOYMENT, ModelProviderSpec, OLDEST_API_VERSION,
    ProviderType, REGION,
};

/// Both blocks, and which form the keys have.
pub fn cloud(problems: &mut Vec<Problem>, spec: &ModelProviderSpec) {
    let is = |kind| spec.r#type == kind;
    match &spec.azure {
        Some(azure) if is(ProviderType::AzureOpenAI) => check_azure(problems, spec, azure),
        Some(_) => problems.push(Problem::spec(
            "spec.azure",
            "is for type AzureOpenAI only; remove it",
        )),
        None => {}
    }
    let endpoint = spec.endpoint.as_deref().unwrap_or_default();
    if is(ProviderType::AzureOpenAI)
        && ["/openai/v1", "/openai/deployments"]
            .iter()
            .any(|path| endpoint.contains(path))
    {
        problems.push(Problem::spec(
            "spec.endpoint",
            "ends before /openai for type AzureOpenAI, like https://NAME.openai.azure.com",
        ));
    }
    match &spec.bedrock {
        Some(bedrock) if is(ProviderType::Bedrock) => check_bedrock(problems, spec, bedrock),
        Some(_) => problems.push(Problem::spec(
            "spec.bedrock",
            "is for type Bedrock only; remove it",
        )),
        None if is(ProviderType::Bedrock) => problems.push(Problem::spec(
            "spec.bedrock",
            "type Bedrock needs it, like {region: eu-central-1}",
        )),
        None => {}
    }
    for (index, key) in spec.keys.iter().enumerate() {
        let fits = match spec.r#type {
            ProviderType::Bedrock => key.secret_ref.is_some() && key.secret_key_ref.is_none(),
            _ => key.secret_key_ref.is_some() && key.secret_ref.is_none(),
        };
        if !fits {
            let what = match spec.r#type {
                ProviderType::Bedrock => {
                    "a key of type Bedrock is a whole Secret: write secretRef: {name: bedrock}, and nothing else"
                }
                _ => {
                    "write secretKeyRef: {name: openai, key: api-key}; secretRef is for type Bedrock only"
                }
            };
            problems.push(Problem::spec(format!("spec.keys[{index}]"), what));
        }
    }
}

fn check_azure(problems: &mut Vec<Problem>, spec: &ModelProviderSpec, azure: &Azure) {
    let wrong = match azure.api_version.as_deref() {
        Some(version) if !matches(API_VERSION, version) => {
            Some("is no dated version: write one like 2024-10-21, or leave it out for the v1 API")
        }
        Some(version) if version < OLDEST_API_VERSION => Some(
            "is too old to count the tokens of a stream: write 2024-10-21 or a newer one, or leave it out for the v1 API",
        ),
        Some(_) | None => None,
    };
    problems.extend(wrong.map(|what| Problem::spec("spec.azure.apiVersion", what)));
    if azure.deployments.len() > 64 {
        problems.push(Problem::spec(
            "spec.azure.deployments",
            "write at most 64 entries",
        ));
    }
    for (model, deployment) in &azure.deployments {
        let field = format!("spec.azure.deployments[{model}]");
        if !spec.models.iter().any(|listed| listed.name == *model) {
            problems.push(Problem::spec(
                &field,
                "is no model of this provider; list it in spec.models, or remove it",
            ));
        }
        if !matches(DEPLOYMENT, deployment) {
            problems.push(Problem::spec(
                &field,
                "is no name of a deployment: write 1 to 64 letters, digits, dots, hyphens and underscores",
            ));
        }
    }
}

fn check_bedrock(problems: &mut Vec<Problem>, spec: &ModelProviderSpec, bedrock: &Bedrock) {
    // It becomes a part of a host's name.
    if !matches(REGION, &bedrock.region) {
        problems.push(Problem::spec(
            "spec.bedrock.region",
            "is no AWS region: write one like eu-central-1",
        ));
    }
    let wrong = match bedrock.credentials {
        AwsCredentials::Secret if spec.endpoint.is_none() && spec.keys.is_empty() => Some(
            "a vendor takes no request without a key; name the Secret with access-key-id and secret-access-key, or set spec.bedrock.credentials: Workload",
        ),
        AwsCredentials::Workload if !spec.keys.is_empty() => {
            Some("credentials Workload takes no keys: remove them, or set credentials: Secret")
        }
        AwsCredentials::Secret | AwsCredentials::Workload => None,
    };
    problems.extend(wrong.map(|what| Problem::spec("spec.keys", what)));
}

/// Whether a text has the form that the schema asks for.
fn matches(pattern: &str, text: &str) -> bool {
    regex::Regex::new(pattern).is_ok_and(|pattern| pattern.is_match(text))
}
