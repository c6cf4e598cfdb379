//! What an API server may do to a process that talks to it: refuse, be silent, answer and be cut off, show an old list, tell a change twice, late, or not at all. Which request it
//! does it to follows from a seed, the name of the request and its number, so that a seed does the same again. Conflicts are not made up, since one says that there is a newer version, which
//! is waited for: real ones come of old lists and of changes that are late.

use axum::body::Bytes;
use futures::stream::{self, BoxStream, Stream, StreamExt as _};
use http::{HeaderMap, Method};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// One request in so many is disturbed.
const ONE_IN: u64 = 5;
/// Most faults of a run: it is to end, too.
const MOST: usize = 10;
/// How long a request hangs: longer than the operator waits for one.
const HANG: Duration = Duration::from_secs(11);
/// Kinds of objects that are disturbed. Leases are not: who loses one ends, which is another matter.
const KINDS: [&str; 12] = [
    "agents",
    "approvals",
    "attempts",
    "controllerrevisions",
    "events",
    "jobs",
    "modelpools",
    "networkpolicies",
    "pods",
    "serviceaccounts",
    "tasks",
    "workflows",
];

/// What is done to a request, or to a change that a watch tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is refused with this status, and not carried out.
    Refused(u16),
    /// It is carried out, and answered with 504.
    Lost,
    /// It is not carried out, and not answered.
    Hang,
    /// A list is what it was when it was first asked for.
    Stale,
    /// A watch ends before it has told the change.
    Cut,
    /// A watch says that it is too old, instead of the change.
    Expired,
    /// A watch tells the change twice.
    Twice,
    /// A watch tells the change so many milliseconds late, and all after it.
    Late(u64),
}

/// The faults of a run.
pub struct Chaos {
    seed: u64,
    held: Mutex<Held>,
}

#[derive(Default)]
struct Held {
    over: bool,
    /// How many requests of a name there were.
    counts: HashMap<String, u64>,
    /// The first answer to each list.
    lists: BTreeMap<String, (HeaderMap, Bytes)>,
    done: Vec<String>,
}

/// A request, by what it is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    name: String,
    writes: bool,
    /// Whether changes are watched.
    pub watches: bool,
    /// Whether it is a list that may be old. One of pods is not: that one is gone is known from it alone.
    lists: bool,
}

impl About {
    /// `None` for what is left alone.
    #[must_use]
    pub fn of(method: &Method, path: &str, query: Option<&str>) -> Option<Self> {
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let at = parts.iter().position(|part| KINDS.contains(part))?;
        let gateway = parts.first() == Some(&"admin");
        let kind = parts.get(at)?;
        // Of the names of objects none is the same twice.
        let below = if gateway { 3 } else { 2 };
        let part = parts.get(at + below).copied().unwrap_or_default();
        let of_query = |name: &str| {
            let pairs = query.unwrap_or_default().split('&');
            let values = pairs.filter_map(|pair| pair.split_once('='));
            let mut values = values.filter(|(held, _)| *held == name);
            values.next().map(|(_, value)| value)
        };
        let watches = of_query("watch").is_some_and(|value| matches!(value, "true" | "1"));
        let lists = method == Method::GET && !gateway && !watches && parts.len() == at + 1;
        let verb = match method.as_str() {
            "GET" if watches => "WATCH",
            "GET" if lists => "LIST",
            verb => verb,
        };
        Some(Self {
            name: format!("{verb} {kind} {part}").trim_end().to_owned(),
            writes: method != Method::GET,
            watches,
            lists: lists && *kind != "pods",
        })
    }
}

