//! A post's HTML, as WordPress's own editor writes it.
//!
//! The comments around paragraphs and images are what its editor knows blocks by, so that a post can be
//! edited there. <https://developer.wordpress.org/block-editor/explanations/architecture/key-concepts/>

use std::fmt::Write as _;

use super::wire::Media;
use crate::platforms::html::paragraphs;
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

fn lines(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(escaped).collect();
    lines.join("<br>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::platforms::html::text_of;

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
        assert_eq!(text_of(&html), "One & <b>two</b>\nthree\n\n[gallery] \"four\"");
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
}
