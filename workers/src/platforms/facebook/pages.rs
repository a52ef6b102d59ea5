//! From a person's consent to a Page's own token.

use http::Method;
use postworks::job::{ErrorClass, JobError};
use secrecy::{ExposeSecret as _, SecretString};

use super::wire::{PageAccess, PageItself};
use crate::platforms::TokenSet;
use crate::platforms::call::{Call, Step};
use crate::platforms::meta::{Graph, Page, TABLE};
use crate::platforms::oauth::{self, Consent, Granted, OAuthClient};

/// Pages of a person, at most: whoever has more names one that is among the first.
const PAGES_MAX: &str = "100";

/// The code becomes a token of an hour; that one of 60 days, which only such a one makes a Page's
/// token that has no end; and that the Page's own.
pub(super) async fn exchange(
    graph: &Graph,
    oauth: &OAuthClient,
    consent: Consent<'_>,
) -> Result<Granted, JobError> {
    let target = consent.target.map(str::to_owned);
    let granted = oauth.exchange_by(&TABLE, consent).await?;
    let long = lengthened(graph, oauth, &granted.tokens.access).await?;

    let query = [("fields", "id,name,access_token"), ("limit", PAGES_MAX)];
    let account = graph.nobody(oauth);
    let by = account.with(&long);
    let call = by.call(graph.api, Step::SignIn);
    let answer = graph.get(by, Step::SignIn, "me/accounts", &query).await?;
    let pages: Page<PageAccess> = answer.value(call)?;
    let page = chosen(pages.data, target.as_deref(), call)?;
    let PageAccess { itself: PageItself { id, name }, access_token } = page;
    let Some(access) = access_token else {
        let words = format!("this person may not post to the Page {name} ({id})");
        return Err(call.error(ErrorClass::Invalid, &words));
    };
    let remote_id = Some(id.clone());
    Ok(Granted {
        tokens: TokenSet { access, refresh: None, expires_at: None, remote_id },
        name: Some(name),
        target: Some(id),
        unanswered: granted.unanswered,
    })
}

async fn lengthened(
    graph: &Graph,
    oauth: &OAuthClient,
    short: &SecretString,
) -> Result<SecretString, JobError> {
    let account = graph.nobody(oauth);
    let (our_id, our_secret) = oauth.ours();
    let secrets: Vec<&SecretString> = std::iter::once(short).chain(our_secret).collect();
    let call = account.call(graph.api, Step::SignIn, &secrets);
    let mut query = vec![
        ("grant_type", "fb_exchange_token"),
        ("client_id", our_id),
        ("fb_exchange_token", short.expose_secret()),
    ];
    query.extend(our_secret.map(|secret| ("client_secret", secret.expose_secret())));
    let url = graph.url(&account, "oauth/access_token");
    let asked_at = graph.now();
    let answer = graph.http.send(call, graph.http.request(Method::GET, url).query(&query)).await?;
    let told = oauth::tokens(&answer, call)?;
    Ok(told.into_set(asked_at).access)
}

/// The Page that the person named, or the only one.
fn chosen(
    mut pages: Vec<PageAccess>,
    target: Option<&str>,
    call: Call<'_>,
) -> Result<PageAccess, JobError> {
    let named = target.and_then(|target| pages.iter().position(|page| page.itself.is(target)));
    let at = match (target, named, pages.len()) {
        (Some(_), Some(at), _) => Some(at),
        (None, _, 1) => Some(0),
        _ => None,
    };
    if let Some(at) = at {
        return Ok(pages.swap_remove(at));
    }
    let each = |page: &PageAccess| format!("{} ({})", page.itself.name, page.itself.id);
    let list: Vec<String> = pages.iter().map(each).collect();
    let words = match (target, list.is_empty()) {
        (_, true) => "this person has no Page, or let us see none".to_owned(),
        (Some(target), false) => {
            format!("this person has no Page {target}; there are: {}", list.join(", "))
        }
        (None, false) => {
            format!("this person has several Pages: name one as the target: {}", list.join(", "))
        }
    };
    Err(call.error(ErrorClass::Invalid, &words))
}
