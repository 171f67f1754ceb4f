//! A real OpenID Connect provider (npm's `oidc-provider`): discovery, a key set, and JWT access tokens for a client with a secret.
//!
//! The tests need it and Node: `cargo xtask test` installs `oidc-provider` into `target/tools` and passes the folder in
//! `PORTCULLIS_OIDC_PROVIDER`; without that variable this place is looked at, and a missing one fails the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::ports::free_port;
use crate::process::{Process, Program};
use crate::wire;

/// The resource that its tokens are for: the audience.
pub const RESOURCE: &str = "urn:test:billing";

/// The resource whose tokens say nothing by themselves.
pub const OPAQUE: &str = "urn:test:opaque";

/// Its only client that gets tokens; another one, `gateway` with the secret `a-secret-of-the-gateway`, may ask about them.
const CLIENT: &str = "robot";

/// ES256 with the key that is made at each start, under the id that is given. Node's `fetch` is not needed: it only answers.
const SCRIPT: &str = r#"
const { generateKeyPairSync } = require('node:crypto');
const [folder, port, kid, more] = process.argv.slice(1);
(async () => {
  const { default: Provider } = await import(folder + '/oidc-provider/lib/index.js');
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const provider = new Provider('http://127.0.0.1:' + port, {
    jwks: { keys: [{ ...key, kid, alg: 'ES256', use: 'sig' }] },
    clients: [{
      client_id: 'robot', client_secret: 'a-secret-of-the-test', redirect_uris: [], response_types: [],
      grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_post',
      id_token_signed_response_alg: 'ES256',
    }, {
      client_id: 'gateway', client_secret: 'a-secret-of-the-gateway', redirect_uris: [], response_types: [], grant_types: [],
      token_endpoint_auth_method: 'client_secret_basic', id_token_signed_response_alg: 'ES256',
      ...JSON.parse(more),
    }],
    cookies: { keys: ['k'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: (ctx, client) => client.clientId === 'gateway' },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:test:billing',
        useGrantedResource: () => true,
        getResourceServerInfo: (ctx, resource) => ({
          scope: 'read', audience: resource, accessTokenTTL: 600,
          accessTokenFormat: resource === 'urn:test:opaque' ? 'opaque' : 'jwt',
          jwt: { sign: { alg: 'ES256' } },
        }),
      },
    },
  });
  provider.listen(Number(port), '127.0.0.1');
})();
"#;

/// A running provider. Dropping it stops it.
#[derive(Debug)]
pub struct OidcProvider {
    process: Option<Process>,
    address: SocketAddr,
    gateway: Value,
}

impl OidcProvider {
    /// One whose key has this id.
    ///
    /// # Panics
    /// When it or Node is missing, or it does not start.
    pub fn start(key: &str) -> Self {
        Self::start_with(key, json!({}))
    }

    /// The same, which knows this of the client `gateway` besides: metadata of a client (OpenID Connect Dynamic Client Registration 1.0, section 2).
    ///
    /// # Panics
    /// The same.
    pub fn start_with(key: &str, gateway: Value) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut provider = Self { process: None, address, gateway };
        provider.start_again(key);
        provider
    }

    /// Stops it, if it runs, and starts it at the same address with another key.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self, key: &str) {
        self.stop();
        let node = std::env::var_os("PORTCULLIS_NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from);
        let mut process = Program::new(node)
            .arg("-e")
            .arg(SCRIPT)
            .arg(modules())
            .arg(self.address.port().to_string())
            .arg(key)
            .arg(self.gateway.to_string())
            .start();
        process.wait_for_port(self.address);
        self.process = Some(process);
    }

    /// Stops it.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A new access token for its client, which is also the subject.
    ///
    /// # Panics
    /// When it gives none.
    pub fn token(&self) -> String {
        self.token_for(RESOURCE)
    }

    /// The same that says nothing by itself.
    ///
    /// # Panics
    /// When it gives none.
    pub fn opaque_token(&self) -> String {
        self.token_for(OPAQUE)
    }

    /// Withdraws a token (RFC 7009).
    ///
    /// # Panics
    /// When it does not.
    pub fn revoke(&self, token: &str) {
        let answer = self.post("/token/revocation", &format!("token={token}"));
        assert_eq!(answer.status(), 200, "{}", String::from_utf8_lossy(&answer.body));
    }

    fn post(&self, path: &str, fields: &str) -> wire::Answer {
        let form = format!("client_id={CLIENT}&client_secret=a-secret-of-the-test&{fields}");
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        wire::send(self.address, wire::request("POST", path, &headers, form.as_bytes()))
    }

    fn token_for(&self, resource: &str) -> String {
        let answer = self.post("/token", &format!("grant_type=client_credentials&scope=read&resource={resource}"));
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no token: {text}"));
        body.get("access_token").and_then(Value::as_str).unwrap_or_else(|| panic!("no token: {text}")).to_owned()
    }
}

/// The folder that npm installed it into.
pub(crate) fn modules() -> PathBuf {
    modules_of("PORTCULLIS_OIDC_PROVIDER", "oidc-provider")
}

/// The folder that npm installed a package into: that which the variable names, else the usual one.
pub(crate) fn modules_of(variable: &str, package: &str) -> PathBuf {
    let given = std::env::var_os(variable).map(PathBuf::from);
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/npm/node_modules");
    let modules = given.unwrap_or_else(usual);
    let entry = modules.join(package).join("package.json");
    assert!(entry.is_file(), "{} is missing: `cargo xtask test` installs {package} by npm", entry.display());
    std::fs::canonicalize(modules).expect("a folder that is there has a path")
}
