//! Two load tests side by side, as they look.

use super::super::fixture;
use super::*;

#[test]
fn a_test_and_itself_are_the_same() {
    let whole = fixture::whole();
    let said = compare(&whole, &whole);
    assert!(!said.contains("facts differ") && !said.contains("Different"), "{said}");
    assert!(!said.contains("**worse**") && !said.contains("better |"), "{said}");
}

#[test]
fn what_differs_is_named_before_any_figure() {
    let a = fixture::whole();
    let mut b = a.clone();
    b.facts[0].1 = "AMD EPYC, 8 processors".to_owned();
    b.facts.push(("file system".to_owned(), "ext4".to_owned()));
    b.seed = 7;
    b.version = "0.2.0".to_owned();
    b.started_at = "2026-12-29T09:00:00Z".to_owned();
    let queue = &mut b.scenarios[1];
    queue.timings[0].p50_ms *= 2.0;
    queue.timings[1].p99_ms /= 3.0;
    queue.timings.pop();
    b.capacity.sustainable_rate = Some(4_800.0);
    b.capacity.postgres_bytes = None;
    // Two scenarios say all there is to see.
    let mut a = a;
    for findings in [&mut a, &mut b] {
        findings
            .scenarios
            .retain(|scenario| ["queue", "failover"].contains(&scenario.name.as_str()));
    }
    insta::assert_snapshot!(compare(&a, &b));
}

#[test]
fn a_test_that_was_stopped_compares_as_far_as_it_went() {
    let said = compare(&fixture::whole(), &fixture::interrupted());
    assert!(said.contains("> **Interrupted.** B was stopped early"), "{said}");
    assert!(said.contains("> **Different loads.** A ran profile reference, B smoke"), "{said}");
    assert!(said.contains("in one only"), "{said}");
}
