//! Documents held to the schemas that were published for them, by validators that others wrote: `cargo xtask test` installs them.

use std::path::PathBuf;

use crate::oidc_provider::modules_of;
use crate::process::{Finished, Program};
use crate::wait::PATIENCE;

/// The OASIS schema of SARIF 2.1.0 (draft 7 of JSON Schema), as it comes with the package, and the validator that it needs.
const SARIF: &str = r#"
const [modules] = process.argv.slice(1);
const { createRequire } = require('module');
const load = createRequire(modules + '/@microsoft/jest-sarif/package.json');
const Ajv = load('ajv');
const schema = load('./lib/schemas/sarif-2.1.0-rtm.5.json');
const ajv = new Ajv({ allErrors: true, schemaId: 'auto' });
if ((schema.$schema || '').includes('draft-04')) ajv.addMetaSchema(load('ajv/lib/refs/json-schema-draft-04.json'));
const check = ajv.compile(schema);
const valid = check(JSON.parse(require('fs').readFileSync(0, 'utf8')));
for (const error of valid ? [] : check.errors) console.log(`${error.dataPath} ${error.message} ${JSON.stringify(error.params)}`);
"#;

/// The schema of OpenAPI that the document says it is of, 3.0 or 3.1, with its references.
const OPENAPI: &str = r#"
const [modules] = process.argv.slice(1);
import(require('url').pathToFileURL(modules + '/@seriousme/openapi-schema-validator/index.js')).then(async ({ Validator }) => {
  const document = JSON.parse(require('fs').readFileSync(0, 'utf8'));
  const found = await new Validator().validate(document);
  if (!found.valid) for (const error of [found.errors].flat()) console.log(typeof error === 'string' ? error : JSON.stringify(error));
}).catch((error) => { console.error(error); process.exit(1); });
"#;

/// What is wrong with a SARIF log by the schema of OASIS; nothing: it is valid.
///
/// # Panics
/// When Node or the schema is missing.
pub fn sarif_problems(log: &str) -> Vec<String> {
    problems(SARIF, modules_of("PORTCULLIS_SARIF_SCHEMA", "@microsoft/jest-sarif"), log)
}

/// What is wrong with a description of an API by the schema of its version of OpenAPI; nothing: it is valid.
///
/// # Panics
/// When Node or the validator is missing.
pub fn openapi_problems(document: &str) -> Vec<String> {
    problems(OPENAPI, modules_of("PORTCULLIS_OPENAPI_SCHEMA", "@seriousme/openapi-schema-validator"), document)
}

fn problems(script: &str, modules: PathBuf, document: &str) -> Vec<String> {
    let node = std::env::var_os("PORTCULLIS_NODE").map_or_else(|| PathBuf::from("node"), PathBuf::from);
    let Finished { status, stdout, stderr } =
        Program::new(node).arg("-e").arg(script).arg(modules).stdin(document).run(PATIENCE);
    assert!(status.success(), "the validator failed: {stdout:#?} {stderr:#?}");
    stdout
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_said() {
        let sarif = |results: &str| {
            sarif_problems(&format!(
                r#"{{"version":"2.1.0","runs":[{{"tool":{{"driver":{{"name":"x"}}}},"results":[{results}]}}]}}"#
            ))
        };
        assert_eq!(sarif(r#"{"message":{"text":"x"}}"#), Vec::<String>::new());
        assert_eq!(sarif(r#"{"message":{"text":"x"},"level":"bad"}"#).len(), 1);
        let openapi = |version: &str| {
            openapi_problems(&format!(r#"{{"openapi":"{version}","info":{{"title":"x","version":"1"}},"paths":{{}}}}"#))
        };
        assert_eq!(openapi("3.1.0"), Vec::<String>::new());
        assert!(!openapi("4711").is_empty());
        assert!(!openapi_problems(r#"{"openapi":"3.1.0","info":{"title":"x"},"paths":{}}"#).is_empty());
    }
}
