//! What is known of a class's RuntimeClass.

use super::plan::Observed;
use crate::kit::Context;
use jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use oarmaster_crds::SandboxClass;

/// Looks.
pub fn observe(class: &SandboxClass, ctx: &Context) -> Observed {
    let name = &class.spec.runtime_class_name;
    let key = ObjectRef::new(name);
    Observed {
        now: Timestamp::now(),
        runtime_class: !name.is_empty() && ctx.stores.runtime_classes.get(&key).is_some(),
    }
}
