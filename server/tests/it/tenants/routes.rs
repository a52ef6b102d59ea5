//! Every route that there is, asked by somebody whose rows they are, and by others.

use postworks_server::api::{self, Declared};

use super::*;

/// What tells of all tenants' jobs together.
const OF_THE_FLEET: [&str; 4] =
    ["/api/queues", "/api/breakers", "/api/autoscale", "/sd/prometheus"];

/// The address of what somebody has, and what must be sent to it.
fn address(route: &Declared, rows: &Rows) -> (String, Value) {
    let (id, body) = match route.path {
        "/api/jobs/{id}" | "/api/jobs/{id}/why" => (rows.job, Value::Null),
        "/api/connectors/{id}" => (rows.spare, Value::Null),
        "/api/connectors/{id}/sync" => (rows.connector, Value::Null),
        "/api/publications/{id}" if route.method == "PATCH" => {
            (rows.publication, json!({"not_after": null}))
        }
        "/api/publications/{id}" => (rows.publication, Value::Null),
        "/api/posts/{id}" => (rows.post, json!({"text": "another"})),
        "/api/posts/{id}/move" => (rows.post, in_an_hour()),
        "/api/media/{id}" => (rows.media, Value::Null),
        "/api/dlq/redrives/{id}" | "/api/dlq/redrives/{id}/stop" => (rows.redrive, Value::Null),
        "/api/dlq/{id}" => (rows.dead, Value::Null),
        "/api/dlq/{id}/retry" => (rows.dead, json!({"args": {"connector_id": rows.connector}})),
        "/api/effects/{id}/resolve" => (rows.effect, json!({"as": "absent"})),
        path if path.starts_with("/api/sets/{id}") => (rows.set, Value::Null),
        path if path.starts_with("/api/schedules/{id}") => (rows.schedule, Value::Null),
        path => panic!("say whose rows {path} is about"),
    };
    (route.path.replace("{id}", &id.to_string()), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_belongs_to_another_tenant_is_nowhere() {
    let house = House::open().await;
    let owner = house.admin_of("acme").await;
    let rows = house.furnish(&owner).await;
    // The house is a stranger like any other.
    let strangers = [house.admin_of("bolt").await, house.admin_of("default").await];
    let routes = api::declared();
    let guarded = routes.iter().filter(|route| route.need.is_some());
    let of_rows: Vec<_> = guarded.filter(|route| route.path.contains("{id}")).collect();
    assert!(of_rows.len() >= 10, "{of_rows:?}");
    for route in &of_rows {
        let (path, body) = address(route, &rows);
        for stranger in &strangers {
            let answer = house.ask(stranger, route.method.as_str(), &path, body.clone()).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{route:?}: {}", answer.body);
            answer.assert_problem(404);
        }
    }
    // Nothing was changed by them, and whose it is finds all of it.
    for route in &of_rows {
        let (path, body) = address(route, &rows);
        let answer = house.ask(&owner, route.method.as_str(), &path, body).await;
        assert_ne!(answer.status, StatusCode::NOT_FOUND, "{route:?}: {}", answer.body);
        assert!(answer.status.as_u16() < 500, "{route:?}: {}", answer.body);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_shows_its_readers_rows_and_no_others() {
    let house = House::open().await;
    let (acme, bolt) = (house.admin_of("acme").await, house.admin_of("bolt").await);
    let default = house.admin_of("default").await;
    let furnished = [
        (&acme, house.furnish(&acme).await),
        (&bolt, house.furnish(&bolt).await),
        (&default, house.furnish(&default).await),
    ];
    let nobody = house.admin_of("nobody").await;
    let lists: Vec<_> = api::declared()
        .into_iter()
        .filter(|route| route.need.is_some() && route.method == "GET")
        .filter(|route| !route.path.contains('{'))
        .map(|route| route.path)
        .collect();
    assert!(lists.len() >= 10, "{lists:?}");
    for path in lists {
        // Settings have no ids; they have a test of their own.
        if OF_THE_FLEET.contains(&path) || path == "/api/retention" {
            continue;
        }
        if path == "/api/dlq/export" {
            for (who, rows) in &furnished {
                let told = house.ask(who, "GET", path, Value::Null).await.body;
                assert_eq!(told["id"], rows.dead.to_string(), "{told}");
            }
            let told = house.ask(&nobody, "GET", path, Value::Null).await;
            assert_eq!(told.body, "");
            continue;
        }
        let field = if path == "/api/dlq/groups" { "example" } else { "id" };
        let mut seen = std::collections::HashSet::new();
        for (who, _) in &furnished {
            let ids = house.ids(who, path, field).await;
            assert!(!ids.is_empty(), "{path} shows its reader nothing");
            for id in ids {
                assert!(seen.insert(id), "{path} shows {id} to two tenants");
            }
        }
        // Of what was done by hand for it, a tenant sees nothing: the house did it.
        let of_nobody = house.ids(&nobody, path, field).await;
        let exported = path == "/api/audit";
        assert_eq!(of_nobody.len(), usize::from(exported), "{path}");
    }
    for (who, rows) in &furnished {
        for state in ["ready", "delayed", "dead"] {
            let ids = house.ids(who, &format!("/api/jobs?state={state}"), "id").await;
            assert!(ids.is_empty() || !ids.contains(&rows.post));
            assert_eq!(ids.contains(&rows.dead), state == "dead", "{state}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_logs_in_sees_the_rows_of_their_tenant() {
    let house = House::open().await;
    let acme = house.admin_of("acme").await;
    let connector = house.connector(&acme).await;
    let mut seen = Vec::new();
    for (tenant, email) in [("acme", "ann@acme.example"), ("default", "ann@example.org")] {
        let app = house.world.app.for_tenant_named(tenant).await.unwrap();
        let password = "correct horse battery";
        app.create_user(email, password.into(), Role::Readonly).await.unwrap();
        let login = json!({"email": email, "password": password});
        let pair = house.world.post("/api/auth/login", login).await.body;
        let refresh = json!({"refresh_token": pair["refresh_token"]});
        let next = house.world.post("/api/auth/refresh", refresh).await.body;
        for pair in [pair, next] {
            let key = format!("Bearer {}", pair["access_token"].as_str().unwrap());
            seen.push(house.ids(&Tenant { key }, "/api/connectors", "id").await);
        }
    }
    assert_eq!(seen, [vec![connector], vec![connector], vec![], vec![]]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_is_held_back_and_looked_after_by_the_house_alone() {
    let house = House::open().await;
    let (acme, default) = (house.admin_of("acme").await, house.admin_of("default").await);
    let mut fleet = 0;
    for route in api::declared() {
        let reads = OF_THE_FLEET.contains(&route.path);
        if !reads && !route.path.contains("{name}") {
            continue;
        }
        fleet += 1;
        let path = route.path.replace("{name}", "data_cleanup");
        let refused = house.ask(&acme, route.method.as_str(), &path, Value::Null).await;
        refused.assert_problem(403);
        let detail = refused.body["detail"].as_str().unwrap();
        assert!(detail.contains("tenant default"), "{detail}");
        house.done(&default, route.method.as_str(), &path, Value::Null).await;
    }
    assert_eq!(fleet, 8);
    // Nor does a tenant clean up after others.
    let cleanup = json!({"kind": "data_cleanup"});
    let refused = house.ask(&acme, "POST", "/api/jobs", cleanup.clone()).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/kind"]);
    house.done(&default, "POST", "/api/jobs", cleanup).await;
    // Who paused a queue, and why, is not told to tenants.
    let pause = json!({"reason": "secret plans"});
    house.done(&default, "POST", "/api/queues/connector_sync.sandbox/pause", pause).await;
    let connector = house.connector(&acme).await;
    let job = house.sync(&acme, connector).await;
    let why = house.done(&acme, "GET", &format!("/api/jobs/{job}/why"), Value::Null).await;
    assert_eq!(why["reason"], "paused", "{why}");
    assert!(!why.to_string().contains("secret") && !why.to_string().contains("apikey"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_account_unique_key_and_idempotency_key_are_each_tenants_own() {
    let house = House::open().await;
    let tenants = [
        house.admin_of("acme").await,
        house.admin_of("bolt").await,
        house.admin_of("default").await,
    ];
    let (mut connectors, mut jobs) = (Vec::new(), Vec::new());
    for tenant in &tenants {
        let connector = house.connector(tenant).await;
        assert_eq!(house.connector(tenant).await, connector, "connected again, it is the same");
        let job = json!({"kind": "connector_sync", "unique_key": "daily",
            "args": {"connector_id": connector}});
        let headers = [("idempotency-key", "k")];
        let mut answers = Vec::new();
        for _ in 0..2 {
            let answer = house.ask_with(tenant, "POST", "/api/jobs", job.clone(), &headers).await;
            assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
            answers.push(id_of(&answer.body));
        }
        assert_eq!(answers[0], answers[1]);
        // Without the header it is the job of that key that answers.
        let again = house.ask(tenant, "POST", "/api/jobs", job).await;
        assert_eq!((again.status, id_of(&again.body)), (StatusCode::OK, answers[0]));
        connectors.push(connector);
        jobs.push(answers[0]);
    }
    for made in [connectors.clone(), jobs] {
        let different: std::collections::HashSet<_> = made.iter().collect();
        assert_eq!(different.len(), tenants.len(), "{made:?}");
    }
    // Another's account can neither be published on nor synchronised by naming it.
    let post = id_of(&house.done(&tenants[0], "POST", "/api/posts", json!({"text": "x"})).await);
    let publish = json!({"post_id": post, "connector_ids": [connectors[1]]});
    let refused = house.ask(&tenants[0], "POST", "/api/publish", publish).await;
    refused.assert_problem(422);
    let sync = json!({"kind": "connector_sync", "args": {"connector_id": connectors[1]}});
    let refused = house.ask(&tenants[0], "POST", "/api/jobs", sync.clone()).await;
    assert_eq!((refused.status.as_u16(), refused.fields()), (422, vec!["/args/connector_id"]));
    // Nor can another's image be shown, though the bytes be the same.
    let (ours, theirs) = (house.media(&tenants[0]).await, house.media(&tenants[1]).await);
    assert_ne!(ours, theirs);
    let shows = json!({"images": [{"media_id": ours}, {"media_id": theirs}]});
    let refused = house.ask(&tenants[0], "POST", "/api/posts", shows).await;
    refused.assert_problem(422);
    assert_eq!(refused.fields(), ["/images/1/media_id"]);
    let bulk = json!({"jobs": [sync]});
    house.ask(&tenants[0], "POST", "/api/jobs/bulk", bulk).await.assert_problem(422);
}
