//! Connecting an account over OAuth: sends a browser to the platform, and takes what it brings back.
//!
//! What it brings is in its address, which nothing here logs. A browser gets a page, which holds none
//! of it and leads nowhere; a program that brings it gets JSON.

use axum::Json;
use axum::extract::{RawQuery, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use postworks_workers::store::OAUTH_STATE_KEPT;
use secrecy::{ExposeSecret as _, SecretString};

use super::Api;
use super::entry::{By, NOT_THERE, identified};
use super::input::{IdSegment, document, name, optional, query_within};
use super::problem::{Challenge, Problem};
use super::routes::no_method;
use crate::app::types::OAuthAnswer;
use crate::app::{OAuthCookie, OAuthReturn, oauth_cookie_name};
use crate::auth::Need;

/// Longest answer of a platform, in bytes: it has more to say than a query of ours.
const ANSWER_BYTES_MAX: usize = 16_384;
/// Nothing from anywhere, and nothing to be done.
const POLICY: &str =
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) async fn start(
    By(api): By,
    segment: IdSegment,
    request: Request,
) -> Result<Response, Problem> {
    let start = optional(request, api.limits.body).await?;
    let begun = api.app.start_oauth(&name(segment), start).await?;
    let mut response = Json(begun.started).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.append(header::SET_COOKIE, set(&begun.cookie)?);
    Ok(response)
}

/// What a browser brings that was sent back: its cookie shows whose it is.
pub(super) async fn show(
    State(api): State<Api>,
    method: Method,
    segment: IdSegment,
    headers: HeaderMap,
    RawQuery(raw): RawQuery,
) -> Response {
    // Who looks whether there is a page must not use the code up.
    if method == Method::HEAD {
        return no_method().await.into_response();
    }
    let connected = async {
        let answer: OAuthAnswer = query_within(raw.as_deref(), ANSWER_BYTES_MAX)?;
        let cookie = cookie(&headers, &answer).ok_or_else(no_cookie)?;
        api.app.finish_oauth(name(segment), OAuthReturn::Cookie(cookie), answer).await?;
        Ok::<_, Problem>(())
    };
    match connected.await {
        Ok(()) => {
            let words = "The account is connected. This page can be closed.";
            page(StatusCode::OK.into_response(), "Connected", words)
        }
        Err(problem) => {
            let words = problem.in_words();
            page(problem.into_response(), "Not connected", &words)
        }
    }
}

/// What a program brings that was handed it: it must be who began, or have the browser's cookie.
pub(super) async fn finish(
    State(api): State<Api>,
    segment: IdSegment,
    request: Request,
) -> Result<Response, Problem> {
    let headers = request.headers().clone();
    let answer: OAuthAnswer = document(request, api.limits.body).await?;
    let (app, by) = match (&api.auth, cookie(&headers, &answer)) {
        (Some(auth), _) if headers.contains_key(header::AUTHORIZATION) => {
            let caller = identified(auth, &headers, Need::Produce).await?;
            let app = api.app.for_tenant(caller.tenant).acting_as(caller.actor);
            (app, OAuthReturn::Caller)
        }
        (_, Some(cookie)) => (api.app.clone(), OAuthReturn::Cookie(cookie)),
        (None, None) => (api.app.clone(), OAuthReturn::Caller),
        (Some(_), None) => return Err(Problem::challenge(Challenge::Missing, NOT_THERE)),
    };
    let created = app.finish_oauth(name(segment), by, answer).await?;
    let no_store = [(header::CACHE_CONTROL, "no-store")];
    Ok((StatusCode::CREATED, no_store, Json(created)).into_response())
}

/// Says the same as an unknown state does, and what a person may have done.
fn no_cookie() -> Problem {
    let detail = "this browser has not begun to connect an account, or more than ten minutes ago: \
         connect it anew, and allow cookies";
    Problem::new(StatusCode::FORBIDDEN, detail)
}

fn set(cookie: &OAuthCookie) -> Result<HeaderValue, Problem> {
    let OAuthCookie { name, value, path, secure } = cookie;
    let (value, kept) = (value.expose_secret(), OAUTH_STATE_KEPT.as_secs());
    let secure = if *secure { "; Secure" } else { "" };
    let text =
        format!("{name}={value}; Max-Age={kept}; Path={path}; HttpOnly; SameSite=Lax{secure}");
    let mut value = HeaderValue::try_from(text).map_err(|_| {
        let detail = "api.public_url has a path that no cookie can be for";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// The cookie of who set out with the state that came back.
fn cookie(headers: &HeaderMap, answer: &OAuthAnswer) -> Option<SecretString> {
    let wanted = oauth_cookie_name(answer.state.as_ref()?.expose_secret());
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|all| all.split(';')).filter_map(|one| one.trim().split_once('='));
    pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.into())
}

/// A page in the place of an answer's body.
fn page(answer: Response, title: &str, words: &str) -> Response {
    const HEADERS: [(HeaderName, &str); 5] = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let (mut parts, _) = answer.into_parts();
    parts.headers.remove(header::CONTENT_LENGTH);
    for (name, value) in HEADERS {
        parts.headers.insert(name, HeaderValue::from_static(value));
    }
    let words = escaped(words);
    let html = format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <title>{title} - Postworks</title>\n<h1>{title}</h1>\n<p>{words}</p>\n</html>\n"
    );
    Response::from_parts(parts, html.into())
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            c => safe.push(c),
        }
    }
    safe
}
