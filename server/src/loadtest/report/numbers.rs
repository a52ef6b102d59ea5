//! Figures as a person reads them: three digits that count, a unit, and words for what is missing.

/// What is said instead of a figure that is not there.
pub(super) const NOT_MEASURED: &str = "not measured";

const KIB: f64 = 1024.0;

/// Three digits that count, thousands apart: `0.0123`, `1.5`, `123`, `12,345`.
pub(super) fn number(value: f64) -> String {
    if !value.is_finite() {
        return NOT_MEASURED.to_owned();
    }
    let size = value.abs();
    if size >= 1e15 {
        return format!("{value:.2e}");
    }
    let decimals = match size {
        _ if size >= 99.95 => 0,
        _ if size >= 9.995 => 1,
        _ if size >= 0.9995 => 2,
        _ if size >= 0.1 => 3,
        _ if size >= 0.01 => 4,
        _ => 6,
    };
    let text = format!("{value:.decimals$}");
    let text = match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => &text,
    };
    match text {
        "-0" => "0".to_owned(),
        _ => thousands_apart(text),
    }
}

/// Three digits that count, however large: `210,000,000`.
pub(super) fn roughly(value: f64) -> String {
    let step = 10_f64.powf(value.abs().max(1.0).log10().floor() - 2.0).max(1.0);
    number((value / step).round() * step)
}

/// `12345` as `12,345`.
pub(super) fn count(value: u64) -> String {
    thousands_apart(&value.to_string())
}

fn thousands_apart(text: &str) -> String {
    let whole_ends = text.find('.').unwrap_or(text.len());
    let (whole, decimals) = text.split_at(whole_ends);
    let mut apart = String::new();
    let digits = whole.trim_start_matches('-').len();
    for (at, digit) in whole.trim_start_matches('-').chars().enumerate() {
        if at > 0 && (digits - at).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    let sign = if whole.starts_with('-') { "-" } else { "" };
    format!("{sign}{apart}{decimals}")
}

/// A figure with its unit: `12.3 ms`, `1,050/s`, `14 MiB`, `0.3 %`.
pub(super) fn with_unit(value: f64, unit: &str) -> String {
    if !value.is_finite() {
        return NOT_MEASURED.to_owned();
    }
    match unit {
        "bytes" => bytes(value),
        "" => number(value),
        per if per.starts_with("1/") => format!("{}{}", number(value), &per[1..]),
        _ => format!("{} {unit}", number(value)),
    }
}

/// A rate of jobs: `1,050/s`.
pub(super) fn rate(value: f64) -> String {
    with_unit(value, "1/s")
}

/// What `value` is divided by to be read as bytes, and the name of that unit.
pub(super) fn byte_unit(value: f64) -> (f64, &'static str) {
    let mut unit = (1.0, "bytes");
    for name in ["KiB", "MiB", "GiB", "TiB", "PiB"] {
        if value.abs() < unit.0 * KIB {
            break;
        }
        unit = (unit.0 * KIB, name);
    }
    unit
}

/// `512 bytes`, `1.5 GiB`.
pub(super) fn bytes(value: f64) -> String {
    let (by, unit) = byte_unit(value);
    match value.is_finite() {
        true => format!("{} {unit}", number(value / by)),
        false => NOT_MEASURED.to_owned(),
    }
}

/// A stretch of time in seconds: `0.5 s`, `4 min 5 s`, `1 h 2 min`.
pub(super) fn stretch(seconds: f64) -> String {
    if !seconds.is_finite() {
        return NOT_MEASURED.to_owned();
    }
    if seconds < 59.5 {
        return format!("{} s", number((seconds * 100.0).round() / 100.0));
    }
    let whole = seconds.round();
    let (hours, minutes, rest) =
        ((whole / 3600.0).floor(), (whole % 3600.0 / 60.0).floor(), whole % 60.0);
    let with = |rest: f64, unit| match rest > 0.0 {
        true => format!(" {rest} {unit}"),
        false => String::new(),
    };
    match hours > 0.0 {
        true => format!("{} h{}", number(hours), with(minutes, "min")),
        false => format!("{minutes} min{}", with(rest, "s")),
    }
}

/// `n things`, and one thing without its s.
pub(super) fn of_things(n: usize, thing: &str) -> String {
    match n {
        1 => format!("1 {thing}"),
        _ => format!("{} {thing}s", count(n as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_digits_count() {
        let read = [0.0, -0.0, 0.000_012_3, 0.012_34, 0.1, 0.9996, 1.5, 9.999, 12.34, 99.97]
            .map(number)
            .join(" ");
        assert_eq!(read, "0 0 0.000012 0.0123 0.1 1 1.5 10 12.3 100");
        let read = [123.4, 1_234.5, 1_234_567.0, -12_345.0, 1e18].map(number).join(" ");
        assert_eq!(read, "123 1,234 1,234,567 -12,345 1.00e18");
        assert_eq!(number(f64::NAN), "not measured");
        let read = [0.5, 12.3, 999.6, 209_840_873.0, f64::NAN].map(roughly).join(" ");
        assert_eq!(read, "1 12 1,000 210,000,000 not measured");
    }

    #[test]
    fn figures_have_units() {
        let cases: [(f64, &str, &str); 6] = [
            (12.34, "ms", "12.3 ms"),
            (1050.0, "1/s", "1,050/s"),
            (1536.0, "bytes", "1.5 KiB"),
            (512.0, "bytes", "512 bytes"),
            (0.3, "%", "0.3 %"),
            (f64::INFINITY, "ms", "not measured"),
        ];
        for (value, unit, text) in cases {
            assert_eq!(with_unit(value, unit), text);
        }
        assert_eq!(bytes(3.0 * KIB * KIB * KIB * KIB), "3 TiB");
    }

    #[test]
    fn stretches_of_time_are_read_in_two_units() {
        let read = [0.004, 0.5, 59.0, 60.0, 245.0, 3_600.0, 3_720.0].map(stretch);
        assert_eq!(read, ["0 s", "0.5 s", "59 s", "1 min", "4 min 5 s", "1 h", "1 h 2 min"]);
    }
}
