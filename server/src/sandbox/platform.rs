//! The platform itself: what a publish, a refresh or a list does, without any HTTP.
//!
//! Every operation runs whole under one lock and never waits: it authenticates, checks, meets the
//! fault rules, is written to the journal and applied, in that order. So the journal's order is
//! the order of things, and a request that is cut off mid-way has happened entirely or not at all.

use std::{io, path::Path};

use axum::http::StatusCode;
use serde::Serialize;
use uuid::Uuid;

use super::{
    accounts::Accounts,
    clock::rfc3339,
    error::ApiError,
    faults::{Call, Faults, Outcome},
    grants::{Grants, Rotation, Tokens},
    journal::{Entry, Journal, Op},
    posts::Posts,
    room::Room,
};

/// Everything the sandbox knows.
#[derive(Debug)]
pub(super) struct Platform {
    pub(super) accounts: Accounts,
    pub(super) grants: Grants,
    pub(super) posts: Posts,
    pub(super) journal: Journal,
    pub(super) faults: Faults,
    room: Room,
}

/// A post to publish, its fields checked.
#[derive(Debug)]
pub(super) struct NewPost {
    pub(super) text: String,
    pub(super) client_ref: Option<String>,
    pub(super) key: Option<String>,
}

/// Which posts to list.
#[derive(Debug)]
pub(super) struct Query {
    /// An id or handle; without it, the token's own account.
    pub(super) account: Option<String>,
    pub(super) client_ref: Option<String>,
    pub(super) below: Option<usize>,
    pub(super) limit: usize,
}

/// A post as lists show it.
#[derive(Debug, Serialize)]
pub(super) struct Post {
    id: String,
    account: String,
    text: Option<String>,
    client_ref: Option<String>,
    created_at: String,
}

/// One page of posts.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    items: Vec<Post>,
    next: Option<String>,
}

impl Platform {
    /// An empty platform that writes to this journal, or to memory only, and keeps so many bytes.
    pub(super) fn open(journal: Option<&Path>, memory: usize) -> io::Result<Self> {
        Ok(Self {
            accounts: Accounts::default(),
            grants: Grants::default(),
            posts: Posts::default(),
            journal: Journal::open(journal)?,
            faults: Faults::default(),
            room: Room::of(memory),
        })
    }

    /// Creates an account and its first tokens; answers with its id.
    pub(super) fn create_account(
        &mut self,
        handle: String,
        ttl_s: i64,
        rotation: Rotation,
        now_ms: i64,
    ) -> Result<(String, Tokens), ApiError> {
        self.room.take(handle.len())?;
        let account = self.accounts.create(handle)?;
        let tokens = self.grants.open(account, ttl_s, rotation, now_ms);
        Ok((self.accounts.get(account).id.clone(), tokens))
    }

    /// Trades a refresh token for a new pair.
    pub(super) fn refresh(
        &mut self,
        token: &str,
        now_ms: i64,
    ) -> Result<Outcome<Tokens>, ApiError> {
        let Self { accounts, grants, journal, faults, room, .. } = self;
        let (grant, account) = grants.redeemable(token)?;
        let account = accounts.get(account);
        faults.meet(Call::Refresh, account, |fault| {
            room.take(0)?;
            let entry = |seq| Entry {
                seq,
                ts: rfc3339(now_ms),
                op: Op::Refresh,
                account: account.id.clone(),
                id: new_id("refresh"),
                key: None,
                client_ref: None,
                text: None,
                fault,
            };
            journal.append(entry).map_err(journal_failed)?;
            Ok(grants.rotate(grant, token, now_ms))
        })
    }

    /// Ends the grant of a token. No fault rule meets this, and no journal has it.
    pub(super) fn revoke(&mut self, token: &str) {
        self.grants.revoke(token);
    }

    /// Publishes a post, or finds the one its key has already made; answers with its id.
    pub(super) fn publish(
        &mut self,
        token: &str,
        post: NewPost,
        now_ms: i64,
    ) -> Result<Outcome<String>, ApiError> {
        let Self { accounts, grants, posts, journal, faults, room } = self;
        let no = grants.bearer(token, now_ms)?;
        let account = accounts.get(no);
        let earlier = post.key.as_deref().and_then(|key| posts.keyed(no, key));
        if let Some(earlier) = earlier {
            let earlier = &journal.entries()[earlier];
            if earlier.text.as_deref() != Some(&post.text) {
                return Err(key_reused());
            }
            let id = earlier.id.clone();
            return faults.meet(Call::Publish, account, |_| Ok(id));
        }
        faults.meet(Call::Publish, account, |fault| {
            let NewPost { text, client_ref, key } = post;
            // The key and reference are kept twice, in the entry and in an index.
            let len = |text: &Option<String>| text.as_ref().map_or(0, String::len);
            // So is its id.
            room.take(text.len() + 2 * (len(&key) + len(&client_ref)) + ID_BYTES)?;
            let id = new_id("post");
            let entry = |seq| Entry {
                seq,
                ts: rfc3339(now_ms),
                op: Op::Publish,
                account: account.id.clone(),
                id: id.clone(),
                key: key.clone(),
                client_ref: client_ref.clone(),
                text: Some(text),
                fault,
            };
            let place = journal.append(entry).map_err(journal_failed)?;
            posts.add(no, key, client_ref, place);
            posts.name(id.clone(), no, place);
            Ok(id)
        })
    }

    /// Lists posts. A token is needed only to leave the account out, but must be good if given.
    pub(super) fn list(
        &mut self,
        token: Option<&str>,
        query: Query,
        now_ms: i64,
    ) -> Result<Outcome<Listed>, ApiError> {
        let Self { accounts, grants, posts, journal, faults, .. } = self;
        let own = token.map(|token| grants.bearer(token, now_ms)).transpose()?;
        let no = match (query.account, own) {
            (Some(name), _) => accounts.find(&name).ok_or_else(|| {
                let message = format!("there is no account with the id or handle {name:?}");
                ApiError::new(StatusCode::NOT_FOUND, "unknown_account", message)
            })?,
            (None, Some(own)) => own,
            (None, None) => {
                let message = "name an account, or send a token to list its own posts";
                return Err(ApiError::unauthorized("invalid_token", message));
            }
        };
        faults.meet(Call::List, accounts.get(no), |_| {
            let page = posts.page(no, query.client_ref, query.below, query.limit);
            let entries = journal.entries();
            Ok(Listed {
                items: page.posts.iter().map(|place| show(&entries[*place])).collect(),
                next: page.next.map(|place| place.to_string()),
            })
        })
    }
}

fn show(entry: &Entry) -> Post {
    Post {
        id: entry.id.clone(),
        account: entry.account.clone(),
        text: entry.text.clone(),
        client_ref: entry.client_ref.clone(),
        created_at: entry.ts.clone(),
    }
}

/// Bytes of an id, about.
const ID_BYTES: usize = 40;

/// An id no other run with the same journal has given out.
fn new_id(kind: &str) -> String {
    format!("{kind}_{}", Uuid::new_v4().simple())
}

fn key_reused() -> ApiError {
    ApiError::new(
        StatusCode::UNPROCESSABLE_ENTITY,
        "idempotency_key_reused",
        "this Idempotency-Key came with another text before",
    )
}

fn journal_failed(error: io::Error) -> ApiError {
    tracing::error!(error = %error, "the sandbox cannot write its journal");
    ApiError::new(
        StatusCode::INTERNAL_SERVER_ERROR,
        "journal_failed",
        format!("the journal cannot be written, so nothing was accepted: {error}"),
    )
}
