//! The room that an account posts in: found by its alias, entered, and read by everybody in it.

use http::{Method, StatusCode};
use postworks::job::{ErrorClass, JobError};

use super::super::answer::Answer;
use super::super::call::Step;
use super::super::{Account, Bearer};
use super::wire::{Member, Nothing, Room};
use super::{API, MatrixClient, user};

/// What a person entered as the room.
pub(super) fn target(account: &Account) -> &str {
    account.target.as_deref().unwrap_or_default().trim()
}

impl MatrixClient {
    /// The id of the room that a person chose, by its id or by an alias.
    pub(super) async fn room(&self, by: Bearer<'_>) -> Result<String, JobError> {
        let call = by.call(API, Step::Read);
        let target = target(by.account);
        match target.chars().next() {
            Some('!') => Ok(target.to_owned()),
            Some('#') => {
                let request = self.request_by(by, Method::GET, &["directory", "room", target]);
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
        by: Bearer<'_>,
        room: &str,
        address: &str,
    ) -> Result<(), JobError> {
        let call = by.call(API, Step::Read);
        let me = user(by.account);
        let answer = self.state(by, room, ["m.room.member", me]).await?;
        let is_in = match answer.status {
            // Not in the room, and never was.
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => false,
            _ => answer.value::<Member>(call)?.membership == "join",
        };
        if !is_in {
            let join = self.request_by(by, Method::POST, &["join", address]).json(&Nothing {});
            let _joined: Room = self.exchange(call, join).await?;
        }
        let answer = self.state(by, room, ["m.room.encryption", ""]).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(());
        }
        let _algorithm: Nothing = answer.value(call)?;
        let words = "the room is encrypted, and what is posted here is not: choose another room";
        Err(call.error(ErrorClass::Invalid, words))
    }

    /// A piece of a room's state, by its type and key.
    async fn state(
        &self,
        by: Bearer<'_>,
        room: &str,
        [kind, key]: [&str; 2],
    ) -> Result<Answer, JobError> {
        let request = self.request_by(by, Method::GET, &["rooms", room, "state", kind, key]);
        self.send(by.call(API, Step::Read), request).await
    }
}
