//! Whether there is room on the disk of the data folder.

use std::path::Path;

use postworks::finding::Finding;

use super::Look;

const CHECK: &str = "disk";
const MIB: u64 = 1 << 20;
/// Less than this, and the embedded ledger soon accepts nothing.
const LITTLE: u64 = 100 * MIB;
/// Less than this, and a person should look.
const SOME: u64 = 1024 * MIB;

/// The disk that the folder is on, or will be once it is made; nothing if that cannot be told.
pub(super) fn of(folder: &Path) -> Option<Look> {
    let folder = std::path::absolute(folder).ok()?;
    let there = folder.ancestors().find(|folder| folder.exists())?;
    let found = rustix::fs::statvfs(there).ok()?;
    let free = found.f_bavail.saturating_mul(found.f_frsize);
    let whole = found.f_blocks.saturating_mul(found.f_frsize);
    Some(Look::at(vec![judge(free, whole, &folder)]))
}

fn judge(free: u64, whole: u64, folder: &Path) -> Finding {
    let folder = folder.display();
    let detail = format!("{} of {} free for {folder}", size(free), size(whole));
    let advice = "make room, or choose a folder on another disk with POSTWORKS_DATA_DIR";
    match free {
        0..LITTLE => Finding::fail(CHECK, format!("{detail}: nothing more can be kept"), advice),
        LITTLE..SOME => Finding::warn(CHECK, format!("{detail}: it is nearly full"), advice),
        _ => Finding::ok(CHECK, detail),
    }
}

fn size(bytes: u64) -> String {
    match bytes / MIB {
        mib @ 0..10_240 => format!("{mib} MiB"),
        mib => format!("{} GiB", mib / 1024),
    }
}

#[cfg(test)]
mod tests {
    use postworks::finding::Status;

    use super::*;

    #[test]
    fn a_disk_is_judged_by_what_is_free() {
        let judged = |mib: u64| judge(mib * MIB, 50_000 * MIB, Path::new("/data"));
        assert_eq!(judged(99).status, Status::Fail);
        assert_eq!(judged(100).status, Status::Warn);
        assert_eq!(judged(1_023).status, Status::Warn);
        assert_eq!(judged(1_024).status, Status::Ok);
        assert_eq!(judged(20_480).detail, "20 GiB of 48 GiB free for /data");
    }

    #[test]
    fn a_folder_that_is_not_there_yet_is_judged_by_where_it_will_be() {
        let folder = tempfile::tempdir().unwrap();
        let found = of(&folder.path().join("not/yet")).unwrap().findings;
        assert!(found[0].detail.contains("not/yet"), "{found:?}");
    }
}
