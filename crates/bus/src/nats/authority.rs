//! Whom a fleet's NATS server believes: one secret, from which every key of the fleet follows.
//!
//! The server is told one public key, the operator's. Whoever connects shows claims that were signed
//! for it, and proves that it has the key they speak of; so the server needs no list of workers, and
//! nothing of it is changed when one joins. What each role may do is part of the account's claims
//! (`super::permissions`), with the name out of the signed claims in its subjects: no worker can
//! take another's name. Revoking publishes the account's claims anew.
//!
//! Whoever has the secret can let anybody in. It lies with the coordinator, which may do everything
//! that the account may anyway; the server and the workers never get it. No file is read or written
//! here, and who was let in is recorded elsewhere.

pub(super) mod jwt;

use std::collections::BTreeMap;
use std::fmt;

use nkeys::{KeyPair, KeyPairType};
use sha2::{Digest as _, Sha256};

use self::jwt::{Scope, Subject};
use super::options::{Credentials, Secret};
use super::permissions::{self, PublicKey, Role};
use crate::subject::{Root, Subjects, WorkerName};

/// The name of the account that everybody is in.
const ACCOUNT: &str = "KAPELLE";

/// When the claims of a server's configuration say that they were issued: before all others, so
/// that a server never takes them for newer than what was published since.
const AT_FIRST: u64 = 1;

/// Which keys are not let in any more, and since when, in seconds since 1970.
pub type Revoked = BTreeMap<String, u64>;

/// The secret of a fleet, and all that follows from it.
#[derive(Clone)]
pub struct Authority {
    seed: Secret,
    secret: [u8; 32],
}

/// Text that is no secret of a fleet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("it is not the seed of an operator's NKey, which starts with SO and has 58 characters")]
pub struct InvalidAuthority;

/// Something could not be signed.
#[derive(Debug, thiserror::Error)]
#[error("claims for NATS can't be signed")]
pub struct Unsigned(#[from] nkeys::error::Error);

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Authority(…)")
    }
}

impl Authority {
    /// A new secret.
    ///
    /// # Errors
    /// When no key can be made.
    pub fn generate() -> Result<Self, Unsigned> {
        let seed = KeyPair::new_operator().seed()?;
        let (_, secret) = nkeys::decode_seed(&seed)?;
        Ok(Self { seed: Secret::new(seed), secret })
    }

    /// The authority of a secret that was kept.
    ///
    /// # Errors
    /// When the text is no such secret.
    pub fn from_seed(text: &str) -> Result<Self, InvalidAuthority> {
        let text = text.trim();
        let pair = KeyPair::from_seed(text).map_err(|_| InvalidAuthority)?;
        if pair.key_pair_type() != KeyPairType::Operator {
            return Err(InvalidAuthority);
        }
        let (_, secret) = nkeys::decode_seed(text).map_err(|_| InvalidAuthority)?;
        Ok(Self { seed: Secret::new(text.to_owned()), secret })
    }

    /// The secret, to be kept.
    #[must_use]
    pub fn seed(&self) -> &Secret {
        &self.seed
    }

    /// The key for one purpose. Each follows from the secret, and the secret from none.
    fn key(&self, kind: KeyPairType, purpose: &str) -> Result<KeyPair, Unsigned> {
        let mut digest = Sha256::new();
        digest.update(b"kapelle nats authority 1\0");
        digest.update(self.secret);
        digest.update(purpose.as_bytes());
        Ok(KeyPair::new_from_raw(kind, digest.finalize().into())?)
    }

    fn operator(&self) -> Result<KeyPair, Unsigned> {
        self.key(KeyPairType::Operator, "operator")
    }

    fn account(&self) -> Result<KeyPair, Unsigned> {
        self.key(KeyPairType::Account, "account")
    }

    fn system(&self) -> Result<KeyPair, Unsigned> {
        self.key(KeyPairType::Account, "system account")
    }

    fn signer(&self, role: Role) -> Result<KeyPair, Unsigned> {
        self.key(KeyPairType::Account, &format!("role {}", role.name()))
    }

    /// The public key of the account.
    pub(super) fn account_key(&self) -> Result<String, Unsigned> {
        Ok(self.account()?.public_key())
    }

    /// What a server's configuration says of the fleet: the operator's claims, then each account's
    /// key and claims, the system's first. Nothing in it is secret.
    pub(super) fn trusted(&self, root: &Root) -> Result<(String, [(String, String); 2]), Unsigned> {
        let (operator, system) = (self.operator()?, self.system()?);
        let (operator_key, system_key) = (operator.public_key(), system.public_key());
        let subject =
            Subject { name: "kapelle", key: &operator_key, issued_at: AT_FIRST, expires_at: None };
        let claims = jwt::operator(&operator, &subject, &system_key)?;
        let subject =
            Subject { name: "SYS", key: &system_key, issued_at: AT_FIRST, expires_at: None };
        let system = jwt::account(&operator, &subject, false, &[], &Revoked::new())?;
        let account = self.account_claims(root, &Revoked::new(), AT_FIRST)?;
        Ok((claims, [(system_key, system), (self.account_key()?, account)]))
    }

