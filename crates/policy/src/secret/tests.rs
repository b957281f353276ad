use super::*;

fn value(cell: &SecretCell) -> Option<Vec<u8>> {
    cell.load().as_ref().map(|value| value.to_vec())
}

#[test]
fn a_name_has_one_cell() {
    let mut secrets = Secrets::default();
    let (a, again, b) = (secrets.cell("a"), secrets.cell("a"), secrets.cell("b"));
    assert!(Arc::ptr_eq(&a, &again));
    assert_eq!(a, again);
    assert_ne!(a, b);
}

#[test]
fn a_delivered_value_is_seen_by_every_holder_until_it_is_withdrawn() {
    let mut secrets = Secrets::default();
    let holder = secrets.cell("a");
    assert_eq!(value(&holder), None);
    secrets.set("a", Some(b"one"));
    assert_eq!(value(&holder).as_deref(), Some(&b"one"[..]));
    secrets.set("a", Some(b""));
    assert_eq!(value(&holder).as_deref(), Some(&b""[..]), "an empty secret is delivered");
    secrets.set("a", None);
    assert_eq!(value(&holder), None);
    assert!(Arc::ptr_eq(&holder, &secrets.cell("a")), "a withdrawn secret keeps its cell while a rule holds it");
}

#[test]
fn a_value_may_come_before_the_rule() {
    let mut secrets = Secrets::default();
    secrets.set("a", Some(b"one"));
    secrets.forget_unused();
    assert_eq!(value(&secrets.cell("a")).as_deref(), Some(&b"one"[..]));
}

#[test]
fn cells_without_value_and_holder_are_dropped() {
    let mut secrets = Secrets::default();
    drop(secrets.cell("a"));
    let held = secrets.cell("b");
    secrets.forget_unused();
    assert_eq!(secrets.cells.keys().collect::<Vec<_>>(), ["b"]);
    drop(held);
    secrets.set("never used", None);
    assert!(secrets.cells.is_empty());
}

#[test]
fn a_value_is_never_printed() {
    let mut secrets = Secrets::default();
    secrets.set("a", Some(b"hunter2"));
    let printed = format!("{secrets:?} {:?}", secrets.cell("a"));
    assert!(printed.contains("redacted"), "{printed}");
    assert!(!printed.contains("hunter2") && !printed.contains("104, 117"), "{printed}");
}

#[test]
fn comparing_tells_equal_from_different() {
    for (actual, expected, equal) in
        [("", "", true), ("a", "a", true), ("a", "b", false), ("a", "ab", false), ("ab", "a", false), ("", "a", false)]
    {
        assert_eq!(same(actual.as_bytes(), expected.as_bytes()), equal, "{actual:?} {expected:?}");
    }
}
