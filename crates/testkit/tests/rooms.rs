//! The workspace is built as the table of rooms says.

use anemone_testkit::house::{
    OUTSIDE, ROOMS, Room, Uses, dependencies, package_name, repository, room, room_table,
};
use std::collections::BTreeSet;
use std::fs;

fn rooms_used(room: &Room) -> Vec<&'static Room> {
    let all = dependencies().unwrap();
    let of_room = &all[&package_name(room.name)];
    ROOMS.iter().filter(|r| of_room.contains(&package_name(r.name))).collect()
}

#[test]
fn every_package_is_a_room_of_the_table() {
    let packages: BTreeSet<String> = dependencies().unwrap().into_keys().collect();
    let rooms: BTreeSet<String> = ROOMS.iter().map(|r| package_name(r.name)).collect();
    assert_eq!(packages, rooms, "packages of the workspace (left), rooms of the table (right)");
}

#[test]
fn dependencies_lead_to_floors_below() {
    for room in ROOMS {
        for used in rooms_used(room) {
            assert!(
                room.floor.is_none() || used.floor.is_some_and(|f| Some(f) < room.floor),
                "{} (floor {:?}) depends on {} (floor {:?})",
                room.name,
                room.floor,
                used.name,
                used.floor
            );
        }
    }
}

#[test]
fn rooms_depend_only_on_what_the_table_permits() {
    for room in ROOMS {
        let Uses::Only(permitted) = room.uses else { continue };
        for used in rooms_used(room) {
            let known = used.name == "tensor" || permitted.contains(&used.name);
            assert!(known, "{} depends on {}, but may use tensor and {permitted:?}", room.name, used.name);
        }
    }
}

#[test]
fn the_table_names_only_rooms_that_exist() {
    for listed in ROOMS {
        if let Uses::Only(names) = listed.uses {
            assert!(names.iter().all(|n| room(n).is_some()), "{} may use {names:?}", listed.name);
        }
    }
    for (outside, names) in OUTSIDE {
        assert!(names.iter().all(|n| room(n).is_some()), "{outside} is allowed in {names:?}");
    }
}

#[test]
fn terminal_json_mapping_and_pictures_stay_in_their_rooms() {
    let all = dependencies().unwrap();
    for room in ROOMS.iter().filter(|r| r.floor.is_some()) {
        for (outside, permitted) in OUTSIDE {
            let used = all[&package_name(room.name)].contains(*outside);
            assert!(!used || permitted.contains(&room.name), "{} depends on {outside}", room.name);
        }
    }
}

/// With the planner deleted, everything that makes a package would still build, and so make the same bytes.
#[test]
fn packages_are_made_without_the_planner() {
    let mut reached: BTreeSet<&str> = ["import", "passes", "package"].into();
    loop {
        let next: BTreeSet<&str> =
            reached.iter().flat_map(|n| rooms_used(room(n).unwrap())).map(|r| r.name).collect();
        let before = reached.len();
        reached.extend(next);
        if reached.len() == before {
            break;
        }
    }
    assert!(!reached.contains("ane"), "import, passes or package depend on ane: {reached:?}");
}

#[test]
fn the_architecture_page_shows_the_table() {
    let path = repository().join("docs/architecture.md");
    let page = fs::read_to_string(&path).unwrap();
    if std::env::var_os("BLESS").is_some() {
        let (head, rest) = page.split_once("| floor |").unwrap();
        let tail = rest.split_once("\n\n").unwrap().1;
        fs::write(&path, format!("{head}{}\n{tail}", room_table())).unwrap();
        return;
    }
    assert!(
        page.contains(&room_table()),
        "docs/architecture.md should show this table (BLESS=1 cargo test -p anemone-testkit puts it there):\n{}",
        room_table()
    );
}
