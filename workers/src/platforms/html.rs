//! The text of a little HTML, as platforms show posts in it.

/// The text without its tags: a paragraph ends with an empty line, and characters are themselves.
pub(super) fn text_of(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some(start) = rest.find('<') {
        text.push_str(&rest[..start]);
        let Some(length) = rest[start..].find('>') else {
            rest = &rest[start..];
            break;
        };
        let tag = &rest[start + 1..start + length];
        let name = tag.trim_end_matches('/').trim().to_ascii_lowercase();
        match name.split_ascii_whitespace().next().unwrap_or_default() {
            "br" => text.push('\n'),
            "/p" => text.push_str("\n\n"),
            _ => {}
        }
        rest = &rest[start + length + 1..];
    }
    text.push_str(rest);
    unescaped(text.trim_end_matches('\n'))
}

/// The text with its characters in place of their names. What is no name that is known stays.
pub(super) fn unescaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find('&') {
        plain.push_str(&rest[..start]);
        let name = rest[start..].find(';').map(|end| &rest[start + 1..start + end]);
        match name.and_then(|name| Some((name, character(name)?))) {
            Some((name, char)) => {
                plain.push(char);
                rest = &rest[start + name.len() + 2..];
            }
            None => {
                plain.push('&');
                rest = &rest[start + 1..];
            }
        }
    }
    plain.push_str(rest);
    plain
}

fn character(name: &str) -> Option<char> {
    match name {
        "amp" => Some('&'),
        "lt" => Some('<'),
        "gt" => Some('>'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        "nbsp" => Some('\u{a0}'),
        _ => {
            let number = name.strip_prefix('#')?;
            let hexadecimal = number.strip_prefix(['x', 'X']);
            let number = match hexadecimal {
                Some(digits) => u32::from_str_radix(digits, 16),
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
        ];
        for (html, text) in rows {
            assert_eq!(text_of(html), text, "{html}");
        }
    }
}
