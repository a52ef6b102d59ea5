//! Two load tests side by side, as they look.

use super::super::fixture;
use super::*;
use crate::loadtest::findings::Verdict;

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
fn a_profile_that_was_edited_is_another_load_and_one_that_was_moved_is_not() {
    let a = fixture::whole();
    let edited = Findings { profile_digest: "0".repeat(64), ..a.clone() };
    let said = compare(&a, &edited);
    let first = "> **Different loads.** What profile reference says was changed between them";
    assert!(said.contains(first), "{said}");
    let moved = Findings { profile: "elsewhere/reference.toml".to_owned(), ..a.clone() };
    assert!(!compare(&a, &moved).contains("Different loads"));
}

#[test]
fn a_bound_adds_no_figure_and_says_which_side_of_its_figure_is_good() {
    let a = fixture::whole();
    let mut b = a.clone();
    b.scenarios[1].tables[1].rows[2].value /= 2.0;
    let said = compare(&a, &b);
    assert!(said.contains("- worse: Jobs: done (queue)\n"), "{said}");
    for Verdict { name, .. } in &a.verdicts {
        let rows = said.lines().filter(|line| line.starts_with('|') && line.contains(name));
        let of_table = !name.ends_with(": p99_ms");
        assert_eq!(rows.count(), usize::from(of_table), "{name}");
    }
}

#[test]
fn more_or_fewer_faults_that_were_asked_for_are_not_worse() {
    let a = fixture::whole();
    let mut b = a.clone();
    b.scenarios[1].tables[1].rows[1].value *= 1.5;
    let said = compare(&a, &b);
    assert!(said.contains(" 1 different, neither better nor worse"), "{said}");
    assert!(!said.contains("worse: "), "{said}");
}

#[test]
fn a_test_that_was_stopped_compares_as_far_as_it_went() {
    let said = compare(&fixture::whole(), &fixture::interrupted());
    assert!(said.contains("> **Interrupted.** B was stopped early"), "{said}");
    assert!(said.contains("> **Different loads.** A ran profile reference, B smoke"), "{said}");
    assert!(said.contains("in one only"), "{said}");
}
