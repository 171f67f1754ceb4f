//! A real OpenID Connect provider (npm's `oidc-provider`) at which people log in: its login and consent pages, refresh tokens, logout, and logout tokens for the
//! gateway. Whoever names itself is let in, with any password; everybody but `mallory` is in the group `finance`. Of who is called `strong` or something longer it says that a second
//! factor was shown, by the claim `level`.
//!
//! What it needs stands in [`oidc_provider`](crate::oidc_provider).

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::oidc_provider::modules;
use crate::ports::free_port;
use crate::process::{Process, Program, Signal};

/// The gateway's secret at it.
pub const SECRET: &str = "a-secret-of-the-test-that-nobody-guesses";

/// The arguments: the folder of the modules, the port, where the gateway's pages are, and what else it knows of the gateway as a client, as JSON.
const SCRIPT: &str = r#"
const { generateKeyPairSync } = require('node:crypto');
const [folder, port, pages, more] = process.argv.slice(1);
let sid;
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
      ...JSON.parse(more),
    }],
    acrValues: ['urn:mfa'],
    claims: { openid: ['sub'], profile: ['name', 'groups', 'level'], email: ['email'] },
    conformIdTokenClaims: false,
    findAccount: (context, id) => ({
      accountId: id,
      claims: () => ({
        sub: id, name: 'Dr. ' + id, email: id + '@example.test', groups: id === 'mallory' ? [] : ['finance'],
        level: id.startsWith('strong') ? 'urn:mfa' : 'urn:pwd',
      }),
    }),
    pkce: { required: () => true },
    cookies: { keys: ['k'] },
    issueRefreshToken: async (context, client) => client.grantTypeAllowed('refresh_token'),
    // By itself it speaks to nobody on loopback.
    fetch: (url, { dispatcher, ...options }) => fetch(url, options),
    features: {
      devInteractions: { enabled: true }, backchannelLogout: { enabled: true },
      // This provider has no front-channel logout of its own: its last page does what section 3 of that says.
      rpInitiatedLogout: {
        enabled: true,
        logoutSource: async (context, form) => {
          sid = context.oidc.session.sidFor('portcullis');
          context.body = '<!doctype html><title>Log out?</title>' + form
            + '<button type="submit" form="op.logoutForm" value="yes" name="logout" autofocus>Yes</button>';
        },
        postLogoutSuccessSource: async (context) => {
          const frame = pages + '/frontchannel-logout/staff?iss=' + encodeURIComponent('http://127.0.0.1:' + port) + '&sid=' + sid;
          context.body = '<!doctype html><title>Over</title><iframe id="f" src="' + frame.replaceAll('&', '&amp;') + '"></iframe>';
        },
      },
    },
  });
  provider.on('grant.success', (context) => {
    console.log('granted ' + context.oidc.params.grant_type);
    for (const name of ['access_token', 'refresh_token', 'id_token']) console.log('gave ' + context.body[name]);
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
    client: Value,
}

impl LoginProvider {
    /// One that knows the gateway whose pages are there, such as `https://127.0.0.1:8443/.portcullis`.
    ///
    /// # Panics
    /// When it or Node is missing, or it does not start.
    pub fn start(pages: &str) -> Self {
        Self::start_with(pages, json!({}))
    }

    /// The same, which knows this of the gateway besides: metadata of a client (OpenID Connect Dynamic Client Registration 1.0, section 2).
    ///
    /// # Panics
    /// When it or Node is missing, or it does not start.
    pub fn start_with(pages: &str, client: Value) -> Self {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        let mut provider = Self { process: None, address, pages: pages.to_owned(), client };
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
            .arg(self.client.to_string())
            .start();
        process.wait_for_port(self.address);
        self.process = Some(process);
    }

    /// Has it hang, or go on: it takes connections, and answers none.
    ///
    /// # Panics
    /// When it does not run.
    pub fn hang(&mut self, hangs: bool) {
        let process = self.process.as_mut().expect("it runs");
        process.signal(if hangs { Signal::Stop } else { Signal::Continue });
    }

    /// Stops it.
    pub fn stop(&mut self) {
        drop(self.process.take());
    }

    /// How often it has given tokens by a grant, such as `refresh_token`, since it was started.
    pub fn requests(&self, grant: &str) -> u64 {
        let wanted = format!("granted {grant}");
        let lines = self.process.as_ref().map(Process::stdout_lines).unwrap_or_default();
        lines.iter().filter(|line| **line == wanted).count() as u64
    }

    /// The tokens that it has given out since it was started.
    pub fn tokens(&self) -> Vec<String> {
        let lines = self.process.as_ref().map(Process::stdout_lines).unwrap_or_default();
        let given = lines.iter().filter_map(|line| line.strip_prefix("gave "));
        given.filter(|token| *token != "undefined").map(str::to_owned).collect()
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
