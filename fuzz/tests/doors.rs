//! Each target has its file in `fuzz_targets/`, and each file its target.

use std::fs;
use std::path::Path;
use threadbare_fuzz::TARGETS;

/// Each way of building has its targets, and together they are the doors that there are.
#[test]
fn every_door_leads_to_a_target() {
    let doors = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz_targets");
    for door in fs::read_dir(&doors).unwrap() {
        let door = door.unwrap().path();
        let name = door.file_stem().unwrap().to_str().unwrap();
        let is_modelled = fs::read_to_string(&door)
            .unwrap()
            .contains("cfg(not(threadbare_model))");
        let is_here = TARGETS.iter().any(|target| target.name == name);
        assert_eq!(is_here, is_modelled == cfg!(threadbare_model), "{name}");
    }
    for target in TARGETS {
        let door = doors.join(target.name);
        assert!(door.with_extension("rs").exists(), "{}", target.name);
    }
}
