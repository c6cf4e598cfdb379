use super::issue;
use super::plan::{CaTimes, LeafTimes, Rules, Step};
use super::store::{Ca, is_ca_mark, leaf_mark, leaf_times};
use base64::Engine as _;
use proptest::prelude::*;
use std::time::Duration;

const DAY: i64 = 86_400;
const NOW: i64 = 1_763_730_000;

const RULES: Rules = Rules {
    renew_before: None,
    overlap: 9 * DAY,
};

fn plan(ca: Option<CaTimes>, leaf: Option<LeafTimes>, now: i64) -> Step {
    super::plan::plan(ca, &[leaf], RULES, now)
}

fn ca(issued: i64) -> CaTimes {
    CaTimes {
        issued,
        next: None,
        replaced: None,
    }
}

fn leaf(issued: i64, ca: i64) -> Option<LeafTimes> {
    Some(LeafTimes { issued, ca })
}

#[test]
fn the_first_steps_are_a_ca_and_a_leaf() {
    assert_eq!(plan(None, None, NOW), Step::CreateCa);
    assert_eq!(plan(Some(ca(NOW)), None, NOW), Step::IssueLeaf(0));
    assert!(matches!(
        plan(Some(ca(NOW)), leaf(NOW, NOW), NOW),
        Step::Wait(_)
    ));
}

#[test]
fn a_leaf_is_renewed_after_sixty_days_and_by_another_ca_at_once() {
    let made = leaf(NOW, NOW);
    let just_before = NOW + 60 * DAY - 1;
    assert_eq!(
        plan(Some(ca(NOW)), made, just_before),
        Step::Wait(Duration::from_secs(1))
    );
    assert_eq!(
        plan(Some(ca(NOW)), made, NOW + 60 * DAY),
        Step::IssueLeaf(0)
    );
    assert_eq!(plan(Some(ca(NOW + 1)), made, NOW + 1), Step::IssueLeaf(0));
}

#[test]
fn a_ca_is_replaced_in_steps_that_overlap() {
    let start = NOW - 3285 * DAY;
    let fresh = |now| leaf(now, start);
    let mut times = ca(start);
    assert_eq!(plan(Some(times), fresh(NOW), NOW), Step::StageCa);
    times.next = Some(NOW);
    assert!(matches!(
        plan(Some(times), fresh(NOW), NOW + 9 * DAY - 1),
        Step::Wait(_)
    ));
    let then = NOW + 9 * DAY;
    assert_eq!(plan(Some(times), fresh(then), then), Step::PromoteCa);
    let times = CaTimes {
        issued: NOW,
        next: None,
        replaced: Some(then),
    };
    assert_eq!(plan(Some(times), fresh(then), then), Step::IssueLeaf(0));
    let by_new = leaf(then, NOW);
    assert!(matches!(plan(Some(times), by_new, then), Step::Wait(_)));
    let later = then + 9 * DAY;
    assert!(matches!(
        plan(Some(times), by_new, later - 1),
        Step::Wait(_)
    ));
    assert_eq!(plan(Some(times), by_new, later), Step::RetireCa);
}

#[test]
fn every_leaf_is_issued_and_renewed_by_itself() {
    let plan = |leaves: &[_], now| super::plan::plan(Some(ca(NOW)), leaves, RULES, now);
    let fresh = leaf(NOW + 10 * DAY, NOW);
    assert_eq!(plan(&[fresh, None], NOW + 10 * DAY), Step::IssueLeaf(1));
    assert_eq!(
        plan(&[fresh, leaf(NOW, NOW)], NOW + 60 * DAY),
        Step::IssueLeaf(1)
    );
    assert_eq!(
        plan(&[leaf(NOW, NOW - 1), fresh], NOW + 10 * DAY),
        Step::IssueLeaf(0)
    );
    assert!(matches!(
        plan(&[fresh, fresh], NOW + 10 * DAY),
        Step::Wait(_)
    ));
    assert!(matches!(plan(&[], NOW), Step::Wait(_)));
}

#[test]
fn what_was_issued_before_the_given_time_is_renewed_once_it_is_past() {
    let rules = |before| Rules {
        renew_before: Some(before),
        ..RULES
    };
    let old = leaf(NOW, NOW);
    let plan = |ca, leaf, before, now| super::plan::plan(Some(ca), &[leaf], rules(before), now);
    assert!(matches!(plan(ca(NOW), old, NOW, NOW + 9), Step::Wait(_)));
    // A time to come is an appointment.
    assert_eq!(
        plan(ca(NOW), old, NOW + 9, NOW + 1),
        Step::Wait(Duration::from_secs(8))
    );
    assert_eq!(plan(ca(NOW), old, NOW + 9, NOW + 9), Step::IssueLeaf(0));
    let new = leaf(NOW + 9, NOW);
    assert_eq!(plan(ca(NOW), new, NOW + 9, NOW + 9), Step::StageCa);
    let staged = CaTimes {
        next: Some(NOW + 9),
        ..ca(NOW)
    };
    assert!(matches!(
        plan(staged, new, NOW + 9, NOW + 10),
        Step::Wait(_)
    ));
    // And what comes after it is not due again.
    let by_new = leaf(NOW + 10, NOW + 9);
    assert!(matches!(
        plan(ca(NOW + 9), by_new, NOW + 9, NOW + 11),
        Step::Wait(_)
    ));
}

