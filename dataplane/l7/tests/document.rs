//! The page of applications says what the registry says.

use std::path::Path;

#[test]
fn the_page_is_what_the_registry_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("APPLICATIONS.md");
    let document = weir_l7::registry::document();
    if std::env::var_os("UPDATE_DOCUMENT").is_some() {
        std::fs::write(&path, &document).expect("a writable page");
    }
    let page = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        page == document,
        "{} has drifted: run UPDATE_DOCUMENT=1 cargo test -p weir-l7 --test document",
        path.display()
    );
}
