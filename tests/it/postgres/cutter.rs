//! Stands between a client and its server, and cuts the line when a commit has been asked for:
//! before the server hears of it, or after it has done it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinHandle;

/// The name of a server's socket, for its default port.
const SOCKET: &str = ".s.PGSQL.5432";
const COMMIT: &[u8] = b"COMMIT";

/// Where the line is cut, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// The server never hears of the commit.
    Before = 1,
    /// The client never hears of what became of it.
    After = 2,
}

/// Forwards sessions to a server. Dropping it ends them.
pub(super) struct Cutter {
    folder: tempfile::TempDir,
    armed: Arc<AtomicU8>,
    accepting: JoinHandle<()>,
}

impl Cutter {
    /// Forwards to the server whose socket is in this folder.
    pub(super) fn start(server: &Path) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let armed = Arc::new(AtomicU8::new(0));
        let accepting = tokio::spawn(accept(listener, server.join(SOCKET), Arc::clone(&armed)));
        Self { folder, armed, accepting }
    }

    /// The address that goes through here, of what has this one without.
    pub(super) fn url(&self, direct: &str, server: &Path) -> String {
        let (from, to) = (server.display().to_string(), self.folder.path().display().to_string());
        direct.replace(&from, &to)
    }

    /// Cuts the line at the next commit.
    pub(super) fn arm(&self, cut: Cut) {
        self.armed.store(cut as u8, Ordering::SeqCst);
    }

    /// Whether the line was cut since it was armed.
    pub(super) fn has_cut(&self) -> bool {
        self.armed.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: UnixListener, server: PathBuf, armed: Arc<AtomicU8>) {
    while let Ok((client, _)) = listener.accept().await {
        if let Ok(server) = UnixStream::connect(&server).await {
            tokio::spawn(forward(client, server, Arc::clone(&armed)));
        }
    }
}

/// Forwards both ways until one end closes, or until the line is cut.
async fn forward(client: UnixStream, server: UnixStream, armed: Arc<AtomicU8>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut asked, mut answered) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = from_client.read(&mut asked) => {
                let Ok(length @ 1..) = read else { return };
                let commits = asked[..length].windows(COMMIT.len()).any(|part| part == COMMIT);
                let cut = if commits { armed.swap(0, Ordering::SeqCst) } else { 0 };
                if cut == Cut::Before as u8 {
                    return;
                }
                if to_server.write_all(&asked[..length]).await.is_err() {
                    return;
                }
                if cut == Cut::After as u8 {
                    // The answer says that it is done; nobody else hears it.
                    let _ = from_server.read(&mut answered).await;
                    return;
                }
            }
            read = from_server.read(&mut answered) => {
                let Ok(length @ 1..) = read else { return };
                if to_client.write_all(&answered[..length]).await.is_err() {
                    return;
                }
            }
        }
    }
}
