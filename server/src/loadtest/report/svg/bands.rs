//! Where the names of phases go above a plot, so that none lies over another.

/// Rows of names above a plot, at most.
const ROWS_MAX: usize = 3;

/// Room between two names, in pixels.
const APART: f64 = 8.0;

/// A name's place: its row, 0 the lowest, and where it begins, in pixels.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Place {
    /// 0 is next to the plot.
    pub(super) row: usize,
    /// Where it begins.
    pub(super) x: f64,
}

/// Places for names that want to begin at `x` and are `width` wide, between `from` and `to`; `None`
/// for one that has no room.
pub(super) fn places(names: &[(f64, f64)], from: f64, to: f64) -> Vec<Option<Place>> {
    let mut taken: [Vec<(f64, f64)>; ROWS_MAX] = Default::default();
    let place = |(x, width): &(f64, f64)| {
        let x = x.min(to - width).max(from);
        if x + width > to {
            return None;
        }
        let is_free = |row: &[(f64, f64)]| {
            row.iter().all(|(start, end)| x + width + APART <= *start || *end + APART <= x)
        };
        let row = taken.iter().position(|row| is_free(row))?;
        taken[row].push((x, x + width));
        Some(Place { row, x })
    };
    names.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(place: Option<Place>) -> Option<usize> {
        place.map(|place| place.row)
    }

    #[test]
    fn names_that_would_meet_go_to_rows_of_their_own() {
        let names = [(0.0, 50.0), (10.0, 50.0), (100.0, 50.0), (20.0, 50.0), (30.0, 50.0)];
        let rows: Vec<_> = places(&names, 0.0, 300.0).into_iter().map(row).collect();
        assert_eq!(rows, [Some(0), Some(1), Some(0), Some(2), None], "the fifth has no room");
    }

    #[test]
    fn no_name_leaves_the_plot() {
        let found = places(&[(290.0, 50.0), (0.0, 400.0)], 0.0, 300.0);
        assert_eq!(found, [Some(Place { row: 0, x: 250.0 }), None]);
    }
}
