//! The callers: they take what comes, and go on when the gateway is there again.

use crate::common::PILOT;
use crate::rig::{Rig, USER};
use oarmaster_protocol::task::Claim;
use serde_json::{Value, json};

/// What is asked for, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    Task,
    Whole,
    Stream,
}

/// What a caller has got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Said {
    /// The whole answer.
    Answer,
    /// The connection broke.
    Nothing,
    /// The call left, and nobody knows what became of it.
    InDoubt,
    /// An error with this status.
    Error(u16),
}

/// Where the pilot is.
#[derive(Clone, Debug, Default)]
pub struct Session {
    name: String,
    /// Number of the next call.
    pub call: u64,
    /// Number of the next record.
    next: u64,
}

impl Session {
    pub fn new(claim: &Claim) -> Self {
        Self {
            name: claim.session.clone(),
            call: claim.next_call,
            next: claim.next,
        }
    }
}

fn body(text: &str, stream: bool) -> Value {
    json!({"model": "team/fast", "messages": [{"role": "user", "content": text}], "max_tokens": 100, "stream": stream})
}

impl Rig {
    /// One call, asked once.
    pub async fn call(&mut self, way: Way) -> Said {
        match way {
            Way::Task => self.ask_as_task().await,
            Way::Whole | Way::Stream => {
                self.next += 1;
                let text = format!("anybody {}", self.next);
                ask(&self.http, &self.data, &text, way == Way::Stream).await
            }
        }
    }

    /// The pilot's call, under its number.
    pub async fn ask_as_task(&mut self) -> Said {
        let Session { name, call, next } = &self.session;
        let sent = self
            .http
            .post(format!("{}/v1/chat/completions", self.data))
            .bearer_auth(PILOT)
            .header("oarmaster-session", name)
            .header("oarmaster-call", *call)
            .header("oarmaster-next", *next)
            .json(&body(&format!("task {call}"), false))
            .send()
            .await;
        let Ok(answer) = sent else {
            return Said::Nothing;
        };
        let next = answer.headers().get("oarmaster-next");
        let next = next.map(|next| next.to_str().unwrap().parse().unwrap());
        let status = answer.status().as_u16();
        let Ok(body) = answer.json::<Value>().await else {
            return Said::Nothing;
        };
        self.session.next = next.unwrap_or(self.session.next);
        if body["error"]["code"] == "in_doubt" {
            self.session.call += 1;
            return Said::InDoubt;
        }
        if status != 200 {
            return Said::Error(status);
        }
        assert_eq!(body["choices"][0]["message"]["content"], "ok");
        self.session.call += 1;
        Said::Answer
    }

    /// The pilot asks for its call again, under a new number where it is in doubt, until it is answered.
    pub async fn same_call(&mut self, said: Said) {
        if said == Said::Answer {
            return;
        }
        for _ in 0..3 {
            match self.ask_as_task().await {
                Said::Answer => return,
                Said::InDoubt => {} // and under a new number
                said => panic!("{said:?} for call {}", self.session.call),
            }
        }
        panic!("the Task's call {} is not answered", self.session.call);
    }
}

/// A call of somebody who is no Task.
pub async fn ask(http: &reqwest::Client, data: &str, text: &str, stream: bool) -> Said {
    let sent = http
        .post(format!("{data}/v1/chat/completions"))
        .bearer_auth(USER)
        .json(&body(text, stream))
        .send()
        .await;
    let Ok(answer) = sent else {
        return Said::Nothing;
    };
    let status = answer.status().as_u16();
    let Ok(text) = answer.text().await else {
        return Said::Nothing;
    };
    if status != 200 {
        return Said::Error(status);
    }
    let whole = if stream {
        text.ends_with("data: [DONE]\n\n") && !text.contains("\"error\"")
    } else {
        let body: Value = serde_json::from_str(&text).unwrap();
        body["choices"][0]["message"]["content"] == "ok"
    };
    assert!(whole, "{text}");
    Said::Answer
}