    /// The claims of the account, as a server is to know them from now on.
    pub(super) fn account_claims(
        &self,
        root: &Root,
        revoked: &Revoked,
        now: u64,
    ) -> Result<String, Unsigned> {
        let subjects = Subjects::new(root.clone());
        let scope = |&role: &Role| {
            let key = self.signer(role)?.public_key();
            Ok(Scope { key, role: role.name(), grants: permissions::of(&subjects, role) })
        };
        let scopes = Role::ALL.iter().map(scope).collect::<Result<Vec<_>, Unsigned>>()?;
        let key = self.account_key()?;
        let subject = Subject { name: ACCOUNT, key: &key, issued_at: now, expires_at: None };
        Ok(jwt::account(&self.operator()?, &subject, true, &scopes, revoked)?)
    }

    /// As whom the coordinator connects.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub fn coordinator(&self) -> Result<Credentials, Unsigned> {
        let pair = self.key(KeyPairType::User, "coordinator")?;
        let jwt =
            self.scoped(Role::Coordinator, "coordinator", &pair.public_key(), AT_FIRST, None)?;
        Ok(Credentials::User { jwt, seed: Secret::new(pair.seed()?) })
    }

    /// As whom the coordinator tells the server about the account.
    pub(super) fn messenger(&self) -> Result<Credentials, Unsigned> {
        let pair = self.key(KeyPairType::User, "messenger")?;
        let key = pair.public_key();
        let subject =
            Subject { name: "coordinator", key: &key, issued_at: AT_FIRST, expires_at: None };
        let jwt = jwt::user(&self.system()?, &subject, &permissions::messenger())?;
        Ok(Credentials::User { jwt, seed: Secret::new(pair.seed()?) })
    }

    /// The claims with which the owner of `key` is the worker `worker`.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub fn worker(
        &self,
        worker: &WorkerName,
        key: &PublicKey,
        now: u64,
    ) -> Result<String, Unsigned> {
        self.scoped(Role::Worker, &worker.id().0, key.as_str(), now, None)
    }

    /// A new key for whoever has an invitation, with which they can do nothing but hand it in.
    pub(super) fn guest(
        &self,
        invitation: &str,
        now: u64,
        expires_at: u64,
    ) -> Result<(String, Secret, PublicKey), Unsigned> {
        let pair = KeyPair::new_user();
        let key = pair.public_key();
        let jwt = self.scoped(Role::Guest, invitation, &key, now, Some(expires_at))?;
        Ok((jwt, Secret::new(pair.seed()?), PublicKey::of(&pair)))
    }

    /// New credentials for a person or a program that steers or watches agents over NATS.
    ///
    /// # Errors
    /// When nothing can be signed.
    pub fn client(
        &self,
        may_steer: bool,
        name: &str,
        now: u64,
        expires_at: u64,
    ) -> Result<Credentials, Unsigned> {
        let pair = KeyPair::new_user();
        let role = if may_steer { Role::Operator } else { Role::Observer };
        let jwt = self.scoped(role, name, &pair.public_key(), now, Some(expires_at))?;
        Ok(Credentials::User { jwt, seed: Secret::new(pair.seed()?) })
    }

    fn scoped(
        &self,
        role: Role,
        name: &str,
        key: &str,
        issued_at: u64,
        expires_at: Option<u64>,
    ) -> Result<String, Unsigned> {
        let subject = Subject { name, key, issued_at, expires_at };
        Ok(jwt::scoped_user(&self.signer(role)?, &subject, &self.account_key()?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_follows_from_the_secret() {
        let authority = Authority::generate().unwrap();
        let again = Authority::from_seed(authority.seed().reveal()).unwrap();
        let root = Root::default();
        assert_eq!(authority.trusted(&root).unwrap(), again.trusted(&root).unwrap());
        let other = Authority::generate().unwrap();
        assert_ne!(authority.account_key().unwrap(), other.account_key().unwrap());
        let coordinator = authority.coordinator().unwrap();
        let Credentials::User { seed, .. } = &coordinator else { panic!("they are claims") };
        let text = format!("{authority:?} {coordinator:?}");
        assert!(!text.contains(seed.reveal()), "{text}");
        assert!(!text.contains(authority.seed().reveal()), "{text}");
    }

    #[test]
    fn other_seeds_are_no_authority() {
        let user = KeyPair::new_user().seed().unwrap();
        let account = KeyPair::new_account().seed().unwrap();
        for text in ["", "SO", "no seed", user.as_str(), account.as_str()] {
            assert_eq!(Authority::from_seed(text).unwrap_err(), InvalidAuthority, "{text}");
        }
    }

    #[test]
    fn claims_say_whose_they_are() {
        let authority = Authority::generate().unwrap();
        let (jwt, _, key) = authority.guest("abc", 10, 20).unwrap();
        let said = jwt::read(&jwt).unwrap();
        assert_eq!(said.name, "abc");
        assert_eq!(said.key, key.as_str());
        assert_eq!(said.expires_at, Some(20));
        for text in ["", "a.b", "a.b.c", "a.e30.c", &format!("{jwt}.d")] {
            assert_eq!(jwt::read(text), None, "{text}");
        }
    }
}
