//! What guides show of the code is the code.

use std::path::Path;

/// A file that a guide shows a piece of, and the piece.
struct Piece<'a> {
    file: &'a str,
    code: &'a str,
}

/// Its pieces of Rust: each has its file's name in the line before.
fn pieces(guide: &str) -> Vec<Piece<'_>> {
    let blocks = guide.split("```rust\n").zip(guide.split("```rust\n").skip(1));
    let blocks = blocks.map(|(before, block)| {
        let file = before.trim_end().lines().last().unwrap_or_default();
        let code = block.split("```").next().unwrap_or_default();
        Piece { file: file.trim_matches('`'), code }
    });
    blocks.collect()
}

/// Without what a formatter may change.
fn plain(code: &str) -> String {
    code.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn the_guide_to_a_new_platform_shows_what_the_platforms_are() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let guide = std::fs::read_to_string(root.join("docs/add-a-platform.md")).unwrap();
    let pieces = pieces(&guide);
    assert!(pieces.len() >= 8, "the guide has lost its code");
    for Piece { file, code } in pieces {
        let source = std::fs::read_to_string(root.join(file));
        let source = source.unwrap_or_else(|error| panic!("{file:?} before {code}: {error}"));
        assert!(
            plain(&source).contains(&plain(code)),
            "{file} has changed, and not the guide:\n{code}"
        );
    }
}
