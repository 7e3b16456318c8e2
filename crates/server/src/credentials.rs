//! The command line's credentials on the server's own machine.
//!
//! Whoever can read the data directory owns the server anyway, so `mistle serve` keeps a token
//! there (mode 0600), with the address beside it, and the command line works at once.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use mistle_store::{Store, StoreError};
use secrecy::{ExposeSecret as _, SecretString};
use url::Url;

use crate::auth::caller::{TOKEN_PREFIX, context};
use crate::auth::{login, secret};
use crate::config::Config;

/// The token's file in the data directory: the token and nothing else.
pub const TOKEN_FILE: &str = "cli-token";
/// The address' file in the data directory: where the server last listened.
pub const ADDRESS_FILE: &str = "address";
/// The file of the key that signs the passes of previews. Beside the database and not in it, so
/// that a copy of the database opens nothing.
pub const PREVIEW_KEY_FILE: &str = "preview-key";
/// What the token is called in the list of tokens.
const TOKEN_NAME: &str = "Command line on the server's machine";

/// The token that an earlier start kept.
pub fn token(data_dir: &Path) -> Option<SecretString> {
    read(data_dir, TOKEN_FILE)
}

/// The key that signs the passes of previews; makes one at the first start.
pub fn preview_key(data_dir: &Path) -> Result<SecretString, CredentialsError> {
    if let Some(key) = read(data_dir, PREVIEW_KEY_FILE) {
        return Ok(key);
    }
    let key = secret::generate("");
    write(data_dir, PREVIEW_KEY_FILE, key.expose_secret())?;
    Ok(key)
}

fn read(data_dir: &Path, name: &str) -> Option<SecretString> {
    let text = fs::read_to_string(data_dir.join(name)).ok()?;
    Some(text.trim()).filter(|text| !text.is_empty()).map(Into::into)
}

/// Where the server last listened.
pub fn address(data_dir: &Path) -> Option<Url> {
    Url::parse(fs::read_to_string(data_dir.join(ADDRESS_FILE)).ok()?.trim()).ok()
}

/// Why there are no credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// The database.
    #[error("the database can't be used")]
    Store(#[from] StoreError),
    /// The disk.
    #[error("cannot write {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Keeps the token of an earlier start if it is still good, or makes one; writes both files.
pub async fn keep(store: &Store, config: &Config, url: &Url) -> Result<SecretString, CredentialsError> {
    let token = match token(&config.data_dir) {
        Some(token) if is_good(store, &token).await? => token,
        _ => make(store).await?,
    };
    write(&config.data_dir, TOKEN_FILE, token.expose_secret())?;
    write(&config.data_dir, ADDRESS_FILE, url.as_str())?;
    Ok(token)
}

async fn is_good(store: &Store, token: &SecretString) -> Result<bool, StoreError> {
    match secret::hash(token.expose_secret()) {
        Some(hash) => Ok(store.token_by_hash(&hash).await?.is_some()),
        None => Ok(false),
    }
}

async fn make(store: &Store) -> Result<SecretString, StoreError> {
    let ctx = context(&login::owner(store).await?);
    let token = secret::generate(TOKEN_PREFIX);
    store
        .add_token(&ctx, TOKEN_NAME, &secret::hash_of(&token), Timestamp::now())
        .await?;
    Ok(token)
}

fn write(data_dir: &Path, name: &str, text: &str) -> Result<(), CredentialsError> {
    let path = data_dir.join(name);
    let written = || {
        // A temporary file has mode 0600 from its first moment.
        let mut file = tempfile::NamedTempFile::new_in(data_dir)?;
        writeln!(file, "{text}")?;
        file.persist(&path).map(drop).map_err(std::io::Error::from)
    };
    written().map_err(|source| CredentialsError::Write {
        path: path.clone(),
        source,
    })
}
