//! What comes from the environment alone: addresses of servers, and secrets.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use url::Url;
use zeroize::Zeroizing;

use super::error::{ConfigError, ConfigErrors, Origin};
use super::keys::MasterKey;
use super::values::parse_switch;
use crate::broker::redis::RedisAddress;

/// What the environment says.
#[derive(Debug)]
pub struct Environment {
    /// The database and Redis; without them the program is embedded.
    pub stores: Option<StoreUrls>,
    /// Where an embedded program keeps its files.
    pub data_dir: PathBuf,
    /// The API that the command line talks to.
    pub server: Option<Url>,
    /// Proves to the API who asks.
    pub api_key: Option<SecretString>,
    /// The keys that stored tokens are encrypted with; the first is used for new ones.
    pub keys: Vec<MasterKey>,
    /// Whether callers must prove who they are, if it says so.
    pub auth: Option<bool>,
    /// Whether platforms may be reached over plain HTTP and on loopback.
    pub allow_loopback: bool,
    /// Whether the API limits how often it is called.
    pub rate_limit: bool,
}

/// The addresses of the servers, with their passwords.
#[derive(Debug)]
pub struct StoreUrls {
    /// PostgreSQL.
    pub database: SecretString,
    /// Redis.
    pub redis: SecretString,
}

impl Environment {
    /// Reads the environment through `lookup`; a name that ends in `_FILE` names a file.
    ///
    /// # Errors
    /// Every fault found; no message holds a secret.
    pub fn read(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigErrors> {
        let mut reader = Reader { lookup, faults: Vec::new() };
        let environment = Self {
            stores: reader.stores(),
            data_dir: reader
                .text("POSTWORKS_DATA_DIR")
                .map_or_else(|| PathBuf::from("./.postworks"), PathBuf::from),
            server: reader.server(),
            api_key: reader.text_or_file("POSTWORKS_API_KEY").map(SecretString::from),
            keys: reader.keys(),
            auth: reader.switch("POSTWORKS_AUTH"),
            allow_loopback: reader.switch("POSTWORKS_ALLOW_LOOPBACK").unwrap_or(false),
            rate_limit: reader.rate_limit(),
        };
        if reader.faults.is_empty() { Ok(environment) } else { Err(ConfigErrors(reader.faults)) }
    }

    /// The servers' addresses, for roles that cannot do without.
    ///
    /// # Errors
    /// They are not set; the message says what to do.
    pub fn stores_for(&self, role: &str) -> Result<&StoreUrls, ConfigErrors> {
        self.stores.as_ref().ok_or_else(|| {
            let message = format!(
                "`{role}` needs DATABASE_URL (PostgreSQL) and REDIS_URL; set both, or run \
                 `postworks up`, which needs neither"
            );
            fault("DATABASE_URL", message)
        })
    }
}

/// An address as it may be shown: the password, if there is one, is `***`.
pub fn without_password(address: &SecretString) -> String {
    let text = address.expose_secret();
    // Several hosts in one address are no URL, or a strange one.
    if text.contains("sentinel://") || text.contains("cluster://") {
        return RedisAddress::parse(text).map_or("***".to_owned(), |address| address.to_string());
    }
    let Ok(mut url) = Url::parse(text) else { return "***".to_owned() };
    if url.password().is_some() && url.set_password(Some("***")).is_err() {
        return "***".to_owned();
    }
    let hidden = url.query_pairs().any(|(name, _)| name.to_lowercase().contains("pass"));
    if hidden {
        url.set_query(Some("***"));
    }
    url.to_string()
}

fn fault(name: &str, message: impl Into<String>) -> ConfigErrors {
    ConfigErrors(vec![ConfigError::new("", Origin::Env(name.to_owned()), message)])
}

struct Reader<L> {
    lookup: L,
    faults: Vec<ConfigError>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn fault(&mut self, name: &str, message: impl Into<String>) {
        self.faults.extend(fault(name, message).0);
    }

    /// A variable; one that is set to nothing counts as not set, as compose files do it.
    fn text(&self, name: &str) -> Option<String> {
        (self.lookup)(name).map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
    }

    fn text_or_file(&mut self, name: &str) -> Option<String> {
        let file_name = format!("{name}_FILE");
        match (self.text(name), self.text(&file_name)) {
            (Some(_), Some(_)) => {
                self.fault(name, format!("is set, and {file_name} too: keep one of them"));
                None
            }
            (Some(text), None) => Some(text),
            (None, Some(path)) => match std::fs::read_to_string(&path) {
                Ok(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
                Err(error) => {
                    self.fault(&file_name, format!("the file {path:?} cannot be read: {error}"));
                    None
                }
            },
            (None, None) => None,
        }
    }

    fn switch(&mut self, name: &str) -> Option<bool> {
        let switch = parse_switch(&self.text(name)?);
        if switch.is_none() {
            self.fault(name, "must be on or off");
        }
        switch
    }

    fn rate_limit(&mut self) -> bool {
        let on = self.switch("POSTWORKS_RATE_LIMIT");
        let disabled = self.switch("DISABLE_RATE_LIMITING");
        on.unwrap_or(disabled != Some(true))
    }

    fn server(&mut self) -> Option<Url> {
        let text = self.text("POSTWORKS_SERVER")?;
        match Url::parse(&text) {
            Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Some(url),
            _ => {
                self.fault("POSTWORKS_SERVER", "must be an address such as http://127.0.0.1:7000");
                None
            }
        }
    }

    fn stores(&mut self) -> Option<StoreUrls> {
        let before = self.faults.len();
        let database = self.address("DATABASE_URL", &["postgres", "postgresql"]);
        let redis = self.redis_address("REDIS_URL");
        if self.faults.len() > before {
            return None;
        }
        match (database, redis) {
            (Some(database), Some(redis)) => Some(StoreUrls { database, redis }),
            (None, None) => None,
            (Some(_), None) => {
                self.alone("DATABASE_URL", "REDIS_URL");
                None
            }
            (None, Some(_)) => {
                self.alone("REDIS_URL", "DATABASE_URL");
                None
            }
        }
    }

    fn alone(&mut self, set: &str, missing: &str) {
        let message = format!(
            "is set, but {missing} is not: set both to use PostgreSQL and Redis, or neither to \
             run embedded"
        );
        self.fault(set, message);
    }

    fn address(&mut self, name: &str, schemes: &[&str]) -> Option<SecretString> {
        let text = self.text_or_file(name)?;
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        let fits =
            scheme.is_some_and(|scheme| schemes.contains(&scheme)) && Url::parse(&text).is_ok();
        if !fits {
            self.fault(name, format!("must be an address that starts with {}://", schemes[0]));
            return None;
        }
        Some(SecretString::from(text))
    }

    fn redis_address(&mut self, name: &str) -> Option<SecretString> {
        let text = self.text_or_file(name)?;
        match RedisAddress::parse(&text) {
            Ok(_) => Some(SecretString::from(text)),
            Err(error) => {
                self.fault(name, error.to_string());
                None
            }
        }
    }

    fn keys(&mut self) -> Vec<MasterKey> {
        const NAME: &str = "POSTWORKS_KEYS";
        let Some(text) = self.text_or_file(NAME) else { return Vec::new() };
        let text = Zeroizing::new(text);
        MasterKey::parse_all(&text).unwrap_or_else(|faults| {
            for message in faults {
                self.fault(NAME, message);
            }
            Vec::new()
        })
    }
}
