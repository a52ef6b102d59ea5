//! One connection through the proxy: two ways, each with its weather.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::trap::{Seen, Spring, Watch};
use super::{Cut, Flow, Shared, Way, lock, reset};

/// Pieces under way in one direction; a sender that is faster waits.
const UNDER_WAY: usize = 64;
/// A piece is at most this long.
const PIECE: usize = 16 * 1024;

/// How a way, or the whole connection, ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The sender closed, and everything before has arrived.
    Closed,
    /// To be reset at once.
    Reset,
    /// To be closed at once.
    Cut,
}

/// Carries bytes both ways until the connection ends.
pub(super) async fn run<S>(mut client: TcpStream, server: S, shared: &Shared, seed: u64)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut cuts = shared.cuts.subscribe();
    cuts.borrow_and_update();
    let end = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = tokio::io::split(server);
        let muted = AtomicBool::new(false);
        let up = Carrier::new(shared, Way::ToServer, &muted, seed);
        let down = Carrier::new(shared, Way::ToClient, &muted, seed.rotate_left(32));
        let (up, down) = (up.run(from_client, to_server), down.run(from_server, to_client));
        tokio::select! {
            end = both(up, down) => end,
            end = ordered(&mut cuts) => end,
        }
    };
    if end == End::Reset {
        reset(client);
    }
}

/// Ends when both ways are closed, or one has to end the connection.
async fn both(up: impl Future<Output = End>, down: impl Future<Output = End>) -> End {
    tokio::pin!(up, down);
    let (first, is_up) =
        tokio::select! { end = &mut up => (end, true), end = &mut down => (end, false) };
    match first {
        End::Closed if is_up => down.await,
        End::Closed => up.await,
        other => other,
    }
}

/// Waits for an order to end the whole connection.
async fn ordered(cuts: &mut tokio::sync::watch::Receiver<(u64, Cut)>) -> End {
    loop {
        if cuts.changed().await.is_err() {
            return End::Reset;
        }
        let (_, how) = *cuts.borrow_and_update();
        match how {
            Cut::Close => return End::Cut,
            Cut::Reset => return End::Reset,
            // Concerns one way; its carrier has heard of it.
            Cut::HalfClose => {}
        }
    }
}

/// Carries bytes one way.
struct Carrier<'a> {
    shared: &'a Shared,
    way: Way,
    /// The next answer is to be lost, and the connection with it.
    muted: &'a AtomicBool,
    dice: StdRng,
    /// What of the stream traps still look at.
    watch: Watch,
    /// Bytes of this stream are lost: nothing may follow them.
    lost: bool,
    /// A trap has ended this stream without telling anybody.
    stopped: bool,
}

/// What is under way, and when it arrives.
type Piece = (Instant, Vec<u8>);

impl<'a> Carrier<'a> {
    fn new(shared: &'a Shared, way: Way, muted: &'a AtomicBool, seed: u64) -> Self {
        let dice = StdRng::seed_from_u64(seed);
        Self { shared, way, muted, dice, watch: Watch::default(), lost: false, stopped: false }
    }

    async fn run(mut self, from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin) -> End {
        let (pieces, mut arriving) = mpsc::channel::<Piece>(UNDER_WAY);
        let deliver = async {
            while let Some((at, bytes)) = arriving.recv().await {
                tokio::time::sleep_until(at).await;
                if to.write_all(&bytes).await.is_err() {
                    return End::Cut;
                }
            }
            let _ = to.shutdown().await;
            End::Closed
        };
        let take = async {
            let end = self.take(from, &pieces).await;
            drop(pieces);
            end
        };
        tokio::pin!(deliver, take);
        tokio::select! {
            end = &mut take => match end {
                End::Closed => deliver.await,
                other => other,
            },
            end = &mut deliver => end,
        }
    }

    async fn take(&mut self, mut from: impl AsyncRead + Unpin, to: &mpsc::Sender<Piece>) -> End {
        let mut weather = self.shared.weather[self.way as usize].subscribe();
        let mut cuts = self.shared.cuts.subscribe();
        cuts.borrow_and_update();
        let mut buffer = vec![0; PIECE];
        loop {
            let now = *weather.borrow_and_update();
            if self.lost && now.flow == Flow::Pass {
                return End::Reset;
            }
            let read = tokio::select! {
                read = from.read(&mut buffer), if now.flow != Flow::Hold => read,
                changed = weather.changed() => {
                    if changed.is_err() {
                        return End::Reset;
                    }
                    continue;
                }
                _ = cuts.changed() => {
                    if self.way == Way::ToServer && cuts.borrow_and_update().1 == Cut::HalfClose {
                        return End::Closed;
                    }
                    continue;
                }
            };
            let bytes = match read {
                Ok(0) => return End::Closed,
                Err(_) => return End::Cut,
                Ok(read) => buffer[..read].to_vec(),
            };
            if self.way == Way::ToClient && self.muted.load(Ordering::SeqCst) {
                return End::Reset;
            }
            self.lost |= now.flow == Flow::Swallow;
            if self.lost || self.stopped {
                continue;
            }
            let at = Instant::now() + now.delay + self.later(now.jitter);
            if let Some(end) = self.pass(bytes, at, to).await {
                return end;
            }
        }
    }

    /// Sends a piece on its way, unless a trap takes it; answers how the connection ends by that.
    async fn pass(
        &mut self,
        mut bytes: Vec<u8>,
        at: Instant,
        to: &mpsc::Sender<Piece>,
    ) -> Option<End> {
        let traps: Vec<_> = lock(&self.shared.traps).iter().map(Arc::clone).collect();
        let sprung = self.watch.look(self.way, &bytes, &traps);
        let Some(Seen { trap, end_of_match }) = sprung else {
            return to.send((at, bytes)).await.err().map(|_| End::Cut);
        };
        let end = match trap.spring {
            // Has told already, and never comes here.
            Spring::Tell => None,
            Spring::CutBefore => Some(End::Reset),
            Spring::LoseAnswer => {
                self.muted.store(true, Ordering::SeqCst);
                to.send((at, bytes)).await.err().map(|_| End::Cut)
            }
            Spring::StopAfter(further) => {
                bytes.truncate(end_of_match + further);
                let _ = to.send((at, bytes)).await;
                self.stopped = true;
                None
            }
        };
        trap.tell();
        end
    }

    fn later(&mut self, jitter: Duration) -> Duration {
        jitter.mul_f64(self.dice.random::<f64>())
    }
}
