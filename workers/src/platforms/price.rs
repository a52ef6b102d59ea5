//! What posts cost on platforms that charge for them.

use super::addresses::addresses;

/// What a post costs, in millionths of a US dollar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// One without an address in it.
    pub plain_micros: u64,
    /// One with an address in it.
    pub with_link_micros: u64,
    /// The description of an image.
    pub alt_text_micros: u64,
}

impl Price {
    /// What a post of this text costs; `has_link` if it has a link beside it, and so many of its images
    /// are described.
    pub fn of(self, text: &str, has_link: bool, alt_texts: usize) -> u64 {
        let has_address = has_link || !addresses(text, true).is_empty();
        let post = if has_address { self.with_link_micros } else { self.plain_micros };
        let alt_texts = u64::try_from(alt_texts).unwrap_or(u64::MAX);
        post.saturating_add(alt_texts.saturating_mul(self.alt_text_micros))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_charged_for_wherever_it_stands_and_descriptions_are_too() {
        let price =
            Price { plain_micros: 15_000, with_link_micros: 200_000, alt_text_micros: 5_000 };
        let rows = [
            ("Hello", false, 0, 15_000),
            ("v1.2 is out. Enjoy", false, 0, 15_000),
            ("see example.org", false, 0, 200_000),
            ("https://example.org/a", false, 0, 200_000),
            ("Hello", true, 0, 200_000),
            ("", false, 4, 35_000),
            ("example.org", true, 1, 205_000),
        ];
        for (text, has_link, alt_texts, micros) in rows {
            assert_eq!(price.of(text, has_link, alt_texts), micros, "{text}");
        }
    }
}