impl Chaos {
    /// Those of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            seed,
            held: Mutex::default(),
        }
    }

    /// From here on nothing is disturbed.
    pub fn stop(&self) {
        self.lock().over = true;
    }

    /// What was done, in order.
    #[must_use]
    pub fn done(&self) -> Vec<String> {
        self.lock().done.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number that follows from the seed and this.
    fn number(&self, of: &str, nth: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, of, nth).hash(&mut hasher);
        hasher.finish()
    }

    fn next(&self, name: &str, which: impl FnOnce(u64, &Held) -> Option<Fault>) -> Option<Fault> {
        let mut held = self.lock();
        let nth = held.counts.entry(name.to_owned()).or_default();
        *nth += 1;
        let nth = *nth;
        if held.over || held.done.len() >= MOST {
            return None;
        }
        let drawn = self.number(name, nth);
        if !drawn.is_multiple_of(ONE_IN) {
            return None;
        }
        let fault = which(drawn / ONE_IN, &held)?;
        held.done.push(format!("{fault} {name} #{nth}"));
        Some(fault)
    }

    /// What is done to a request. `target` is its path and query.
    pub fn of_request(&self, about: &About, target: &str) -> Option<Fault> {
        self.next(&about.name, |drawn, held| {
            let refused = match drawn / 16 % 4 {
                0 => 429,
                1 => 500,
                2 => 503,
                _ => 504,
            };
            let hung = held.done.iter().any(|done| done.starts_with("hang"));
            Some(match drawn % 16 {
                0 if !hung => Fault::Hang,
                1..=4 if about.writes => Fault::Lost,
                1..=7 if about.lists && held.lists.contains_key(target) => Fault::Stale,
                _ => Fault::Refused(refused),
            })
        })
    }

    /// What is done to the next change that a watch tells.
    pub fn of_change(&self, about: &About) -> Option<Fault> {
        self.next(&format!("{} change", about.name), |drawn, _| {
            Some(match drawn % 4 {
                0 => Fault::Cut,
                1 => Fault::Expired,
                2 => Fault::Twice,
                _ => Fault::Late(100 + drawn % 1400),
            })
        })
    }

    /// Remembers the answer to a list, if it is the first.
    pub fn listed(&self, about: &About, target: &str, headers: &HeaderMap, body: &Bytes) {
        if about.lists {
            let mut held = self.lock();
            held.lists
                .entry(target.to_owned())
                .or_insert_with(|| (headers.clone(), body.clone()));
        }
    }

    /// The first answer to a list.
    #[must_use]
    pub fn list(&self, target: &str) -> Option<(HeaderMap, Bytes)> {
        self.lock().lists.get(target).cloned()
    }

    /// Whether answers to it are remembered.
    #[must_use]
    pub fn remembers(&self, about: &About) -> bool {
        about.lists
    }

    /// Waits as long as a request hangs.
    pub async fn hang(&self) {
        tokio::time::sleep(HANG).await;
    }
}

/// What the API server says when it refuses.
#[must_use]
pub fn refusal(status: u16) -> Bytes {
    let reason = match status {
        410 => "Expired",
        429 => "TooManyRequests",
        503 => "ServiceUnavailable",
        504 => "Timeout",
        _ => "InternalError",
    };
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": "chaos", "reason": reason, "code": status,
    });
    Bytes::from(body.to_string())
}

/// A watch whose changes are disturbed. Each is a line.
pub fn disturbed<E, F>(
    pieces: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    next: F,
) -> BoxStream<'static, Result<Bytes, E>>
where
    E: Send + 'static,
    F: Fn() -> Option<Fault> + Send + 'static,
{
    let told = Told {
        pieces: pieces.boxed(),
        held: VecDeque::new(),
        over: false,
        next,
    };
    stream::unfold(told, |mut told| async move {
        let piece = told.piece().await?;
        Some((piece, told))
    })
    .boxed()
}

struct Told<E, F> {
    pieces: BoxStream<'static, Result<Bytes, E>>,
    held: VecDeque<u8>,
    over: bool,
    next: F,
}

