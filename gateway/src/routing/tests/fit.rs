use crate::routing::fit::{Known, Needs, fit};
use oarmaster_prices::{Capabilities, Capability};
use proptest::prelude::*;

fn set(all: &[Capability]) -> Capabilities {
    all.iter().copied().collect()
}

fn model(capabilities: &[Capability], context: u64) -> Known {
    Known {
        capabilities: Some(set(capabilities)),
        context,
    }
}

#[test]
fn who_lacks_what_a_request_needs_is_not_fit() {
    use Capability::{Images, JsonSchema, Tools};
    let own = Known {
        capabilities: None,
        context: 8_000,
    };
    let (blind, seeing, long) = (
        model(&[Tools], 16_000),
        model(&[Tools, Images, JsonSchema], 16_000),
        model(&[Tools], 1_000_000),
    );
    let members = [own, blind, seeing, long];
    for (needed, input, expected) in [
        (&[][..], 10, [true, true, true, true]),
        (&[Tools], 10, [true, true, true, true]),
        (&[Images], 10, [true, false, true, false]),
        (&[Images, Tools, JsonSchema], 10, [true, false, true, false]),
        (&[], 9_000, [false, true, true, true]),
        (&[], 20_000, [false, false, false, true]),
        (&[Images], 20_000, [false, false, false, false]),
        (&[], 2_000_000, [false, false, false, false]),
    ] {
        let needs = Needs {
            capabilities: set(needed),
            input,
        };
        assert_eq!(fit(&needs, &members), expected, "{needed:?} {input}");
    }
    assert!(fit(&Needs::default(), &[]).is_empty());
}

prop_compose! {
    fn any_set()(bits in proptest::collection::vec(any::<bool>(), Capability::ALL.len())) -> Capabilities {
        Capability::ALL.into_iter().zip(bits).filter(|(_, has)| *has).map(|(one, _)| one).collect()
    }
}

proptest! {
    #[test]
    fn more_capabilities_and_a_longer_context_never_hurt(
        needs in (any_set(), 0u64..100),
        members in proptest::collection::vec((proptest::option::of(any_set()), 1u64..100), 1..6),
    ) {
        let needs = Needs { capabilities: needs.0, input: needs.1 };
        let mut members: Vec<Known> = members
            .into_iter()
            .map(|(capabilities, context)| Known { capabilities, context })
            .collect();
        prop_assert_eq!(fit(&needs, &members).len(), members.len());
        members[0] = Known { capabilities: Some(Capability::ALL.into_iter().collect()), context: u64::MAX };
        prop_assert!(fit(&needs, &members)[0]);
    }
}
