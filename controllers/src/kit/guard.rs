//! An object of ours, or why the stored one cannot be read: one malformed object must not stop a list.
//!
//! kube has the same. Its form reads every object into a tree first, copies the tree, and builds the object from the copy; this one parses
//! the text once.

use kube::Resource;
use kube::core::ObjectMeta;
use kube::core::error_boundary::InvalidObject;
use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// An object, or what is known of one that cannot be read.
#[derive(Clone, Debug)]
pub struct Guard<K>(pub Result<K, InvalidObject>);

/// What names an object. All else is passed over without being gone into, however deep it is: kube's `PartialObjectMeta` would gather it, and give
/// up where the text has more levels than a parser of JSON goes down.
#[derive(Deserialize)]
struct Named {
    #[serde(default)]
    metadata: ObjectMeta,
}

impl<'de, K> Deserialize<'de> for Guard<K>
where
    K: DeserializeOwned + Resource,
{
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        let error = match serde_json::from_str(text.get()) {
            Ok(object) => return Ok(Self(Ok(object))),
            Err(error) => error.to_string(),
        };
        let found: Named = serde_json::from_str(text.get()).map_err(D::Error::custom)?;
        // Where in the text of the API server's answer it is tells nobody anything.
        let error = error
            .rsplit_once(" at line ")
            .map_or(error.as_str(), |(error, _)| error)
            .to_owned();
        Ok(Self(Err(InvalidObject {
            error,
            metadata: found.metadata,
        })))
    }
}

impl<K: Resource> Resource for Guard<K> {
    as_its_kind!(K);

    fn meta(&self) -> &ObjectMeta {
        self.0
            .as_ref()
            .map_or_else(|invalid| &invalid.metadata, K::meta)
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        self.0
            .as_mut()
            .map_or_else(|invalid| &mut invalid.metadata, K::meta_mut)
    }
}

#[cfg(test)]
mod tests {
    use super::Guard;
    use kube::core::{ObjectList, WatchEvent};
    use kube::{Resource as _, ResourceExt as _};
    use oarmaster_crds::Task;
    use serde_json::{Value, json};

    fn task(run: Value) -> Value {
        json!({"apiVersion": "oarmaster.dev/v1alpha1", "kind": "Task",
            "metadata": {"name": "one", "namespace": "team"}, "spec": {"run": run}})
    }

    #[test]
    fn a_malformed_object_stops_neither_a_list_nor_a_watch() {
        let good = task(json!({"sandbox": {"image": "python"}, "code": "print()"}));
        let bad = task(json!("no run"));
        let list = json!({"apiVersion": "v1", "kind": "TaskList", "metadata": {},
            "items": [bad.clone(), good.clone()]});
        let list: ObjectList<Guard<Task>> = serde_json::from_str(&list.to_string()).unwrap();
        let read: Vec<bool> = list.items.iter().map(|task| task.0.is_ok()).collect();
        assert_eq!(read, [false, true]);
        assert_eq!(list.items[0].name_any(), "one");
        let error = &list.items[0].0.as_ref().unwrap_err().error;
        assert!(
            error.contains("no run") && !error.contains("line"),
            "{error}"
        );

        for (object, readable) in [(bad, false), (good, true)] {
            // In the order in which every API server writes it.
            let text = format!(r#"{{"type":"ADDED","object":{object}}}"#);
            let event: WatchEvent<Guard<Task>> = serde_json::from_str(&text).unwrap();
            let WatchEvent::Added(task) = event else {
                panic!("{event:?}");
            };
            assert_eq!(task.0.is_ok(), readable);
            assert_eq!(task.meta().namespace.as_deref(), Some("team"));
        }
    }

    #[test]
    fn an_object_deeper_than_a_parser_goes_stops_neither_a_list_nor_a_watch() {
        let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
        let object = format!(
            r#"{{"apiVersion":"oarmaster.dev/v1alpha1","kind":"Task","metadata":{{"name":"deep"}},"spec":{{"params":{{"a":{deep}}}}}}}"#
        );
        let list = format!(
            r#"{{"apiVersion":"v1","kind":"TaskList","metadata":{{}},"items":[{object}]}}"#
        );
        let list: ObjectList<Guard<Task>> = serde_json::from_str(&list).unwrap();
        assert_eq!(list.items[0].name_any(), "deep");
        assert!(list.items[0].0.is_err());
        let text = format!(r#"{{"type":"ADDED","object":{object}}}"#);
        let event: WatchEvent<Guard<Task>> = serde_json::from_str(&text).unwrap();
        assert!(matches!(event, WatchEvent::Added(task) if task.name_any() == "deep"));
    }
}
