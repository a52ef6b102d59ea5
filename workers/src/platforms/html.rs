//! The text of HTML, as platforms show posts in it.

/// What a piece of HTML says, without what it looks like: paragraphs are parted by an empty line.
pub(super) fn text_of(html: &str) -> String {
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

/// The text with its characters in place of their names, the few that platforms write, and numbers.
/// What is no name that is known stays.
pub(super) fn unescaped(text: &str) -> String {
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

/// The paragraphs of a text, which empty lines part.
pub(super) fn paragraphs(text: &str) -> Vec<String> {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_read_as_people_see_it() {
        let rows = [
            ("<p>One<br>two<br />three</p><p>four</p>", "One\ntwo\nthree\n\nfour"),
            (
                "<p>a &lt;b&gt; &amp; &quot;c&quot; &#39;d&#x27; e&nbsp;f</p>",
                "a <b> & \"c\" 'd' e\u{a0}f",
            ),
            ("AT&T; &; &#; &#xFFFFFFFF; & so on", "AT&T; &; &#; &#xFFFFFFFF; & so on"),
            ("&amp;lt; stays", "&lt; stays"),
            (
                "<p><span class=\"h-card\"><a href=\"https://x.example/@b\">@<span>bob</span></a></span> \
                 <a href=\"https://example.org/long\"><span class=\"invisible\">https://</span>\
                 <span class=\"ellipsis\">example.org/lo</span><span class=\"invisible\">ng</span></a></p>",
                "@bob https://example.org/long",
            ),
            ("1 < 2", "1 < 2"),
            ("", ""),
            (
                "<p>1 &lt; 2 &#8211; &#x1F600;&nbsp;&copy; &amp;amp; & so</p>",
                "1 < 2 – 😀\u{a0}&copy; &amp; & so",
            ),
            (
                "<!-- wp:x {\"a\":\">\"} --><H2 class=\"a\">Title</H2><p>A<br/>b</p>",
                "Title\n\nA\nb",
            ),
            ("<ul><li>a</li><li>b</li></ul>", "a\n\nb"),
        ];
        for (html, text) in rows {
            assert_eq!(text_of(html), text, "{html}");
        }
    }
}