proptest! {
    /// Carried out in order, the steps always come to rest, and the leaf is always valid under a trusted CA.
    #[test]
    fn the_steps_come_to_rest_at_any_time(jumps in prop::collection::vec(0i64..400 * DAY, 1..60)) {
        let mut now = NOW;
        let mut held: Option<CaTimes> = None;
        let mut made: Option<LeafTimes> = None;
        for jump in jumps {
            now += jump;
            let mut rested = false;
            for _ in 0..6 {
                match plan(held, made, now) {
                    Step::CreateCa => held = Some(ca(now)),
                    Step::StageCa => held = held.map(|ca| CaTimes { next: Some(now), ..ca }),
                    Step::PromoteCa => held = held.and_then(|ca| ca.next).map(|issued| CaTimes { issued, next: None, replaced: Some(now) }),
                    Step::RetireCa => held = held.map(|ca| CaTimes { replaced: None, ..ca }),
                    Step::IssueLeaf(_) => made = leaf(now, held.unwrap().issued),
                    Step::Wait(wait) => {
                        prop_assert!(!wait.is_zero());
                        rested = true;
                        break;
                    }
                }
            }
            prop_assert!(rested);
            prop_assert_eq!(made.unwrap().ca, held.unwrap().issued);
            prop_assert!(now - made.unwrap().issued < 60 * DAY);
        }
    }
}

fn pair_of(issued: i64) -> (i64, issue::Pair) {
    (issued, issue::ca(issued).unwrap())
}

#[test]
fn what_is_written_to_the_secret_is_read_from_its_mount() {
    let dir = tempfile::tempdir().unwrap();
    assert!(Ca::mounted(dir.path()).unwrap().is_none());
    let written = Ca {
        signing: pair_of(NOW),
        next: Some(pair_of(NOW + 1)),
        before: Some((NOW + 2, "old\n".to_owned())),
    };
    for (name, value) in written.data() {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(value)
            .unwrap();
        std::fs::write(dir.path().join(name), bytes).unwrap();
    }
    let read = Ca::mounted(dir.path()).unwrap().unwrap();
    assert_eq!(read.times(), written.times());
    assert_eq!(read.bundle(), written.bundle());
    assert_eq!(read.data(), written.data());
    assert_eq!(read.bundle().matches("BEGIN CERTIFICATE").count(), 2);
    assert_eq!(read.mark(), format!("{NOW}/{}/{}", NOW + 1, NOW + 2));
    assert!(is_ca_mark(&read.mark()));
}

#[test]
fn only_a_mark_of_ours_says_that_there_is_a_ca() {
    for mark in ["5", "5/6/", "5//7", "5/6/7"] {
        assert!(is_ca_mark(mark), "{mark}");
    }
    for mark in ["", "0", "x", "5/6", "5/x/", "/5/6", "5/6/7/8"] {
        assert!(!is_ca_mark(mark), "{mark}");
    }
}

#[test]
fn a_mount_that_is_half_there_is_an_error_and_not_empty() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tls.crt"), "x").unwrap();
    assert!(Ca::mounted(dir.path()).is_err());
}

#[test]
fn the_leafs_mark_round_trips_and_anything_else_is_nothing() {
    let times = LeafTimes {
        issued: NOW,
        ca: NOW - 5,
    };
    assert_eq!(leaf_times(&leaf_mark(times)), Some(times));
    for mark in ["", "0", "x/y", "1", "1/"] {
        assert_eq!(leaf_times(mark), None);
    }
}

/// A real TLS client with the bundle accepts the leaf for its names, and no client with another CA does.
#[test]
fn a_client_that_trusts_the_ca_accepts_the_leaf() {
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier as _;
    use rustls_pki_types::pem::PemObject as _;
    use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
    use std::sync::Arc;

    let (issued, signing) = pair_of(NOW);
    let hosts = [
        "oarmaster-gateway.ns.svc".to_owned(),
        "localhost".to_owned(),
    ];
    let leaf = issue::leaf(issued, &signing.key, &hosts, NOW).unwrap();
    let leaf = CertificateDer::from_pem_slice(leaf.certificate.as_bytes()).unwrap();
    let accepts = |ca: &str, host: &str, at: i64| {
        let mut roots = rustls::RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(ca.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap();
        let host = ServerName::try_from(host.to_owned()).unwrap();
        let at = UnixTime::since_unix_epoch(Duration::from_secs(at.unsigned_abs()));
        verifier
            .verify_server_cert(&leaf, &[], &host, &[], at)
            .is_ok()
    };
    let ca = &signing.certificate;
    assert!(accepts(ca, "oarmaster-gateway.ns.svc", NOW));
    assert!(accepts(ca, "localhost", NOW + 89 * DAY));
    assert!(!accepts(ca, "other.ns.svc", NOW));
    assert!(!accepts(ca, "localhost", NOW + 91 * DAY));
    let (_, other) = pair_of(NOW + 10);
    assert!(!accepts(&other.certificate, "localhost", NOW));
    let both = format!("{}{ca}", other.certificate);
    assert!(accepts(&both, "localhost", NOW));
}
