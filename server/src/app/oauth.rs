//! Connecting an account over OAuth 2.0: a person sets out from here to the platform, consents there,
//! and comes back with a code.
//!
//! What comes back must have been begun here, by who brings it, within ten minutes, and comes once. The
//! code is exchanged once; whatever is lost after that, the person begins anew.

use std::net::SocketAddr;
use std::time::Duration;

use postworks::job::ErrorClass;
use postworks::ledger;
use postworks_workers::platforms::oauth::{Consent, OAuthClient, code_challenge, new_verifier};
use postworks_workers::store::{
    self, ConnectorState, Grant, Granted, NewOAuthState, OAUTH_STATE_KEPT, OAUTH_STATES_MAX,
    OAuthProof, OAuthState, Renewed,
};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use url::Url;
use uuid::Uuid;

use super::accounts::base_url;
use super::types::{Created, OAuthAnswer, OAuthStarted, StartOAuth};
use super::{App, Error};

/// Longest code, in bytes; some are signed documents.
pub(super) const CODE_BYTES_MAX: usize = 4_096;
/// Longest of what else a platform says, in characters.
pub(super) const WORDS_CHARS_MAX: usize = 2_048;
/// Who waits is answered within this part of the API's own time; the rest goes on without them.
const ANSWER_WITHIN: f64 = 0.9;
/// So much of a platform's words is shown.
const SHOWN_CHARS_MAX: usize = 200;
/// Tokens that the ledger does not take are held on to for so long.
const KEEP_FOR: Duration = Duration::from_secs(60);
const KEEP_WAIT: Duration = Duration::from_millis(100);

/// An account that somebody begins to connect.
#[derive(Debug)]
pub struct OAuthBegun {
    /// What they are told.
    pub started: OAuthStarted,
    /// What their browser shows when it comes back.
    pub cookie: OAuthCookie,
}

/// A cookie of a browser that sets out.
#[derive(Debug)]
pub struct OAuthCookie {
    /// Its name: one for each that is begun, so that two can be at a time.
    pub name: String,
    /// Its value.
    pub value: SecretString,
    /// The path that it is for.
    pub path: String,
    /// Whether it goes over HTTPS alone.
    pub secure: bool,
}

/// How whoever comes back shows that it was they who set out.
#[derive(Debug)]
pub enum OAuthReturn {
    /// They are whom this application acts for.
    Caller,
    /// Their browser has this cookie.
    Cookie(SecretString),
}

/// The name of the cookie of who set out with this state.
pub fn oauth_cookie_name(state: &str) -> String {
    let hash = hash(state);
    let short = hash.iter().take(8).map(|byte| format!("{byte:02x}"));
    format!("postworks_oauth_{}", short.collect::<String>())
}

impl App {
    /// Says where the API listens, which is where browsers find it unless `api.public_url` is set.
    pub fn listens_on(&self, address: SocketAddr) {
        // The first one is the one.
        let _ = self.listens_on.set(address);
    }

    /// Begins to connect an account: answers where its owner consents.
    pub async fn start_oauth(
        &self,
        platform: &str,
        start: StartOAuth,
    ) -> Result<OAuthBegun, Error> {
        let client = self.oauth(platform)?;
        if !self.node.config.platform_enabled(platform) {
            return Err(Error::Conflict(format!("{platform} is switched off here")));
        }
        let why = self.note("connector.add", "", start.reason.as_deref())?.why;
        let base_url = self.base_url_of(client, platform, &start).await?;
        self.check_target(platform, start.target.as_deref(), false)?;
        let redirect_uri = self.redirect_uri(platform)?;
        let (state, cookie, verifier) = (random(), random(), new_verifier());
        let url = client.authorize_url(&state, &code_challenge(&verifier), redirect_uri.as_str());
        let begun = OAuthBegun {
            started: OAuthStarted {
                authorize_url: url.into(),
                expires_in: OAUTH_STATE_KEPT.as_secs(),
            },
            cookie: OAuthCookie {
                name: oauth_cookie_name(&state),
                path: redirect_uri.path().to_owned(),
                secure: redirect_uri.scheme() == "https",
                value: cookie.as_str().into(),
            },
        };
        let new = NewOAuthState {
            state_hash: hash(&state),
            cookie_hash: hash(&cookie),
            actor: self.actor.to_string(),
            platform: platform.to_owned(),
            base_url,
            verifier,
            redirect_uri,
            connector_id: start.connector_id,
            target: start.target,
            why,
        };
        if !self.store.add_oauth_state(&new).await? {
            let words = format!(
                "{} connects {OAUTH_STATES_MAX} accounts now, which is the most; whichever is not \
                 connected within ten minutes is forgotten",
                self.actor
            );
            return Err(Error::Conflict(words));
        }
        Ok(begun)
    }

