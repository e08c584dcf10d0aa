//! Each id of `docs/semantics.md` is named by a test, or `docs/semantics-coverage.md` says why not.

#![cfg(not(threadbare_model))]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// A statement of the semantics: `LOCK-7`.
type Id = (String, u32);

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// The id that `text` begins with, and what follows it.
fn leading_id(text: &str) -> Option<(Id, &str)> {
    let (section, rest) = text.split_once('-')?;
    let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let is_section = !section.is_empty() && section.chars().all(|c| c.is_ascii_uppercase());
    let number = rest[..digits].parse().ok()?;
    is_section.then(|| ((section.to_string(), number), &rest[digits..]))
}

/// The ids that the semantics define: those that begin an item.
fn defined() -> BTreeSet<Id> {
    let text = read("docs/semantics.md");
    let items = text.lines().filter_map(|line| line.strip_prefix("- "));
    items
        .filter_map(|item| leading_id(item).map(|(id, _)| id))
        .collect()
}

/// The ids that lines of the coverage table explain: all before the colon, ranges included.
fn explained(table: &str) -> BTreeSet<Id> {
    let mut ids = BTreeSet::new();
    for line in table.lines() {
        let Some((subject, _)) = line
            .strip_prefix("- ")
            .and_then(|item| item.split_once(": "))
        else {
            continue;
        };
        let mut last: Option<Id> = None;
        let mut is_range = false;
        for word in subject.split([' ', ',']) {
            if let Some((id, _)) = leading_id(word) {
                let from = match &last {
                    Some((section, number)) if is_range && *section == id.0 => *number,
                    _ => id.1,
                };
                ids.extend((from..=id.1).map(|number| (id.0.clone(), number)));
                last = Some(id);
            }
            is_range = word == "to";
        }
    }
    ids
}

/// The ids in a test's name: `lock_10_…`, `cond_4_and_18_…`, `mod_11_to_13_…`, `sem_5_and_bsem_2_…`.
fn named(word: &str, sections: &BTreeSet<String>, ids: &mut BTreeSet<Id>) {
    let mut parts = word.split('_').peekable();
    let mut section = None;
    let mut last = None;
    let mut joint = "";
    while let Some(part) = parts.next() {
        if let Ok(number) = part.parse::<u32>() {
            let Some(section) = &section else { return };
            let from = match (joint, last) {
                ("to", Some(last)) => last,
                _ => number,
            };
            ids.extend((from..=number).map(|number| (String::clone(section), number)));
            last = Some(number);
            joint = "";
        } else if sections.contains(&part.to_ascii_uppercase())
            && parts.peek().is_some_and(|next| next.parse::<u32>().is_ok())
        {
            section = Some(part.to_ascii_uppercase());
        } else if matches!(part, "and" | "to") {
            joint = part;
        } else {
            return;
        }
    }
}

/// The words of all test code, that of the unit tests included.
fn words(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            words(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
            found.extend(text.split(|c| !is_word(c)).map(str::to_string));
            found.insert(path.file_stem().unwrap().to_str().unwrap().to_string());
        }
    }
}

#[test]
fn every_id_is_named_by_a_test_or_explained() {
    let defined = defined();
    assert!(defined.len() > 200, "the semantics were not understood");
    let sections = defined.iter().map(|(section, _)| section.clone()).collect();

    let mut all_words = BTreeSet::new();
    for folder in ["tests", "src", "sys/src"] {
        words(&root().join(folder), &mut all_words);
    }
    let mut covered = explained(&read("docs/semantics-coverage.md"));
    let unknown: Vec<_> = covered.difference(&defined).collect();
    assert!(
        unknown.is_empty(),
        "the table explains what is not there: {unknown:?}"
    );
    for word in &all_words {
        named(word, &sections, &mut covered);
    }
    let missing: Vec<_> = defined
        .difference(&covered)
        .map(|(section, number)| format!("{section}-{number}"))
        .collect();
    assert!(
        missing.is_empty(),
        "{} ids without a test or a reason: {missing:?}",
        missing.len()
    );
}

#[test]
fn names_and_lines_are_read_as_they_are_meant() {
    let sections = ["MOD", "COND", "SEM", "BSEM"].map(String::from).into();
    let ids = |word: &str| {
        let mut ids = BTreeSet::new();
        named(word, &sections, &mut ids);
        ids.into_iter()
            .map(|(section, number)| format!("{section}-{number}"))
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("cond_4_and_18_a_wait"), ["COND-4", "COND-18"]);
    assert_eq!(ids("mod_11_to_13_sizes"), ["MOD-11", "MOD-12", "MOD-13"]);
    assert_eq!(ids("sem_5_and_bsem_2_release_3"), ["BSEM-2", "SEM-5"]);
    assert!(ids("a_mod_4_is_not_first").is_empty() && ids("ruling_13_join").is_empty());
    let lines = explained("- MOD-1 to MOD-3, COND-7 (SEM-2): why\nno item MOD-9: x");
    let lines: Vec<_> = lines
        .iter()
        .map(|(section, number)| format!("{section}-{number}"))
        .collect();
    assert_eq!(lines, ["COND-7", "MOD-1", "MOD-2", "MOD-3"]);
}
