//! What tells programs of their proxy, where the sandbox has egress. There is no one name for it.

use std::path::Path;

/// The variables, for a proxy at this port.
pub(super) fn variables(port: u16, tmp: &Path) -> Vec<(String, String)> {
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

/// The same for Java, which reads no such variable, as further options of the JVM.
pub(super) fn java(port: u16) -> String {
    ["http", "https"]
        .map(|scheme| format!(" -D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={port}"))
        .concat()
}
