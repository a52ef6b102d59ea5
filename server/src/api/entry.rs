//! Who is let in: each route says what it needs, and nobody comes past it unknown.

use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, header};
use axum::middleware::Next;
use axum::response::Response;

use super::limits::Client;
use super::problem::{Challenge, Problem};
use super::{Api, Limits};
use crate::app::App;
use crate::auth::{self, Auth, Caller, Need};

/// Longest header Authorization, in bytes. What is longer is none of ours.
const AUTHORIZATION_BYTES_MAX: usize = 4_096;
pub(super) const NOT_THERE: &str = "send the header Authorization: Bearer, with an API key (`postworks apikey \
     create`) or an access token (POST /api/auth/login)";

/// Lets in who may, notes who it is, and holds them to their rate.
pub(super) async fn admit(
    State((api, need)): State<(Api, Option<Need>)>,
    mut request: Request,
    next: Next,
) -> Response {
    if let (Some(auth), Some(need)) = (&api.auth, need) {
        match identified(auth, request.headers(), need).await {
            Ok(caller) => drop(request.extensions_mut().insert(caller)),
            Err(problem) => {
                let peer = Client::peer(&request);
                return api.rates.turned_away(peer, problem).await;
            }
        }
    }
    // Behind the door, since a client is who they are and not where they ask from.
    let client = Client::of(&request);
    api.rates.hold(client, next.run(request)).await
}

pub(super) async fn identified(
    auth: &Auth,
    headers: &HeaderMap,
    need: Need,
) -> Result<Caller, Problem> {
    let caller = auth.identify(bearer(headers)?).await.map_err(refused)?;
    if caller.role.may(need) {
        return Ok(caller);
    }
    let (roles, role) = (need.roles(), caller.role);
    let detail = format!("this takes the role {roles}; {} has {role}", caller.actor);
    Err(Problem::challenge(Challenge::Scope, detail))
}

fn bearer(headers: &HeaderMap) -> Result<&str, Problem> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let value = values.next().filter(|value| value.len() <= AUTHORIZATION_BYTES_MAX);
    let alone = values.next().is_none();
    let text = value.filter(|_| alone).and_then(|value| value.to_str().ok());
    let (scheme, rest) = text.and_then(|text| text.split_once(' ')).unwrap_or_default();
    let token = Some(rest.trim()).filter(|token| !token.is_empty());
    token
        .filter(|_| scheme.eq_ignore_ascii_case("bearer"))
        .ok_or_else(|| Problem::challenge(Challenge::Missing, NOT_THERE))
}

/// What somebody who is not let in is told.
pub(super) fn refused(error: auth::Error) -> Problem {
    match error {
        auth::Error::Refused(words) => Problem::challenge(Challenge::Invalid, words),
        auth::Error::TooMany { wait } => {
            let seconds = u32::try_from(wait.as_secs()).unwrap_or(u32::MAX).saturating_add(1);
            let detail = format!("{error}, retry in {seconds}s");
            Problem::too_often(detail, seconds)
        }
        auth::Error::Busy => Problem::busy(error.to_string()),
        auth::Error::Invalid(faults) => Problem::fields(faults),
        auth::Error::App(error) => error.into(),
    }
}

/// The application, acting for who asks: with their name, on their tenant's rows.
pub(super) struct By(pub(super) Acting);

pub(super) struct Acting {
    pub(super) app: App,
    pub(super) limits: Limits,
}

impl FromRequestParts<Api> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Problem> {
        let app = match (parts.extensions.get::<Caller>(), &api.auth) {
            (Some(caller), _) => {
                api.app.for_tenant(caller.tenant).acting_as(Arc::clone(&caller.actor))
            }
            (None, None) => api.app.clone(),
            // A route that nobody stands before.
            (None, Some(_)) => return Err(Problem::challenge(Challenge::Missing, NOT_THERE)),
        };
        Ok(Self(Acting { app, limits: api.limits }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        bearer(&headers).ok().map(str::to_owned)
    }

    #[test]
    fn one_bearer_is_read_and_nothing_else() {
        assert_eq!(read(&["Bearer abc"]).as_deref(), Some("abc"));
        assert_eq!(read(&["bearer  abc "]).as_deref(), Some("abc"));
        let long = format!("Bearer {}", "a".repeat(AUTHORIZATION_BYTES_MAX));
        for values in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &["abc"],
            &["Basic YW5uOmh1c2g="],
            &["Bearer abc", "Bearer abc"],
            &[long.as_str()],
        ] {
            assert_eq!(read(values), None, "{values:?}");
        }
    }
}
