//! A canonical path has been parsed.

use portcullis_policy::CanonicalPath;

fn main() {
    let _ = CanonicalPath { encoded: "/a/../b".to_owned(), decoded: None };
}
