//! What nobody outside of the engine can make: these programs must not compile, and for the reason written beside them.

#[test]
fn permits_paths_and_route_ids_cannot_be_forged() {
    trybuild::TestCases::new().compile_fail("tests/forgery/*.rs");
}