    /// Connects the account that a platform's answer is about, to its end whoever goes away meanwhile.
    pub async fn finish_oauth(
        &self,
        platform: String,
        by: OAuthReturn,
        answer: OAuthAnswer,
    ) -> Result<Created, Error> {
        let app = self.clone();
        let name = platform.clone();
        // A task of its own: a browser that goes away takes its future along, and the code is used up.
        let task = self.tasks.spawn(async move { app.connect(&platform, &by, answer).await });
        let within = self.node.config.api.request_timeout.mul_f64(ANSWER_WITHIN);
        let Ok(ended) = tokio::time::timeout(within, task).await else {
            return Err(Error::Platform(format!(
                "{name} takes long to answer; look whether the account is listed in a minute, before \
                 you connect it anew"
            )));
        };
        match ended {
            Ok(connected) => connected,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(error) => Err(Error::Broken(Box::new(error))),
            },
        }
    }

    async fn connect(
        &self,
        platform: &str,
        by: &OAuthReturn,
        answer: OAuthAnswer,
    ) -> Result<Created, Error> {
        let client = self.oauth(platform)?;
        let state = self.take_oauth_state(platform, by, &answer).await?;
        let app = self.for_tenant(state.tenant).acting_as(state.actor.as_str());
        let code = code_of(client, answer)?;
        let consent = Consent {
            code: &code,
            verifier: &state.verifier,
            redirect_uri: state.redirect_uri.as_str(),
            target: state.target.as_deref(),
        };
        let speaker = self.node.platforms.get(platform);
        let speaker = speaker.map_err(|error| Error::field("/platform", error.to_string()))?;
        let granted = speaker.exchange_code(client, consent).await.map_err(|error| {
            tracing::warn!(platform, error = error.chain(), "a code was not exchanged for tokens");
            match error.class() {
                ErrorClass::AuthRevoked => Error::field(
                    "/code",
                    format!("is not good, or not any more: {error}; connect the account anew"),
                ),
                _ => Error::Platform(format!(
                    "{error}; a code is asked for once, so connect the account anew"
                )),
            }
        })?;
        let Some(remote_id) = granted.tokens.remote_id else {
            let why = match granted.unanswered {
                Some(error) => format!("{error}; connect the account anew"),
                None => format!(
                    "set userinfo_url in [platforms.{platform}.oauth], or ask for the scope openid"
                ),
            };
            return Err(Error::Platform(format!(
                "{platform} does not say whose account it is, so it is not connected: {why}"
            )));
        };
        if granted.tokens.refresh.is_none() {
            tracing::warn!(
                platform,
                "an account was connected without a refresh token, and must be connected again when \
                 its access token ends: does the platform want a scope such as offline_access?"
            );
        }
        let tokens = Renewed {
            access: granted.tokens.access,
            refresh: granted.tokens.refresh,
            secret: None,
            expires_at: granted.tokens.expires_at,
            remote_id: None,
            signed_in: true,
        };
        let target = granted.target;
        let (base_url, connector_id) = (state.base_url, state.connector_id);
        let (platform, name) = (platform.to_owned(), granted.name);
        let grant = Grant { platform, base_url, connector_id, remote_id, name, target, tokens };
        app.keep(&grant, state.why.as_deref()).await
    }

    /// What was begun, if it is theirs who bring the answer: from here on it is used up.
    async fn take_oauth_state(
        &self,
        platform: &str,
        by: &OAuthReturn,
        answer: &OAuthAnswer,
    ) -> Result<OAuthState, Error> {
        let Some(state) = &answer.state else {
            return Err(Error::field("/state", "must be there: the platform gives it back"));
        };
        let state = hash(state.expose_secret());
        let taken = match by {
            OAuthReturn::Caller => {
                let proof = OAuthProof::Actor(&self.actor);
                self.store.take_oauth_state(platform, &state, proof).await?
            }
            OAuthReturn::Cookie(cookie) => {
                // Whose it is, the row says: a browser brings nothing else.
                let proof = OAuthProof::Cookie(hash(cookie.expose_secret()));
                self.node.store.take_oauth_state(platform, &state, proof).await?
            }
        };
        // One answer for all: it tells a stranger nothing.
        taken.ok_or_else(|| {
            let words = "is used, older than ten minutes, or was not begun by who brings it: \
                 connect the account anew, unless it is connected already";
            Error::field("/state", words)
        })
    }

    /// Keeps tokens that cannot be had again, also if the ledger is away for a moment.
    async fn keep(&self, grant: &Grant, why: Option<&str>) -> Result<Created, Error> {
        let mut note = self.note("connector.add", "", why)?;
        let who = grant.name.as_ref().unwrap_or(&grant.remote_id);
        note.detail = Some(format!("{} {who} over OAuth", grant.platform));
        let give_up = tokio::time::Instant::now() + KEEP_FOR;
        let granted = loop {
            match self.store.keep_grant(grant, &note).await {
                Err(error) if is_outage(&error) && tokio::time::Instant::now() < give_up => {
                    tokio::time::sleep(KEEP_WAIT).await;
                }
                Err(error) => {
                    let cause = &error as &dyn std::error::Error;
                    tracing::error!(
                        error = cause,
                        platform = grant.platform,
                        "the tokens of an account could not be kept: it must be connected anew"
                    );
                    return Err(error.into());
                }
                Ok(granted) => break granted,
            }
        };
        match granted {
            Granted::Kept(connected) => {
                tracing::info!(connector_id = %connected.id, "an account is connected over OAuth");
                if let Err(error) = self.release(connected).await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the account's jobs are released a little later");
                }
                Ok(Created { id: connected.id })
            }
            Granted::OfAnother => Err(Error::Conflict(
                "that is another account than the one to connect again, or it is connected \
                 already under another name; nothing was changed: log in to the right one at the \
                 platform, and connect it anew"
                    .to_owned(),
            )),
            Granted::Gone => {
                Err(Error::NotFound("the account to connect again is not there".to_owned()))
            }
        }
    }

    fn oauth(&self, platform: &str) -> Result<&OAuthClient, Error> {
        let found = self.node.platforms.get(platform);
        found.map_err(|error| Error::NotFound(error.to_string()))?;
        self.node.platforms.oauth(platform).ok_or_else(|| {
            Error::NotFound(format!(
                "accounts of {platform} are not connected over OAuth here, for want of \
                 [platforms.{platform}.oauth] or of a way to use it; POST /api/connectors takes a \
                 secret instead"
            ))
        })
    }

    /// Where the account's server is: as asked for, as the account that is connected again has it, or
    /// where who gives tokens is. Tokens go to no other server than one of the platform's own.
    async fn base_url_of(
        &self,
        client: &OAuthClient,
        platform: &str,
        start: &StartOAuth,
    ) -> Result<Url, Error> {
        let servers: Vec<&Url> = client.servers().collect();
        let wanted = start.base_url.as_deref().map(base_url).transpose();
        let wanted = wanted.map_err(|message| Error::field("/base_url", message))?;
        let (field, url) = match (start.connector_id, wanted) {
            (Some(_), Some(_)) => {
                let words = "must not be there with connector_id: the account has one";
                return Err(Error::field("/base_url", words));
            }
            (Some(id), None) => ("/connector_id", self.base_url_of_known(platform, id).await?),
            (None, Some(url)) => ("/base_url", url),
            (None, None) => {
                let default = servers.first().and_then(|url| url.join("/").ok());
                ("/base_url", default.ok_or_else(|| Error::field("/base_url", "must be there"))?)
            }
        };
        if !servers.iter().any(|server| server.origin() == url.origin()) {
            let mut known: Vec<String> =
                servers.iter().map(|server| server.origin().ascii_serialization()).collect();
            known.dedup();
            let words = format!(
                "{} is no server that [platforms.{platform}.oauth] names, and tokens go to no other: {}",
                url.origin().ascii_serialization(),
                known.join(", ")
            );
            return Err(Error::field(field, words));
        }
        self.check_platform(platform, &url)?;
        Ok(url)
    }

    async fn base_url_of_known(&self, platform: &str, id: Uuid) -> Result<Url, Error> {
        let connector = self.store.connector(id).await?;
        let connector = connector.filter(|connector| {
            connector.platform == platform && connector.state != ConnectorState::Disconnecting
        });
        let connector = connector.ok_or_else(|| {
            Error::field("/connector_id", format!("there is no connector {id} on {platform}"))
        })?;
        Ok(connector.base_url)
    }

    /// Where a platform sends browsers back to. Never by what a request says of itself.
    fn redirect_uri(&self, platform: &str) -> Result<Url, Error> {
        let api = &self.node.config.api;
        let address = self.listens_on.get().copied().unwrap_or(api.listen);
        let here = address.ip().is_loopback() && address.port() != 0;
        let here = here.then(|| Url::parse(&format!("http://{address}")).ok()).flatten();
        let mut url = api.public_url.clone().or(here).ok_or_else(|| {
            Error::Conflict(
                "api.public_url is not set: set it to where browsers find this API, such as \
                 https://postworks.example.org, and enter it at the platform"
                    .to_owned(),
            )
        })?;
        let path = format!("{}/api/oauth/{platform}/callback", url.path().trim_end_matches('/'));
        url.set_path(&path);
        Ok(url)
    }
}

