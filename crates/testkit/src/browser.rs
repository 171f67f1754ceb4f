//! A real browser (Chromium, driven by npm's `playwright-core`) that a test gives a script to.
//!
//! The tests need both and Node: `cargo xtask test` installs them and passes the places in `PORTCULLIS_CHROMIUM` and `PORTCULLIS_PLAYWRIGHT`; without these
//! variables the usual places are looked at, and what is missing fails the test. The browser can reach loopback alone.

use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;

use crate::oidc_provider::modules_of;
use crate::process::{Finished, Program};

/// How long a script may take: a browser starts in seconds, and pages of the tests are small.
const PATIENCE: Duration = Duration::from_secs(120);

/// What is around a script: `browser`, `context` and `page` are there, and what it returns is printed as JSON on the last line.
const AROUND: &str = r#"
const [modules, executablePath, folder, script, ...rest] = process.argv.slice(1);
const { chromium } = require(modules + '/playwright-core');
(async () => {
  const context = await chromium.launchPersistentContext(folder, {
    executablePath, headless: true, ignoreHTTPSErrors: true,
    args: ['--no-sandbox', '--disable-gpu', '--no-first-run', '--disable-background-networking', '--disable-component-update',
      '--disable-sync', '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost'],
  });
  try {
    const page = await context.newPage();
    page.setDefaultTimeout(30000);
    const run = new (Object.getPrototypeOf(async () => {}).constructor)('context', 'page', 'given', script);
    console.log(JSON.stringify(await run(context, page, rest)));
  } finally {
    await context.close();
  }
})().catch((error) => { console.error(error); process.exit(1); });
"#;

/// Runs a script (the body of an async function of `context`, `page` and `given`) in a fresh profile, and gives what it returns.
///
/// # Panics
/// When the browser or what drives it is missing, or the script fails.
pub fn in_browser(script: &str, given: &[&str]) -> serde_json::Value {
    let node = std::env::var_os("PORTCULLIS_NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from);
    let chromium =
        std::env::var_os("PORTCULLIS_CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from);
    assert!(chromium.is_file(), "{} is missing: install Chromium", chromium.display());
    let profile = TempDir::with_prefix("portcullis-browser").expect("a folder can be made");
    let Finished { status, stdout, stderr } = Program::new(node)
        .arg("-e")
        .arg(AROUND)
        .arg(modules_of("PORTCULLIS_PLAYWRIGHT", "playwright-core"))
        .arg(chromium)
        .arg(profile.path())
        .arg(script)
        .args(given)
        .run(PATIENCE);
    assert!(status.success(), "the script failed: {stdout:#?} {stderr:#?}");
    let last = stdout.last().map_or("null", String::as_str);
    serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {stdout:?}"))
}
