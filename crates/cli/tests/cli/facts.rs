//! `facts` and `explain`.

use crate::command::anemone;

#[test]
fn facts_are_listed_by_op_and_device() {
    let conv = anemone(["facts", "--op", "conv"]).report();
    assert!(conv.contains("15 wide"), "{conv}");
    let ids = |args: &[&str]| {
        let json = anemone(["facts", "--json"].iter().chain(args)).json("anemone.facts/1");
        json["facts"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["key"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert!(ids(&[]).len() > 100);
    let m1 = ids(&["--device", "M1"]);
    assert!(m1.contains(&"ane-extent-16k".into()) && !m1.contains(&"ane-extent".into()), "{m1:?}");
    let older = ids(&["--os", "ios18"]);
    assert!(!older.contains(&"planner-fixed-cost".into()) && older.contains(&"ane-fp32".into()), "{older:?}");
    assert!(ids(&["--os", "macos 27"]).contains(&"planner-fixed-cost".into()));
    anemone(["facts", "--op", "convolution"]).fails(&["convolution", "no MIL op"]);
}

#[test]
fn a_fact_is_explained_with_both_sides_and_who_decided() {
    let page = anemone(["explain", "size-250mb"]).report();
    for word in ["overruled", "for", "against", "verdict", "C4", "R26"] {
        assert!(page.contains(word), "{word}: {page}");
    }
    let json = anemone(["explain", "f001", "--json"]).json("anemone.facts/1");
    assert_eq!(json["facts"][0]["id"], "F001");
    anemone(["explain", "F999"]).fails(&["F999", "anemone facts"]);
}
