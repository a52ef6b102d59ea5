//! Jobs that wait for others: whom a request names, and whether that can be.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize, Serializer};

use super::{Durability, FieldError, JobId, KindSpec, RequestPolicy};

/// Most jobs that a job may wait for.
pub const PARENTS_MAX: usize = 100;
/// Longest name that a job has in its request, in bytes.
pub const REF_BYTES_MAX: usize = 64;
/// A job that names no expiry waits for its parents so long at most. They expire themselves, so this
/// is only for those whose ends nobody tells it.
pub const WAIT_MAX: Duration = Duration::from_secs(2 * 366 * 24 * 3600);

/// What becomes of a job of which a parent ended otherwise than by being completed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// It is dead, too, at once.
    #[default]
    Fail,
    /// It waits for the others all the same, and sees how each ended.
    Continue,
}

impl OnFailure {
    /// Every one.
    pub const ALL: [Self; 2] = [Self::Fail, Self::Continue];

    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fail => "fail",
            Self::Continue => "continue",
        }
    }
}

/// A word that says nothing of the kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be fail or continue")]
pub struct UnknownOnFailure;

impl FromStr for OnFailure {
    type Err = UnknownOnFailure;

    fn from_str(text: &str) -> Result<Self, UnknownOnFailure> {
        Self::ALL.into_iter().find(|one| one.as_str() == text).ok_or(UnknownOnFailure)
    }
}

/// A parent as a request names it: on the wire an id, or else a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parent {
    /// A job that is there.
    Job(JobId),
    /// The job of the same request that is called so.
    Named(String),
}

impl From<String> for Parent {
    fn from(text: String) -> Self {
        text.parse().map_or(Self::Named(text), Self::Job)
    }
}

impl From<JobId> for Parent {
    fn from(id: JobId) -> Self {
        Self::Job(id)
    }
}

impl fmt::Display for Parent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Job(id) => id.fmt(f),
            Self::Named(name) => f.write_str(name),
        }
    }
}

impl Serialize for Parent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Parent {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

/// What a job waits for before it may run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waits {
    /// The jobs that must have ended.
    pub parents: Vec<JobId>,
    /// What becomes of it if one of them ends badly.
    pub on_failure: OnFailure,
    /// Whether its expiry stands. If not, it counts from when the last of them ended.
    pub keeps_expiry: bool,
}

/// What is wrong with the parents that a job's request names, once names are ids.
pub(super) fn faults(policy: &RequestPolicy, id: JobId, spec: &KindSpec) -> Vec<FieldError> {
    let mut faults = Vec::new();
    let mut fault = |field: String, message: String| faults.push(FieldError::new(field, message));
    if policy.after.is_empty() {
        if policy.on_failure.is_some() {
            fault("/on_failure".into(), "is for a job that has parents: name them in after".into());
        }
        return faults;
    }
    if spec.durability == Durability::Broker {
        let words = format!("{} jobs are not recorded, so they can wait for none", spec.kind);
        fault("/after".into(), words);
    }
    if policy.after.len() > PARENTS_MAX {
        fault("/after".into(), format!("must name at most {PARENTS_MAX} jobs"));
    }
    let mut seen = HashSet::new();
    for (at, parent) in policy.after.iter().enumerate() {
        let field = format!("/after/{at}");
        match parent {
            Parent::Named(name) => {
                fault(field, format!("{name:?} is no id, and no job of this request is called so"));
            }
            Parent::Job(parent) if *parent == id => {
                fault(field, "is the job itself, which cannot wait for its own end".into());
            }
            Parent::Job(parent) if !seen.insert(*parent) => {
                fault(field, "is there twice".into());
            }
            Parent::Job(_) => {}
        }
    }
    faults
}

/// Puts the jobs' ids in place of the names by which they know each other; `ids` are theirs, in
/// order. Answers every fault with the place of its job.
pub fn resolve(policies: &mut [&mut RequestPolicy], ids: &[JobId]) -> Vec<(usize, FieldError)> {
    let mut faults = Vec::new();
    let mut named: HashMap<String, usize> = HashMap::new();
    for (at, policy) in policies.iter().enumerate() {
        let Some(name) = &policy.name else { continue };
        if let Some(words) = bad_name(name) {
            faults.push((at, FieldError::new("/ref", words)));
        } else if named.contains_key(name) {
            let words = format!("another job of this request is called {name:?} already");
            faults.push((at, FieldError::new("/ref", words)));
        } else {
            named.insert(name.clone(), at);
        }
    }
    let edges: Vec<Vec<usize>> =
        policies.iter().enumerate().map(|(at, policy)| edges(at, policy, &named)).collect();
    if let Some((at, circle)) = circle(&edges) {
        let name = |at: &usize| policies[*at].name.clone().unwrap_or_default();
        let words: Vec<String> = circle.iter().map(name).collect();
        let words = format!("these would wait for each other: {}", words.join(" → "));
        faults.push((at, FieldError::new("/after", words)));
    }
    for policy in policies.iter_mut() {
        for parent in &mut policy.after {
            if let Parent::Named(name) = parent
                && let Some(id) = named.get(name).and_then(|at| ids.get(*at))
            {
                *parent = Parent::Job(*id);
            }
        }
    }
    faults
}

fn bad_name(name: &str) -> Option<String> {
    if !(1..=REF_BYTES_MAX).contains(&name.len()) {
        return Some(format!("must be 1 to {REF_BYTES_MAX} bytes"));
    }
    if name.contains('\0') {
        return Some("must not hold the character U+0000".into());
    }
    name.parse::<JobId>().is_ok().then(|| "must not look like an id".into())
}

