//! When to add what: each rule has the sign that Postworks itself shows, and the rate at which it
//! comes.

use super::{
    Block, Capacity, Grid, KEPT_DAYS, NOT_MEASURED, WINDOW, bytes, metrics, number, rate, sizing,
};

/// A disk to reckon with, in bytes.
const DISK: f64 = 100.0 * 1024.0 * 1024.0 * 1024.0;

/// The rules, as far as figures say anything.
pub(super) fn blocks(capacity: &Capacity) -> Vec<Block> {
    let mut grid = Grid::new(&["what", "sign", "comes at", "then"]);
    places(&mut grid, capacity);
    processors(&mut grid, capacity);
    redis_memory(&mut grid, capacity);
    disk(&mut grid, capacity);
    match grid.rows.is_empty() {
        true => vec![Block::Words(format!(
            "Rules go by the figures above, and those were {NOT_MEASURED}."
        ))],
        false => vec![Block::Grid(grid)],
    }
}

fn places(grid: &mut Grid, capacity: &Capacity) {
    let (Some(run), Some(each)) = (capacity.run_mean_ms, capacity.places) else { return };
    let Some(carried) = sizing::rate_of_places(f64::from(each), run) else { return };
    let workers = capacity.workers.unwrap_or(1);
    let slots = metrics::WORKER_SLOTS.name;
    grid.row([
        "places".into(),
        format!("`{slots}`: more than 70 % busy for ten minutes").into(),
        format!("{} with {workers} of {each}", rate(carried * f64::from(workers))).into(),
        format!("one more worker for each {}", rate(carried)).into(),
    ]);
}

fn processors(grid: &mut Grid, capacity: &Capacity) {
    let Some(each) = capacity.cpu_s_per_1000 else { return };
    let calls = metrics::BROKER_OPERATION.name;
    let queries = metrics::DB_QUERY.name;
    let rules = [
        (
            "workers' processors",
            "`process_cpu_seconds_total` of the workers: more than 70 % of theirs".to_owned(),
            "a processor, or a machine, for each of these rates",
        ),
        (
            "Redis' processor",
            format!("`{calls}` grows, its processor more than 70 % busy"),
            "a Cluster: it runs commands on one processor",
        ),
        (
            "PostgreSQL's processors",
            format!("`{queries}` grows, its processors more than 70 % busy"),
            "more processors; it uses them all",
        ),
    ];
    for ((what, sign, then), s_per_1000) in rules.into_iter().zip(each) {
        let Some(carried) = sizing::rate_of_processor(s_per_1000) else { continue };
        grid.row([
            what.into(),
            sign.into(),
            format!("{} for each processor", rate(carried)).into(),
            then.into(),
        ]);
    }
}

fn redis_memory(grid: &mut Grid, capacity: &Capacity) {
    let Some(each) = capacity.redis_bytes_queued.filter(|each| *each > 0.0) else { return };
    let memory = metrics::REDIS_MEMORY.name;
    grid.row([
        "Redis' memory".into(),
        format!("`{memory}`: used above 70 % of max").into(),
        format!("{} for each queue that is full", bytes(each * WINDOW)).into(),
        "a higher `maxmemory`, or a smaller `broker.window`".into(),
    ]);
}

fn disk(grid: &mut Grid, capacity: &Capacity) {
    let peak = capacity.projected_peak;
    let Some(each) = capacity.postgres_bytes.filter(|each| *each > 0.0 && peak > 0.0) else {
        return;
    };
    let days = DISK / (sizing::jobs_a_day(peak) * each);
    let comes_at = match days > KEPT_DAYS {
        true => {
            format!("not by itself: 100 GiB hold all that is kept, {KEPT_DAYS} days of the peak")
        }
        false => format!("100 GiB last {} days of the projected peak", number(days)),
    };
    grid.row([
        "PostgreSQL's disk".into(),
        "less than 30 % free".into(),
        comes_at.into(),
        "a larger disk, or a shorter `retention.jobs`".into(),
    ]);
}

#[cfg(test)]
mod tests {
    use super::super::super::fixture;
    use super::*;

    #[test]
    fn a_disk_that_holds_all_that_is_kept_never_fills() {
        let said = |postgres_bytes| {
            let capacity = Capacity { postgres_bytes, ..fixture::whole().capacity };
            let mut grid = Grid::new(&["what", "sign", "comes at", "then"]);
            disk(&mut grid, &capacity);
            grid.rows[0][2].text.clone()
        };
        assert_eq!(said(Some(612.0)), "100 GiB last 1.93 days of the projected peak");
        assert_eq!(
            said(Some(6.12)),
            "not by itself: 100 GiB hold all that is kept, 30 days of the peak"
        );
    }
}
