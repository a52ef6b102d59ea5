//! The report as one page of HTML that needs nothing else: style and pictures are in it, and no
//! script.

use std::fmt::Write as _;

use super::document::{Block, Cell, Document, Grid, Span, Tone, spans};
use super::plots;
use super::svg::{self, Chart, LOOKS, NARROW, WIDE};

/// A cell of so few letters, such as a date, stays on one line.
const SHORT: usize = 12;

const STYLE: &str = include_str!("page.css");

/// The whole document.
pub(super) fn page(document: &Document) -> String {
    let title = escaped(&document.title);
    let mut page = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title}</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n<main>\n\
         <h1>{title}</h1>\n<p class=\"under\">{}</p>\n",
        words(&document.under_title),
    );
    contents(&mut page, &document.blocks);
    for (n, block) in document.blocks.iter().enumerate() {
        part(&mut page, block, n);
    }
    page.push_str("</main>\n</body>\n</html>\n");
    page
}

/// Links to the headings.
fn contents(page: &mut String, blocks: &[Block]) {
    page.push_str("<nav aria-label=\"Contents\"><ul>\n");
    for (n, block) in blocks.iter().enumerate() {
        if let Block::Heading(2, text) = block {
            let _ = writeln!(page, "<li><a href=\"#part-{n}\">{}</a></li>", words(text));
        }
    }
    page.push_str("</ul></nav>\n");
}

fn part(page: &mut String, block: &Block, n: usize) {
    let _ = match block {
        Block::Heading(level, text) => {
            writeln!(page, "<h{level} id=\"part-{n}\">{}</h{level}>", words(text))
        }
        Block::Words(text) => writeln!(page, "<p>{}</p>", words(text)),
        Block::Notice(tone, first, text) => {
            let (tone, first, text) = (class(*tone), words(first), words(text));
            writeln!(page, "<p class=\"notice {tone}\"><strong>{first}</strong> {text}</p>")
        }
        Block::Bullets(texts) => {
            let lines: String =
                texts.iter().map(|text| format!("<li>{}</li>\n", words(text))).collect();
            writeln!(page, "<ul>\n{lines}</ul>")
        }
        Block::Grid(rows) => writeln!(page, "{}", grid(rows)),
        Block::Chart(chart) => writeln!(page, "{}", figure(chart, n)),
        Block::Command(lines) => writeln!(page, "<pre><code>{}</code></pre>", escaped(lines)),
    };
}

/// A picture for each width, what its lines are, and their figures for those who want to read them.
fn figure(chart: &Chart, n: usize) -> String {
    let about = plots::about(chart);
    let mut figure = format!(
        "<figure>\n<figcaption>{}</figcaption>\n<ul class=\"legend\">",
        words(&chart.title)
    );
    for (at, line) in chart.lines.iter().enumerate() {
        let _ = write!(
            figure,
            "<li><svg class=\"sample\" viewBox=\"0 0 28 10\" aria-hidden=\"true\">\
             <path class=\"line l{}\" d=\"M0 5L28 5\"/></svg>{}</li>",
            at % LOOKS,
            words(&line.name),
        );
    }
    figure.push_str("</ul>\n");
    for size in [WIDE, NARROW] {
        figure.push_str(&svg::draw(chart, size, &format!("plot-{n}-{}", size.class), &about));
        figure.push('\n');
    }
    let _ = write!(
        figure,
        "<details><summary>Its figures</summary>{}</details>\n</figure>",
        grid(&plots::overview(chart)),
    );
    figure
}

fn grid(grid: &Grid) -> String {
    // A table may be wider than the screen: it moves, the page does not.
    let mut html = String::from("<div class=\"table\"><table>\n<thead><tr>");
    for (name, figures) in &grid.columns {
        let _ = write!(html, "<th scope=\"col\"{}>{}</th>", side(*figures), words(name));
    }
    html.push_str("</tr></thead>\n<tbody>\n");
    for row in &grid.rows {
        html.push_str("<tr>");
        for (cell, (_, figures)) in row.iter().zip(&grid.columns) {
            let short = cell.text.chars().count() <= SHORT && !figures;
            let class = if short { " class=\"short\"" } else { side(*figures) };
            let _ = write!(html, "<td{class}>{}</td>", inner(cell));
        }
        html.push_str("</tr>\n");
    }
    html.push_str("</tbody>\n</table></div>");
    html
}

