//! What a post's text is, which X shows with its own short addresses in it.

use super::wire::{Address, Post};
use crate::platforms::html::unescaped;

/// The text as it was sent: with the addresses that the short ones stand for, and without the one that
/// stands for the post's images.
pub(super) fn sent(post: &Post) -> String {
    let mut text = post.text.clone();
    for address in post.entities.urls.iter().flatten() {
        let Some(short) = &address.url else { continue };
        let long = if is_of_image(address) {
            ""
        } else {
            address.expanded_url.as_deref().unwrap_or(short)
        };
        text = text.replacen(short.as_str(), long, 1);
    }
    unescaped(&text).trim_end().to_owned()
}

fn is_of_image(address: &Address) -> bool {
    let shown = address.display_url.as_deref().unwrap_or_default();
    address.media_key.is_some()
        || shown.starts_with("pic.x.com/")
        || shown.starts_with("pic.twitter.com/")
}

/// What is compared with what was sent. Before the text of an answer X puts whom it answers.
pub(super) fn shown(post: &Post) -> String {
    let text = sent(post);
    if post.answers().is_some() { without_names(&text) } else { text }
}

/// The text from its first word on that names nobody.
pub(super) fn without_names(text: &str) -> String {
    let words = text.split_inclusive(char::is_whitespace);
    words.skip_while(|word| word.starts_with('@')).collect()
}
