//! A real OpenID Connect provider (npm's `oidc-provider`) at which people log in: its login and consent pages, refresh tokens, logout, and logout tokens for the
//! gateway. Whoever names itself is let in, with any password; everybody but `mallory` is in the group `finance`.
//!
//! What it needs stands in [`oidc_provider`](crate::oidc_provider).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use crate::oidc_provider::modules;
use crate::ports::free_port;
use crate::process::{Process, Program};

/// The gateway's secret at it.
pub const SECRET: &str = "a-secret-of-the-test-that-nobody-guesses";

/// The arguments: the folder of the modules, the port, and where the gateway's pages are.
const SCRIPT: &str = r#"
const { generateKeyPairSync } = require('node:crypto');
const [folder, port, pages] = process.argv.slice(1);
(async () => {
  const { default: Provider } = await import(folder + '/oidc-provider/lib/index.js');
  const key = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });
  const provider = new Provider('http://127.0.0.1:' + port, {
    jwks: { keys: [{ ...key, kid: 'k' + process.pid, alg: 'ES256', use: 'sig' }] },
    clients: [{
      client_id: 'portcullis', client_secret: 'a-secret-of-the-test-that-nobody-guesses',
      redirect_uris: [pages + '/callback/staff'],
      post_logout_redirect_uris: [pages + '/logged-out'],
      backchannel_logout_uri: pages + '/backchannel-logout/staff', backchannel_logout_session_required: true,
      response_types: ['code'], grant_types: ['authorization_code', 'refresh_token'],
      token_endpoint_auth_method: 'client_secret_basic', id_token_signed_response_alg: 'ES256',
    }],
    claims: { openid: ['sub'], profile: ['name', 'groups'], email: ['email'] },
    conformIdTokenClaims: false,
    findAccount: (context, id) => ({
      accountId: id,
      claims: () => ({
        sub: id, name: 'Dr. ' + id, email: id + '@example.test', groups: id === 'mallory' ? [] : ['finance'],
      }),
    }),
    pkce: { required: () => true },
    cookies: { keys: ['k'] },
    issueRefreshToken: async (context, client) => client.grantTypeAllowed('refresh_token'),
    // By itself it speaks to nobody on loopback.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
  });
  provider.on('server_error', (context, error) => console.error(error));
  provider.on('backchannel.error', (context, error) => console.error(error));
  provider.listen(Number(port), '127.0.0.1');
})();
"#;

/// A running provider. Dropping it stops it.
#[derive(Debug)]
pub struct LoginProvider {
    process: Option<Process>,
    address: SocketAddr,
    pages: String,
}

impl LoginProvider {
    /// One that knows the gateway whose pages are there, such as `https://127.0.0.1:8443/.portcullis`.
    ///
    /// # Panics
    /// When it or Node is missing, or it does not start.
    pub fn start(pages: &str) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut provider = Self { process: None, address, pages: pages.to_owned() };
        provider.start_again();
        provider
    }

    /// Stops it, if it runs, and starts it at the same address, with nobody logged in.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.stop();
        let node = std::env::var_os("PORTCULLIS_NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from);
        let mut process = Program::new(node)
            .arg("-e")
            .arg(SCRIPT)
            .arg(modules())
            .arg(self.address.port().to_string())
            .arg(&self.pages)
            .start();
        process.wait_for_port(self.address);
        self.process = Some(process);
    }

    /// Stops it.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its issuer.
    pub fn issuer(&self) -> String {
        format!("http://{}", self.address)
    }
}
