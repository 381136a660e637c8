//! What the compiler must refuse: rights that are forged, copied, or used twice.

#[test]
fn rights_cannot_be_forged() {
    let cases = trybuild::TestCases::new();
    cases.compile_fail("tests/compile-fail/*.rs");
}
