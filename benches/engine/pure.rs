//! The parts of a job's way that touch nothing but memory, each as a loop.

use std::hint::black_box;

use postworks::job::{
    Attempt, Catalog, Envelope, ErrorClass, JobError, JobId, NewJob, Request, RetryPolicy,
    Timestamp, decide,
};
use uuid::Uuid;

use crate::world::{PADDING, Recorded};

/// What a part's loop takes: how often.
type Loop = fn(usize);

/// The parts by name.
pub(crate) const PARTS: [(&str, Loop); 5] = [
    ("request to job", prepare),
    ("envelope written", write),
    ("envelope read", read),
    ("outcome of a success", judge_success),
    ("outcome of a failure", judge_failure),
];

/// Runs a part so often.
pub(crate) fn run(name: &str, times: usize) {
    let part = PARTS.iter().find(|(part, _)| *part == name).expect("a part of this name");
    part.1(times);
}

const NOW: Timestamp = Timestamp::from_millis(1_760_000_000_000);

fn catalog() -> Catalog {
    let mut catalog = Catalog::default();
    catalog.add::<Recorded>().expect("one kind");
    catalog
}

fn job(catalog: &Catalog, n: usize) -> NewJob {
    let args = Recorded { sent_us: 1_760_000_000_000_000, padding: PADDING.to_owned() };
    let id =
        JobId::from_uuid(Uuid::from_u128(0x0199_c7f5_7000_7000_8000_0000_0000_0000 + n as u128));
    Request::of(&args).expect("plain values").into_job(catalog, id, NOW).expect("a correct request")
}

/// Envelopes as they lie in the broker.
pub(crate) fn envelopes(count: usize) -> Vec<Envelope> {
    let catalog = catalog();
    (0..count).map(|n| Envelope::of(&job(&catalog, n)).expect("JSON")).collect()
}

fn prepare(times: usize) {
    let catalog = catalog();
    (0..times).for_each(|n| drop(black_box(job(&catalog, n))));
}

fn write(times: usize) {
    let catalog = catalog();
    let job = job(&catalog, 0);
    (0..times).for_each(|_| drop(black_box(Envelope::of(black_box(&job)).expect("JSON").encode())));
}

fn read(times: usize) {
    let envelope = envelopes(1).remove(0);
    let stored = envelope.encode();
    (0..times).for_each(|_| {
        let bytes = black_box(stored.as_bytes());
        drop(black_box(Envelope::decode(envelope.id, bytes).expect("it reads")))
    });
}

fn attempt() -> Attempt {
    Attempt {
        number: 2,
        max: 8,
        expires_at: NOW.after(std::time::Duration::from_secs(3_600)),
        now: NOW,
        jitter: 0.5,
    }
}

fn judge_success(times: usize) {
    (0..times)
        .for_each(|_| drop(black_box(decide(Ok(()), black_box(attempt()), &RetryPolicy::DEFAULT))));
}

fn judge_failure(times: usize) {
    let error = JobError::new(ErrorClass::Transient, "the platform answered 503");
    (0..times).for_each(|_| {
        drop(black_box(decide(
            Err(black_box(&error)),
            black_box(attempt()),
            &RetryPolicy::DEFAULT,
        )));
    });
}
