//! What does not compile: forwarding without a permit that was given for just this request.

#[test]
fn nobody_outside_can_declare_a_request_permitted() {
    trybuild::TestCases::new().compile_fail("tests/forgery/*.rs");
}
