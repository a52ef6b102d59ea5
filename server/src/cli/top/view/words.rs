//! Numbers, rates and ages in a few characters.

use std::time::Duration;

/// A count in at most six characters: `12,345`, `123k`, `12M`.
pub(in crate::cli::top) fn count(n: u64) -> String {
    match n {
        0..1_000 => n.to_string(),
        1_000..100_000 => format!("{},{:03}", n / 1_000, n % 1_000),
        100_000..10_000_000 => format!("{}k", n / 1_000),
        _ => format!("{}M", n / 1_000_000),
    }
}

/// A rate a second in at most five characters: `0`, `3.4`, `812`, `12k`.
pub(in crate::cli::top) fn rate(rate: f64) -> String {
    match rate {
        r if r.abs() < 0.05 => "0".to_owned(),
        r if r.abs() < 9.95 => format!("{r:.1}"),
        r if r.abs() < 9_999.5 => format!("{r:.0}"),
        r => format!("{:.0}k", r / 1_000.0),
    }
}

/// The same with its sign.
pub(in crate::cli::top) fn signed(net: f64) -> String {
    let text = rate(net);
    if net >= 0.05 { format!("+{text}") } else { text }
}

/// How long something takes or is, in at most four characters: `3.2s`, `45s`, `12m`, `5h`, `3d`.
pub(in crate::cli::top) fn span(span: Duration) -> String {
    match span.as_secs() {
        0..10 => format!("{:.1}s", span.as_secs_f64()),
        seconds @ 10..100 => format!("{seconds}s"),
        seconds @ 100..6_000 => format!("{}m", seconds / 60),
        seconds @ 6_000..360_000 => format!("{}h", seconds / 3_600),
        seconds => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_fit_their_columns() {
        let counts = [0, 999, 1_000, 99_999, 100_000, 9_999_999, 10_000_000].map(count);
        assert_eq!(counts, ["0", "999", "1,000", "99,999", "100k", "9999k", "10M"]);
        assert_eq!([0.04, 3.44, 9.96, 812.4, 12_345.0].map(rate), ["0", "3.4", "10", "812", "12k"]);
        assert_eq!([0.0, -0.01, 3.44, -41.0].map(signed), ["0", "0", "+3.4", "-41"]);
        let spans = [0, 3_210, 45_900, 100_000, 7_200_000, 400_000_000];
        let spans = spans.map(|ms| span(Duration::from_millis(ms)));
        assert_eq!(spans, ["0.0s", "3.2s", "45s", "1m", "2h", "4d"]);
    }
}
