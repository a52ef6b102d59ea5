//! What posts cost on platforms that charge for them.

use super::Price;
use super::addresses::addresses;

impl Price {
    /// What a post of this text costs, in millionths of a US dollar; `has_link` if it has one beside it.
    pub fn of(self, text: &str, has_link: bool) -> u64 {
        if has_link || !addresses(text, true).is_empty() {
            self.with_link_micros
        } else {
            self.plain_micros
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_charged_for_wherever_it_stands() {
        let price = Price { plain_micros: 15_000, with_link_micros: 200_000 };
        let rows = [
            ("Hello", false, 15_000),
            ("v1.2 is out. Enjoy", false, 15_000),
            ("see example.org", false, 200_000),
            ("https://example.org/a", false, 200_000),
            ("Hello", true, 200_000),
        ];
        for (text, has_link, micros) in rows {
            assert_eq!(price.of(text, has_link), micros, "{text}");
        }
    }
}