/// The code of a platform's answer, if it is one, and from the platform.
fn code_of(client: &OAuthClient, answer: OAuthAnswer) -> Result<SecretString, Error> {
    if let (Some(known), Some(said)) = (client.issuer(), &answer.iss)
        && known != said
    {
        return Err(Error::field("/iss", format!("is not {known}: another server answered")));
    }
    if let Some(error) = answer.error {
        let mut words = format!("says {}", shown(&error));
        if let Some(more) = answer.error_description {
            words.push_str(&format!(": {}", shown(&more)));
        }
        return Err(Error::field("/error", words));
    }
    let code = answer.code.filter(|code| !code.expose_secret().is_empty());
    let code = code.ok_or_else(|| Error::field("/code", "must be there: the platform gives it"))?;
    if code.expose_secret().len() > CODE_BYTES_MAX {
        return Err(Error::field("/code", format!("must be at most {CODE_BYTES_MAX} bytes")));
    }
    Ok(code)
}

/// A platform's words, for a person.
fn shown(words: &str) -> String {
    words.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

fn is_outage(error: &store::Error) -> bool {
    use store::Error::Database;
    matches!(error, Database(ledger::Error::Unavailable(_) | ledger::Error::Unsure(_)))
}

/// 256 bits from the system's source.
fn random() -> String {
    let bytes: [u8; 32] = rand::random();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
