//! Both brokers keep the same promises; Redis has troubles of its own besides.

mod limits;
mod model;
mod outage;
mod redis;
mod sentinel;

use postworks::testing::broker::Harness;

mod memory_keeps_its_promises {
    use super::Harness;

    postworks::broker_promises!(Harness::memory());
}

mod redis_keeps_its_promises {
    use super::Harness;

    postworks::broker_promises!(Harness::redis());
}
