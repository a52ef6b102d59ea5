//! Groups dead letters of the same cause, whatever ids, numbers and names their messages hold.

use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::job::{Category, Kind, Reason};

/// Longest quoted text that is taken for one; beyond it the quote stands for itself.
const QUOTED_CHARS_MAX: usize = 300;

/// The fingerprint of a death: 16 hexadecimal characters, the same for every death of the same
/// kind, class and message but for numbers, ids and quoted texts. What ended for want of an
/// account's credentials has that account as its cause, whatever it was to do there.
pub(super) fn fingerprint(kind: &Kind, account: Option<Uuid>, reason: &Reason) -> String {
    let mut hash = Sha256::new();
    let parts = match account.filter(|_| reason.category == Category::Auth) {
        Some(account) => [Category::Auth.as_str().to_owned(), account.to_string(), String::new()],
        None => [kind.as_str().to_owned(), reason.class.clone(), normalise(&reason.message)],
    };
    for part in parts {
        hash.update(part.as_bytes());
        hash.update([0]);
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn normalise(message: &str) -> String {
    let mut plain = String::with_capacity(message.len());
    let mut rest = message;
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let (taken, placeholder) = if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            (end, word(&rest[..end]))
        } else if let Some(end) = quoted(first, rest, after_word) {
            (end, "\"…\"".to_owned())
        } else {
            (first.len_utf8(), first.to_string())
        };
        after_word = is_word(first);
        plain.push_str(&placeholder);
        rest = &rest[taken..];
    }
    plain
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '-' || c == '_'
}

/// Where a quoted text ends, if one starts here. The apostrophe of "can't" starts none.
fn quoted(first: char, rest: &str, after_word: bool) -> Option<usize> {
    let close = match first {
        '"' | '`' => first,
        '\'' if !after_word => first,
        '“' => '”',
        _ => return None,
    };
    let mut inside = rest.char_indices().skip(1).take(QUOTED_CHARS_MAX);
    inside.find(|(_, c)| *c == close).map(|(at, c)| at + c.len_utf8())
}

fn word(word: &str) -> String {
    if !word.contains(|c: char| c.is_ascii_digit()) {
        return word.to_owned();
    }
    let hexadecimal = word.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
    // A long word with digits in it is an id made by some machine.
    if (word.len() >= 8 && hexadecimal) || word.len() >= 16 {
        return "#".to_owned();
    }
    let mut plain = String::with_capacity(word.len());
    for c in word.chars() {
        match c {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            c => plain.push(c),
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Category;
    use proptest::prelude::*;

    fn of(class: &str, message: &str) -> String {
        let reason = Reason {
            category: Category::PlatformApi,
            class: class.to_owned(),
            message: message.to_owned(),
        };
        fingerprint(&Kind::parse("post_publication").unwrap(), None, &reason)
    }

    #[test]
    fn ids_numbers_and_quoted_texts_make_no_difference() {
        let message = "post 0198f3a0-0000-7000-8000-000000000001 of 'ann' can't be read: 503";
        let other = "post 0198f3a0-9999-7000-8000-0000deadbeef of 'bob' can't be read: 429";
        assert_eq!(of("transient", message), of("transient", other));
        assert_eq!(normalise(message), "post # of \"…\" can't be read: #");
    }

    #[test]
    fn another_class_or_another_sentence_is_another_cause() {
        assert_ne!(of("transient", "no answer"), of("unknown", "no answer"));
        assert_ne!(of("transient", "no answer"), of("transient", "no route"));
    }

    #[test]
    fn what_an_accounts_credentials_ended_is_one_group_an_account() {
        let ended = |kind: &str, account: u128, category, message: &str| {
            let reason =
                Reason { category, class: "auth_revoked".to_owned(), message: message.to_owned() };
            fingerprint(&Kind::parse(kind).unwrap(), Some(Uuid::from_u128(account)), &reason)
        };
        let post = ended("post_publication", 1, Category::Auth, "connect it again");
        assert_eq!(post, ended("connector_sync", 1, Category::Auth, "it was refused"));
        assert_ne!(post, ended("post_publication", 2, Category::Auth, "connect it again"));
        // Of other causes the account is none.
        let expired = |account| ended("post_publication", account, Category::Expired, "too late");
        assert_eq!(expired(1), expired(2));
    }

    #[test]
    fn a_quote_that_never_ends_stands_for_itself() {
        assert_eq!(normalise("bad token: 'abc"), "bad token: 'abc");
    }

    proptest! {
        #[test]
        fn any_text_has_a_fingerprint(message in ".{0,200}") {
            prop_assert_eq!(of("bug", &message).len(), 16);
        }

        #[test]
        fn numbers_make_no_difference(a in any::<u64>(), b in any::<u64>()) {
            let say = |n: u64| of("transient", &format!("waited {n} ms"));
            prop_assert_eq!(say(a), say(b));
        }
    }
}
