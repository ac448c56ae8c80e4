//! The issuer's token file: the issued tokens, their expiry, and the keys that used them.
//!
//! It is a text file, rewritten at each change, and shared by the processes of one machine: the command that issues a
//! token and the server that redeems it. A lock file serialises them. The file holds only hashes of the secrets, so its
//! readers cannot join.
//!
//! ```text
//! DIR/tokens         one line per token: hash of the secret, end of validity (ms), node that used it or `-`
//! DIR/tokens.lock    locked while the file is read and written
//! ```

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::{JoinRefusal, Secret, Token};
use crate::identity::files;
use crate::identity::{Fingerprint, IdentityError};
use crate::{NodeId, Timestamp};

/// The validity of a token: long enough to carry it to the other machine, short enough to be forgotten.
pub const TOKEN_VALIDITY: Duration = Duration::from_secs(60 * 60);

/// How long an expired token is remembered, so that its bearer is told of the expiry.
const REMEMBERED: Duration = Duration::from_secs(24 * 60 * 60);

/// The maximum number of tokens: the file is read as a whole, and nobody adds thousands of nodes a day.
const MOST_TOKENS: usize = 1_000;

const BOOK_FILE: &str = "tokens";
const LOCK_FILE: &str = "tokens.lock";

/// The token file of a directory. It is not kept open: every call reads it again.
#[derive(Debug, Clone)]
pub struct Tokens {
    directory: PathBuf,
}

struct Entry {
    hash: blake3::Hash,
    expires_at: Timestamp,
    used_by: Option<NodeId>,
}

/// Why a token was not redeemed.
#[derive(Debug, thiserror::Error)]
pub enum RedeemError {
    /// The bearer has no valid token: [`JoinRefusal::UnknownToken`], [`JoinRefusal::ExpiredToken`] or
    /// [`JoinRefusal::UsedToken`].
    #[error("{0}")]
    Refused(JoinRefusal),
    /// The token file cannot be read or written.
    #[error(transparent)]
    File(#[from] IdentityError),
}

impl Tokens {
    /// The token file in `directory`, which is created with the first token.
    pub fn in_directory(directory: impl AsRef<Path>) -> Self {
        Self { directory: directory.as_ref().to_owned() }
    }

    /// Issues a token for the cluster of `authority`, valid for `validity` from `now` on. Blocks on the disk.
    ///
    /// # Errors
    /// [`IdentityError::Io`]; [`IdentityError::NotMade`] if there are too many tokens already.
    pub fn issue(
        &self,
        authority: Fingerprint,
        now: Timestamp,
        validity: Duration,
    ) -> Result<Token, IdentityError> {
        let _lock = self.lock()?;
        let mut entries = self.read(now)?;
        if entries.len() >= MOST_TOKENS {
            let why = format!("{MOST_TOKENS} were issued within a day; wait until some are forgotten");
            return Err(IdentityError::NotMade { what: "token", why });
        }
        let secret = Secret::random();
        entries.push(Entry { hash: secret.hash(), expires_at: now.after(validity), used_by: None });
        self.write(&entries)?;
        Ok(Token { secret, authority })
    }

    /// Redeems the token with this secret for the node `by`. The same node may repeat this. Blocks on the disk.
    ///
    /// # Errors
    /// [`RedeemError`].
    pub fn redeem(&self, secret: &Secret, by: NodeId, now: Timestamp) -> Result<(), RedeemError> {
        let _lock = self.lock()?;
        let mut entries = self.read(now)?;
        let hash = secret.hash();
        let Some(entry) = entries.iter_mut().find(|entry| entry.hash == hash) else {
            return Err(RedeemError::Refused(JoinRefusal::UnknownToken));
        };
        match entry.used_by {
            Some(node) if node != by => return Err(RedeemError::Refused(JoinRefusal::UsedToken)),
            _ if entry.expires_at <= now => return Err(RedeemError::Refused(JoinRefusal::ExpiredToken)),
            Some(_) => return Ok(()),
            None => entry.used_by = Some(by),
        }
        Ok(self.write(&entries)?)
    }

    fn lock(&self) -> Result<File, IdentityError> {
        let path = self.directory.join(LOCK_FILE);
        let lock = || {
            crate::files::make_directory(&self.directory)?;
            let file = crate::files::open_or_make(&path)?;
            crate::files::give_to_owner_of(&self.directory, &file)?;
            file.lock()?;
            Ok(file)
        };
        lock().map_err(|source| IdentityError::Io { doing: "cannot lock", path: path.clone(), source })
    }

