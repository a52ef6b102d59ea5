//! For how long each tenant keeps what is its own.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_a_tenant_keeps_is_its_own_to_say() {
    let house = House::open().await;
    let (acme, bolt) = (house.admin_of("acme").await, house.admin_of("bolt").await);
    let keep = async |by: &Tenant| {
        let page = house.done(by, "GET", "/api/retention", Value::Null).await;
        let kept = page["items"].as_array().unwrap().iter();
        kept.map(|kept| {
            format!("{} {} {}", kept["scope"], kept["keep"], kept["own"]).replace('"', "")
        })
        .collect::<Vec<_>>()
    };
    let configured = [
        "remote_posts 95d false",
        "metrics 95d false",
        "publications 180d false",
        "events 90d false",
        "media 7d false",
    ];
    assert_eq!(keep(&acme).await, configured);
    let set = json!({ "keep": "36h", "reason": "as the contract says" });
    let kept = house.done(&acme, "POST", "/api/retention/metrics", set).await;
    assert_eq!(kept, json!({ "scope": "metrics", "keep": "36h", "own": true }));
    assert_eq!(keep(&acme).await[1], "metrics 36h true");
    assert_eq!(keep(&bolt).await, configured, "another's");
    let audit = house.done(&acme, "GET", "/api/audit?action=retention.set", Value::Null).await;
    assert_eq!(audit["items"][0]["subject"], "metrics", "{audit}");
    // Nobody clears another's.
    house.done(&bolt, "DELETE", "/api/retention/metrics", Value::Null).await;
    assert_eq!(keep(&acme).await[1], "metrics 36h true");
    let kept = house.done(&acme, "DELETE", "/api/retention/metrics", Value::Null).await;
    assert_eq!(kept, json!({ "scope": "metrics", "keep": "95d", "own": false }));
    assert_eq!(keep(&acme).await, configured);

    for (scope, keep, field) in [
        ("jobs", "30d", "/scope"),
        ("metricks", "30d", "/scope"),
        ("metrics", "23h", "/keep"),
        ("metrics", "99999d", "/keep"),
        ("metrics", "soon", "/keep"),
    ] {
        let (path, set) = (format!("/api/retention/{scope}"), json!({ "keep": keep }));
        let refused = house.ask(&acme, "POST", &path, set).await;
        refused.assert_problem(422);
        assert_eq!(refused.fields(), [field], "{}", refused.body);
    }
}
