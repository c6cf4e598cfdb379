//! The tools as a pilot calls them.

use crate::common::PILOT;
use crate::support::Scene;
use oarmaster_protocol::tool::ToolAnswer;
use serde_json::{Value, json};

/// A call, and the status and body that came back.
async fn call(scene: &Scene, number: u32, name: &str, arguments: Value) -> (u16, Value) {
    let url = format!("{}/task/v1/tools/{name}", scene.world.data);
    let call = json!({"number": number, "arguments": arguments});
    let request = scene.world.http.post(url).bearer_auth(PILOT).json(&call);
    let request = request.header("oarmaster-session", scene.session());
    let response = request.send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn answer(scene: &Scene, number: u32, name: &str, arguments: Value) -> ToolAnswer {
    let (status, body) = call(scene, number, name, arguments).await;
    assert_eq!(status, 200, "{body}");
    serde_json::from_value(body).unwrap()
}

#[tokio::test]
async fn a_pilot_searches_records_and_reads() {
    let mut scene = Scene::start().await;
    scene.finds(&["https://found.test/a"]);
    scene.server.page("https://found.test/a", "what was found");
    scene.server.page("https://docs.test/b", "what may be read");
    let page = |url: &str| json!({ "url": url });
    let found = answer(&scene, 1, "WebSearch", json!({"query": "a"})).await;
    assert!(found.ok, "{found:?}");
    // Its result is not in the journal yet, so no model can have seen it.
    let early = answer(&scene, 2, "FetchPage", page("https://found.test/a")).await;
    assert!(
        !early.ok
            && early
                .text
                .contains("only pages of docs.test, *.hosted.test can be"),
        "{early:?}"
    );
    scene.record("WebSearch", found.ok, &found.text).await;
    let read = answer(&scene, 3, "FetchPage", page("https://found.test/a")).await;
    assert!(read.ok && read.text.contains("what was found"), "{read:?}");
    let read = answer(&scene, 4, "FetchPage", page("https://docs.test/b")).await;
    assert!(
        read.ok && read.text.contains("what may be read"),
        "{read:?}"
    );
    for (name, arguments) in [
        ("FetchPage", json!({})),
        ("FetchPage", json!({"url": 1})),
        ("WebSearch", json!({"query": "a", "site": "x"})),
    ] {
        let told = answer(&scene, 5, name, arguments).await;
        assert!(
            !told.ok && told.text.contains("the arguments cannot be used"),
            "{told:?}"
        );
    }
    // Asked again it is the same call: nobody is asked a second time.
    let before = scene.server.asked().len();
    assert_eq!(
        answer(&scene, 4, "FetchPage", page("https://docs.test/b")).await,
        read
    );
    assert_eq!(scene.server.asked().len(), before);
}

#[tokio::test]
async fn domains_of_the_sandbox_are_not_pages_of_the_agent() {
    // Code of a Task may reach them; the agent has FetchPage only where its assignment says so.
    let scene = Scene::without_tools().await;
    scene.server.page("https://docs.test/b", "what may be read");
    let (status, body) = call(
        &scene,
        1,
        "FetchPage",
        json!({"url": "https://docs.test/b"}),
    )
    .await;
    assert_eq!((status, &body["error"]["code"]), (403, &json!("forbidden")));
    assert!(scene.server.asked().is_empty());
}
