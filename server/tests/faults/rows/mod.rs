//! The rows of the fault matrix.

mod chaos;
mod clocks;
mod crash;
mod errors;
mod failover;
mod gates;
mod handlers;
mod kill_points;
mod partition;
mod postgres;
mod redis;
mod rollback;
mod rollout;
mod zombies;

use crate::row;
use crate::run::Row;

/// Every row, in the matrix' order.
#[rustfmt::skip]
pub(crate) fn all() -> Vec<Row> {
    vec![
        row!("W1", false, kill_points::kill_points,
            "a worker is killed at each of 13 moments: nothing lost, nothing twice"),
        row!("W2", true, crash::mass_crash,
            "a worker with 50 running jobs is killed, 500 wait: all run again within a second"),
        row!("W3", false, zombies::zombies,
            "workers freeze at four moments and wake up late: their answers change nothing"),
        row!("W3L", false, zombies::long_pause,
            "a worker freezes for 60 s under leases of 10 s: taken over within 11 s"),
        row!("W4", false, zombies::frozen_host,
            "everything freezes for half a lease: nothing runs again"),
        row!("W5", false, crash::rolling_restart,
            "all workers are replaced under load, twice: no copy, no attempt burnt"),
        row!("W6", false, handlers::bad_handlers,
            "handlers panic, never end, or block the runtime: neighbours go on"),
        row!("W7", false, handlers::poison,
            "a job takes every worker down: it ends in quarantine, its neighbours do not"),
        row!("W8", true, crash::mass_start,
            "20 workers start at once and 19 are killed: no herd, no busy polling"),
        row!("R1", true, redis::restarts,
            "Redis is killed and restarted at random moments under load"),
        row!("R2", false, rollback::power_loss,
            "Redis loses its last second, then the end of its file: nothing lost, nothing again"),
        row!("R3", true, redis::wipes,
            "Redis is wiped under load, and with 100,000 jobs in it"),
        row!("R4", false, redis::full,
            "Redis has no memory left: the API accepts, workers drain"),
        row!("R5", false, failover::failovers,
            "Sentinel fails over twice: the master is killed, and freezes"),
        row!("R6", false, partition::partitions,
            "single workers lose Redis: silence, lost answers, resets, a half-open connection"),
        row!("R7", false, redis::slow,
            "Redis stalls and is slow while jobs outlast their leases: none runs out"),
        row!("R8", false, redis::refuses,
            "Redis forgets scripts, cuts, is a replica, full of clients, forbids, wants a password"),
        row!("P1", true, postgres::crashes,
            "PostgreSQL is killed under load, and one of its backends"),
        row!("P2", true, postgres::crowds,
            "150 callers on 100 connections, with a slow database"),
        row!("P3", false, postgres::stalls,
            "PostgreSQL stands still: a locked table, a frozen link"),
        row!("P4", false, postgres::refuses,
            "PostgreSQL is read-only for a while, and refuses single commits: they leave nothing"),
        row!("P5", false, postgres::lost_commits,
            "answers to COMMIT are lost: nothing lost, nothing counted twice"),
        row!("C1", false, clocks::skewed,
            "workers' clocks are an hour ahead and an hour behind"),
        row!("Q3", false, rollout::newer_kinds,
            "jobs for a newer worker park, and run once there is one"),
        row!("G1", true, gates::platform_down,
            "a platform fails for a minute: its breaker opens, another platform is not disturbed"),
        row!("E1", false, errors::passing_errors,
            "every twentieth request fails, in passing: nearly nothing fails for good (JOBS)"),
        row!("X1", false, chaos::random,
            "random pairs of everything above, for as long as you like"),
    ]
}
