use super::*;
use kube::config::AuthInfo;

fn config(auth: AuthInfo) -> Config {
    let mut config = Config::new(http::Uri::from_static("https://127.0.0.1:1"));
    config.auth_info = auth;
    config
}

#[tokio::test]
async fn a_token_of_the_kubeconfig_is_used_as_it_is() {
    let auth = AuthInfo {
        token: Some("abc".to_owned().into()),
        ..AuthInfo::default()
    };
    let header = own(&config(auth)).await.unwrap().unwrap();
    assert_eq!(header, "Bearer abc");
    assert!(header.is_sensitive());
}

#[tokio::test]
async fn a_token_file_is_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "from-file").unwrap();
    let auth = AuthInfo {
        token_file: Some(file.path().display().to_string()),
        ..AuthInfo::default()
    };
    assert_eq!(
        own(&config(auth)).await.unwrap().unwrap(),
        "Bearer from-file"
    );
}

#[tokio::test]
async fn a_client_certificate_is_no_token() {
    assert!(own(&config(AuthInfo::default())).await.unwrap().is_none());
}

#[tokio::test]
async fn a_password_is_not_shown_to_the_gateway() {
    let auth = AuthInfo {
        username: Some("u".to_owned()),
        password: Some("p".to_owned().into()),
        ..AuthInfo::default()
    };
    let header = own(&config(auth)).await.unwrap().unwrap();
    assert!(!header.as_bytes().starts_with(b"Bearer "));
}

#[test]
fn a_service_account_that_is_missing_is_not_a_task_that_is_missing() {
    let from = TokenFrom {
        namespace: "demo".to_owned(),
        name: "oar".to_owned(),
    };
    let error = missing(Error::input("failed").absent(), &from);
    assert!(!error.absent && !error.transient);
}
