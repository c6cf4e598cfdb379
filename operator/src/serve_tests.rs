//! What is scraped.

use super::{Served, encode, serve};
use oarmaster_controllers::kit::metrics::Whose;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What `GET /metrics` answers.
async fn scraped(served: Served) -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, Arc::new(served)));
    let mut socket = TcpStream::connect(address).await.unwrap();
    let request = b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    socket.write_all(request).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    server.abort();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("application/openmetrics-text"), "{answer}");
    assert!(answer.contains("# EOF\n"), "{answer}");
    answer
}

fn of_agent<'a>(workflow: &'a str) -> Whose<'a> {
    Whose {
        namespace: "team",
        kind: "agent",
        agent: Some("coder"),
        workflow: Some(workflow),
    }
}

#[tokio::test]
async fn tasks_and_passes_are_counted() {
    let served = Served::new();
    served.leader.set(1);
    let metrics = Arc::clone(&served.metrics);
    metrics.began("agent", Duration::from_millis(1500));
    metrics.ended(
        of_agent("ci"),
        "Complete",
        Duration::from_secs(3),
        Some(0.75),
    );
    let program = Whose {
        namespace: "team",
        kind: "run",
        agent: None,
        workflow: None,
    };
    metrics.ended(program, "Timeout", Duration::from_secs(3), None);
    metrics.pass("Task", Duration::from_millis(2), Some("gateway"));
    metrics.active(4);
    let text = scraped(served).await;
    let lines = [
        r#"oarmaster_tasks_total{namespace="team",kind="agent",agent="team/coder",workflow="team/ci",outcome="Complete"} 1"#,
        r#"oarmaster_tasks_total{namespace="team",kind="run",agent="",workflow="",outcome="Timeout"} 1"#,
        r#"oarmaster_task_duration_seconds_count{kind="agent"} 1"#,
        r#"oarmaster_task_queue_seconds_sum{kind="agent"} 1.5"#,
        r#"oarmaster_agent_score_sum{agent="team/coder"} 0.75"#,
        r#"oarmaster_reconcile_duration_seconds_count{kind="Task"} 1"#,
        r#"oarmaster_reconcile_errors_total{kind="Task",category="gateway"} 1"#,
        "oarmaster_tasks_active 4",
        "oarmaster_leader 1",
    ];
    for line in lines {
        assert!(text.lines().any(|held| held == line), "{line} in {text}");
    }
}

#[tokio::test]
async fn many_workflows_are_a_bounded_number_of_series() {
    let served = Served::new();
    for number in 0..300 {
        let name = format!("w{number}");
        let took = Duration::from_secs(1);
        served
            .metrics
            .ended(of_agent(&name), "Complete", took, None);
    }
    let text = scraped(served).await;
    let series = text
        .lines()
        .filter(|line| line.starts_with("oarmaster_tasks_total{"));
    assert_eq!(series.count(), 101);
    let rest = r#"workflow="other",outcome="Complete"} 200"#;
    assert!(text.contains(rest), "{text}");
}

#[test]
fn what_is_set_is_served() {
    let served = Served::new();
    served.expiry.set("oarmaster-ca", 12);
    let minute = Duration::from_secs(60);
    served.metrics.oldest_queued([("gone".to_owned(), minute)]);
    served.metrics.oldest_queued([("team".to_owned(), minute)]);
    let mut text = String::new();
    encode(&mut text, &served.registry).unwrap();
    for line in [
        "oarmaster_certificate_expiry_timestamp_seconds{secret=\"oarmaster-ca\"} 12",
        "oarmaster_oldest_queued_task_seconds{namespace=\"team\"} 60",
    ] {
        assert!(text.lines().any(|held| held == line), "{line}\n{text}");
    }
    assert!(!text.contains("gone"), "{text}");
}
