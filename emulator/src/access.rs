//! Who may do what: identities, their access policies, and the access key.
//!
//! Azure Cache for Redis has three built-in policies (in the words that exported caches have for them) and
//! custom ones. Azure Managed Redis has one, `default`, and custom access strings. Every assigned object id
//! is a user of the server behind the front; taking an assignment away deletes the user, and with it its
//! connections.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use serde::Serialize;

use crate::backend::Control;
use crate::dialect::Product;
use crate::random;
use crate::redis_6_0::Permissions;
use crate::token::Tenant;

pub(crate) struct Access {
    product: Product,
    /// The servers, which all have the same users.
    controls: Vec<Control>,
    identities: Vec<Identity>,
    access_key: Option<String>,
    state: Mutex<State>,
}

/// A managed identity, as the ready line shows it.
#[derive(Clone, Serialize)]
pub(crate) struct Identity {
    name: &'static str,
    oid: String,
    client_id: String,
    /// Its access policy at the start; null for the one without an assignment.
    policy: Option<&'static str>,
}

#[derive(Default)]
struct State {
    /// By object id.
    assignments: BTreeMap<String, Policy>,
    /// What a fault took away and its end gives back.
    revoked: BTreeMap<String, Policy>,
    keys_disabled: bool,
}

#[derive(Clone)]
struct Policy {
    /// For the server.
    rules: Vec<String>,
    /// With the semantics of Redis 6.0, where that is what is emulated.
    permissions: Option<Permissions>,
}

/// User name of the access key.
pub(crate) const KEY_USER: &str = "default";

impl Access {
    /// Assigns the identities that there are from the start.
    pub(crate) async fn start(
        product: Product,
        controls: Vec<Control>,
        tenant: &Tenant,
        with_access_key: bool,
    ) -> Result<Access, String> {
        let access_key = with_access_key.then(random::secret);
        let identities = identities(product, tenant);
        let access = Access { product, controls, identities, access_key, state: Mutex::default() };
        for identity in &access.identities {
            access.assign(&identity.oid, identity.policy).await?;
        }
        if access.access_key.is_some() {
            access.set_user(KEY_USER, &full_rights()).await?;
        }
        Ok(access)
    }

    async fn set_user(&self, user: &str, rules: &[String]) -> Result<(), String> {
        for control in &self.controls {
            control.set_user(user, rules).await?;
        }
        Ok(())
    }

    async fn delete_user(&self, user: &str) -> Result<(), String> {
        for control in &self.controls {
            control.delete_user(user).await?;
        }
        Ok(())
    }

    pub(crate) fn identities(&self) -> &[Identity] {
        &self.identities
    }

    pub(crate) fn access_key(&self) -> Option<&str> {
        self.access_key.as_deref()
    }

    /// Gives an object id a policy in place of what it had, or takes its assignment away. Live connections
    /// go on with the new rights.
    pub(crate) async fn assign(&self, oid: &str, policy: Option<&str>) -> Result<(), String> {
        let oid = oid.to_ascii_lowercase();
        if oid.is_empty() || !oid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err("oid is the object id of an identity".to_owned());
        }
        let policy = policy.map(|policy| Policy::parse(self.product, policy)).transpose()?;
        self.state().revoked.remove(&oid);
        match policy {
            Some(policy) => {
                self.set_user(&oid, &policy.rules).await.map_err(|error| invalid(&error))?;
                self.state().assignments.insert(oid, policy);
                Ok(())
            }
            None => {
                self.state().assignments.remove(&oid);
                self.delete_user(&oid).await
            }
        }
    }

    /// Takes an assignment away until [`Access::restore`].
    pub(crate) async fn revoke(&self, oid: &str) -> Result<(), String> {
        let oid = oid.to_ascii_lowercase();
        let Some(policy) = self.state().assignments.get(&oid).cloned() else {
            return Err(format!("{oid} has no assignment"));
        };
        self.assign(&oid, None).await?;
        self.state().revoked.insert(oid, policy);
        Ok(())
    }

    pub(crate) fn disable_keys(&self) {
        self.state().keys_disabled = true;
    }

    /// Undoes what faults did.
    pub(crate) async fn restore(&self) -> Result<(), String> {
        let revoked = {
            let mut state = self.state();
            state.keys_disabled = false;
            std::mem::take(&mut state.revoked)
        };
        for (oid, policy) in revoked {
            self.set_user(&oid, &policy.rules).await?;
            self.state().assignments.insert(oid, policy);
        }
        Ok(())
    }

    pub(crate) fn is_assigned(&self, oid: &str) -> bool {
        self.state().assignments.contains_key(oid)
    }

    /// Whether this is the access key, and keys are on.
    pub(crate) fn is_access_key(&self, user: &[u8], password: &[u8]) -> bool {
        let key = self.access_key.as_ref().filter(|_| !self.state().keys_disabled);
        user == KEY_USER.as_bytes() && key.is_some_and(|key| key.as_bytes() == password)
    }

    /// Whether the rights of `user` in Redis 6.0 hold the command; true where it is for the server to say.
    pub(crate) fn allows(&self, user: &str, name: &str, subcommand: &str) -> bool {
        let state = self.state();
        let permissions = state.assignments.get(user).and_then(|policy| policy.permissions.as_ref());
        permissions.is_none_or(|permissions| permissions.allows(name, subcommand))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics with this lock held")
    }
}

