//! A line through figures over time: as few points as the picture can show, with every spike.

/// Points as they are drawn, in pixels.
pub(super) type Point = (f64, f64);

/// The stretches between gaps.
///
/// Of many points within one pixel of `width` the first, the last, the lowest and the highest stay:
/// the same picture, of a size that does not grow with the test.
pub(super) fn stretches(
    points: &[(f64, Option<f64>)],
    place: impl Fn(f64, f64) -> Point,
) -> Vec<Vec<Point>> {
    let placed = |(at, value): &(f64, Option<f64>)| value.map(|value| place(*at, value));
    points
        .split(|(_, value)| value.is_none())
        .map(|stretch| thin(&stretch.iter().filter_map(placed).collect::<Vec<_>>()))
        .filter(|stretch| !stretch.is_empty())
        .collect()
}

fn thin(points: &[Point]) -> Vec<Point> {
    let mut kept = Vec::new();
    for column in points.chunk_by(|a, b| a.0.floor() == b.0.floor()) {
        if column.len() <= 4 {
            kept.extend_from_slice(column);
            continue;
        }
        let by_height = |a: &&usize, b: &&usize| column[**a].1.total_cmp(&column[**b].1);
        let all: Vec<usize> = (0..column.len()).collect();
        let mut stays: Vec<usize> = vec![0, column.len() - 1];
        stays.extend(all.iter().min_by(by_height));
        stays.extend(all.iter().max_by(by_height));
        stays.sort_unstable();
        stays.dedup();
        kept.extend(stays.into_iter().map(|at| column[at]));
    }
    kept
}

/// SVG's words for a line through `points`.
pub(super) fn path(points: &[Point]) -> String {
    use std::fmt::Write as _;
    let mut path = String::new();
    for (n, (x, y)) in points.iter().enumerate() {
        let verb = if n == 0 { 'M' } else { 'L' };
        let _ = write!(path, "{verb}{} {}", pixels(*x), pixels(*y));
    }
    path
}

/// A tenth of a pixel is as near as anybody sees.
pub(super) fn pixels(at: f64) -> String {
    let text = format!("{at:.1}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_there_is_no_figure_is_a_gap() {
        let points =
            [(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, None), (4.0, Some(4.0))];
        let drawn = stretches(&points, |at, value| (at, value));
        assert_eq!(drawn, [vec![(0.0, 1.0), (1.0, 2.0)], vec![(4.0, 4.0)]]);
        assert_eq!(stretches(&[(0.0, None)], |at, value| (at, value)), Vec::<Vec<Point>>::new());
    }

    #[test]
    fn a_spike_among_a_million_points_is_still_seen() {
        let value = |n| if n == 654_321 { 99.0 } else { 1.0 };
        let points: Vec<_> = (0..1_000_000).map(|n| (f64::from(n), Some(value(n)))).collect();
        let drawn = stretches(&points, |at, value| (at / 2_000.0, value)).concat();
        assert!(drawn.len() <= 2_000, "{} points", drawn.len());
        assert!(drawn.iter().any(|(_, value)| *value == 99.0));
        assert!(drawn.is_sorted_by(|a, b| a.0 <= b.0));
    }

    #[test]
    fn a_path_is_short() {
        assert_eq!(path(&[(1.0, 2.04), (3.26, 4.0)]), "M1 2L3.3 4");
    }
}
