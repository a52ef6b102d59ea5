//! The room that an account posts in: found by its alias, entered, and read by everybody in it.

use std::slice;

use http::{Method, StatusCode};
use postworks::job::{ErrorClass, JobError};
use secrecy::{ExposeSecret, SecretString};

use super::super::Account;
use super::super::answer::Answer;
use super::super::call::{Call, Step};
use super::wire::{Member, Nothing, Room};
use super::{MatrixClient, user};

/// What a person entered as the room.
pub(super) fn target(account: &Account) -> &str {
    account.target.as_deref().unwrap_or_default().trim()
}

impl MatrixClient {
    /// The id of the room that a person chose, by its id or by an alias.
    pub(super) async fn room(
        &self,
        account: &Account,
        access: &SecretString,
    ) -> Result<String, JobError> {
        let call = Self::call(account, Step::Read, slice::from_ref(&access));
        let target = target(account);
        match target.chars().next() {
            Some('!') => Ok(target.to_owned()),
            Some('#') => {
                let request = self
                    .request(account, Method::GET, &["directory", "room", target])
                    .bearer_auth(access.expose_secret());
                let room: Room = self.exchange(call, request).await?;
                Ok(room.room_id)
            }
            _ => {
                let words = format!(
                    "{target:?} is no room: give its id (!…) or one of its addresses (#…:…)"
                );
                Err(call.error(ErrorClass::Invalid, &words))
            }
        }
    }

    /// Joins the room unless the account is in it: anybody may join a public one, whoever was
    /// invited a private one. Joining again would change how the account is shown there.
    ///
    /// `address` is what it is joined by: its alias, if it was just found by that, since a room's id
    /// says not which servers know it; else its id.
    ///
    /// An encrypted room is refused. Our messages would stand in the clear in it, where nobody
    /// expects that.
    pub(super) async fn enter(
        &self,
        account: &Account,
        access: &SecretString,
        room: &str,
        address: &str,
    ) -> Result<(), JobError> {
        let call = Self::call(account, Step::Read, slice::from_ref(&access));
        let me = user(account);
        let answer = self.state(call, account, access, room, ["m.room.member", me]).await?;
        let is_in = match answer.status {
            // Not in the room, and never was.
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => false,
            _ => self.value::<Member>(call, &answer)?.membership == "join",
        };
        if !is_in {
            let join = self
                .request(account, Method::POST, &["join", address])
                .bearer_auth(access.expose_secret())
                .json(&Nothing {});
            let _joined: Room = self.exchange(call, join).await?;
        }
        let answer = self.state(call, account, access, room, ["m.room.encryption", ""]).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let _algorithm: Nothing = self.value(call, &answer)?;
        let words = "the room is encrypted, and what is posted here is not: choose another room";
        Err(call.error(ErrorClass::Invalid, words))
    }

    /// A piece of a room's state, by its type and key.
    async fn state(
        &self,
        call: Call<'_>,
        account: &Account,
        access: &SecretString,
        room: &str,
        [kind, key]: [&str; 2],
    ) -> Result<Answer, JobError> {
        let request = self
            .request(account, Method::GET, &["rooms", room, "state", kind, key])
            .bearer_auth(access.expose_secret());
        self.send(call, request).await
    }
}
