//! Charts, as they are drawn.

use super::*;

type Points = [(f64, Option<f64>)];

fn chart(points: &[&Points]) -> Chart {
    let line = |(n, points): (usize, &&Points)| Line {
        name: format!("line {n}"),
        points: points.to_vec(),
    };
    Chart {
        title: "How <fast> & \"steady\"".to_owned(),
        unit: "ms".to_owned(),
        lines: points.iter().enumerate().map(line).collect(),
        phases: vec![
            Phase { name: "ramp up".to_owned(), from_s: 0.0, to_s: 10.0 },
            Phase { name: "Redis <restarts>".to_owned(), from_s: 30.0, to_s: 30.0 },
        ],
        may_be_logarithmic: true,
    }
}

fn drawn(chart: &Chart) -> String {
    draw(chart, WIDE, "p", "about <it>")
}

/// Every number in attributes of this name.
fn numbers(svg: &str, attribute: &str) -> Vec<f64> {
    let marked = format!(" {attribute}=\"");
    let after = svg.split(&marked).skip(1);
    after.map(|rest| rest.split('"').next().unwrap().parse().unwrap()).collect()
}

/// Every number of every path.
fn path_numbers(svg: &str) -> Vec<f64> {
    let paths = svg.split(" d=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
    paths
        .flat_map(|path| path.split(['M', 'L', ' ']))
        .filter_map(|part| part.parse().ok())
        .collect()
}

#[test]
fn everything_is_within_the_picture() {
    let steady: Vec<_> = (0..500).map(|n| (f64::from(n), Some(f64::from(n % 90)))).collect();
    for size in [WIDE, NARROW] {
        let svg = draw(&chart(&[&steady]), size, "p", "");
        for x in ["x", "x1", "x2", "cx"].iter().flat_map(|name| numbers(&svg, name)) {
            assert!((0.0..=size.width).contains(&x), "{x}");
        }
        for y in ["y", "y1", "y2", "cy"].iter().flat_map(|name| numbers(&svg, name)) {
            assert!((0.0..=size.height).contains(&y), "{y}");
        }
        let path = path_numbers(&svg);
        assert!(path.len() > 600, "{}", path.len());
        for point in path.chunks(2) {
            assert!((LEFT..=size.width - RIGHT).contains(&point[0]), "{point:?}");
            assert!((TOP..=size.height - BOTTOM).contains(&point[1]), "{point:?}");
        }
    }
}

#[test]
fn texts_are_escaped_and_the_picture_says_what_it_is() {
    let svg = drawn(&chart(&[&[(0.0, Some(1.0)), (60.0, Some(2.0))]]));
    assert!(
        svg.contains("<title id=\"p-t\">How &lt;fast&gt; &amp; &quot;steady&quot;</title>"),
        "{svg}"
    );
    assert!(svg.contains("<desc id=\"p-d\">about &lt;it&gt;</desc>"), "{svg}");
    assert!(svg.contains(">Redis &lt;restarts&gt;</text>"), "{svg}");
    assert!(svg.contains("aria-labelledby=\"p-t p-d\""), "{svg}");
}

#[test]
fn what_cannot_be_drawn_does_not_spoil_the_picture() {
    let cases: [(&str, &[&Points]); 5] = [
        ("no lines", &[]),
        ("a line without points", &[&[]]),
        ("a gap alone", &[&[(0.0, None), (1.0, None)]]),
        ("one point", &[&[(5.0, Some(3.0))]]),
        ("all the same", &[&[(0.0, Some(7.0)), (60.0, Some(7.0))]]),
    ];
    for (what, points) in cases {
        let svg = drawn(&chart(points));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{what}: {svg}");
        assert_eq!(
            svg.contains(">no figures</text>"),
            points.concat().iter().all(|(_, value)| value.is_none()),
            "{what}"
        );
        assert_eq!(svg.matches("<circle").count(), usize::from(what == "one point"), "{what}");
        assert_eq!(svg.matches("<path").count(), usize::from(what == "all the same"), "{what}");
        assert!(svg.matches("class=\"y\"").count() >= 2, "{what}: an axis has ticks");
    }
}

#[test]
fn an_outage_is_no_line() {
    let second = |n: u32| (f64::from(n), (!(20..40).contains(&n)).then_some(5.0));
    let line: Vec<_> = (0..60).map(second).collect();
    assert_eq!(drawn(&chart(&[&line])).matches("<path").count(), 2);
}

#[test]
fn a_moment_is_a_band_that_is_seen() {
    let svg = drawn(&chart(&[&[(0.0, Some(1.0)), (60.0, Some(2.0))]]));
    assert_eq!(svg.matches("class=\"band").count(), 2);
    assert!(numbers(&svg, "width").iter().all(|width| *width >= 1.5));
}
