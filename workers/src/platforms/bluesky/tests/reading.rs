//! What a server has of an account, as servers write it.

use super::*;

#[tokio::test]
async fn a_session_is_read_as_servers_write_it_and_ended_by_its_refresh_token() {
    let (responder, client, account, secret) = start().await;
    responder.answer_with(Reply::new(200, include_str!("../fixtures/session.json")));
    let unknown = Account { remote_id: None, ..account.clone() };
    let signed_in = client.sign_in(&unknown, &secret).await.unwrap();
    let renewed = client.refresh(&account, &secret).await.unwrap();
    for tokens in [signed_in, renewed] {
        assert_eq!(tokens.remote_id.as_deref(), Some("did:plc:1"));
        assert_eq!(tokens.expires_at, Some("2026-03-01T09:30:00Z".parse().unwrap()));
        assert!(tokens.refresh.unwrap().expose_secret().starts_with("e30.eyJzY29wZSI6ImNvbS5hd"));
    }
    let other = Account { remote_id: Some("did:plc:2".into()), ..account.clone() };
    let error = client.refresh(&other, &secret).await.unwrap_err();
    assert_eq!(error.class(), ErrorClass::AuthRevoked, "{error}");

    responder.take_requests();
    responder.answer_with(Reply::new(200, ""));
    assert!(client.revoke(&account, &secret).await.unwrap());
    insta::assert_snapshot!(responder.take_requests(), @r"
    POST /xrpc/com.atproto.server.deleteSession
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn posts_are_read_whatever_else_their_records_hold() {
    let (responder, client, account, secret) = start().await;
    responder.answer_with(Reply::new(200, include_str!("../fixtures/records.json")));
    let page = client.posts(account.with(&secret), None).await.unwrap();
    assert_eq!(page.next.as_deref(), Some("3mfyaaaaaaa2a"));
    let key = |uri: &str| uri.rsplit('/').next().unwrap().to_owned();
    let read: Vec<_> = page
        .posts
        .iter()
        .map(|post| (key(&post.remote_id), post.text.as_str(), post.created_at))
        .collect();
    let at = |text: &str| Some(text.parse().unwrap());
    assert_eq!(
        read,
        [
            ("3mfygiomvtf5u".to_owned(), "Hello", at("2026-03-01T09:30:00.250Z")),
            ("3mfyembed2222".to_owned(), "", at("2026-03-01T09:29:00Z")),
            ("3mfyreply2222".to_owned(), "Grüße, see example.org", at("2026-03-01T09:28:00Z")),
            // Another client wrote what is no text, and one nothing: the page is read all the same.
            ("3mfyodd222222".to_owned(), "", None),
            ("3mfybare22222".to_owned(), "", None),
        ]
    );
    insta::assert_snapshot!(responder.take_requests(), @r"
    GET /xrpc/com.atproto.repo.listRecords?repo=did%3Aplc%3A1&collection=app.bsky.feed.post&limit=50
    authorization: Bearer [secret]
    ");
}

#[tokio::test]
async fn a_profile_of_other_than_texts_says_nothing() {
    let (responder, client, account, secret) = start().await;
    let record =
        r#"{"uri":"at://did:plc:1/c/self","value":{"displayName":7,"description":"Words"}}"#;
    responder.answer_with(Reply::new(200, record));
    let profile = client.profile(account.with(&secret)).await.unwrap();
    assert_eq!((profile.display_name, profile.description.as_deref()), (None, Some("Words")));
}