    /// The entries, without those past their remembered time.
    fn read(&self, now: Timestamp) -> Result<Vec<Entry>, IdentityError> {
        let path = self.directory.join(BOOK_FILE);
        let text = match files::read(&path, "list of tokens") {
            Err(IdentityError::Missing { .. }) => return Ok(Vec::new()),
            text => text?,
        };
        let entries: Option<Vec<Entry>> = text.lines().map(parse).collect();
        let mut entries = entries.ok_or_else(|| IdentityError::Io {
            doing: "cannot read",
            path,
            source: io::Error::new(io::ErrorKind::InvalidData, "a line is damaged; delete the file"),
        })?;
        entries.retain(|entry| entry.expires_at.after(REMEMBERED) > now);
        Ok(entries)
    }

    fn write(&self, entries: &[Entry]) -> Result<(), IdentityError> {
        let text: String = entries.iter().map(line).collect();
        files::write(&self.directory.join(BOOK_FILE), text.as_bytes())
    }
}

fn line(entry: &Entry) -> String {
    let used_by = entry.used_by.map_or("-".to_owned(), |node| node.to_string());
    format!("{} {} {used_by}\n", entry.hash.to_hex(), entry.expires_at)
}

fn parse(line: &str) -> Option<Entry> {
    let mut words = line.split(' ');
    let hash = blake3::Hash::from_hex(words.next()?).ok()?;
    let expires_at = words.next()?.parse().ok()?;
    let used_by = match words.next()? {
        "-" => None,
        node => Some(node.parse().ok()?),
    };
    Some(Entry { hash, expires_at, used_by })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AUTHORITY: Fingerprint = Fingerprint::from_bytes([1; 32]);
    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);
    const ONE: NodeId = NodeId::from_bytes([1; 32]);
    const OTHER: NodeId = NodeId::from_bytes([2; 32]);

    fn redeem(tokens: &Tokens, secret: &Secret, by: NodeId, now: Timestamp) -> Result<(), JoinRefusal> {
        tokens.redeem(secret, by, now).map_err(|error| match error {
            RedeemError::Refused(refusal) => refusal,
            RedeemError::File(error) => panic!("{error}"),
        })
    }

    #[test]
    fn a_token_is_good_once_and_for_its_time() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::in_directory(directory.path().join("new"));
        let unknown = Secret::from_bytes([0; 16]);
        assert_eq!(redeem(&tokens, &unknown, ONE, NOW), Err(JoinRefusal::UnknownToken));

        let token = tokens.issue(AUTHORITY, NOW, TOKEN_VALIDITY).unwrap();
        assert_eq!(redeem(&tokens, &token.secret, ONE, NOW), Ok(()));
        assert_eq!(redeem(&tokens, &token.secret, ONE, NOW), Ok(()), "the answer may get lost");
        assert_eq!(redeem(&tokens, &token.secret, OTHER, NOW), Err(JoinRefusal::UsedToken));
        let end = NOW.after(TOKEN_VALIDITY);
        assert_eq!(redeem(&tokens, &token.secret, ONE, end), Err(JoinRefusal::ExpiredToken));

        let token = tokens.issue(AUTHORITY, NOW, TOKEN_VALIDITY).unwrap();
        assert_eq!(redeem(&tokens, &token.secret, ONE, end.previous()), Ok(()));
        let token = tokens.issue(AUTHORITY, NOW, TOKEN_VALIDITY).unwrap();
        assert_eq!(redeem(&tokens, &token.secret, ONE, end), Err(JoinRefusal::ExpiredToken));
        let forgotten = end.after(REMEMBERED);
        assert_eq!(redeem(&tokens, &token.secret, ONE, forgotten), Err(JoinRefusal::UnknownToken));
    }

    #[test]
    fn of_many_who_redeem_at_once_one_succeeds() {
        let directory = tempfile::tempdir().unwrap();
        let token = Tokens::in_directory(directory.path()).issue(AUTHORITY, NOW, TOKEN_VALIDITY).unwrap();
        let redeem_for = |node: u8| {
            // Each opens the file itself, as another process would.
            let tokens = Tokens::in_directory(directory.path());
            redeem(&tokens, &token.secret, NodeId::from_bytes([node; 32]), NOW)
        };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|node| scope.spawn(move || redeem_for(node))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
        assert_eq!(outcomes.iter().filter(|one| **one == Err(JoinRefusal::UsedToken)).count(), 7);
    }

    #[test]
    fn the_book_holds_no_secret_and_not_too_many() {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::in_directory(directory.path());
        let token = tokens.issue(AUTHORITY, NOW, TOKEN_VALIDITY).unwrap();
        let text = std::fs::read_to_string(directory.path().join(BOOK_FILE)).unwrap();
        assert!(!text.contains(&hex::encode(token.secret.as_bytes())), "{text}");
        let full: String = (0..MOST_TOKENS).map(|_| text.clone()).collect();
        std::fs::write(directory.path().join(BOOK_FILE), full).unwrap();
        assert!(matches!(tokens.issue(AUTHORITY, NOW, TOKEN_VALIDITY), Err(IdentityError::NotMade { .. })));
    }
}