/// The other jobs of the request that one names. That it names itself is told when its id is known.
fn edges(at: usize, policy: &RequestPolicy, named: &HashMap<String, usize>) -> Vec<usize> {
    let named = |parent: &Parent| match parent {
        Parent::Named(name) => named.get(name).copied(),
        Parent::Job(_) => None,
    };
    policy.after.iter().filter_map(named).filter(|other| *other != at).collect()
}

/// Jobs that wait for each other, the first one also last, and its place; `None` if there are none.
///
/// A walk without recursion: a request may be one long chain.
fn circle(edges: &[Vec<usize>]) -> Option<(usize, Vec<usize>)> {
    let mut done = vec![false; edges.len()];
    for start in 0..edges.len() {
        // The way here, with how many edges of each were walked.
        let mut way: Vec<(usize, usize)> = vec![(start, 0)];
        let mut on_way: HashSet<usize> = HashSet::from([start]);
        while let Some((at, walked)) = way.last_mut() {
            let here = *at;
            let next = edges[here].get(*walked).copied();
            *walked += 1;
            match next {
                None => {
                    done[here] = true;
                    on_way.remove(&here);
                    way.pop();
                }
                Some(next) if on_way.contains(&next) => {
                    let from = way.iter().position(|(at, _)| *at == next).unwrap_or(0);
                    let circle = way[from..].iter().map(|(at, _)| *at).chain([next]).collect();
                    return Some((next, circle));
                }
                Some(next) if done[next] => {}
                Some(next) => {
                    on_way.insert(next);
                    way.push((next, 0));
                }
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Timestamp;
    use proptest::prelude::*;

    fn policy(name: &str, after: &[&str]) -> RequestPolicy {
        RequestPolicy {
            name: Some(name.to_owned()),
            after: after.iter().map(|name| Parent::from((*name).to_owned())).collect(),
            ..RequestPolicy::default()
        }
    }

    fn ids(count: usize) -> Vec<JobId> {
        let id = |n: usize| JobId::at(Timestamp::from_millis(i64::try_from(n).unwrap()), [0; 10]);
        (0..count).map(id).collect()
    }

    fn resolved(policies: &mut [RequestPolicy]) -> Vec<String> {
        let ids = ids(policies.len());
        let mut policies: Vec<&mut RequestPolicy> = policies.iter_mut().collect();
        let faults = resolve(&mut policies, &ids);
        faults.into_iter().map(|(at, fault)| format!("{at}{fault}")).collect()
    }

    #[test]
    fn names_become_ids_whatever_the_order() {
        let mut jobs = [policy("c", &["a", "b"]), policy("a", &[]), policy("b", &["a"])];
        assert_eq!(resolved(&mut jobs), Vec::<String>::new());
        let ids = ids(3);
        assert_eq!(jobs[0].after, [Parent::Job(ids[1]), Parent::Job(ids[2])]);
        assert_eq!(jobs[2].after, [Parent::Job(ids[1])]);
    }

    #[test]
    fn a_circle_is_said_as_it_goes_round() {
        let mut jobs = [policy("a", &["b"]), policy("b", &["c"]), policy("c", &["b"])];
        let words = "1/after: these would wait for each other: b → c → b";
        assert_eq!(resolved(&mut jobs), [words]);
    }

    #[test]
    fn a_name_is_a_jobs_own_and_no_id() {
        let mut jobs = [
            policy("a", &[]),
            policy("a", &[]),
            policy("", &[]),
            policy("0198f3a0-0000-7000-8000-000000000001", &[]),
        ];
        assert_eq!(
            resolved(&mut jobs),
            [
                r#"1/ref: another job of this request is called "a" already"#,
                "2/ref: must be 1 to 64 bytes",
                "3/ref: must not look like an id",
            ]
        );
    }

    #[test]
    fn the_longest_chain_and_the_widest_diamond_are_walked() {
        let names: Vec<String> = (0..1_000).map(|n| n.to_string()).collect();
        let mut chain: Vec<RequestPolicy> = (0..1_000)
            .map(|n| {
                policy(
                    &names[n],
                    &names.get(n + 1).map(String::as_str).into_iter().collect::<Vec<_>>(),
                )
            })
            .collect();
        assert!(resolved(&mut chain).is_empty());
        let mut layers: Vec<RequestPolicy> = (0..1_000)
            .map(|n| {
                let next = (n / 10 + 1) * 10;
                let below: Vec<&str> =
                    (next..next + 10).filter_map(|at| names.get(at).map(String::as_str)).collect();
                policy(&names[n], &below)
            })
            .collect();
        assert!(resolved(&mut layers).is_empty());
    }

    proptest! {
        /// Edges that only lead to later jobs go round nowhere; one that leads back does.
        #[test]
        fn a_circle_is_found_if_and_only_if_there_is_one(
            count in 2usize..12,
            edges in prop::collection::vec((0usize..12, 0usize..12), 0..30),
            back in any::<bool>(),
        ) {
            let mut of: Vec<Vec<usize>> = vec![Vec::new(); count];
            for (from, to) in edges {
                let (from, to) = (from % count, to % count);
                if from < to {
                    of[from].push(to);
                }
            }
            if back {
                of[0].push(count - 1);
                of[count - 1].push(0);
            }
            let found = circle(&of);
            prop_assert_eq!(found.is_some(), back);
            if let Some((_, circle)) = found {
                prop_assert_eq!(circle.first(), circle.last());
                for pair in circle.windows(2) {
                    prop_assert!(of[pair[0]].contains(&pair[1]));
                }
            }
        }
    }
}