impl<E, F: Fn() -> Option<Fault>> Told<E, F> {
    async fn piece(&mut self) -> Option<Result<Bytes, E>> {
        loop {
            if self.over {
                return None;
            }
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return self.disturb(line).await.map(Ok);
            }
            match self.pieces.next().await? {
                Ok(piece) => self.held.extend(piece),
                Err(error) => return Some(Err(error)),
            }
        }
    }

    async fn disturb(&mut self, mut line: Vec<u8>) -> Option<Bytes> {
        match (self.next)() {
            Some(Fault::Cut) => {
                self.over = true;
                return None;
            }
            Some(Fault::Expired) => {
                self.over = true;
                line = br#"{"type":"ERROR","object":"#.to_vec();
                line.extend(refusal(410));
                line.extend(b"}\n");
            }
            Some(Fault::Twice) => line.extend_from_within(..),
            Some(Fault::Late(ms)) => tokio::time::sleep(Duration::from_millis(ms)).await,
            Some(Fault::Refused(_) | Fault::Lost | Fault::Hang | Fault::Stale) | None => {}
        }
        Some(Bytes::from(line))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(status) => write!(f, "{status} to"),
            Self::Lost => write!(f, "504 after"),
            Self::Hang => write!(f, "hang at"),
            Self::Stale => write!(f, "old answer to"),
            Self::Cut => write!(f, "cut before"),
            Self::Expired => write!(f, "410 instead of"),
            Self::Twice => write!(f, "twice"),
            Self::Late(ms) => write!(f, "{ms} ms later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(method: &Method, target: &str) -> Option<About> {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        About::of(method, path, Some(query))
    }

    #[test]
    fn requests_are_called_by_what_they_are_about() {
        let cases = [
            (
                Method::GET,
                "/apis/oarmaster.dev/v1alpha1/tasks?limit=500",
                "LIST tasks",
            ),
            (
                Method::GET,
                "/apis/oarmaster.dev/v1alpha1/tasks?watch=true&resourceVersion=7",
                "WATCH tasks",
            ),
            (
                Method::GET,
                "/apis/oarmaster.dev/v1alpha1/namespaces/x/tasks/work",
                "GET tasks",
            ),
            (
                Method::PATCH,
                "/apis/oarmaster.dev/v1alpha1/namespaces/x/tasks/work/status?fieldManager=o",
                "PATCH tasks status",
            ),
            (
                Method::POST,
                "/apis/batch/v1/namespaces/x/jobs",
                "POST jobs",
            ),
            (Method::PUT, "/admin/v1/attempts/uid-1/2", "PUT attempts"),
            (
                Method::PUT,
                "/admin/v1/attempts/uid-1/2/fence",
                "PUT attempts fence",
            ),
        ];
        for (method, target, name) in cases {
            assert_eq!(about(&method, target).unwrap().name, name, "{target}");
        }
        let lease = "/apis/coordination.k8s.io/v1/namespaces/x/leases/oarmaster";
        assert_eq!(about(&Method::PATCH, lease), None);
    }

    fn drawn(seed: u64) -> Vec<String> {
        let chaos = Chaos::new(seed);
        let writes = about(&Method::PATCH, "/apis/o/v1/namespaces/x/tasks/a/status").unwrap();
        let list = about(&Method::GET, "/apis/o/v1/tasks").unwrap();
        let watch = about(&Method::GET, "/apis/o/v1/tasks?watch=1").unwrap();
        chaos.listed(&list, "/apis/o/v1/tasks", &HeaderMap::new(), &Bytes::new());
        for _ in 0..40 {
            chaos.of_request(&writes, "");
            chaos.of_request(&list, "/apis/o/v1/tasks");
            chaos.of_change(&watch);
        }
        chaos.done()
    }

    #[test]
    fn a_seed_does_the_same_again_and_comes_to_an_end() {
        assert_eq!(drawn(7), drawn(7));
        assert_ne!(drawn(7), drawn(8));
        let mut kinds = std::collections::BTreeSet::new();
        for seed in 0..200 {
            let done = drawn(seed);
            assert!(done.len() <= MOST);
            let hangs = done.iter().filter(|done| done.starts_with("hang"));
            assert!(hangs.count() <= 1);
            kinds.extend(done.iter().map(|done| match done.split_once(" ms") {
                Some(_) => "late".to_owned(),
                None => done.split(' ').next().unwrap_or_default().to_owned(),
            }));
        }
        let all = [
            "410", "429", "500", "503", "504", "cut", "hang", "late", "old", "twice",
        ];
        assert!(kinds.iter().map(String::as_str).eq(all), "{kinds:?}");
    }

    #[test]
    fn what_was_stopped_disturbs_nothing() {
        let chaos = Chaos::new(7);
        chaos.stop();
        let jobs = about(&Method::POST, "/apis/batch/v1/namespaces/x/jobs").unwrap();
        for _ in 0..100 {
            assert_eq!(chaos.of_request(&jobs, ""), None);
        }
    }

    #[tokio::test]
    async fn a_watch_is_disturbed_line_by_line() {
        let told = async |faults: &[Option<Fault>]| {
            let faults = Mutex::new(VecDeque::from(faults.to_vec()));
            let next = move || faults.lock().unwrap().pop_front().flatten();
            let pieces = ["a\nb", "b\n", "c\n"];
            let pieces = pieces.map(|piece| Ok::<_, ()>(Bytes::from_static(piece.as_bytes())));
            let pieces: Vec<Bytes> = disturbed(stream::iter(pieces), next)
                .map(Result::unwrap)
                .collect()
                .await;
            String::from_utf8(pieces.concat()).unwrap()
        };
        assert_eq!(told(&[]).await, "a\nbb\nc\n");
        assert_eq!(told(&[None, Some(Fault::Twice)]).await, "a\nbb\nbb\nc\n");
        assert_eq!(told(&[None, Some(Fault::Late(1))]).await, "a\nbb\nc\n");
        assert_eq!(told(&[None, Some(Fault::Cut)]).await, "a\n");
        let expired = told(&[Some(Fault::Expired)]).await;
        assert!(expired.starts_with(r#"{"type":"ERROR","object":{"#) && expired.ends_with("}\n"));
        assert!(expired.contains(r#""code":410"#));
    }
}
