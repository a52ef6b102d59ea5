//! Both brokers keep the same promises; Redis has troubles of its own besides.

mod acl;
mod cluster;
mod cluster_changes;
mod fairness;
mod limits;
mod model;
mod outage;
mod quota;
mod redis;
mod retry_slots;
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

/// With the user of `config/redis.conf`, which may do what we do and nothing else.
mod a_restricted_redis_user_keeps_its_promises {
    use super::acl::restricted;

    postworks::broker_promises!(restricted());
}