impl Policy {
    fn parse(product: Product, text: &str) -> Result<Policy, String> {
        let built_in = match product {
            Product::Cache => BUILT_IN.iter().find(|(name, _)| *name == text).map(|(_, rules)| *rules),
            Product::Managed => (text == "default").then_some("+@all ~* &*"),
        };
        let text = built_in.unwrap_or(text);
        match product {
            Product::Cache => {
                let permissions = Permissions::parse(text).map_err(|error| invalid(&error))?;
                Ok(Policy { rules: permissions.rules(), permissions: Some(permissions) })
            }
            Product::Managed => {
                let rules: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
                match rules.iter().find(|rule| !is_right(rule)) {
                    Some(rule) => {
                        Err(invalid(&format!("Error in ACL SETUSER modifier '{rule}': Syntax error")))
                    }
                    None => Ok(Policy { rules, permissions: None }),
                }
            }
        }
    }
}

/// The policies of Azure Cache for Redis: Data Owner, Data Contributor and Data Reader.
const BUILT_IN: [(&str, &str); 3] = [
    ("owner", "+@all allkeys"),
    ("contributor", "+@all -@dangerous +cluster|info +cluster|nodes +cluster|slots allkeys"),
    ("reader", "+@read +@connection +cluster|info +cluster|nodes +cluster|slots allkeys"),
];

fn identities(product: Product, tenant: &Tenant) -> Vec<Identity> {
    let [owner, contributor, reader] = match product {
        Product::Cache => ["owner", "contributor", "reader"],
        Product::Managed => ["default", "+@all -@dangerous ~* &*", "+@read +@connection ~*"],
    };
    let other = |name, policy| Identity { name, oid: random::guid(), client_id: random::guid(), policy };
    let first = Identity {
        name: "owner",
        oid: tenant.oid.clone(),
        client_id: tenant.client_id.clone(),
        policy: Some(owner),
    };
    let others = [("contributor", Some(contributor)), ("reader", Some(reader)), ("unassigned", None)];
    std::iter::once(first).chain(others.map(|(name, policy)| other(name, policy))).collect()
}

fn full_rights() -> Vec<String> {
    ["+@all", "~*", "&*"].map(str::to_owned).to_vec()
}

/// Whether an ACL rule is about rights; those about passwords and the user itself are not for a policy.
fn is_right(rule: &str) -> bool {
    const WORDS: [&str; 6] =
        ["allcommands", "nocommands", "allkeys", "resetkeys", "allchannels", "resetchannels"];
    rule.starts_with(['+', '-', '~', '&', '%']) || WORDS.contains(&rule)
}

/// In the form of Azure's resource manager.
fn invalid(error: &str) -> String {
    format!("InvalidAccessString: ERR {}", error.trim_start_matches("ERR "))
}