fn side(figures: bool) -> &'static str {
    if figures { " class=\"figure\"" } else { "" }
}

fn inner(cell: &Cell) -> String {
    match cell.tone {
        Tone::Plain => words(&cell.text),
        tone => format!("<span class=\"{}\">{}</span>", class(tone), words(&cell.text)),
    }
}

fn class(tone: Tone) -> &'static str {
    match tone {
        Tone::Plain => "plain",
        Tone::Good => "good",
        Tone::Bad => "bad",
        Tone::Unknown => "unknown",
    }
}

fn words(text: &str) -> String {
    let span = |span: &Span<'_>| match span {
        Span::Words(words) => unit_kept(&escaped(words)),
        Span::Code(code) => format!("<code>{}</code>", escaped(code)),
    };
    spans(text).iter().map(span).collect()
}

/// The same words, with no end of line between a figure and its unit.
fn unit_kept(words: &str) -> String {
    const UNITS: [&str; 11] =
        ["%", "ms", "s", "min", "h", "bytes", "KiB", "MiB", "GiB", "TiB", "jobs"];
    let mut kept = String::with_capacity(words.len());
    for (n, word) in words.split(' ').enumerate() {
        let unit = word.trim_end_matches([',', '.', ';', ':', ')']);
        let after_figure = kept.ends_with(|last: char| last.is_ascii_digit());
        if n > 0 {
            kept.push(if after_figure && UNITS.contains(&unit) { '\u{a0}' } else { ' ' });
        }
        kept.push_str(word);
    }
    kept
}

/// A text that is no mark-up, in an element or in an attribute.
pub(super) fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            // No character of XML, and nothing that a page shows.
            control if control.is_control() => safe.push(if control == '\n' { '\n' } else { ' ' }),
            other => safe.push(other),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::pages::document;
    use super::*;

    #[test]
    fn the_page_needs_nothing_from_elsewhere() {
        let html = page(&document(&fixture::whole()));
        for outside in
            ["http:", "https:", "src=", "url(", "@import", "<script", "<link", "//", "javascript"]
        {
            assert!(!html.contains(outside), "{outside} in the page");
        }
        let links = html.split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap());
        for link in links {
            let id = link.strip_prefix('#').unwrap_or_else(|| panic!("{link} leads outside"));
            assert_eq!(html.matches(&format!("id=\"{id}\"")).count(), 1, "{link} leads nowhere");
        }
    }

    #[test]
    fn ids_are_given_once() {
        let html = page(&document(&fixture::whole()));
        let ids: Vec<&str> =
            html.split(" id=\"").skip(1).map(|rest| rest.split('"').next().unwrap()).collect();
        let once: std::collections::HashSet<_> = ids.iter().collect();
        assert_eq!(ids.len(), once.len());
    }

    #[test]
    fn every_element_that_opens_also_closes() {
        let html = page(&document(&fixture::whole()));
        for element in [
            "main", "section", "figure", "table", "tr", "td", "ul", "li", "svg", "text", "details",
            "div", "p",
        ] {
            let opened = html.matches(&format!("<{element}>")).count()
                + html.matches(&format!("<{element} ")).count();
            assert_eq!(opened, html.matches(&format!("</{element}>")).count(), "{element}");
        }
    }

    #[test]
    fn a_figure_stays_with_its_unit() {
        assert_eq!(
            words("at most 50 ms, 0 % of 7 figures"),
            "at most 50\u{a0}ms, 0\u{a0}% of 7 figures"
        );
        assert_eq!(words(" a  b "), " a  b ");
    }

    #[test]
    fn what_was_measured_is_no_mark_up() {
        let mut findings = fixture::whole();
        findings.profile = "<script>alert('x')</script>".to_owned();
        findings.scenarios[0].notes.push("</main><img onerror=\"x\">".to_owned());
        findings.scenarios[0].series[0].name = "<b>\u{7}".to_owned();
        let html = page(&document(&findings));
        assert!(!html.contains("<script") && !html.contains("<img") && !html.contains("<b>"));
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"));
        assert!(html.contains("&lt;/main&gt;&lt;img onerror=&quot;x&quot;&gt;"));
    }
}
