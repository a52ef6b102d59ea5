//! What decides about gates: the rules are here, the gates themselves beside their queues in the
//! broker.

pub mod breaker;
pub mod quota;
pub mod watch;
