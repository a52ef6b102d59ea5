//! Finds PostgreSQL's programs, and somebody to run them as.

use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};

/// Where a program of PostgreSQL is.
///
/// # Panics
/// It is nowhere.
pub(super) fn program(name: &str) -> PathBuf {
    installed(name).unwrap_or_else(|| {
        panic!("no {name} found on PATH, in /usr/lib/postgresql or in .tools: run `make setup`")
    })
}

/// The same; `None` if it is nowhere.
pub(super) fn installed(name: &str) -> Option<PathBuf> {
    folders().into_iter().map(|folder| folder.join(name)).find(|path| path.is_file())
}

fn folders() -> Vec<PathBuf> {
    let mut folders = below("/usr/lib/postgresql");
    // The newest version first. Debian keeps these outside PATH; what is on PATH may be a link
    // to one program only, so PATH comes second.
    folders.sort_by_key(|folder| std::cmp::Reverse(version(folder)));
    let path = std::env::var_os("PATH").unwrap_or_default();
    folders.extend(std::env::split_paths(&path));
    for up in std::env::current_dir().unwrap_or_default().ancestors() {
        let tools = up.join(".tools");
        folders.push(tools.join("bin"));
        folders.extend(below(&tools.to_string_lossy()));
    }
    folders
}

/// The `bin` folders of whatever lies in a folder.
fn below(folder: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path().join("bin")).collect()
}

fn version(folder: &std::path::Path) -> u32 {
    let name = folder.parent().and_then(|parent| parent.file_name()).unwrap_or_default();
    name.to_string_lossy().parse().unwrap_or(0)
}

/// Who the server runs as: PostgreSQL refuses to be root. `None` is whoever runs the tests.
pub(super) fn user() -> Option<(Uid, Gid)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let user = ["postgres", "nobody"]
        .into_iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .expect("root needs a user postgres or nobody to run PostgreSQL as");
    Some((user.uid, user.gid))
}
