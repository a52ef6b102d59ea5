//! Where an account is connected from and to: the API's own address, the platform's servers, the tenant.

use postworks::testing::postgres_server::PostgresServer;

use super::*;

#[tokio::test]
async fn where_browsers_find_an_api_must_be_known() {
    let oauth = SETTINGS.split_once("[platforms").unwrap().1;
    let at = |listen: &str| format!("[api]\nlisten = \"{listen}\"\n[platforms{oauth}");
    let start = async |world: &World| world.ask_with("POST", START, &[], Value::Null).await;
    let redirect = |answer: &Answer| parameters(&begun(answer).url)["redirect_uri"].clone();
    let world = World::with(&at("127.0.0.1:7000")).await;
    let answer = start(&world).await;
    let own = "http://127.0.0.1:7000/api/oauth/sandbox/callback";
    assert_eq!(redirect(&answer), own);
    assert!(!begun(&answer).set.contains("Secure"), "nothing would send it back");
    for (listen, listens_on) in [("0.0.0.0:7000", None), ("127.0.0.1:0", Some("[::]:7000"))] {
        let world = World::with(&at(listen)).await;
        if let Some(address) = listens_on {
            world.app.listens_on(address.parse().unwrap());
        }
        let answer = start(&world).await;
        answer.assert_problem(409);
        assert!(answer.body["detail"].as_str().unwrap().contains("set it to"), "{}", answer.body);
    }
    let world = World::with(&at("127.0.0.1:0")).await;
    world.app.listens_on("127.0.0.1:4711".parse().unwrap());
    assert_eq!(redirect(&start(&world).await), own.replace("7000", "4711"));
}

#[tokio::test]
async fn tokens_go_to_no_server_but_the_platforms_own() {
    let house = House::open().await;
    let ann = [("authorization", house.ann.as_str())];
    let start = async |body: Value| house.world.ask_with("POST", START, &ann, body).await;
    for (body, field) in [
        (json!({"base_url": "http://127.0.0.1:2"}), "/base_url"),
        (json!({"base_url": "https://evil.example"}), "/base_url"),
        (json!({"base_url": "nowhere"}), "/base_url"),
        (json!({"connector_id": crate::world::NOBODY}), "/connector_id"),
        (json!({"connector_id": 7}), "/connector_id"),
        (json!({"reason": " "}), "/reason"),
    ] {
        assert_refused(&start(body).await, field);
    }
    begun(&start(json!({"base_url": "http://127.0.0.1:1/"})).await);
    let add = async |base_url: &str, platform: &str| {
        let account = json!({"platform": platform, "base_url": base_url, "identifier": "ann",
            "secret": "hush"});
        let added = house.world.ask_with("POST", "/api/connectors", &ann, account).await;
        assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
        added.body["id"].clone()
    };
    let (ours, stray) =
        (add("http://127.0.0.1:1", "sandbox").await, add("http://127.0.0.1:2", "sandbox").await);
    let of_another = add("http://127.0.0.1:1", "sandbox_blind").await;
    begun(&start(json!({"connector_id": ours})).await);
    for wrong in [stray, of_another] {
        assert_refused(&start(json!({"connector_id": wrong})).await, "/connector_id");
    }
    let both = json!({"connector_id": ours, "base_url": "http://127.0.0.1:1"});
    assert_refused(&start(both).await, "/base_url");
    for platform in ["fax", "bluesky", "sandbox_lookup"] {
        let path = format!("/api/oauth/{platform}/start");
        let answer = house.world.ask_with("POST", &path, &ann, Value::Null).await;
        answer.assert_problem(404);
        assert!(answer.body["detail"].as_str().unwrap().contains(platform), "{}", answer.body);
        let path = format!("/api/oauth/{platform}/callback?state=x");
        let page = house.world.ask_with("GET", &path, &[], Value::Null).await;
        assert!(page.status == StatusCode::FORBIDDEN && page.headers != HeaderMap::new());
    }
}

#[tokio::test]
async fn a_platform_that_is_switched_off_connects_nobody() {
    let world = World::with(&format!("[platforms.sandbox]\nenabled = false\n{SETTINGS}")).await;
    let answer = world.ask_with("POST", START, &[], Value::Null).await;
    answer.assert_problem(409);
    // Without authentication everybody is one, and the browser needs its cookie all the same.
    let world = World::with(SETTINGS).await;
    let begun = begun(&world.ask_with("POST", START, &[], Value::Null).await);
    let path = format!("{CALLBACK}?state={}&code={CODE}", begun.state);
    assert_page(&world.ask_with("GET", &path, &[], Value::Null).await, 403);
    let answer = json!({"state": begun.state, "code": CODE});
    assert_taken(&world.ask_with("POST", CALLBACK, &[], answer).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_is_its_tenants_and_so_is_the_account_that_it_is_for() {
    let server = PostgresServer::launch().await;
    let clock = Arc::new(ShiftedClock::default());
    let world = World::guarded_with(server.db().await, clock as SharedClock, SETTINGS);
    let mut keys = Vec::new();
    for name in ["acme", "bolt"] {
        world.app.create_tenant(name).await.unwrap();
        let app = world.app.for_tenant_named(name).await.unwrap();
        let made = app.create_api_key(Role::Admin, None).await.unwrap();
        keys.push(format!("Bearer {}", made.key));
    }
    let as_of = |key: &str, method: &'static str, path: &'static str, body: Value| {
        let (world, key) = (&world, key.to_owned());
        async move { world.ask_with(method, path, &[("authorization", &key)], body).await }
    };
    let (acme, bolt) = (&keys[0], &keys[1]);
    let account = json!({"platform": "sandbox", "base_url": "http://127.0.0.1:1",
        "identifier": "ann", "secret": "hush"});
    let account = as_of(acme, "POST", "/api/connectors", account).await.body["id"].clone();
    let again = json!({"connector_id": account});
    assert_refused(&as_of(bolt, "POST", START, again.clone()).await, "/connector_id");
    let begun_by_acme = [
        begun(&as_of(acme, "POST", START, again.clone()).await),
        begun(&as_of(acme, "POST", START, again).await),
    ];
    let brought = |begun: &Begun| json!({"state": begun.state, "code": CODE});
    let stranger = as_of(bolt, "POST", CALLBACK, brought(&begun_by_acme[0])).await;
    assert_refused(&stranger, "/state");
    assert_taken(&as_of(acme, "POST", CALLBACK, brought(&begun_by_acme[0])).await);
    // A browser does not say whose it is: its cookie does.
    let path = format!("{CALLBACK}?state={}&code={CODE}", begun_by_acme[1].state);
    let cookie = [("cookie", begun_by_acme[1].cookie.as_str())];
    assert_page(&world.ask_with("GET", &path, &cookie, Value::Null).await, 502);
}
