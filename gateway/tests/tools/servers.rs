//! MCP servers that others wrote, as they are: the protocol project's own for JavaScript, and one that is made with its package for Python.
//! `cargo xtask test` installs them, from the locks in `tests/tools/servers`, and says where they are.

#![allow(clippy::print_stderr, reason = "what is skipped is said")]

use super::server::{at, task};
use super::{call, offer};
use crate::common::World;
use crate::common::port::free_address;
use serde_json::json;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Where `cargo xtask test` has put them.
const FOLDER: &str = "OARMASTER_MCP_SERVERS";

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os(FOLDER).map(PathBuf::from);
    if folder.is_none() {
        eprintln!("SKIPPED: {FOLDER} does not say where the servers are");
    }
    folder
}

/// Starts a server, and waits until it takes connections at the port.
async fn start(command: &mut Command, port: u16) -> Running {
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let running = Running(child.unwrap());
    let up = async {
        while tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_err()
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    let up = tokio::time::timeout(Duration::from_secs(120), up).await;
    up.expect("the server takes connections");
    running
}

#[tokio::test]
async fn the_protocol_projects_own_server_for_javascript() {
    let Some(folder) = folder() else { return };
    let port = free_address().port();
    let script = "javascript/node_modules/@modelcontextprotocol/server-everything/dist/index.js";
    let mut command = Command::new(folder.join("usr/local/bin/node"));
    command.arg(folder.join(script)).arg("streamableHttp");
    let _server = start(command.env("PORT", port.to_string()), port).await;

    let world = World::start().await;
    let url = format!("http://127.0.0.1:{port}/mcp");
    let allow = ["echo", "get-sum", "get-tiny-image", "no-such-tool"];
    let session = task(&world, &[at(&url, &allow)]).await;
    let found = offer(&world, &session).await;
    let names: Vec<_> = found.tools.iter().map(|tool| &*tool.name).collect();
    assert_eq!(names, ["hub__echo", "hub__get-sum", "hub__get-tiny-image"]);
    assert_eq!(
        found.missing,
        ["hub: the server has no tool named no-such-tool"]
    );
    assert_eq!(found.tools[0].parameters["type"], "object");

    let (ok, text) = call(
        &world,
        &session,
        1,
        "hub__echo",
        json!({"message": "h\u{fc}!"}),
    )
    .await;
    assert!(ok && text.contains("h\u{fc}!"), "{text}");
    let (ok, text) = call(
        &world,
        &session,
        2,
        "hub__get-sum",
        json!({"a": 19, "b": 23}),
    )
    .await;
    assert!(ok && text.contains("42"), "{text}");
    let (ok, text) = call(&world, &session, 3, "hub__get-tiny-image", json!({})).await;
    assert!(
        ok && text.contains("[an image (image/png) was left out]"),
        "{text}"
    );
    let (ok, text) = call(&world, &session, 4, "hub__get-sum", json!({"a": "x"})).await;
    assert!(!ok && !text.is_empty(), "{text}");
}

#[tokio::test]
async fn a_server_that_is_made_with_the_protocol_projects_package_for_python() {
    let Some(folder) = folder() else { return };
    let port = free_address().port();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/tools/servers/server.py");
    let mut command = Command::new(folder.join("python/bin/python"));
    command.arg(script).arg(port.to_string());
    let _server = start(&mut command, port).await;

    let world = World::start().await;
    let url = format!("http://127.0.0.1:{port}/mcp");
    let session = task(&world, &[at(&url, &["add", "fail", "look"])]).await;
    let found = offer(&world, &session).await;
    assert_eq!(found.missing, [""; 0]);
    let look = found.tools.iter().find(|tool| tool.name == "hub__look");
    assert!(look.unwrap().read_only);
    let (ok, text) = call(&world, &session, 1, "hub__add", json!({"a": 19, "b": 23})).await;
    assert!(ok && text.contains("42"), "{text}");
    let (ok, text) = call(&world, &session, 2, "hub__fail", json!({})).await;
    assert!(!ok && !text.is_empty(), "{text}");
    let (ok, text) = call(&world, &session, 3, "hub__look", json!({"at": "ships"})).await;
    assert!(ok && text.contains("ships"), "{text}");
}
