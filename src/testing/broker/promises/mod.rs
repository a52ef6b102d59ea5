//! What every broker promises.

mod claiming;
mod gating;
mod leasing;
mod limits;
mod looking;
mod quarantine;
mod reasserting;
mod waking;
mod window;

pub use self::claiming::*;
pub use self::gating::*;
pub use self::leasing::*;
pub use self::limits::*;
pub use self::looking::*;
pub use self::quarantine::*;
pub use self::reasserting::*;
pub use self::waking::*;
pub use self::window::*;

use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
