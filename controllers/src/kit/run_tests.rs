use super::{Action, Key, Shutdown, passes};
use crate::kit::{Error, Result};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::runtime::reflector::ObjectRef;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// Far longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(20);

/// A pass that has begun: its object, and how it is to end.
type Begun = (String, oneshot::Sender<Ends>);

enum Ends {
    With(Result<Action>),
    Panics,
}

/// A controller over objects of which all but `gone` are there, and the passes that it begins.
struct Rig {
    triggers: UnboundedSender<ObjectRef<ConfigMap>>,
    begun: UnboundedReceiver<Begun>,
    stop: oneshot::Sender<()>,
    run: JoinHandle<()>,
    /// Names that were looked for.
    looked: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new(concurrency: usize) -> Self {
        let (triggers, receiver) = unbounded_channel();
        let (begins, begun) = unbounded_channel::<Begun>();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown: Shutdown = stopped.map(|_| ()).boxed().shared();
        let looked = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&looked);
        let pass = move |(_, name): &Key| {
            seen.lock().unwrap().push(name.clone());
            if name == "gone" {
                return None;
            }
            let (name, begins) = (name.clone(), begins.clone());
            let pass = async move {
                let (end, ended) = oneshot::channel();
                begins.send((name, end)).unwrap();
                match ended.await.unwrap() {
                    Ends::With(result) => result,
                    Ends::Panics => panic!("as asked for"),
                }
            };
            Some(pass.boxed())
        };
        let run = tokio::spawn(passes(
            "Test",
            receiver,
            concurrency,
            Duration::from_millis(1),
            shutdown,
            pass,
        ));
        Self {
            triggers,
            begun,
            stop,
            run,
            looked,
        }
    }

    fn touch(&self, name: &str) {
        let object = ObjectRef::new(name).within("team");
        self.triggers.send(object).unwrap();
    }

    async fn next(&mut self) -> Begun {
        let begun = tokio::time::timeout(PATIENCE, self.begun.recv()).await;
        begun.expect("no pass begins").unwrap()
    }

    async fn stopped(self) {
        let _ = self.stop.send(());
        let run = tokio::time::timeout(PATIENCE, self.run).await;
        run.expect("it does not stop").unwrap();
    }
}

fn well(end: oneshot::Sender<Ends>) {
    let _ = end.send(Ends::With(Ok(Action::await_change())));
}

#[tokio::test]
async fn as_many_passes_as_may_and_the_next_when_one_ends() {
    let mut rig = Rig::new(2);
    for name in ["a", "b", "c"] {
        rig.touch(name);
    }
    let (first, second) = (rig.next().await, rig.next().await);
    assert_eq!((&*first.0, &*second.0), ("a", "b"));
    assert_eq!(*rig.looked.lock().unwrap(), ["a", "b"]);
    well(first.1);
    let third = rig.next().await;
    assert_eq!(third.0, "c");
    well(second.1);
    well(third.1);
    rig.stopped().await;
}

#[tokio::test]
async fn a_trigger_during_a_pass_is_another_pass_and_an_object_that_is_gone_none() {
    let mut rig = Rig::new(4);
    rig.touch("a");
    let (_, end) = rig.next().await;
    for name in ["a", "a", "gone", "b"] {
        rig.touch(name);
    }
    let other = rig.next().await;
    assert_eq!(other.0, "b", "in the order of their coming");
    well(end);
    let again = rig.next().await;
    assert_eq!(again.0, "a");
    well(again.1);
    rig.touch("c");
    let last = rig.next().await;
    assert_eq!(*rig.looked.lock().unwrap(), ["a", "gone", "b", "a", "c"]);
    well(other.1);
    well(last.1);
    rig.stopped().await;
}

#[tokio::test]
async fn what_asks_for_it_or_fails_or_panics_is_looked_at_again() {
    let mut rig = Rig::new(1);
    rig.touch("a");
    for _ in 0..3 {
        let (_, end) = rig.next().await;
        let _ = end.send(Ends::With(Ok(Action::requeue(Duration::ZERO))));
    }
    let (_, end) = rig.next().await;
    let error = Error::Protocol {
        act: "test".to_owned(),
        message: "as asked for".to_owned(),
    };
    let _ = end.send(Ends::With(Err(error)));
    let (name, end) = rig.next().await;
    assert_eq!(name, "a");
    let _ = end.send(Ends::Panics);
    // It backs off, and another one has its pass at once.
    rig.touch("b");
    let (name, end) = rig.next().await;
    assert_eq!(name, "b");
    well(end);
    let (name, end) = rig.next().await;
    assert_eq!(name, "a");
    well(end);
    rig.stopped().await;
}

#[tokio::test]
async fn a_stop_waits_for_the_passes_that_are_under_way_and_begins_no_other() {
    let mut rig = Rig::new(1);
    rig.touch("a");
    rig.touch("b");
    let (_, end) = rig.next().await;
    let _ = std::mem::replace(&mut rig.stop, oneshot::channel().0).send(());
    // The triggers are let go of when it stops to look.
    tokio::time::timeout(PATIENCE, rig.triggers.closed())
        .await
        .expect("it does not stop to look");
    assert!(!rig.run.is_finished());
    well(end);
    tokio::time::timeout(PATIENCE, rig.run)
        .await
        .expect("it does not stop")
        .unwrap();
    assert_eq!(*rig.looked.lock().unwrap(), ["a"]);
}
