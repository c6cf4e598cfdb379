//! What tells programs of the port that the pilot has for them: as a proxy, where the sandbox has egress, and as where models are, where it has a
//! pool. There is no one name for either.

use oarmaster_protocol::assignment::Sandbox;
use std::path::Path;

/// What stands where SDKs demand a key: the pilot's port needs none, and nobody else takes it for one.
const NO_KEY: &str = "none";

/// The variables, for this port.
pub(super) fn variables(port: u16, sandbox: &Sandbox, tmp: &Path) -> Vec<(String, String)> {
    let mut all = Vec::new();
    if !sandbox.egress.is_empty() {
        all.extend(proxy(port, tmp));
    }
    if sandbox.pool.is_some() {
        all.extend(models(port));
    }
    all
}

fn proxy(port: u16, tmp: &Path) -> Vec<(String, String)> {
    let proxy = format!("http://127.0.0.1:{port}");
    let under = |name: &str| tmp.join(name).to_string_lossy().into_owned();
    let mut all: Vec<(String, String)> = [
        // curl reads the first of these in lower case only; others read one of the two.
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
    ]
    .map(|name| (name.to_owned(), proxy.clone()))
    .into();
    let others = [
        // What is on this machine is not reached by way of another: servers of the program's own, and the port itself.
        ("no_proxy", "127.0.0.1,localhost".to_owned()),
        ("NO_PROXY", "127.0.0.1,localhost".to_owned()),
        // Node looks at the variables above only when it is told to.
        ("NODE_USE_ENV_PROXY", "1".to_owned()),
        // Without a terminal git would wait for a password, and these would ask for news of themselves.
        ("GIT_TERMINAL_PROMPT", "0".to_owned()),
        // The workspace belongs to root, as every volume: git would not work in a repository there.
        ("GIT_CONFIG_COUNT", "1".to_owned()),
        ("GIT_CONFIG_KEY_0", "safe.directory".to_owned()),
        ("GIT_CONFIG_VALUE_0", "*".to_owned()),
        ("PIP_DISABLE_PIP_VERSION_CHECK", "1".to_owned()),
        ("npm_config_update_notifier", "false".to_owned()),
        // The home directory is the workspace, which is kept; what was downloaded is not.
        ("XDG_CACHE_HOME", under(".cache")),
        ("npm_config_cache", under(".npm")),
    ];
    all.extend(others.map(|(name, value)| (name.to_owned(), value)));
    all
}

/// Where the vendors' SDKs, and the frameworks above them, look for a model.
fn models(port: u16) -> [(String, String); 4] {
    [
        ("OPENAI_BASE_URL", format!("http://127.0.0.1:{port}/v1")),
        ("OPENAI_API_KEY", NO_KEY.to_owned()),
        ("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{port}")),
        ("ANTHROPIC_API_KEY", NO_KEY.to_owned()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
}

/// A proxy for Java, which reads no such variable, as further options of the JVM. It leaves out this machine by itself.
pub(super) fn java(port: u16, sandbox: &Sandbox) -> String {
    if sandbox.egress.is_empty() {
        return String::new();
    }
    ["http", "https"]
        .map(|scheme| format!(" -D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={port}"))
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sandbox(egress: &[&str], pool: Option<&str>) -> Sandbox {
        Sandbox {
            egress: egress.iter().map(|text| (*text).to_owned()).collect(),
            pool: pool.map(str::to_owned),
            ..Sandbox::default()
        }
    }

    #[test]
    fn programs_are_told_of_a_proxy_with_domains_and_of_models_with_a_pool() {
        let tmp = Path::new("/tmp");
        let told = |sandbox: &Sandbox| -> std::collections::BTreeMap<String, String> {
            variables(7, sandbox, tmp).into_iter().collect()
        };
        for (egress, pool) in [
            (&[][..], None),
            (&["pypi.org"], None),
            (&[], Some("team/p")),
            (&["pypi.org"], Some("team/p")),
        ] {
            let sandbox = sandbox(egress, pool);
            let told = told(&sandbox);
            let get = |name: &str| told.get(name).map(String::as_str);
            let proxied = |value| (!egress.is_empty()).then_some(value);
            let asked = |value| pool.map(|_| value);
            for (name, value) in [
                ("HTTPS_PROXY", proxied("http://127.0.0.1:7")),
                ("http_proxy", proxied("http://127.0.0.1:7")),
                ("NO_PROXY", proxied("127.0.0.1,localhost")),
                ("no_proxy", proxied("127.0.0.1,localhost")),
                ("OPENAI_BASE_URL", asked("http://127.0.0.1:7/v1")),
                ("OPENAI_API_KEY", asked("none")),
                ("ANTHROPIC_BASE_URL", asked("http://127.0.0.1:7")),
                ("ANTHROPIC_API_KEY", asked("none")),
            ] {
                assert_eq!(get(name), value, "{name}: {egress:?} {pool:?}");
            }
            assert_eq!(java(7, &sandbox).is_empty(), egress.is_empty());
        }
    }
}
