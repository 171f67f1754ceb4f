//! A real OpenID Connect provider (npm's `oidc-provider`): discovery, a key set, and JWT access tokens for a client with a secret.
//!
//! The tests need it and Node: `cargo xtask test` installs `oidc-provider` into `target/tools` and passes the folder in
//! `PORTCULLIS_OIDC_PROVIDER`; without that variable this place is looked at, and a missing one fails the test.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::ports::free_port;
use crate::process::{Process, Program};
use crate::wire;

/// The resource that its tokens are for: the audience.
pub const RESOURCE: &str = "urn:test:billing";

/// Its only client.
const CLIENT: &str = "robot";

/// ES256 with the key that is made at each start, under the id that is given. Node's `fetch` is not needed: it only answers.
const SCRIPT: &str = r#"
const { generateKeyPairSync } = require('node:crypto');
const [folder, port, kid] = process.argv.slice(1);
(async () => {
  const { default: Provider } = await import(folder + '/oidc-provider/lib/index.js');
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const provider = new Provider('http://127.0.0.1:' + port, {
    jwks: { keys: [{ ...key, kid, alg: 'ES256', use: 'sig' }] },
    clients: [{
      client_id: 'robot', client_secret: 'a-secret-of-the-test', redirect_uris: [], response_types: [],
      grant_types: ['client_credentials'], token_endpoint_auth_method: 'client_secret_post',
      id_token_signed_response_alg: 'ES256',
    }],
    cookies: { keys: ['k'] },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => 'urn:test:billing',
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: 'read', audience: 'urn:test:billing', accessTokenTTL: 600, accessTokenFormat: 'jwt',
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
}

impl OidcProvider {
    /// One whose key has this id.
    ///
    /// # Panics
    /// When it or Node is missing, or it does not start.
    pub fn start(key: &str) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut provider = Self { process: None, address };
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
        let form = format!(
            "grant_type=client_credentials&client_id={CLIENT}&client_secret=a-secret-of-the-test&scope=read&resource={RESOURCE}"
        );
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let answer = wire::send(self.address, wire::request("POST", "/token", &headers, form.as_bytes()));
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        let body: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("no token: {text}"));
        body.get("access_token").and_then(Value::as_str).unwrap_or_else(|| panic!("no token: {text}")).to_owned()
    }
}

/// The folder that npm installed it into.
fn modules() -> PathBuf {
    let given = std::env::var_os("PORTCULLIS_OIDC_PROVIDER").map(PathBuf::from);
    let usual = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/npm/node_modules");
    let modules = given.unwrap_or_else(usual);
    let entry = modules.join("oidc-provider/lib/index.js");
    assert!(entry.is_file(), "{} is missing: `cargo xtask test` installs oidc-provider by npm", entry.display());
    std::fs::canonicalize(modules).expect("a folder that is there has a path")
}
