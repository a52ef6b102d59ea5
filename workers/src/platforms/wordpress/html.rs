//! A post's HTML, as WordPress's own editor writes it, and back to plain text.
//!
//! The comments around paragraphs and images are what its editor knows blocks by, so that a post can be
//! edited there. <https://developer.wordpress.org/block-editor/explanations/architecture/key-concepts/>

use std::fmt::Write as _;

use super::wire::Media;
use crate::platforms::{Image, Link};

/// A text as it reads in HTML, in attributes too. A `[` would begin a shortcode, which WordPress and
/// its plugins put something else in the place of.
pub(super) fn escaped(text: &str) -> String {
    let mut html = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '[' => html.push_str("&#091;"),
            // Of control characters HTML knows these alone.
            char if char.is_control() && !matches!(char, '\n' | '\t') => {}
            char => html.push(char),
        }
    }
    html
}

/// The paragraphs of a text, which empty lines part; then the link, then the images.
pub(super) fn content(text: &str, link: Option<&Link>, images: &[(&Image, Media)]) -> String {
    let mut html = String::new();
    for paragraph in paragraphs(text) {
        block(&mut html, "paragraph", &format!("<p>{}</p>", lines(&paragraph)));
    }
    if let Some(link) = link {
        let url = escaped(link.url.as_str());
        let title = link.title.as_deref().unwrap_or(link.url.as_str());
        let mut inner = format!("<p><a href=\"{url}\">{}</a>", lines(title));
        if let Some(description) = &link.description {
            let _ = write!(inner, "<br>{}", lines(description));
        }
        block(&mut html, "paragraph", &format!("{inner}</p>"));
    }
    for (image, Media { id, source_url, .. }) in images {
        let (source, alt) = (escaped(source_url), escaped(&image.alt));
        let img = format!("<img src=\"{source}\" alt=\"{alt}\" class=\"wp-image-{id}\"/>");
        let figure = format!("<figure class=\"wp-block-image\">{img}</figure>");
        block(&mut html, &format!("image {{\"id\":{id}}}"), &figure);
    }
    html
}

fn block(html: &mut String, opening: &str, inner: &str) {
    let name = opening.split(' ').next().unwrap_or_default();
    if !html.is_empty() {
        html.push_str("\n\n");
    }
    let _ = write!(html, "<!-- wp:{opening} -->\n{inner}\n<!-- /wp:{name} -->");
}

fn paragraphs(text: &str) -> Vec<String> {
    let mut paragraphs = vec![String::new()];
    for line in text.lines() {
        match paragraphs.last_mut() {
            _ if line.trim().is_empty() => paragraphs.push(String::new()),
            Some(paragraph) if paragraph.is_empty() => paragraph.push_str(line),
            Some(paragraph) => {
                paragraph.push('\n');
                paragraph.push_str(line);
            }
            None => {}
        }
    }
    paragraphs.retain(|paragraph| !paragraph.is_empty());
    paragraphs
}

fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(escaped).collect();
    lines.join("<br>")
}

/// What a piece of HTML says, without what it looks like: paragraphs are parted by an empty line.
pub(super) fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, tag)) = rest.split_once('<') {
        text.push_str(&unescaped(before));
        // A comment may hold a `>`; what is not closed is no tag.
        let end = if tag.starts_with("!--") { "-->" } else { ">" };
        let Some((inside, after)) = tag.split_once(end) else {
            text.push('<');
            rest = tag;
            continue;
        };
        let name = inside.trim_start_matches('/');
        let name = name.split(|char: char| !char.is_ascii_alphanumeric()).next();
        match name.unwrap_or_default().to_ascii_lowercase().as_str() {
            "br" => text.push('\n'),
            "p" | "div" | "figure" | "li" | "blockquote" | "h1" | "h2" | "h3" | "h4" | "h5"
            | "h6"
                if inside.starts_with('/') =>
            {
                text.push_str("\n\n");
            }
            _ => {}
        }
        rest = after;
    }
    text.push_str(&unescaped(rest));
    paragraphs(&text).join("\n\n")
}

/// The few names that WordPress writes, and numbers.
fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        plain.push_str(before);
        let known = after.split_once(';').and_then(|(name, after)| Some((named(name)?, after)));
        match known {
            Some((char, after)) => {
                plain.push(char);
                rest = after;
            }
            None => {
                plain.push('&');
                rest = after;
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn named(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let number = match number.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16),
                None => number.parse(),
            };
            char::from_u32(number.ok()?)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_written_in_paragraphs_and_nothing_in_it_is_markup() {
        let text = "One & <b>two</b>\r\nthree\n\n \n[gallery] \"four\"\u{7}\n";
        let html = content(text, None, &[]);
        assert_eq!(
            html,
            "<!-- wp:paragraph -->\n<p>One &amp; &lt;b&gt;two&lt;/b&gt;<br>three</p>\n\
             <!-- /wp:paragraph -->\n\n\
             <!-- wp:paragraph -->\n<p>&#091;gallery] &quot;four&quot;</p>\n<!-- /wp:paragraph -->"
        );
        assert_eq!(plain(&html), "One & <b>two</b>\nthree\n\n[gallery] \"four\"");
        assert_eq!(content(" \n\n", None, &[]), "");
    }

    #[test]
    fn a_link_is_a_paragraph_of_its_own() {
        let url = "https://example.org/?a=1&b=%22".parse().unwrap();
        let link =
            Link { url, title: Some("A \"page\"".into()), description: Some("It\nis".into()) };
        assert_eq!(
            content("", Some(&link), &[]),
            "<!-- wp:paragraph -->\n<p><a href=\"https://example.org/?a=1&amp;b=%22\">\
             A &quot;page&quot;</a><br>It<br>is</p>\n<!-- /wp:paragraph -->"
        );
        let link = Link { title: None, description: None, ..link };
        let html = content("", Some(&link), &[]);
        assert!(html.contains(">https://example.org/?a=1&amp;b=%22</a></p>"), "{html}");
    }

    #[test]
    fn other_peoples_html_is_read_as_text() {
        for (html, text) in [
            ("", ""),
            (
                "<p>1 &lt; 2 &#8211; &#x1F600;&nbsp;&copy; &amp;amp; & so</p>",
                "1 < 2 – 😀\u{a0}&copy; &amp; & so",
            ),
            (
                "<!-- wp:x {\"a\":\">\"} --><H2 class=\"a\">Title</H2><p>A<br/>b</p>",
                "Title\n\nA\nb",
            ),
            ("1 < 2", "1 < 2"),
            ("<ul><li>a</li><li>b</li></ul>", "a\n\nb"),
        ] {
            assert_eq!(plain(html), text, "{html}");
        }
    }
}
