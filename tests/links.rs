//! What the project's texts link to is there.

#![cfg(not(threadbare_model))]

use std::fs;
use std::path::{Path, PathBuf};

/// The texts, but for those of the documentation, whose links rustdoc checks.
fn texts() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folders = [
        "",
        "docs",
        "fuzz",
        "sys",
        "examples/stress",
        "tests/conformance",
    ];
    let files = folders.iter().flat_map(|folder| {
        let entries = fs::read_dir(root.join(folder)).unwrap();
        entries.map(|entry| entry.unwrap().path())
    });
    files
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect()
}

/// The places in `text` that are not somewhere else on the net.
fn links(text: &str) -> impl Iterator<Item = &str> {
    let ends = text.split("](").skip(1);
    let links = ends.filter_map(|rest| rest.split_once(')').map(|(link, _)| link));
    let files = links.map(|link| link.split_once('#').map_or(link, |(file, _)| file));
    files.filter(|file| !file.is_empty() && !file.contains("://"))
}

#[test]
fn what_texts_link_to_is_there() {
    let texts = texts();
    let mut count = 0;
    for path in &texts {
        let text = fs::read_to_string(path).unwrap();
        for link in links(&text) {
            let place = path.parent().unwrap().join(link);
            assert!(place.exists(), "{}: {link}", path.display());
            count += 1;
        }
    }
    assert!(texts.len() > 10 && count > 20, "{count} links in {texts:?}");
}
