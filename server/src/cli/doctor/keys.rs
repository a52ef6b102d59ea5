//! Whether the keys are those that accounts' secrets are sealed with, and every node has them.

use postworks::finding::Finding;
use postworks_workers::keys::{KeyFault, shown};
use postworks_workers::store::KeyBook;

use super::{Look, PATIENCE};
use crate::app::App;
use crate::cli::failure::Exit;

const KEYS: &str = "keys";
/// What to do in which order.
const ORDER: &str = "`postworks keys --help` says in which order a key is changed";

/// The ring, and what the ledger says of it if it can be asked.
pub(super) async fn of(app: &App) -> Look {
    let ids = match app.node().key_ids() {
        Ok(ids) => ids,
        Err(error) => return Look::failed(KEYS, error.into()),
    };
    let looked = tokio::time::timeout(PATIENCE, app.node().keyholder().look()).await;
    let Ok(Ok((book, fits))) = looked else {
        // Others say what is the matter with the ledger.
        return Look::at(vec![Finding::ok(KEYS, of_ring(ids))]);
    };
    match fits {
        Ok(()) => Look::at(of_book(ids, &book)),
        Err(fault) => Look { findings: vec![of_fault(&fault)], exit: Exit::Config },
    }
}

/// What seals, and what still opens.
fn of_ring(ids: &[String]) -> String {
    match ids {
        [] => "there".to_owned(),
        [first] => format!("{first} seals and signs"),
        [first, others @ ..] => {
            format!("{first} seals and signs, {} open as well", others.join(", "))
        }
    }
}

/// The fault says itself what to do.
fn of_fault(fault: &KeyFault) -> Finding {
    let text = fault.to_string();
    let (detail, advice) = text.split_once(": ").unwrap_or((&text, ORDER));
    Finding::fail(KEYS, detail, advice)
}

fn of_book(ids: &[String], book: &KeyBook) -> Vec<Finding> {
    let current = ids.first().map_or("", String::as_str);
    let mut found = Vec::new();
    let without: Vec<&str> = book.without(current).map(|holder| shown(&holder.node)).collect();
    if !without.is_empty() {
        let detail = format!("{} cannot open what {current} seals", without.join(", "));
        found.push(Finding::warn(KEYS, detail, ORDER));
    }
    for key in book.keys.iter().filter(|key| key.id != current && key.rows > 0) {
        let detail = format!("{} has still sealed {} accounts' secrets", key.id, key.rows);
        found.push(Finding::warn(
            KEYS,
            detail,
            "`postworks keys rotate`, once every node seals alike",
        ));
    }
    if found.is_empty() {
        found.push(Finding::ok(KEYS, of_ring(ids)));
    }
    found
}

#[cfg(test)]
mod tests {
    use postworks::finding::Status;
    use postworks_workers::store::{KeyHolder, SealingKey};

    use super::*;

    #[test]
    fn old_keys_and_nodes_without_the_current_one_are_named() {
        let ids = ["k2".to_owned(), "k1".to_owned()];
        let key = |id: &str, rows| SealingKey {
            id: id.to_owned(),
            proof: None,
            first_seen: None,
            required: false,
            retired_at: None,
            rows,
        };
        let node = |keys: &[String]| KeyHolder { node: "web:7:x".to_owned(), keys: keys.to_vec() };
        let well = KeyBook { keys: vec![key("k1", 0), key("k2", 9)], holders: vec![node(&ids)] };
        let found = of_book(&ids, &well);
        assert_eq!(found, [Finding::ok(KEYS, "k2 seals and signs, k1 open as well")]);
        let ill = KeyBook { keys: vec![key("k1", 3)], holders: vec![node(&ids[1..])] };
        let found = of_book(&ids, &ill);
        let said: Vec<&str> = found.iter().map(|found| found.detail.as_str()).collect();
        let expected =
            ["web:7 cannot open what k2 seals", "k1 has still sealed 3 accounts' secrets"];
        assert_eq!(said, expected);
        assert!(found.iter().all(|found| found.status == Status::Warn && found.advice.is_some()));
    }

    #[test]
    fn a_wrong_ring_fails_with_what_to_do() {
        let found = of_fault(&KeyFault::Wrong("k1".to_owned()));
        assert_eq!(found.status, Status::Fail);
        assert!(found.detail.contains("\"k1\""), "{found:?}");
        assert!(found.advice.unwrap().starts_with("give this node the same bytes"));
    }
}
